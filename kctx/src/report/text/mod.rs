//! `kctx report --format text`: a summary for a person at three in the morning.

pub(super) mod answer;
mod cpus;
mod happened;
mod softirqs;
mod tables;

pub(crate) use softirqs::raiser;

use std::{collections::BTreeMap, fmt::Write as _};

use super::{
    columns::Columns,
    human::{count, cut, duration, name, utc},
    own_cost,
    paper::Paper,
    summary::{Counts, Summary, TaintSummary},
};
use crate::diagnose::Diagnosis;

/// Columns where nothing else is said.
const WIDTH: usize = 100;

/// Widest note.
const NOTE: usize = 300;

/// Renders a summary.
#[must_use]
pub fn render(summary: &Summary) -> String {
    let mut out = Paper::text(WIDTH);
    body(&mut out, summary);
    out.finish()
}

/// Renders the whole report, the answer first, with `notes` of the bundle below it, in so many columns.
#[must_use]
pub fn render_whole(
    summary: &Summary,
    diagnosis: &Diagnosis,
    notes: &[String],
    width: usize,
) -> String {
    let mut out = Paper::text(width);
    answer::answer(&mut out, summary, diagnosis);
    for note in notes {
        out.push_str(&format!("{}\n", cut(note, NOTE)));
    }
    if !notes.is_empty() {
        out.push_str("\n");
    }
    body(&mut out, summary);
    out.finish()
}

/// The same tables as parts of a page.
pub(super) struct PageTables {
    /// What ran, and what raised it.
    pub(super) what: String,
    /// What happened at a time.
    pub(super) happened: String,
    /// Accounting and probes.
    pub(super) books: String,
}

/// The tables for a browser.
pub(super) fn page(summary: &Summary) -> PageTables {
    let part = |write: fn(&mut Paper, &Summary)| {
        let mut out = Paper::page();
        write(&mut out, summary);
        out.finish()
    };
    PageTables {
        what: part(|out, summary| {
            happened::governor(out, summary);
            what_ran(out, summary);
        }),
        happened: part(|out, summary| {
            let nothing = summary.module.is_empty() && summary.taint.changes.is_empty();
            if nothing && summary.log.by_level.iter().all(|lines| *lines == 0) {
                out.push_str("No module event, no change of the taint, no line of the log.\n");
            }
            what_happened(out, summary);
        }),
        books: part(books),
    }
}

fn body(out: &mut Paper, summary: &Summary) {
    // Writing into a String cannot fail, here and below.
    let _ = header(out, summary);
    answer::narrowed(out, summary);
    happened::governor(out, summary);
    what_ran(out, summary);
    what_happened(out, summary);
    books(out, summary);
}

fn what_ran(out: &mut Paper, summary: &Summary) {
    cpus::cpus(out, summary);
    softirqs::softirqs(out, summary);
    tables::hardirqs(out, summary);
    tables::tasklets(out, summary);
    tables::workqueues(out, summary);
    tables::napis(out, summary);
    tables::kthreads(out, summary);
}

fn what_happened(out: &mut Paper, summary: &Summary) {
    happened::modules(out, summary);
    happened::taints(out, summary);
    happened::log(out, summary);
}

fn books(out: &mut Paper, summary: &Summary) {
    // Writing into a String cannot fail.
    let _ = accounting(out, summary);
    probes(out, summary);
}

fn header(out: &mut Paper, summary: &Summary) -> std::fmt::Result {
    let host = &summary.host;
    let or_unknown = |text: &str| match text {
        "" => "?".to_owned(),
        text => name(text),
    };
    writeln!(
        out,
        "host     {}, {}, Linux {} {}",
        or_unknown(&host.hostname),
        or_unknown(&host.os.pretty_name),
        or_unknown(&host.kernel_release),
        or_unknown(&host.arch)
    )?;
    writeln!(
        out,
        "window   {}, {}",
        utc(summary.window.start_unix_ns),
        duration(summary.window.duration_ns)
    )?;
    let hz = host.hz.map_or_else(|| "?".to_owned(), |hz| hz.to_string());
    writeln!(
        out,
        "CPUs     {} online ({}) of {} possible, HZ {hz}",
        host.cpus_online,
        cut(&or_unknown(&host.cpu_list), 40),
        host.cpus_possible
    )?;
    writeln!(out, "taint    {}", taint_lines(&summary.taint))?;
    writeln!(out, "kctx     {}", name(&summary.kctx_version))?;
    if let Some(cost) = &summary.own_cost {
        for part in own_cost::of(cost, summary.window.duration_ns) {
            writeln!(out, "         {part}")?;
        }
    }
    Ok(())
}

fn taint_lines(taint: &TaintSummary) -> String {
    match taint.value {
        None => "could not be read".to_owned(),
        Some(0) => "0: not tainted".to_owned(),
        Some(value) => {
            let letters: String = taint.flags.iter().map(|flag| flag.letter).collect();
            let mut text = format!("{value}: {}", name(&letters));
            for flag in &taint.flags {
                let letter = name(&flag.letter.to_string());
                let _ = write!(text, "\n         {letter}  {}", name(&flag.meaning));
            }
            text
        }
    }
}

fn accounting(out: &mut Paper, summary: &Summary) -> std::fmt::Result {
    title(out, "Accounting");
    writeln!(out, "  {}", conservation(&summary.accounting.total))?;
    for (family, counts) in &summary.accounting.by_family {
        // A family that is fine needs no line of its own at this hour.
        if !counts.lost.is_empty() || !adds_up(counts) {
            writeln!(out, "  {}: {}", family.as_str(), conservation(counts))?;
        }
        if !counts.partial.is_empty() {
            writeln!(
                out,
                "  {}: not whole, so not counted: {}",
                family.as_str(),
                reasons(&counts.partial)
            )?;
        }
        if counts.overflowed > 0 {
            writeln!(
                out,
                "  {}: {} records without a row of their own: the key limit was reached",
                family.as_str(),
                count(counts.overflowed)
            )?;
        }
    }
    Ok(())
}

fn lost(counts: &Counts) -> u64 {
    counts
        .lost
        .values()
        .fold(0, |sum, lost| sum.saturating_add(*lost))
}

fn adds_up(counts: &Counts) -> bool {
    let parts = [counts.streamed, counts.spilled, lost(counts)];
    parts
        .iter()
        .try_fold(0u64, |sum, part| sum.checked_add(*part))
        == Some(counts.observed)
}

fn conservation(counts: &Counts) -> String {
    let mut text = format!(
        "observed {} = streamed {} + spilled {} + lost {}",
        count(counts.observed),
        count(counts.streamed),
        count(counts.spilled),
        count(lost(counts))
    );
    if !counts.lost.is_empty() {
        let _ = write!(text, " ({})", reasons(&counts.lost));
    }
    if !adds_up(counts) {
        text.push_str("  DOES NOT ADD UP: do not trust these counts");
    }
    text
}

fn reasons(counts: &BTreeMap<String, u64>) -> String {
    let parts: Vec<_> = counts
        .iter()
        .map(|(reason, number)| format!("{} {}", name(reason), count(*number)))
        .collect();
    parts.join(", ")
}

fn probes(out: &mut Paper, summary: &Summary) {
    let missing = || summary.probes.iter().filter(|probe| !probe.attached);
    if missing().next().is_none() {
        return;
    }
    title(out, "Probes not attached");
    let mut table = Columns::new(["<probe", "<reason"]);
    for probe in missing() {
        let reason = probe.reason.as_deref().unwrap_or("no reason given");
        table.push([name(&probe.name), name(reason)]);
    }
    finish(out, &table);
}

fn title(out: &mut Paper, text: &str) {
    out.title(text);
}

fn finish<const N: usize>(out: &mut Paper, table: &Columns<N>) {
    out.table(table);
}

fn more(out: &mut Paper, all: usize, shown: usize, what: &str) {
    if all > shown {
        let _ = writeln!(out, "  and {} more {what}", all - shown);
    }
}

#[cfg(test)]
mod tests;
