//! The tables of softirqs, interrupt handlers and work items.

use std::collections::BTreeMap;

use super::{finish, more, title};
use crate::{
    aggregate::window::Family,
    host::cpus::format_cpu_list,
    report::{
        columns::Columns,
        human::{count, cut, duration, share},
        summary::{
            DurationSummary, HardirqSummary, SoftirqSummary, Summary, WorkqueueSummary,
            vector_number,
        },
    },
};

/// Rows of a table before the rest is only counted.
const TOP: usize = 20;

/// Widest names; with seven-digit counts beside them a line stays within 110 columns.
const ACTION_WIDTH: usize = 22;
const QUEUE_WIDTH: usize = 14;
const FUNCTION_WIDTH: usize = 27;

/// Of a CPU's time, in per cent: what a vector must take there to get a row for that CPU.
const CPU_ROW_PERCENT: u64 = 1;

/// Rows of the same thing on several CPUs, as one. Quantiles cannot be added up, so the worst CPU's
/// stands for all.
#[derive(Default)]
struct Merged {
    count: u64,
    sum_ns: u64,
    worst_p99_ns: u64,
    max_ns: u64,
}

impl Merged {
    fn add(&mut self, durations: &DurationSummary) {
        self.count = self.count.saturating_add(durations.count);
        self.sum_ns = self.sum_ns.saturating_add(durations.sum_ns);
        self.worst_p99_ns = self.worst_p99_ns.max(durations.p99_ns);
        self.max_ns = self.max_ns.max(durations.max_ns);
    }

    fn of<'a>(all: impl IntoIterator<Item = &'a DurationSummary>) -> Self {
        let mut merged = Self::default();
        all.into_iter().for_each(|one| merged.add(one));
        merged
    }

    /// Mean, p99 and maximum; `-` where nothing was measured.
    fn cells(&self) -> [String; 3] {
        match self.sum_ns.checked_div(self.count) {
            None => ["-", "-", "-"].map(str::to_owned),
            Some(mean) => [mean, self.worst_p99_ns, self.max_ns].map(duration),
        }
    }
}

pub(super) fn softirqs(out: &mut String, summary: &Summary) {
    title(
        out,
        "Softirqs (net of interrupts; p99 of all CPUs is the worst CPU's)",
    );
    if summary.softirq.is_empty() {
        out.push_str(nothing(summary, Family::Softirq));
        return;
    }
    let window = summary.window.duration_ns;
    let cpus = (summary.cpu.len() as u64).max(1);
    let mut vectors: BTreeMap<(usize, &str), Vec<&SoftirqSummary>> = BTreeMap::new();
    for row in &summary.softirq {
        let key = (vector_number(&row.vector), row.vector.as_str());
        vectors.entry(key).or_default().push(row);
    }
    let mut table = Columns::new([
        "<vector",
        "<CPU",
        "runs",
        "time",
        "share",
        "mean",
        "p99",
        "max",
        "wait mean",
        "wait p99",
        "wait max",
    ]);
    let mut push = |vector: &str, cpu: String, rows: &[&SoftirqSummary], whole: u64| {
        let runs = total(rows.iter().map(|row| row.count));
        let net = Merged::of(rows.iter().map(|row| &row.service_net));
        let [mean, p99, max] = net.cells();
        let [wait_mean, wait_p99, wait_max] = Merged::of(rows.iter().map(|row| &row.wait)).cells();
        table.push([
            cut(vector, QUEUE_WIDTH),
            cpu,
            count(runs),
            duration(net.sum_ns),
            share(net.sum_ns, whole),
            mean,
            p99,
            max,
            wait_mean,
            wait_p99,
            wait_max,
        ]);
    };
    for ((_, vector), rows) in &vectors {
        push(vector, "all".to_owned(), rows, window.saturating_mul(cpus));
        for row in rows {
            let hot = row.service_net.sum_ns.saturating_mul(100)
                >= window.saturating_mul(CPU_ROW_PERCENT);
            if hot && cpus > 1 {
                push("", row.cpu.to_string(), &[row], window);
            }
        }
    }
    finish(out, &table);
}

pub(super) fn hardirqs(out: &mut String, summary: &Summary) {
    title(out, "Interrupt handlers (share of all CPUs' time)");
    if summary.hardirq.is_empty() {
        out.push_str(nothing(summary, Family::Hardirq));
        return;
    }
    // The overflow row, which has no number, after the others.
    let mut lines: BTreeMap<(bool, Option<u32>, &str), Vec<&HardirqSummary>> = BTreeMap::new();
    for row in &summary.hardirq {
        let key = (row.irq.is_none(), row.irq, row.name.as_str());
        lines.entry(key).or_default().push(row);
    }
    let mut lines: Vec<_> = lines
        .into_iter()
        .map(|(key, rows)| (Merged::of(rows.iter().map(|row| &row.service)), key, rows))
        .collect();
    // Stable: lines of the same time stay in the order of their numbers.
    lines.sort_by_key(|(merged, ..)| std::cmp::Reverse(merged.sum_ns));
    let whole = all_cpus_ns(summary);
    let mut table = Columns::new([
        "irq",
        "<name",
        "<CPUs",
        "calls",
        "unhandled",
        "woke",
        "time",
        "share",
        "mean",
        "p99",
        "max",
    ]);
    for (merged, (_, irq, action), rows) in lines.iter().take(TOP) {
        let cpus: Vec<u32> = rows.iter().map(|row| row.cpu).collect();
        let sum = |part: fn(&HardirqSummary) -> u64| count(total(rows.iter().map(|row| part(row))));
        let [mean, p99, max] = merged.cells();
        table.push([
            irq.map_or_else(|| "rest".to_owned(), |irq| irq.to_string()),
            cut(action, ACTION_WIDTH),
            cut(&format_cpu_list(&cpus), 7),
            sum(|row| row.count),
            sum(|row| row.unhandled),
            sum(|row| row.woke_thread),
            duration(merged.sum_ns),
            share(merged.sum_ns, whole),
            mean,
            p99,
            max,
        ]);
    }
    finish(out, &table);
    more(out, lines.len(), TOP, "interrupt lines");
}

pub(super) fn workqueues(out: &mut String, summary: &Summary) {
    title(out, "Work items by time (wall time: a work may sleep)");
    if summary.workqueue.is_empty() {
        out.push_str(nothing(summary, Family::Workqueue));
        return;
    }
    let mut table = Columns::new([
        "<workqueue",
        "<function",
        "runs",
        "time",
        "mean",
        "p99",
        "max",
        "wait p99",
        "wait max",
    ]);
    let mut rows: Vec<&WorkqueueSummary> = summary.workqueue.iter().collect();
    rows.sort_by_key(|row| std::cmp::Reverse(row.service.sum_ns));
    for row in rows.iter().take(TOP) {
        let [mean, p99, max] = Merged::of([&row.service]).cells();
        let [_, wait_p99, wait_max] = Merged::of([&row.wait]).cells();
        let (queue, function) = match row.overflow {
            true => ("(all others)", ""),
            false => (row.workqueue.as_str(), row.function.as_str()),
        };
        table.push([
            cut(queue, QUEUE_WIDTH),
            cut(function, FUNCTION_WIDTH),
            count(row.count),
            duration(row.service.sum_ns),
            mean,
            p99,
            max,
            wait_p99,
            wait_max,
        ]);
    }
    finish(out, &table);
    more(out, rows.len(), TOP, "work functions");
}

fn all_cpus_ns(summary: &Summary) -> u64 {
    let cpus = (summary.cpu.len() as u64).max(1);
    summary.window.duration_ns.saturating_mul(cpus)
}

fn total(counts: impl Iterator<Item = u64>) -> u64 {
    counts.fold(0, u64::saturating_add)
}

/// An empty table must not read as an idle machine when nobody looked.
fn nothing(summary: &Summary, family: Family) -> &'static str {
    let mut probes = summary.probes.iter().filter(|probe| probe.family == family);
    if probes.any(|probe| !probe.attached) {
        "  not measured, or not whole: see the probes not attached\n"
    } else {
        "  none seen\n"
    }
}
