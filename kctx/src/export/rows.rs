//! A window's rows into the series of their metrics.

use super::attributes::Attributes;
use super::cumulative::Cumulative;
use super::exponential::ExponentialHistogram;
use super::series::SeriesSet;
use crate::aggregate::duration::Durations;
use crate::aggregate::window::{
    ContextTimes, Family, HardirqRow, KthreadRow, LogRows, NapiRow, OriginKind, SoftirqOriginRow,
    SoftirqRow, TaskletRow, Window, WorkqueueRow,
};
use crate::host::kmsg::LEVEL_NAMES;
use crate::meter::OwnCost;

impl Cumulative {
    /// Adds all rows; series first seen now count from `start`.
    pub(super) fn fold_rows(&mut self, window: &Window, start: u64) {
        for row in &window.softirq {
            self.fold_softirq(row, start);
        }
        for row in &window.softirq_origin {
            self.fold_softirq_origin(row, start);
        }
        for row in &window.hardirq {
            self.fold_hardirq(row, start);
        }
        for row in &window.tasklet {
            self.fold_tasklet(row, start);
        }
        for row in &window.workqueue {
            self.fold_workqueue(row, start);
        }
        for row in &window.napi {
            self.fold_napi(row, start);
        }
        for row in &window.kthread {
            self.fold_kthread(row, start);
        }
        for times in &window.cpu {
            self.fold_context_times(times, start);
        }
        self.fold_log(&window.log, start);
    }

    fn cpu(&self, cpu: u32) -> Option<u32> {
        self.limits.per_cpu.then_some(cpu)
    }

    fn fold_softirq(&mut self, row: &SoftirqRow, start: u64) {
        let attributes = Attributes::new()
            .with("kctx.softirq.vector", row.vector)
            .with("kctx.softirq.context", row.context)
            .with_some("cpu.logical_number", self.cpu(row.cpu));
        let max = self.limits.max_buckets;
        absorb(&mut self.softirq_wait, &attributes, &row.wait, start, max);
        let (gross, net) = (&mut self.softirq_gross, &mut self.softirq_net);
        absorb(gross, &attributes, &row.service, start, max);
        absorb(net, &attributes, &row.service_net, start, max);
    }

    /// By kind only: interrupts and tasks would be too many series.
    fn fold_softirq_origin(&mut self, row: &SoftirqOriginRow, start: u64) {
        let attributes = Attributes::new()
            .with("kctx.softirq.vector", row.vector)
            .with("kctx.origin.kind", origin_kind(row.origin.kind))
            .with_some("cpu.logical_number", self.cpu(row.cpu));
        add(&mut self.softirq_raised, attributes, row.count, start);
    }

    fn fold_hardirq(&mut self, row: &HardirqRow, start: u64) {
        let attributes = if row.overflow {
            Attributes::overflow()
        } else {
            Attributes::new()
                .with_some("kctx.irq.number", row.irq)
                .with("kctx.irq.name", &row.name)
                .with_some("cpu.logical_number", self.cpu(row.cpu))
        };
        let max = self.limits.max_buckets;
        absorb(&mut self.hardirq, &attributes, &row.service, start, max);
        let unhandled = &mut self.hardirq_unhandled;
        add(unhandled, attributes, row.unhandled, start);
    }

    fn fold_tasklet(&mut self, row: &TaskletRow, start: u64) {
        let attributes = if row.overflow {
            Attributes::overflow()
        } else {
            Attributes::new().with("code.function.name", &row.function)
        };
        let max = self.limits.max_buckets;
        absorb(&mut self.tasklet, &attributes, &row.service, start, max);
    }

    fn fold_workqueue(&mut self, row: &WorkqueueRow, start: u64) {
        let attributes = if row.overflow {
            Attributes::overflow()
        } else {
            Attributes::new()
                .with("kctx.workqueue.name", &row.workqueue)
                .with("code.function.name", &row.function)
        };
        let max = self.limits.max_buckets;
        for (set, durations) in [
            (&mut self.workqueue_wait, &row.wait),
            (&mut self.workqueue_activate, &row.activate),
            (&mut self.workqueue, &row.service),
            (&mut self.workqueue_net, &row.service_net),
        ] {
            absorb(set, &attributes, durations, start, max);
        }
    }

    /// A device's NAPIs together: a queue has one CPU's interrupt as a rule.
    fn fold_napi(&mut self, row: &NapiRow, start: u64) {
        let attributes = if row.overflow {
            Attributes::overflow()
        } else {
            Attributes::new()
                .with("network.interface.name", &row.device)
                .with_some("cpu.logical_number", self.cpu(row.cpu))
        };
        let max = self.limits.max_buckets;
        absorb(&mut self.napi, &attributes, &row.service, start, max);
        let packets = &mut self.napi_packets;
        add(packets, attributes.clone(), row.packets, start);
        add(&mut self.napi_exhausted, attributes, row.exhausted, start);
    }

    /// By role, kworkers by their workqueue: single threads would be too many series.
    fn fold_kthread(&mut self, row: &KthreadRow, start: u64) {
        let attributes = if row.overflow {
            Attributes::overflow()
        } else {
            let workqueue = (!row.workqueue.is_empty()).then_some(&row.workqueue);
            Attributes::new()
                .with("kctx.kthread.role", row.role)
                .with_some("kctx.workqueue.name", workqueue)
        };
        let max = self.limits.max_buckets;
        absorb(&mut self.kthread_wait, &attributes, &row.wait, start, max);
        let time = &mut self.kthread_cpu_ns;
        add(time, attributes, row.cpu_net_ns, start);
    }

    fn fold_context_times(&mut self, times: &ContextTimes, start: u64) {
        for (context, ns) in [
            ("hardirq", Some(times.hardirq_ns)),
            ("softirq", Some(times.softirq_ns)),
            ("ksoftirqd", times.ksoftirqd_ns),
            ("kthread", times.kthread_ns),
            ("rest", times.rest_ns),
        ] {
            let attributes = Attributes::new()
                .with("kctx.context", context)
                .with_some("cpu.logical_number", self.cpu(times.cpu));
            let total = &mut self.context_time_ns;
            add(total, attributes, ns.unwrap_or(0), start);
        }
    }

    /// Of a stream that does not tell there are no points; nor of programs whose time is not known.
    pub(super) fn fold_own_cost(&mut self, cost: Option<&OwnCost>, start: u64) {
        let memory = cost.and_then(|cost| cost.memory_bytes);
        let now = self.time_unix_ns();
        let memory = memory.map(|bytes| (Attributes::new(), bytes));
        self.self_memory
            .replace(memory.into_iter().collect(), start, now);
        self.replace_rings(cost, start);
        let Some(cost) = cost else { return };
        for thread in &cost.threads {
            let attributes = Attributes::new().with("thread.name", &thread.thread);
            add(&mut self.self_cpu_ns, attributes, thread.cpu_ns, start);
        }
        for family in Family::ALL {
            let runs = cost.bpf.of(family);
            let attributes = Attributes::new().with("kctx.probe.family", family.as_str());
            add(
                &mut self.self_bpf_ns,
                attributes.clone(),
                runs.run_ns,
                start,
            );
            add(&mut self.self_bpf_runs, attributes, runs.runs, start);
        }
    }

    /// How full the rings were found: at their fullest in the last minute, since that may be over when an export looks.
    fn replace_rings(&mut self, cost: Option<&OwnCost>, start: u64) {
        let now = self.time_unix_ns();
        self.ring_peaks.reach(now);
        let Some(cost) = cost else {
            self.ring_fill_ppm.replace(Vec::new(), start, now);
            return;
        };
        add(
            &mut self.ring_bytes,
            Attributes::new(),
            cost.ring_bytes,
            start,
        );
        if self.limits.per_cpu {
            for ring in &cost.rings {
                self.ring_peaks.note(Some(ring.cpu), ring.fullest_ppm);
            }
        } else {
            self.ring_peaks.note(None, cost.fullest_ring_ppm);
        }
        let states = self.ring_peaks.iter().map(|(cpu, ppm)| {
            let attributes = Attributes::new().with_some("cpu.logical_number", cpu);
            (attributes, u64::from(ppm))
        });
        self.ring_fill_ppm.replace(states.collect(), start, now);
    }

    /// Parts of lines that came apart have no level, and are no lines.
    fn fold_log(&mut self, log: &LogRows, start: u64) {
        for (level, lines) in LEVEL_NAMES.into_iter().zip(log.by_level) {
            let attributes = Attributes::new().with("kctx.kernel.log.level", level);
            add(&mut self.log_lines, attributes, lines, start);
        }
    }
}

fn origin_kind(kind: OriginKind) -> &'static str {
    match kind {
        OriginKind::Unknown => "unknown",
        OriginKind::Irq => "irq",
        OriginKind::Vector => "vector",
        OriginKind::Softirq => "softirq",
        OriginKind::Task => "task",
        OriginKind::Idle => "idle",
    }
}

/// Adds to the counter of `attributes`; one that never counted anything does not exist.
pub(super) fn add(set: &mut SeriesSet<u64>, attributes: Attributes, n: u64, start: u64) {
    if n > 0 {
        set.change(
            attributes,
            start,
            || 0,
            |total| *total = total.saturating_add(n),
        );
    }
}

/// Adds to the histogram of `attributes`; one that never measured anything does not exist.
pub(super) fn absorb(
    set: &mut SeriesSet<ExponentialHistogram>,
    attributes: &Attributes,
    durations: &Durations,
    start: u64,
    max_buckets: usize,
) {
    if durations.count() > 0 {
        set.change(
            attributes.clone(),
            start,
            || ExponentialHistogram::new(max_buckets),
            |histogram| histogram.absorb(durations),
        );
    }
}

/// Adds each counter of `others`, whose series need not be there yet.
pub(super) fn add_all(set: &mut SeriesSet<u64>, others: &SeriesSet<u64>) {
    for (attributes, series) in others.iter() {
        let start = series.start_unix_ns;
        add(set, attributes.clone(), series.value, start);
    }
}

/// Adds each histogram of `others`, whose series need not be there yet.
pub(super) fn merge_all(
    set: &mut SeriesSet<ExponentialHistogram>,
    others: &SeriesSet<ExponentialHistogram>,
    max_buckets: usize,
) {
    for (attributes, series) in others.iter() {
        set.change(
            attributes.clone(),
            series.start_unix_ns,
            || ExponentialHistogram::new(max_buckets),
            |histogram| histogram.merge(&series.value),
        );
    }
}
