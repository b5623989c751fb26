//! `kctx report --format text`: a summary for a person at three in the morning.

mod tables;

use std::{collections::BTreeMap, fmt::Write as _};

use super::{
    columns::Columns,
    human::{count, cut, duration, name, share, utc},
    summary::{Counts, CpuTime, Summary, TaintSummary},
};

/// Module events shown.
const MODULE_EVENTS: usize = 50;

/// Renders the whole report.
#[must_use]
pub fn render(summary: &Summary) -> String {
    let mut out = String::new();
    // Writing into a String cannot fail, here and below.
    let _ = header(&mut out, summary);
    cpus(&mut out, summary);
    tables::softirqs(&mut out, summary);
    tables::hardirqs(&mut out, summary);
    tables::workqueues(&mut out, summary);
    modules(&mut out, summary);
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
    writeln!(out, "kctx     {}", name(&summary.kctx_version))
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

fn cpus(out: &mut String, summary: &Summary) {
    title(out, "Where kernel-context time went (share of the window)");
    let window = summary.window.duration_ns;
    let mut table = Columns::new(["<CPU", "hardirq", "softirq", "together"]);
    let mut row = |label: String, hardirq: u64, softirq: u64, whole: u64| {
        table.push([
            label,
            share(hardirq, whole),
            share(softirq, whole),
            share(hardirq.saturating_add(softirq), whole),
        ]);
    };
    for cpu in &summary.cpu {
        row(cpu.cpu.to_string(), cpu.hardirq_ns, cpu.softirq_ns, window);
    }
    if summary.cpu.len() > 1 {
        let sum = |part: fn(&CpuTime) -> u64| {
            summary
                .cpu
                .iter()
                .fold(0, |sum: u64, cpu| sum.saturating_add(part(cpu)))
        };
        let whole = window.saturating_mul(summary.cpu.len() as u64);
        row(
            "all".to_owned(),
            sum(|cpu| cpu.hardirq_ns),
            sum(|cpu| cpu.softirq_ns),
            whole,
        );
    }
    finish(out, &table);
}

fn modules(out: &mut String, summary: &Summary) {
    if summary.module.is_empty() {
        return;
    }
    title(out, "Modules");
    let mut table = Columns::new(["after", "<event", "<module", "<taints", "<by", "CPU"]);
    for row in summary.module.iter().take(MODULE_EVENTS) {
        let after = row
            .time_unix_ns
            .saturating_sub(summary.window.start_unix_ns);
        table.push([
            duration(after),
            row.event.as_str().to_owned(),
            cut(&row.name, 40),
            cut(
                if row.taints.is_empty() {
                    "-"
                } else {
                    &row.taints
                },
                8,
            ),
            format!("{}[{}]", cut(&row.comm, 16), row.pid),
            row.cpu.to_string(),
        ]);
    }
    finish(out, &table);
    more(out, summary.module.len(), MODULE_EVENTS, "module events");
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
