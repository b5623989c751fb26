//! What a report begins with: the answer.

use super::title;
use crate::{
    diagnose::{Diagnosis, Finding, Severity, Verdict},
    report::{
        busiest,
        human::{count, cut, duration, name},
        paper::Paper,
        summary::{ContextsFrom, Narrowed, Summary},
    },
};

/// Findings that are told here; `kctx diagnose` tells all.
const FINDINGS: usize = 5;

/// Widest text of a finding: a diagnosis may quote names of any length.
const STATEMENT: usize = 400;

/// The diagnosis' first line and findings; where it has none the busiest context.
pub(super) fn answer(out: &mut Paper, summary: &Summary, diagnosis: &Diagnosis) {
    let first_line = first_line(summary, diagnosis);
    out.push_str(&format!("{first_line}\n"));
    for finding in diagnosis.findings.iter().take(FINDINGS) {
        let (level, title) = (level(finding), cut(&finding.title, STATEMENT));
        out.push_str(&format!("  {level} {}: {title}\n", name(&finding.id)));
        out.push_str(&format!("       {}\n", cut(&finding.statement, STATEMENT)));
    }
    if diagnosis.findings.len() > FINDINGS {
        let more = diagnosis.findings.len() - FINDINGS;
        out.push_str(&format!("  and {more} more findings: see kctx diagnose\n"));
    }
    out.push_str("\n");
}

/// The sentence that a report begins with. Of some CPUs or vectors nobody says that the machine has nothing hot.
pub(in crate::report) fn first_line(summary: &Summary, diagnosis: &Diagnosis) -> String {
    let is_part = (summary.narrowed.as_ref())
        .is_some_and(|part| part.cpus.is_some() || part.vectors.is_some());
    match (is_part, diagnosis.verdict) {
        (true, Verdict::NothingHot) => {
            format!("Of this part of the bundle: {}", busiest::sentence(summary))
        }
        _ if diagnosis.first_line.is_empty() => busiest::sentence(summary),
        _ => cut(&diagnosis.first_line, STATEMENT),
    }
}

fn level(finding: &Finding) -> &'static str {
    match finding.severity {
        Severity::Info => "info",
        Severity::Warn => "warn",
        Severity::Crit => "crit",
    }
}

/// Which part of the bundle this is, and what could not be told apart.
pub(super) fn narrowed(out: &mut Paper, summary: &Summary) {
    let Some(part) = &summary.narrowed else {
        return;
    };
    title(out, "This is a part of the bundle");
    for sentence in sentences(part) {
        out.push_str(&format!("  {sentence}\n"));
    }
}

/// The same in sentences, for other forms of the report too.
pub(in crate::report) fn sentences(part: &Narrowed) -> Vec<String> {
    let mut sentences = Vec::new();
    if let Some(cpus) = &part.cpus {
        let cpus = crate::host::cpus::format_cpu_list(cpus);
        sentences.push(format!(
            "Only what ran on CPU {cpus}; modules, taint and log are the whole machine's."
        ));
    }
    if let Some(vectors) = &part.vectors {
        let vectors: Vec<_> = vectors.iter().map(|vector| name(vector)).collect();
        sentences.push(format!(
            "Only softirqs {} and what ran in them; time in contexts is of all.",
            vectors.join(", ")
        ));
    }
    if let Some(span) = &part.span {
        let (from, to) = (duration(span.from_ns), duration(span.to_ns));
        sentences.push(format!(
            "Only what ended from {from} to {to} after the window's start."
        ));
        sentences.push(
            "Rates out of evidence (drops, counters, tasks) are of the whole window, at whose edges it was taken."
                .to_owned(),
        );
    }
    if part.contexts == ContextsFrom::Records {
        sentences.push(
            "Time in contexts is from the records of the span, not from the kernel's accounts of the whole window."
                .to_owned(),
        );
    }
    let left_out = [
        (
            part.spilled_left_out,
            "spilled executions have no time, and are left out",
        ),
        (
            part.stacks_left_out,
            "samples of stacks have no time or no CPU, and are left out",
        ),
        (
            part.log_lines_left_out,
            "lines of the log were only counted, and are left out",
        ),
    ];
    sentences.extend(
        (left_out.iter())
            .filter(|(left_out, _)| *left_out > 0)
            .map(|(left_out, what)| format!("{} {what}.", count(*left_out))),
    );
    sentences
}

#[cfg(test)]
#[path = "answer_tests.rs"]
mod tests;
