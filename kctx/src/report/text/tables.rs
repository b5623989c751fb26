//! The tables of interrupts, tasklets, work items, NAPIs and kernel threads.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

use super::{finish, more, softirqs::raiser, title};
use crate::{
    aggregate::window::{Family, OriginKind},
    host::cpus::format_cpu_list,
    report::{
        columns::Columns,
        human::{brief, duration, percent, share},
        paper::Paper,
        summary::{DurationSummary, HardirqSummary, NapiSummary, Summary, WorkqueueSummary},
    },
};

/// Rows of a table before the rest is only counted.
const TOP: usize = 20;

/// What stands for the rows that the key limit kept out.
const OTHERS: &str = "(all others)";

/// Widest names: a line stays within 100 columns.
const ACTION_WIDTH: usize = 23;
const QUEUE_WIDTH: usize = 14;
const FUNCTION_WIDTH: usize = 19;
const QUEUER_WIDTH: usize = 13;

/// Rows of the same thing on several CPUs, as one. Quantiles cannot be added up, so the worst CPU's
/// stands for all.
#[derive(Default)]
pub(super) struct Merged {
    count: u64,
    pub(super) sum_ns: u64,
    worst_p99_ns: u64,
    max_ns: u64,
}

impl Merged {
    fn add(&mut self, durations: &DurationSummary) {
        self.count = self.count.saturating_add(durations.count);
        self.sum_ns = self.sum_ns.saturating_add(durations.sum_ns);
        self.max_ns = self.max_ns.max(durations.max_ns);
    }

    pub(super) fn of<'a>(all: impl IntoIterator<Item = &'a DurationSummary>) -> Self {
        let mut merged = Self::default();
        let mut rows: Vec<_> = all.into_iter().inspect(|one| merged.add(one)).collect();
        rows.sort_by_key(|one| Reverse(one.p99_ns));
        // What half a per cent of the executions did is no 99th percentile of all.
        let mut beyond = 0_u64;
        let worst = rows.iter().find(|one| {
            beyond = beyond.saturating_add(one.count);
            beyond.saturating_mul(200) > merged.count
        });
        merged.worst_p99_ns = worst.map_or(0, |one| one.p99_ns);
        merged
    }

    /// Mean, p99 and maximum; `-` where nothing was measured.
    pub(super) fn cells(&self) -> [String; 3] {
        match self.sum_ns.checked_div(self.count) {
            None => ["-", "-", "-"].map(str::to_owned),
            Some(mean) => [mean, self.worst_p99_ns, self.max_ns].map(duration),
        }
    }
}

pub(super) fn hardirqs(out: &mut Paper, summary: &Summary) {
    let top = out.rows(TOP);
    title(out, "Interrupts (share of all CPUs' time)");
    if summary.hardirq.is_empty() {
        out.push_str(nothing(summary, Family::Hardirq));
        return;
    }
    // Vectors, which have no number, after the others, and the overflow row last.
    let mut lines: BTreeMap<(bool, bool, Option<u32>, &str), Vec<&HardirqSummary>> =
        BTreeMap::new();
    for row in &summary.hardirq {
        let key = (row.overflow, row.irq.is_none(), row.irq, row.name.as_str());
        lines.entry(key).or_default().push(row);
    }
    let mut lines: Vec<_> = lines
        .into_iter()
        .map(|(key, rows)| (Merged::of(rows.iter().map(|row| &row.service)), key, rows))
        .collect();
    // Stable: lines of the same time stay in the order of their numbers.
    lines.sort_by_key(|(merged, ..)| Reverse(merged.sum_ns));
    let whole = all_cpus_ns(summary);
    let mut table = Columns::new([
        "irq",
        "<name",
        "<CPUs",
        "calls",
        "unhandled",
        "time",
        "share",
        "p99",
        "max",
    ]);
    for (merged, (overflow, _, irq, action), rows) in lines.iter().take(top) {
        let cpus: Vec<u32> = rows.iter().map(|row| row.cpu).collect();
        let sum = |part: fn(&HardirqSummary) -> u64| brief(total(rows.iter().map(|row| part(row))));
        let [_, p99, max] = merged.cells();
        let (number, what) = match (irq, overflow) {
            (_, true) => ("rest".to_owned(), OTHERS),
            (Some(irq), _) => (irq.to_string(), *action),
            (None, _) => ((*action).to_owned(), vector_meaning(action)),
        };
        table.push([
            out.cut(&number, 6),
            out.cut(what, ACTION_WIDTH),
            out.cut(&format_cpu_list(&cpus), 7),
            sum(|row| row.count),
            sum(|row| row.unhandled),
            duration(merged.sum_ns),
            share(merged.sum_ns, whole),
            p99,
            max,
        ]);
    }
    finish(out, &table);
    more(out, lines.len(), top, "interrupt lines");
}

/// As in /proc/interrupts.
fn vector_meaning(name: &str) -> &'static str {
    match name {
        "LOC" => "local timer",
        "RES" => "rescheduling",
        "CAL" => "function calls",
        "IWI" => "irq work",
        _ => "",
    }
}

pub(super) fn tasklets(out: &mut Paper, summary: &Summary) {
    let top = out.rows(TOP);
    if summary.tasklet.is_empty() {
        return;
    }
    title(out, "Tasklets (net of interrupts; share of all CPUs' time)");
    let whole = all_cpus_ns(summary);
    let mut table = Columns::new(["<function", "runs", "time", "share", "mean", "p99", "max"]);
    for row in summary.tasklet.iter().take(top) {
        let net = Merged::of([&row.service_net]);
        let [mean, p99, max] = net.cells();
        table.push([
            out.cut(if row.overflow { OTHERS } else { &row.function }, 40),
            brief(row.count),
            duration(net.sum_ns),
            share(net.sum_ns, whole),
            mean,
            p99,
            max,
        ]);
    }
    finish(out, &table);
    more(out, summary.tasklet.len(), top, "tasklet functions");
}

pub(super) fn workqueues(out: &mut Paper, summary: &Summary) {
    let top = out.rows(TOP);
    title(
        out,
        "Work items by time (on the CPU, and in wall time: a work may sleep)",
    );
    if summary.workqueue.is_empty() {
        out.push_str(nothing(summary, Family::Workqueue));
        return;
    }
    let mut table = Columns::new([
        "<workqueue",
        "<function",
        "runs",
        "on CPU",
        "wall",
        "wall max",
        "wait p99",
        "<queued by",
    ]);
    // Who used the CPU first; where that is not known, who took long.
    let mut rows: Vec<&WorkqueueSummary> = summary.workqueue.iter().collect();
    rows.sort_by_key(|row| Reverse((row.service_net.sum_ns, row.service.sum_ns)));
    for row in rows.iter().take(top) {
        let [_, _, max] = Merged::of([&row.service]).cells();
        let [_, wait_p99, _] = Merged::of([&row.wait]).cells();
        let (queue, function) = match row.overflow {
            true => (OTHERS, ""),
            false => (row.workqueue.as_str(), row.function.as_str()),
        };
        let on_cpu = match row.service_net.count {
            0 => "-".to_owned(),
            _ => duration(row.service_net.sum_ns),
        };
        let queuer = match row.queued_by.first().map(|by| &by.origin) {
            None => "-".to_owned(),
            Some(origin) if origin.kind == OriginKind::Task => out.cut(&origin.name, QUEUER_WIDTH),
            Some(origin) => out.cut(&raiser(origin), QUEUER_WIDTH),
        };
        table.push([
            out.cut(queue, QUEUE_WIDTH),
            out.cut(function, FUNCTION_WIDTH),
            brief(row.count),
            on_cpu,
            duration(row.service.sum_ns),
            max,
            wait_p99,
            queuer,
        ]);
    }
    finish(out, &table);
    more(out, rows.len(), top, "work functions");
}

pub(super) fn napis(out: &mut Paper, summary: &Summary) {
    let top = out.rows(TOP);
    if summary.napi.is_empty() {
        return;
    }
    title(out, "NAPI polls (full: polls that used their budget up)");
    let mut devices: BTreeMap<(bool, &str, u32), Vec<&NapiSummary>> = BTreeMap::new();
    for row in &summary.napi {
        let key = (row.overflow, row.device.as_str(), row.napi_id);
        devices.entry(key).or_default().push(row);
    }
    let mut devices: Vec<_> = devices
        .into_iter()
        .map(|(key, rows)| (total(rows.iter().map(|row| row.packets)), key, rows))
        .collect();
    devices.sort_by_key(|(packets, ..)| Reverse(*packets));
    let mut table = Columns::new([
        "<device", "napi", "<CPUs", "polls", "packets", "a poll", "full", "time", "p99", "max",
    ]);
    for (packets, (overflow, device, id), rows) in devices.iter().take(top) {
        // A CPU has a row for each place where it polls.
        let cpus: BTreeSet<u32> = rows.iter().map(|row| row.cpu).collect();
        let cpus: Vec<u32> = cpus.into_iter().collect();
        let polls = total(rows.iter().map(|row| row.count));
        let time = Merged::of(rows.iter().map(|row| &row.service));
        let [_, p99, max] = time.cells();
        let each = match polls {
            0 => "-".to_owned(),
            polls => format!("{:.1}", *packets as f64 / polls as f64),
        };
        table.push([
            out.cut(if *overflow { OTHERS } else { device }, 16),
            if *id == 0 {
                "-".to_owned()
            } else {
                id.to_string()
            },
            out.cut(&format_cpu_list(&cpus), 7),
            brief(polls),
            brief(*packets),
            out.cut(&each, 8),
            percent(total(rows.iter().map(|row| row.exhausted)), polls),
            duration(time.sum_ns),
            p99,
            max,
        ]);
    }
    finish(out, &table);
    more(out, devices.len(), top, "NAPIs");
}

pub(super) fn kthreads(out: &mut Paper, summary: &Summary) {
    let top = out.rows(TOP);
    if summary.kthread.is_empty() {
        return;
    }
    title(
        out,
        "Kernel threads by CPU time (net: without interrupts and softirqs; share of one CPU)",
    );
    let window = summary.window.duration_ns;
    let mut table = Columns::new([
        "<thread",
        "pid",
        "<workqueue",
        "runs",
        "on CPU",
        "share",
        "net",
        "wait p99",
        "wait max",
    ]);
    for row in summary.kthread.iter().take(top) {
        let [_, wait_p99, wait_max] = Merged::of([&row.wait]).cells();
        let queue = match row.workqueue.as_str() {
            "" => "-",
            queue => queue,
        };
        table.push([
            out.cut(if row.overflow { OTHERS } else { &row.comm }, 16),
            if row.overflow {
                "-".to_owned()
            } else {
                row.pid.to_string()
            },
            out.cut(queue, QUEUE_WIDTH),
            brief(row.count),
            duration(row.cpu_ns),
            share(row.cpu_ns, window),
            duration(row.cpu_net_ns),
            wait_p99,
            wait_max,
        ]);
    }
    finish(out, &table);
    more(out, summary.kthread.len(), top, "kernel threads");
}

fn all_cpus_ns(summary: &Summary) -> u64 {
    let cpus = (summary.cpu.len() as u64).max(1);
    summary.window.duration_ns.saturating_mul(cpus)
}

pub(super) fn total(counts: impl Iterator<Item = u64>) -> u64 {
    counts.fold(0, u64::saturating_add)
}

/// An empty table must not read as an idle machine when nobody looked.
pub(super) fn nothing(summary: &Summary, family: Family) -> &'static str {
    let some_vectors = (summary.narrowed.as_ref()).is_some_and(|part| part.vectors.is_some());
    if some_vectors && family != Family::Softirq {
        return "  left out: only some softirq vectors are asked for\n";
    }
    let mut probes = summary
        .probes
        .iter()
        .filter(|probe| probe.family == family.into());
    if probes.any(|probe| !probe.attached) {
        "  not measured, or not whole: see the probes not attached\n"
    } else {
        "  none seen\n"
    }
}
