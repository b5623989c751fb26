//! The table of CPUs.

use super::{finish, title};
use crate::{
    aggregate::window::ContextTimes,
    report::{columns::Columns, human::share, paper::Paper, summary::Summary},
};

/// A part of a CPU's time; `None`: not measured.
type Part = fn(&ContextTimes) -> Option<u64>;

const PARTS: [Part; 5] = [
    |cpu| Some(cpu.hardirq_ns),
    |cpu| Some(cpu.softirq_ns),
    |cpu| cpu.ksoftirqd_ns,
    |cpu| cpu.kthread_ns,
    |cpu| cpu.rest_ns,
];

pub(super) fn cpus(out: &mut Paper, summary: &Summary) {
    title(
        out,
        "Where each CPU's time went (share of the window; nothing twice)",
    );
    let window = summary.window.duration_ns;
    let mut table = Columns::new([
        "<CPU",
        "hardirq",
        "softirq",
        "ksoftirqd",
        "kernel threads",
        "user and idle",
    ]);
    let mut row = |label: String, parts: [Option<u64>; 5], whole: u64| {
        let [a, b, c, d, e] =
            parts.map(|part| part.map_or_else(|| "-".to_owned(), |ns| share(ns, whole)));
        table.push([label, a, b, c, d, e]);
    };
    for cpu in &summary.cpu {
        row(cpu.cpu.to_string(), PARTS.map(|part| part(cpu)), window);
    }
    if summary.cpu.len() > 1 {
        // A CPU of which a part is not known does not count into it.
        let sum = |part: Part| {
            let known = summary.cpu.iter().filter_map(part);
            known.fold(None, |sum: Option<u64>, ns| {
                Some(sum.unwrap_or(0).saturating_add(ns))
            })
        };
        let whole = window.saturating_mul(summary.cpu.len() as u64);
        row("all".to_owned(), PARTS.map(sum), whole);
    }
    finish(out, &table);
}
