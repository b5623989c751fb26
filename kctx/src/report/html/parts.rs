//! The page's parts that no table of the text report has.

use crate::capture::evidence_set::EvidenceSet;
use crate::{
    capture::bundle::Manifest,
    diagnose::{Diagnosis, Finding, Safety, Severity},
    report::{
        changes::{self, Change},
        columns::Columns,
        human::{bytes, count, cut, duration, utc},
        paper::Paper,
        summary::Summary,
        text::answer,
    },
};

use super::escape::escaped;

/// Counters that are shown; of those whose names mean trouble there may be as many again.
const CHANGES: usize = 120;

/// Widest text that a diagnosis brings.
const TEXT: usize = 600;

/// The answer: one sentence, then what supports it.
pub(super) fn answer(summary: &Summary, diagnosis: &Diagnosis) -> String {
    let first_line = answer::first_line(summary, diagnosis);
    let mut html = format!("<p class=\"answer\">{}</p>", escaped(&first_line));
    for finding in &diagnosis.findings {
        html.push_str(&self::finding(finding));
    }
    list(
        &mut html,
        "Ruled out",
        diagnosis
            .ruled_out
            .iter()
            .map(|one| format!("{}: {}", one.id, one.because)),
    );
    list(&mut html, "Keep in mind", diagnosis.caveats.iter().cloned());
    if let Some(part) = &summary.narrowed {
        list(
            &mut html,
            "This is a part of the bundle",
            answer::sentences(part).into_iter(),
        );
    }
    html
}

fn finding(finding: &Finding) -> String {
    let (class, word) = match finding.severity {
        Severity::Info => ("info", "Info"),
        Severity::Warn => ("warn", "Warning"),
        Severity::Crit => ("crit", "Critical"),
    };
    let text = |text: &str| escaped(&cut(text, TEXT));
    let mut html = format!(
        "<details class=\"finding {class}\" open><summary><b>{word}</b> {} <code>{}</code></summary><p>{}</p>",
        text(&finding.title),
        text(&finding.id),
        text(&finding.statement)
    );
    let steps = finding
        .chain
        .iter()
        .map(|step| format!("{}: {}", step.step, step.value));
    list(&mut html, "From what is seen to its cause", steps);
    let evidence = finding
        .evidence
        .iter()
        .map(|one| format!("{}: {}", one.reference, one.value));
    list(&mut html, "Evidence", evidence);
    list(&mut html, "Not there", finding.missing.iter().cloned());
    let next = finding.next.iter().map(|step| {
        let safety = match step.safety {
            Safety::ReadOnly => "reads only",
            Safety::Reversible => "can be undone",
            Safety::OwnerDecision => "the owner decides",
        };
        match &step.command {
            Some(command) => format!("{} ({safety}): {command}", step.what),
            None => format!("{} ({safety})", step.what),
        }
    });
    list(&mut html, "Next", next);
    list(&mut html, "Do not", finding.do_not.iter().cloned());
    html.push_str("</details>");
    html
}

fn list(html: &mut String, title: &str, items: impl Iterator<Item = String>) {
    let items: String = items
        .map(|item| format!("<li>{}</li>", escaped(&cut(&item, TEXT))))
        .collect();
    if !items.is_empty() {
        html.push_str(&format!("<h4>{}</h4><ul>{items}</ul>", escaped(title)));
    }
}

/// The machine and the window.
pub(super) fn head(summary: &Summary, notes: &[String]) -> String {
    let host = &summary.host;
    let cpus = format!("{} online ({})", host.cpus_online, cut(&host.cpu_list, 60));
    let taint: String = summary.taint.flags.iter().map(|flag| flag.letter).collect();
    let taint = match summary.taint.value {
        None => "could not be read".to_owned(),
        Some(0) => "none".to_owned(),
        Some(value) => format!("{value} ({taint})"),
    };
    let kernel = format!("{} {}", host.kernel_release, host.arch);
    let window = format!(
        "{}, {}",
        utc(summary.window.start_unix_ns),
        duration(summary.window.duration_ns)
    );
    let notes = (!notes.is_empty()).then(|| notes.join("; "));
    let facts = [
        ("Host", Some(host.hostname.clone())),
        ("System", Some(host.os.pretty_name.clone())),
        ("Linux", Some(kernel)),
        ("Window", Some(window)),
        ("CPUs", Some(cpus)),
        ("Taint", Some(taint)),
        ("kctx", Some(summary.kctx_version.clone())),
        ("Bundle", notes),
    ];
    let facts: String = facts
        .into_iter()
        .filter_map(|(what, value)| Some((what, value.filter(|value| !value.trim().is_empty())?)))
        .map(|(what, value)| {
            format!(
                "<div><dt>{what}</dt><dd>{}</dd></div>",
                escaped(&cut(&value, TEXT))
            )
        })
        .collect();
    format!("<dl class=\"facts\">{facts}</dl>")
}

/// What changed between the two samples of evidence.
pub(super) fn changed(
    evidence: &EvidenceSet,
    summary: &Summary,
    manifest: Option<&Manifest>,
) -> String {
    let mut out = Paper::page();
    out.title("Settings that changed");
    let resets = changes::settings(evidence);
    if resets.is_empty() {
        out.push_str("none that were read twice\n");
    } else {
        let mut table = Columns::new(["<file", "<before", "<after"]);
        for reset in &resets {
            table.push([
                reset.file.clone(),
                reset.before.clone(),
                reset.after.clone(),
            ]);
        }
        out.table(&table);
    }
    // The samples are of the whole window's edges, whatever part this is.
    let is_span = (summary.narrowed.as_ref()).is_some_and(|part| part.span.is_some());
    let apart_ns = evidence.apart_ns().or(match manifest {
        Some(manifest) => Some(manifest.window.duration_ns),
        None => (!is_span).then_some(summary.window.duration_ns),
    });
    let all = changes::counters(evidence, apart_ns.unwrap_or(1));
    let (trouble, others): (Vec<&Change>, Vec<&Change>) =
        all.iter().partition(|change| change.is_trouble());
    counters(
        &mut out,
        "Counters that say something went wrong (by rate)",
        &trouble,
        apart_ns,
    );
    counters(
        &mut out,
        "Counters that changed (by rate)",
        &others,
        apart_ns,
    );
    out.finish()
}

fn counters(out: &mut Paper, title: &str, changes: &[&Change], apart_ns: Option<u64>) {
    out.title(title);
    if changes.is_empty() {
        out.push_str("none\n");
        return;
    }
    let mut table = Columns::new(["<counter", "change", "a second", "after", "<file"]);
    for change in changes.iter().take(CHANGES) {
        let (sign, by) = match change.after.checked_sub(change.before) {
            Some(more) => ("+", more),
            None => ("-", change.before - change.after),
        };
        let rate = match apart_ns {
            None => "-".to_owned(),
            Some(_) if change.rate.abs() < 10.0 => format!("{:.1}", change.rate),
            Some(_) if change.rate < 0.0 => format!("-{}", count(-change.rate as u64)),
            Some(_) => count(change.rate as u64),
        };
        table.push([
            cut(&change.name, 100),
            format!("{sign}{}", count(by)),
            rate,
            count(change.after),
            cut(&change.file, 100),
        ]);
    }
    out.table(&table);
    if changes.len() > CHANGES {
        out.push_str(&format!("and {} more counters\n", changes.len() - CHANGES));
    }
}

/// Which limits bit, and which evidence there is not.
pub(super) fn limits(manifest: Option<&Manifest>) -> String {
    let mut out = Paper::page();
    out.title("Limits that were reached");
    let Some(manifest) = manifest else {
        out.push_str("not known: the bundle has no manifest\n");
        return out.finish();
    };
    if manifest.interrupted {
        out.push_str("The capture was ended before its window was over.\n");
    }
    let hit: Vec<_> = manifest
        .limits
        .iter()
        .filter(|(_, limit)| limit.hit)
        .collect();
    if hit.is_empty() {
        out.push_str("none\n");
    } else {
        let mut table = Columns::new(["<limit", "value", "left out"]);
        for (name, limit) in hit {
            let value = match name.ends_with("bytes") {
                true => bytes(limit.limit),
                false => count(limit.limit),
            };
            table.push([cut(name, 80), value, count(limit.dropped)]);
        }
        out.table(&table);
    }
    out.title("Evidence that could not be taken");
    if manifest.evidence_missing.is_empty() {
        out.push_str("none\n");
        return out.finish();
    }
    let mut table = Columns::new(["<file", "<reason"]);
    for missing in &manifest.evidence_missing {
        table.push([cut(&missing.path, 120), cut(&missing.reason, 200)]);
    }
    out.table(&table);
    out.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fixture;

    #[test]
    fn counters_grew_in_the_time_between_the_samples() {
        let mut evidence = EvidenceSet::default();
        for (path, text) in [
            (
                "before/index.json",
                r#"[{"path": "proc/stat", "monotonic_ns": 1000000000}]"#,
            ),
            (
                "after/index.json",
                r#"[{"path": "proc/stat", "monotonic_ns": 1500000000}]"#,
            ),
            (
                "before/proc/net/dev",
                "eth0: 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0\n",
            ),
            (
                "after/proc/net/dev",
                "eth0: 0 7777 0 0 0 0 0 0 0 0 0 0 0 0 0 0\n",
            ),
        ] {
            evidence
                .take(&format!("evidence/{path}"), text.as_bytes().to_vec())
                .unwrap();
        }
        let summary = Summary::from_window(&fixture::window(), fixture::host(), None);
        assert_ne!(summary.window.duration_ns, 500_000_000);
        let page = changed(&evidence, &summary, None);
        assert!(page.contains("+7,777") && page.contains("15,554"), "{page}");
    }
}
