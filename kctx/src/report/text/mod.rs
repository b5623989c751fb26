//! `kctx report --format text`: a summary for a person at three in the morning.

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
    summary::{Counts, Summary, TaintSummary},
};

/// Renders the whole report.
#[must_use]
pub fn render(summary: &Summary) -> String {
    let mut out = String::new();
    // Writing into a String cannot fail, here and below.
    let _ = header(&mut out, summary);
    happened::governor(&mut out, summary);
    cpus::cpus(&mut out, summary);
    softirqs::softirqs(&mut out, summary);
    tables::hardirqs(&mut out, summary);
    tables::tasklets(&mut out, summary);
    tables::workqueues(&mut out, summary);
    tables::napis(&mut out, summary);
    tables::kthreads(&mut out, summary);
    happened::modules(&mut out, summary);
    happened::taints(&mut out, summary);
    happened::log(&mut out, summary);
    let _ = accounting(&mut out, summary);
    probes(&mut out, summary);
    out
}

fn header(out: &mut String, summary: &Summary) -> std::fmt::Result {
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

fn accounting(out: &mut String, summary: &Summary) -> std::fmt::Result {
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

fn probes(out: &mut String, summary: &Summary) {
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

fn title(out: &mut String, text: &str) {
    let _ = writeln!(out, "\n{text}");
}

fn finish<const N: usize>(out: &mut String, table: &Columns<N>) {
    for line in table.lines() {
        let _ = writeln!(out, "{line}");
    }
}

fn more(out: &mut String, all: usize, shown: usize, what: &str) {
    if all > shown {
        let _ = writeln!(out, "  and {} more {what}", all - shown);
    }
}

#[cfg(test)]
mod tests;
