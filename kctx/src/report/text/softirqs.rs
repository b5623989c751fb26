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
        summary::{OriginSummary, SoftirqOriginSummary, SoftirqSummary, Summary, vector_number},
    },
};

/// Of a CPU's time, in per cent: what a vector must take there to get a row for that CPU.
const CPU_ROW_PERCENT: u64 = 1;

/// Widest text of where a vector ran.
const PLACE_WIDTH: usize = 21;

/// Vectors on CPUs of which it is said what raised them, and how many raisers of each.
const RAISED_ROWS: usize = 16;
const RAISERS: usize = 5;

/// Widest name of a raiser.
const RAISER_WIDTH: usize = 24;

/// Widest line.
const LINE_WIDTH: usize = 100;

pub(super) fn softirqs(out: &mut String, summary: &Summary) {
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
            let hot = ns.saturating_mul(100) >= window.saturating_mul(CPU_ROW_PERCENT);
            if hot && cpus > 1 {
                push(format!("  CPU {cpu}"), rows, window);
            }
        }
    }
    finish(out, &table);
    raisers(out, summary);
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

/// One sentence for each of the vectors that ran most often somewhere.
fn raisers(out: &mut String, summary: &Summary) {
    if summary.softirq_origin.is_empty() {
        return;
    }
    title(out, "What raised them (the first raise of each run)");
    let mut places: BTreeMap<(usize, &str, u32), Vec<&SoftirqOriginSummary>> = BTreeMap::new();
    for row in &summary.softirq_origin {
        let key = (vector_number(&row.vector), row.vector.as_str(), row.cpu);
        places.entry(key).or_default().push(row);
    }
    let mut places: Vec<_> = places
        .into_iter()
        .map(|(key, rows)| (total(rows.iter().map(|row| row.count)), key, rows))
        .collect();
    // Stable: those of the same number of runs stay in the order of their vectors and CPUs.
    places.sort_by_key(|(runs, ..)| Reverse(*runs));
    for (runs, (_, vector, cpu), rows) in places.iter_mut().take(RAISED_ROWS) {
        rows.sort_by_key(|row| Reverse(row.count));
        let shown = rows.iter().take(RAISERS);
        let mut parts: Vec<_> = shown
            .map(|row| {
                let what = raiser(&row.origin);
                format!(
                    "{what} {} ({})",
                    percent(row.count, *runs),
                    brief(row.count)
                )
            })
            .collect();
        if rows.len() > RAISERS {
            parts.push(format!("{} more", rows.len() - RAISERS));
        }
        wrapped(out, &format!("  {} on CPU {cpu}:", cut(vector, 10)), &parts);
    }
    more(out, places.len(), RAISED_ROWS, "vectors on CPUs");
}

/// `irq 36 virtio1-input.0`, `IPI CAL`, `softirq NET_RX`, `task iperf3 (pid 4711)`.
pub(super) fn raiser(origin: &OriginSummary) -> String {
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
        OriginKind::Task => format!("task {name} (pid {number})"),
    }
}

/// Parts of a sentence, in lines that are narrow enough.
fn wrapped(out: &mut String, head: &str, parts: &[String]) {
    let mut line = head.to_owned();
    for (i, part) in parts.iter().enumerate() {
        let end = if i + 1 < parts.len() { "," } else { "" };
        if line.chars().count() + 1 + part.chars().count() + end.len() > LINE_WIDTH {
            out.push_str(&line);
            out.push('\n');
            line = "     ".to_owned();
        }
        line.push(' ');
        line.push_str(part);
        line.push_str(end);
    }
    out.push_str(&line);
    out.push('\n');
}
