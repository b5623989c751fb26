//! A diagnosis to paste into a ticket.

use std::fmt::Write as _;

use super::{
    finding::{Diagnosis, Finding},
    text::{confidence, severity},
};
use crate::report::{
    human::{duration, name, utc},
    summary::Summary,
};

/// Renders a diagnosis of a window as Markdown.
#[must_use]
pub fn render(diagnosis: &Diagnosis, summary: &Summary) -> String {
    let mut out = format!("**{}**\n\n", escape(&diagnosis.first_line));
    // Writing into a String cannot fail, here and below.
    let _ = writeln!(
        out,
        "{} from {}, {}, Linux {}, kctx {}",
        duration(summary.window.duration_ns),
        utc(summary.window.start_unix_ns),
        escape(&name(&summary.host.hostname)),
        escape(&name(&summary.host.kernel_release)),
        escape(&name(&summary.kctx_version))
    );
    for finding in &diagnosis.findings {
        self::finding(&mut out, finding);
    }
    if !diagnosis.also_seen.is_empty() {
        out.push_str("\n### Also seen\n\n");
        for seen in &diagnosis.also_seen {
            let _ = writeln!(
                out,
                "- {} ({}): {}",
                seen.id,
                severity(seen.severity),
                escape(&seen.title)
            );
        }
    }
    if !diagnosis.ruled_out.is_empty() {
        out.push_str("\n### Ruled out\n\n| cause | because |\n|---|---|\n");
        for row in &diagnosis.ruled_out {
            let _ = writeln!(out, "| {} | {} |", row.id, escape(&row.because));
        }
    }
    if !diagnosis.caveats.is_empty() {
        out.push_str("\n### Caveats\n\n");
        for caveat in &diagnosis.caveats {
            let _ = writeln!(out, "- {}", escape(caveat));
        }
    }
    out
}

fn finding(out: &mut String, finding: &Finding) {
    let _ = writeln!(
        out,
        "\n### {} ({}, confidence {}): {}\n\n{}\n",
        finding.id,
        severity(finding.severity),
        confidence(finding.confidence),
        escape(&finding.title),
        escape(&finding.statement)
    );
    for step in &finding.chain {
        let _ = writeln!(out, "- {}: {}", step.step, escape(&step.value));
    }
    if !finding.evidence.is_empty() {
        out.push_str("\n| evidence | says |\n|---|---|\n");
        for row in &finding.evidence {
            let _ = writeln!(
                out,
                "| `{}` | {} |",
                row.reference.replace('|', "/"),
                escape(&row.value)
            );
        }
    }
    out.push_str("\nNext:\n\n");
    for (at, step) in finding.next.iter().enumerate() {
        let _ = writeln!(
            out,
            "{}. *{}*: {}",
            at + 1,
            step.safety.words(),
            escape(&step.what)
        );
        if let Some(command) = &step.command {
            let _ = writeln!(out, "   ```sh\n   {command}\n   ```");
        }
    }
    out.push_str("\nDo not:\n\n");
    for not in &finding.do_not {
        let _ = writeln!(out, "- {}", escape(not));
    }
    for missing in &finding.missing {
        let _ = writeln!(out, "- (not seen: {})", escape(missing));
    }
}

/// Names in it must not become markup.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        if matches!(
            character,
            '*' | '_' | '`' | '[' | ']' | '<' | '>' | '|' | '\\' | '#'
        ) {
            out.push('\\');
        }
        out.push(character);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnose::fixture;

    #[test]
    fn it_is_markdown_and_names_are_no_markup() {
        let mut summary = fixture::saturated(0);
        summary.host.hostname = "<b>db|3".to_owned();
        summary.stack = vec![fixture::stack("softirq:NET_RX", &["nft_do_chain"], 50)];
        let diagnosis = fixture::of(&summary, &fixture::softnet(0, 600_000, 0, 0));
        let text = render(&diagnosis, &summary);
        assert!(
            text.starts_with("**CPU 0 spends 90 % of its time"),
            "{text}"
        );
        assert!(text.contains("\\<b\\>db\\|3") && text.contains("nft\\_do\\_chain"));
        assert!(text.contains("\n### NET-FW (critical, confidence medium): "));
        assert!(text.contains("   ```sh\n   nft -s list ruleset"));
        assert!(text.contains("| NET-BACKLOG | seen, but an effect of NET-FW"));
    }
}
