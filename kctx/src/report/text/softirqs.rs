//! Softirqs: how long, how late, where they ran, and what raised them.

use std::{cmp::Reverse, collections::BTreeMap};

use super::{
    finish, more,
    tables::{Merged, nothing, total},
    title,
};
use crate::{
    aggregate::window::{Family, OriginKind},
    report::{
        columns::Columns,
        human::{brief, cut, duration, percent, share},
        paper::Paper,
        summary::{OriginSummary, SoftirqOriginSummary, SoftirqSummary, Summary, vector_number},
    },
};

/// Of a CPU's time, in per cent: from here on a vector is hot there. It has a row for that CPU, and what raised
/// it there is said.
const HOT_PERCENT: u64 = 1;

/// Widest text of where a vector ran.
const PLACE_WIDTH: usize = 21;

/// Vectors on CPUs of which it is said what raised them: the hot ones, of which even a large host has few more
/// than CPUs, and others up to so many.
const RAISED_HOT: usize = 512;
const RAISED_ROWS: usize = 16;

/// Raisers of each that are named.
const RAISERS: usize = 5;

/// Widest name of a raiser.
const RAISER_WIDTH: usize = 24;

pub(super) fn softirqs(out: &mut Paper, summary: &Summary) {
    title(
        out,
        "Softirqs (net of interrupts; p99 of several rows is the worst one's; ran in: % of runs)",
    );
    if summary.softirq.is_empty() {
        out.push_str(nothing(summary, Family::Softirq));
        return;
    }
    let window = summary.window.duration_ns;
    let cpus = (summary.cpu.len() as u64).max(1);
    let mut vectors: BTreeMap<(usize, &str), BTreeMap<u32, Vec<&SoftirqSummary>>> = BTreeMap::new();
    for row in &summary.softirq {
        let key = (vector_number(&row.vector), row.vector.as_str());
        let by_cpu = vectors.entry(key).or_default();
        by_cpu.entry(row.cpu).or_default().push(row);
    }
    let mut table = Columns::new([
        "<vector", "runs", "time", "share", "p99", "max", "wait p99", "wait max", "<ran in",
    ]);
    let mut push = |label: String, rows: &[&SoftirqSummary], whole: u64| {
        let net = Merged::of(rows.iter().map(|row| &row.service_net));
        let [_, p99, max] = net.cells();
        let [_, wait_p99, wait_max] = Merged::of(rows.iter().map(|row| &row.wait)).cells();
        table.push([
            label,
            brief(total(rows.iter().map(|row| row.count))),
            duration(net.sum_ns),
            share(net.sum_ns, whole),
            p99,
            max,
            wait_p99,
            wait_max,
            places(rows),
        ]);
    };
    for ((_, vector), by_cpu) in &vectors {
        let all: Vec<&SoftirqSummary> = by_cpu.values().flatten().copied().collect();
        push(cut(vector, 10), &all, window.saturating_mul(cpus));
        for (cpu, rows) in by_cpu {
            let ns = total(rows.iter().map(|row| row.service_net.sum_ns));
            if is_hot(ns, window) && cpus > 1 {
                push(format!("  CPU {cpu}"), rows, window);
            }
        }
    }
    finish(out, &table);
    raisers(out, summary);
}

/// Whether a vector's net time is much of one CPU's.
fn is_hot(ns: u64, window: u64) -> bool {
    ns.saturating_mul(100) >= window.saturating_mul(HOT_PERCENT)
}

/// Where runs were, the most frequent first: `irq tail 92, ksoftirqd 8`.
fn places(rows: &[&SoftirqSummary]) -> String {
    let mut by_context: BTreeMap<&str, u64> = BTreeMap::new();
    for row in rows {
        let runs = by_context.entry(row.context.as_str()).or_default();
        *runs = runs.saturating_add(row.count);
    }
    let all = total(by_context.values().copied());
    let mut places: Vec<_> = by_context
        .into_iter()
        .filter(|(_, runs)| *runs > 0)
        .collect();
    places.sort_by_key(|(_, runs)| Reverse(*runs));
    let mut text = String::new();
    for (context, runs) in places {
        let share = percent(runs, all);
        let share = share.trim_end_matches(" %");
        let one = format!("{} {share}", context.replace('_', " "));
        let gap = if text.is_empty() { "" } else { ", " };
        if text.len() + gap.len() + one.len() > PLACE_WIDTH {
            break;
        }
        text.push_str(gap);
        text.push_str(&one);
    }
    cut(&text, PLACE_WIDTH)
}

/// A vector on a CPU, and what raised it there.
struct Raised<'a> {
    vector: &'a str,
    cpu: u32,
    /// What it took there: a timer runs often and takes nothing, so runs say little.
    net_ns: u64,
    runs: u64,
    /// The most frequent first.
    rows: Vec<&'a SoftirqOriginSummary>,
}

/// All of them, those that took most time first.
fn raised(summary: &Summary) -> Vec<Raised<'_>> {
    let mut net: BTreeMap<(&str, u32), u64> = BTreeMap::new();
    for row in &summary.softirq {
        let ns = net.entry((row.vector.as_str(), row.cpu)).or_default();
        *ns = ns.saturating_add(row.service_net.sum_ns);
    }
    let mut places: BTreeMap<(usize, &str, u32), Vec<&SoftirqOriginSummary>> = BTreeMap::new();
    for row in &summary.softirq_origin {
        let key = (vector_number(&row.vector), row.vector.as_str(), row.cpu);
        places.entry(key).or_default().push(row);
    }
    let mut all: Vec<_> = places
        .into_iter()
        .map(|((_, vector, cpu), mut rows)| {
            rows.sort_by_key(|row| Reverse(row.count));
            Raised {
                vector,
                cpu,
                net_ns: net.get(&(vector, cpu)).copied().unwrap_or(0),
                runs: total(rows.iter().map(|row| row.count)),
                rows,
            }
        })
        .collect();
    // Stable: those that are equal stay in the order of their vectors and CPUs.
    all.sort_by_key(|place| Reverse((place.net_ns, place.runs)));
    all
}

/// One sentence for each vector that is hot somewhere, and for some more.
fn raisers(out: &mut Paper, summary: &Summary) {
    if summary.softirq_origin.is_empty() {
        return;
    }
    title(
        out,
        "What raised them (the first raise of each run; by the time they took)",
    );
    let all = raised(summary);
    let window = summary.window.duration_ns;
    let hot = all.iter().filter(|place| is_hot(place.net_ns, window));
    let hot = hot.count();
    let shown = all.len().min(hot.clamp(RAISED_ROWS, RAISED_HOT));
    for place in &all[..shown] {
        let named = place.rows.iter().take(RAISERS);
        let mut parts: Vec<_> = named
            .map(|row| {
                let what = raiser(&row.origin);
                format!(
                    "{what} {} ({})",
                    percent(row.count, place.runs),
                    brief(row.count)
                )
            })
            .collect();
        if place.rows.len() > RAISERS {
            parts.push(format!("{} more", place.rows.len() - RAISERS));
        }
        let (vector, cpu) = (cut(place.vector, 10), place.cpu);
        wrapped(out, &format!("  {vector} on CPU {cpu}:"), &parts);
    }
    let what = match hot.saturating_sub(shown) {
        0 => format!("vectors on CPUs, each less than {HOT_PERCENT} % of its CPU"),
        left_out => {
            format!("vectors on CPUs, {left_out} of them {HOT_PERCENT} % of their CPU or more")
        }
    };
    more(out, all.len(), shown, &what);
}

/// `irq 36 virtio1-input.0`, `IPI CAL`, `softirq NET_RX`, `task iperf3 (pid 4711)`.
pub(crate) fn raiser(origin: &OriginSummary) -> String {
    let name = cut(&origin.name, RAISER_WIDTH);
    let number = origin
        .number
        .map_or_else(|| "?".to_owned(), |n| n.to_string());
    match origin.kind {
        OriginKind::Unknown => "unknown".to_owned(),
        OriginKind::Idle => "idle".to_owned(),
        OriginKind::Irq if name.is_empty() => format!("irq {number}"),
        OriginKind::Irq => format!("irq {number} {name}"),
        OriginKind::Vector if name == "LOC" => "timer LOC".to_owned(),
        OriginKind::Vector => format!("IPI {name}"),
        OriginKind::Softirq => format!("softirq {name}"),
        OriginKind::Task if origin.number.is_none() => format!("tasks {name}"),
        OriginKind::Task => format!("task {name} (pid {number})"),
    }
}

/// Parts of a sentence, in lines that are narrow enough.
fn wrapped(out: &mut Paper, head: &str, parts: &[String]) {
    let width = out.width();
    let mut line = head.to_owned();
    for (i, part) in parts.iter().enumerate() {
        let end = if i + 1 < parts.len() { "," } else { "" };
        if line.chars().count() + 1 + part.chars().count() + end.len() > width {
            out.push_str(&line);
            out.push_str("\n");
            line = "     ".to_owned();
        }
        line.push(' ');
        line.push_str(part);
        line.push_str(end);
    }
    out.push_str(&line);
    out.push_str("\n");
}
