//! From a closed window to its summary.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    AccountingSummary, Counts, HardirqSummary, KthreadSummary, NapiSummary, OriginSummary,
    QueuedBySummary, SUMMARY_SCHEMA, SoftirqOriginSummary, SoftirqSummary, Summary, TaintSummary,
    TaskletSummary, WindowSpan, WorkqueueSummary,
};
use crate::{
    aggregate::window::{
        Accounting, ContextTimes, Family, FamilyAccounting, Origin, OriginKind, SOFTIRQ_CONTEXTS,
        SoftirqOriginRow, StackRow, Window,
    },
    host::{HostIdentity, cpus::parse_cpu_list},
    resolve::SOFTIRQ_VECTORS,
};

impl Summary {
    /// Summarizes a closed window. The order of rows depends on the window's content alone.
    #[must_use]
    pub fn from_window(window: &Window, host: HostIdentity, taint: Option<u64>) -> Self {
        Self {
            schema: SUMMARY_SCHEMA.to_owned(),
            kctx_version: env!("CARGO_PKG_VERSION").to_owned(),
            window: WindowSpan {
                start_unix_ns: window.start_unix_ns,
                duration_ns: window.duration_ns,
            },
            accounting: AccountingSummary::from(&window.accounting),
            probes: window.probes.clone(),
            cpu: cpu_times(window, &host),
            softirq: softirq_rows(window),
            softirq_origin: softirq_origin_rows(window),
            hardirq: hardirq_rows(window),
            tasklet: tasklet_rows(window),
            workqueue: workqueue_rows(window),
            napi: napi_rows(window),
            kthread: kthread_rows(window),
            module: window.module.clone(),
            log: window.log.clone(),
            stack: stack_rows(window),
            governor: window.governor.clone(),
            taint: TaintSummary::new(taint, window.taint.clone()),
            own_cost: window.own_cost.clone(),
            narrowed: None,
            damaged: None,
            host,
        }
    }
}

impl From<&Accounting> for AccountingSummary {
    fn from(accounting: &Accounting) -> Self {
        let mut total = FamilyAccounting::default();
        for counts in &accounting.by_family {
            total.add(counts);
        }
        let by_family = Family::ALL.into_iter().zip(&accounting.by_family);
        Self {
            total: Counts::from(&total),
            by_family: by_family
                .map(|(family, counts)| (family, Counts::from(counts)))
                .collect(),
        }
    }
}

impl From<&FamilyAccounting> for Counts {
    fn from(counts: &FamilyAccounting) -> Self {
        Self {
            observed: counts.observed,
            streamed: counts.streamed,
            spilled: counts.spilled,
            governed: counts.governed,
            lost: counts.lost.clone(),
            partial: counts.partial.clone(),
            overflowed: counts.overflowed,
        }
    }
}

/// One row for each CPU that is online or was seen working.
pub(in crate::report) fn cpu_times(window: &Window, host: &HostIdentity) -> Vec<ContextTimes> {
    let online = parse_cpu_list(&host.cpu_list).unwrap_or_default();
    let idle = online.into_iter().map(|cpu| ContextTimes {
        cpu,
        ..ContextTimes::default()
    });
    let seen = window.cpu.iter().copied();
    let by_cpu: BTreeMap<u32, ContextTimes> =
        idle.chain(seen).map(|time| (time.cpu, time)).collect();
    by_cpu.into_values().collect()
}

/// A vector's number, from its name: `softirq_to_name` (kernel/softirq.c). Unknown ones come last.
pub(in crate::report) fn vector_number(name: &str) -> usize {
    position(&SOFTIRQ_VECTORS, name)
}

fn position(names: &[&str], name: &str) -> usize {
    let known = names.iter().position(|known| *known == name);
    known.unwrap_or(names.len())
}

fn softirq_rows(window: &Window) -> Vec<SoftirqSummary> {
    let mut rows: Vec<_> = window
        .softirq
        .iter()
        .map(|row| SoftirqSummary {
            vector: row.vector.to_owned(),
            cpu: row.cpu,
            context: row.context.to_owned(),
            count: row.count,
            wait_unknown: row.wait_unknown,
            wait: (&row.wait).into(),
            service: (&row.service).into(),
            service_net: (&row.service_net).into(),
        })
        .collect();
    rows.sort_by_key(|row| {
        let context = position(&SOFTIRQ_CONTEXTS, &row.context);
        (vector_number(&row.vector), row.cpu, context)
    });
    rows
}

/// Names of the actions of each interrupt: what an origin that is an interrupt is called.
struct Lines<'a>(BTreeMap<u32, BTreeSet<&'a str>>);

impl<'a> Lines<'a> {
    fn of(window: &'a Window) -> Self {
        let mut lines: BTreeMap<u32, BTreeSet<&str>> = BTreeMap::new();
        for row in &window.hardirq {
            if let Some(irq) = row.irq {
                lines.entry(irq).or_default().insert(&row.name);
            }
        }
        Self(lines)
    }

    fn origin(&self, origin: &Origin) -> OriginSummary {
        let line = origin.number.and_then(|irq| self.0.get(&irq));
        OriginSummary {
            kind: origin.kind,
            number: origin.number,
            name: match (origin.kind, line) {
                (OriginKind::Irq, Some(names)) => {
                    names.iter().copied().collect::<Vec<_>>().join(", ")
                }
                _ => origin.name.to_string(),
            },
        }
    }
}

fn softirq_origin_rows(window: &Window) -> Vec<SoftirqOriginSummary> {
    let lines = Lines::of(window);
    let mut rows: Vec<_> = window.softirq_origin.iter().collect();
    rows.sort_by(|a, b| {
        let place = |row: &&SoftirqOriginRow| {
            (
                vector_number(row.vector),
                row.cpu,
                std::cmp::Reverse(row.count),
            )
        };
        place(a)
            .cmp(&place(b))
            .then_with(|| a.origin.cmp(&b.origin))
    });
    let summary = |row: &SoftirqOriginRow| SoftirqOriginSummary {
        vector: row.vector.to_owned(),
        cpu: row.cpu,
        origin: lines.origin(&row.origin),
        count: row.count,
    };
    rows.into_iter().map(summary).collect()
}

fn hardirq_rows(window: &Window) -> Vec<HardirqSummary> {
    let mut rows: Vec<_> = window
        .hardirq
        .iter()
        .map(|row| HardirqSummary {
            irq: row.irq,
            name: row.name.to_string(),
            overflow: row.overflow,
            cpu: row.cpu,
            count: row.count,
            unhandled: row.unhandled,
            woke_thread: row.woke_thread,
            service: (&row.service).into(),
        })
        .collect();
    // Vectors, which have no number, after the others; the overflow row last.
    rows.sort_by(|a, b| {
        let number = |row: &HardirqSummary| (row.overflow, row.irq.is_none(), row.irq);
        (number(a), &a.name, a.cpu).cmp(&(number(b), &b.name, b.cpu))
    });
    rows
}

fn tasklet_rows(window: &Window) -> Vec<TaskletSummary> {
    let mut rows: Vec<_> = window
        .tasklet
        .iter()
        .map(|row| TaskletSummary {
            function: row.function.to_string(),
            overflow: row.overflow,
            count: row.count,
            service: (&row.service).into(),
            service_net: (&row.service_net).into(),
        })
        .collect();
    rows.sort_by(|a, b| {
        let by_time = b.service.sum_ns.cmp(&a.service.sum_ns);
        by_time.then_with(|| (&a.function, a.overflow).cmp(&(&b.function, b.overflow)))
    });
    rows
}

fn workqueue_rows(window: &Window) -> Vec<WorkqueueSummary> {
    let lines = Lines::of(window);
    let mut rows: Vec<_> = window
        .workqueue
        .iter()
        .map(|row| WorkqueueSummary {
            workqueue: row.workqueue.to_string(),
            function: row.function.to_string(),
            overflow: row.overflow,
            count: row.count,
            wait_unknown: row.wait_unknown,
            remote: row.remote,
            wait: (&row.wait).into(),
            activate: (&row.activate).into(),
            service: (&row.service).into(),
            service_net: (&row.service_net).into(),
            bh: row.bh,
            queued_by: (row.queued_by.iter())
                .map(|(origin, count)| QueuedBySummary {
                    origin: lines.origin(origin),
                    count: *count,
                })
                .collect(),
        })
        .collect();
    rows.sort_by(|a, b| {
        let by_time = b.service.sum_ns.cmp(&a.service.sum_ns);
        by_time.then_with(|| (&a.workqueue, &a.function).cmp(&(&b.workqueue, &b.function)))
    });
    rows
}

fn napi_rows(window: &Window) -> Vec<NapiSummary> {
    let mut rows: Vec<_> = window
        .napi
        .iter()
        .map(|row| NapiSummary {
            device: row.device.to_string(),
            napi_id: row.napi_id,
            cpu: row.cpu,
            context: row.context.to_owned(),
            overflow: row.overflow,
            count: row.count,
            exhausted: row.exhausted,
            packets: row.packets,
            packets_max: row.packets_max,
            service: (&row.service).into(),
        })
        .collect();
    rows.sort_by(|a, b| {
        let context = |row: &NapiSummary| position(&SOFTIRQ_CONTEXTS, &row.context);
        let number = |row: &NapiSummary| (row.napi_id, row.cpu, context(row));
        (a.overflow, &a.device, number(a)).cmp(&(b.overflow, &b.device, number(b)))
    });
    rows
}

fn kthread_rows(window: &Window) -> Vec<KthreadSummary> {
    let mut rows: Vec<_> = window
        .kthread
        .iter()
        .map(|row| KthreadSummary {
            role: row.role.to_owned(),
            comm: row.comm.to_string(),
            pid: row.pid,
            workqueue: row.workqueue.to_string(),
            overflow: row.overflow,
            count: row.count,
            preempted: row.preempted,
            wait: (&row.wait).into(),
            service: (&row.service).into(),
            service_net: (&row.service_net).into(),
            cpu_ns: row.cpu_ns,
            cpu_net_ns: row.cpu_net_ns,
        })
        .collect();
    rows.sort_by(|a, b| {
        let by_time = b.cpu_ns.cmp(&a.cpu_ns);
        by_time
            .then_with(|| (a.overflow, a.pid, &a.workqueue).cmp(&(b.overflow, b.pid, &b.workqueue)))
    });
    rows
}

fn stack_rows(window: &Window) -> Vec<StackRow> {
    let mut rows = window.stack.clone();
    rows.sort_by(|a, b| {
        let by_count = b.count.cmp(&a.count);
        by_count.then_with(|| (&a.context, &a.frames).cmp(&(&b.context, &b.frames)))
    });
    rows
}
