//! A diagnosis for a person at three in the morning: the answer, then why, then what to do. At most 80 columns.

use std::fmt::Write as _;

use super::{
    finding::{Confidence, Diagnosis, Finding, Severity, Verdict},
    page::Page,
    wrap::wrap,
};
use crate::report::{
    human::{duration, name, utc},
    summary::Summary,
};

/// Causes ruled out that are told here; JSON has all.
const RULED_OUT: usize = 8;

/// Renders a diagnosis of a window.
#[must_use]
pub fn render(diagnosis: &Diagnosis, summary: &Summary) -> String {
    let mut out = wrap(&diagnosis.first_line, "", "");
    // Writing into a String cannot fail, here and below.
    let _ = writeln!(
        out,
        "\n{}, {}, {}, Linux {}",
        duration(summary.window.duration_ns),
        utc(summary.window.start_unix_ns),
        name(&summary.host.hostname),
        name(&summary.host.kernel_release)
    );
    for (at, finding) in diagnosis.findings.iter().enumerate() {
        self::finding(&mut out, finding, at, &diagnosis.first_line);
    }
    if !diagnosis.also_seen.is_empty() {
        out.push_str("\nAlso seen\n");
        for seen in &diagnosis.also_seen {
            let line = format!("{} ({}): {}", seen.id, severity(seen.severity), seen.title);
            out.push_str(&wrap(&line, "  ", "    "));
        }
    }
    ruled_out(&mut out, diagnosis);
    if !diagnosis.caveats.is_empty() {
        out.push_str("\nCaveats\n");
        for caveat in &diagnosis.caveats {
            out.push_str(&wrap(caveat, "  - ", "    "));
        }
    }
    out
}

fn finding(out: &mut String, finding: &Finding, at: usize, first_line: &str) {
    let head = format!(
        "{}. {} ({}, confidence {}): {}",
        at + 1,
        finding.id,
        severity(finding.severity),
        confidence(finding.confidence),
        finding.title
    );
    out.push('\n');
    out.push_str(&wrap(&head, "", "   "));
    if !first_line.ends_with(&finding.statement) {
        out.push_str(&wrap(&finding.statement, "   ", "   "));
    }
    for step in &finding.chain {
        out.push_str(&wrap(
            &step.value,
            &format!("   {:<14} ", step.step),
            &" ".repeat(18),
        ));
    }
    if !finding.next.is_empty() {
        out.push_str("   Next\n");
        for (at, step) in finding.next.iter().enumerate() {
            let what = format!("[{}] {}", step.safety.words(), step.what);
            out.push_str(&wrap(&what, &format!("   {}. ", at + 1), "      "));
            if let Some(command) = &step.command {
                // Not wrapped: it is to be copied.
                let _ = writeln!(out, "      $ {command}");
            }
        }
    }
    if !finding.do_not.is_empty() {
        out.push_str("   Do not\n");
        for not in &finding.do_not {
            out.push_str(&wrap(&lower_first(not), "   - ", "     "));
        }
    }
    for missing in &finding.missing {
        out.push_str(&wrap(missing, "   Not seen: ", "     "));
    }
    let _ = writeln!(out, "   More: {}", finding.doc);
}

fn ruled_out(out: &mut String, diagnosis: &Diagnosis) {
    if diagnosis.ruled_out.is_empty() {
        return;
    }
    out.push_str("\nRuled out\n");
    let order = look_alikes_first(diagnosis);
    for row in order.iter().take(RULED_OUT) {
        out.push_str(&wrap(
            &row.because,
            &format!("  {:<15} ", row.id),
            &" ".repeat(18),
        ));
    }
    if order.len() > RULED_OUT {
        let _ = writeln!(
            out,
            "  and {} more (--format json)",
            order.len() - RULED_OUT
        );
    }
}

/// What kctx itself costs, then what looks like what was found, then the others.
fn look_alikes_first(diagnosis: &Diagnosis) -> Vec<&super::finding::RuledOut> {
    let pages: Vec<&Page> = (diagnosis.findings.iter())
        .filter_map(|finding| super::pages().find(|page| page.id == finding.id))
        .collect();
    let looks_alike = |id: &str| {
        let mut others = pages.iter().flat_map(|page| page.confused_with);
        others.any(|other| other.id == id)
    };
    let mut rows: Vec<_> = diagnosis.ruled_out.iter().collect();
    rows.sort_by_key(|row| (row.id != "SELF", !looks_alike(&row.id)));
    rows
}

/// The verdict in words.
#[must_use]
pub fn verdict(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Hot => "hot",
        Verdict::NothingHot => "nothing hot",
        Verdict::Inconclusive => "inconclusive",
    }
}

/// How bad, in a word.
#[must_use]
pub fn severity(severity: Severity) -> &'static str {
    match severity {
        Severity::Info => "info",
        Severity::Warn => "warning",
        Severity::Crit => "critical",
    }
}

/// How sure, in a word.
#[must_use]
pub fn confidence(confidence: Confidence) -> &'static str {
    match confidence {
        Confidence::Low => "low",
        Confidence::Medium => "medium",
        Confidence::High => "high",
    }
}

/// For a sentence that goes on after `Do not`; names keep their capitals.
fn lower_first(text: &str) -> String {
    let second = text.chars().nth(1);
    if second.is_none_or(|second| second.is_ascii_uppercase()) {
        return text.to_owned();
    }
    let mut letters = text.chars();
    let first = letters.next();
    first.map_or(String::new(), |first| {
        first.to_lowercase().chain(letters).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnose::fixture;

    fn rendered() -> String {
        let mut summary = fixture::saturated(0);
        summary.host.hostname = "db-3\x1b[2J".to_owned();
        summary.stack = vec![fixture::stack("softirq:NET_RX", &["nft_do_chain"], 50)];
        let diagnosis = fixture::of(&summary, &fixture::softnet(0, 600_000, 0, 0));
        render(&diagnosis, &summary)
    }

    #[test]
    fn the_answer_comes_first_and_steps_say_how_safe_they_are() {
        let text = rendered();
        assert!(
            text.starts_with("CPU 0 spends 90 % of its time receiving packets"),
            "{text}"
        );
        for part in [
            "1. NET-FW (critical, confidence medium):",
            "   vector         NET_RX",
            "   1. [read-only] Count the rules",
            "[owner's decision]",
            "   Do not\n   - flush rules on a node",
            "More: docs/diagnose/NET-FW.md",
            "\nRuled out\n",
        ] {
            assert!(text.contains(part), "{part:?} is not in\n{text}");
        }
        assert!(!text.contains('\x1b'));
    }

    #[test]
    fn no_line_but_a_command_is_wider_than_a_terminal() {
        for line in rendered().lines().filter(|line| !line.contains("$ ")) {
            assert!(line.chars().count() <= 80, "{line}");
        }
    }
}
