//! From a closed window to its summary.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    AccountingSummary, Counts, CpuTime, HardirqSummary, SUMMARY_SCHEMA, SoftirqSummary, Summary,
    TaintSummary, WindowSpan, WorkqueueSummary,
};
use crate::{
    aggregate::window::{Accounting, Family, Window},
    host::{HostIdentity, cpus::parse_cpu_list},
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
            hardirq: hardirq_rows(window),
            workqueue: workqueue_rows(window),
            module: window.module.clone(),
            taint: TaintSummary::new(taint),
            host,
        }
    }
}

impl From<&Accounting> for AccountingSummary {
    fn from(accounting: &Accounting) -> Self {
        let mut summary = Self::default();
        for (family, counts) in Family::ALL.into_iter().zip(&accounting.by_family) {
            let total = &mut summary.total;
            total.observed = total.observed.saturating_add(counts.observed);
            total.streamed = total.streamed.saturating_add(counts.streamed);
            total.spilled = total.spilled.saturating_add(counts.spilled);
            total.overflowed = total.overflowed.saturating_add(counts.overflowed);
            for (into, from) in [
                (&mut total.lost, &counts.lost),
                (&mut total.partial, &counts.partial),
            ] {
                for (reason, count) in from {
                    let sum = into.entry(reason.clone()).or_default();
                    *sum = sum.saturating_add(*count);
                }
            }
            summary.by_family.insert(
                family,
                Counts {
                    observed: counts.observed,
                    streamed: counts.streamed,
                    spilled: counts.spilled,
                    lost: counts.lost.clone(),
                    partial: counts.partial.clone(),
                    overflowed: counts.overflowed,
                },
            );
        }
        summary
    }
}

/// One row for each CPU that is online or was seen working.
pub(in crate::report) fn cpu_times(window: &Window, host: &HostIdentity) -> Vec<CpuTime> {
    let online = parse_cpu_list(&host.cpu_list).unwrap_or_default();
    let cpus: BTreeSet<u32> = online
        .into_iter()
        .chain(window.softirq.iter().map(|row| row.cpu))
        .chain(window.hardirq.iter().map(|row| row.cpu))
        .collect();
    let mut times: BTreeMap<u32, CpuTime> = cpus
        .into_iter()
        .map(|cpu| {
            (
                cpu,
                CpuTime {
                    cpu,
                    ..CpuTime::default()
                },
            )
        })
        .collect();
    for row in &window.hardirq {
        if let Some(time) = times.get_mut(&row.cpu) {
            time.hardirq_ns = time.hardirq_ns.saturating_add(row.service.sum_ns());
        }
    }
    for row in &window.softirq {
        if let Some(time) = times.get_mut(&row.cpu) {
            time.softirq_ns = time.softirq_ns.saturating_add(row.service_net.sum_ns());
        }
    }
    times.into_values().collect()
}

/// A vector's number, from its name: `softirq_to_name` (kernel/softirq.c). Unknown ones come last.
pub(in crate::report) fn vector_number(name: &str) -> usize {
    const NAMES: [&str; 10] = [
        "HI", "TIMER", "NET_TX", "NET_RX", "BLOCK", "IRQ_POLL", "TASKLET", "SCHED", "HRTIMER",
        "RCU",
    ];
    NAMES
        .iter()
        .position(|known| *known == name)
        .unwrap_or(NAMES.len())
}

fn softirq_rows(window: &Window) -> Vec<SoftirqSummary> {
    let mut rows: Vec<_> = window
        .softirq
        .iter()
        .map(|row| SoftirqSummary {
            vector: row.vector.to_owned(),
            cpu: row.cpu,
            count: row.count,
            wait_unknown: row.wait_unknown,
            wait: (&row.wait).into(),
            service: (&row.service).into(),
            service_net: (&row.service_net).into(),
        })
        .collect();
    rows.sort_by(|a, b| {
        let key = |row: &SoftirqSummary| (vector_number(&row.vector), row.vector.clone(), row.cpu);
        key(a).cmp(&key(b))
    });
    rows
}

fn hardirq_rows(window: &Window) -> Vec<HardirqSummary> {
    let mut rows: Vec<_> = window
        .hardirq
        .iter()
        .map(|row| HardirqSummary {
            irq: row.irq,
            name: row.name.to_string(),
            cpu: row.cpu,
            count: row.count,
            unhandled: row.unhandled,
            woke_thread: row.woke_thread,
            service: (&row.service).into(),
        })
        .collect();
    // The overflow row, which has no number, last.
    rows.sort_by(|a, b| {
        let key = |row: &HardirqSummary| (row.irq.is_none(), row.irq, row.name.clone(), row.cpu);
        key(a).cmp(&key(b))
    });
    rows
}

fn workqueue_rows(window: &Window) -> Vec<WorkqueueSummary> {
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
        })
        .collect();
    rows.sort_by(|a, b| {
        let names = |row: &WorkqueueSummary| (row.workqueue.clone(), row.function.clone());
        let by_time = b.service.sum_ns.cmp(&a.service.sum_ns);
        by_time.then_with(|| names(a).cmp(&names(b)))
    });
    rows
}
