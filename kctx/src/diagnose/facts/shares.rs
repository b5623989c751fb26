//! Who takes which part of a CPU.

use std::collections::BTreeMap;

use super::Facts;

/// What took a part of one CPU.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::diagnose) struct Taken {
    pub(in crate::diagnose) cpu: u32,
    pub(in crate::diagnose) percent: f64,
    /// Executions a second.
    pub(in crate::diagnose) rate: f64,
    /// The longest.
    pub(in crate::diagnose) longest_ns: u64,
    /// Time in all.
    pub(in crate::diagnose) ns: u64,
    /// Executions.
    pub(in crate::diagnose) count: u64,
    /// The longest of the 99th percentiles of waits, of rows with a hundred of them.
    pub(in crate::diagnose) wait_p99_ns: u64,
    /// Where most of it ran: a softirq's context.
    pub(in crate::diagnose) place: String,
}

/// Fewer waits than this have no 99th percentile: it is their longest.
const ENOUGH_WAITS: u64 = 100;

impl Facts<'_> {
    /// What a vector takes of each CPU, the most first.
    pub(in crate::diagnose) fn vector(&self, vector: &str) -> Vec<Taken> {
        let mut by_cpu: BTreeMap<u32, (Taken, u64)> = BTreeMap::new();
        for row in self
            .summary
            .softirq
            .iter()
            .filter(|row| row.vector == vector)
        {
            let (taken, most) = by_cpu
                .entry(row.cpu)
                .or_insert_with(|| (nothing(row.cpu), 0));
            taken.ns = taken.ns.saturating_add(row.service_net.sum_ns);
            taken.count = taken.count.saturating_add(row.count);
            taken.longest_ns = taken.longest_ns.max(row.service_net.max_ns);
            if row.wait.count >= ENOUGH_WAITS {
                taken.wait_p99_ns = taken.wait_p99_ns.max(row.wait.p99_ns);
            }
            if row.service_net.sum_ns >= *most {
                *most = row.service_net.sum_ns;
                taken.place.clone_from(&row.context);
            }
        }
        self.finish(by_cpu.into_values().map(|(taken, _)| taken))
    }

    /// What a named vector of interrupts (`LOC`, `CAL`) takes of each CPU, the most first.
    pub(in crate::diagnose) fn interrupt_vector(&self, name: &str) -> Vec<Taken> {
        let rows = self.summary.hardirq.iter();
        let rows = rows.filter(|row| row.irq.is_none() && !row.overflow && row.name == name);
        self.finish(rows.map(|row| Taken {
            ns: row.service.sum_ns,
            count: row.count,
            longest_ns: row.service.max_ns,
            ..nothing(row.cpu)
        }))
    }

    fn finish(&self, taken: impl Iterator<Item = Taken>) -> Vec<Taken> {
        let mut taken: Vec<_> = taken
            .map(|taken| Taken {
                percent: self.percent(taken.ns),
                rate: self.rate(taken.count),
                ..taken
            })
            .collect();
        taken.sort_by(|a, b| b.percent.total_cmp(&a.percent).then(a.cpu.cmp(&b.cpu)));
        taken
    }
}

fn nothing(cpu: u32) -> Taken {
    Taken {
        cpu,
        percent: 0.0,
        rate: 0.0,
        longest_ns: 0,
        ns: 0,
        count: 0,
        wait_p99_ns: 0,
        place: String::new(),
    }
}

/// A softirq's context as a sentence has it.
pub(in crate::diagnose) fn place(context: &str, cpu: u32) -> String {
    match context {
        "ksoftirqd" => format!("ksoftirqd/{cpu}"),
        "irq_tail" => "the tail of interrupts".to_owned(),
        "idle" => "the idle task".to_owned(),
        "task" => "the tasks that caused it".to_owned(),
        "ktimers" => format!("ktimers/{cpu}"),
        "irq_thread" => "an interrupt's thread".to_owned(),
        "napi_thread" => "a NAPI thread".to_owned(),
        _ => "an unknown place".to_owned(),
    }
}
