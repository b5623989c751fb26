//! The comparison for a terminal: what changed first.

use super::{About, Diff, Fact, Figure, FigureDiff, Judged, RowDiff};
use crate::report::{
    columns::Columns,
    human::{brief, cut, duration, name, utc},
};

/// Rows shown.
const ROWS: usize = 20;

/// Facts shown.
const FACTS: usize = 20;

/// The text.
#[must_use]
pub fn render(diff: &Diff) -> String {
    let mut out = String::new();
    let changed: Vec<&RowDiff> = diff.rows.iter().filter(|row| row.changed).collect();
    let mut say = |line: &str| {
        out.push_str(line);
        out.push('\n');
    };
    match changed.first() {
        None => say(&unchanged(diff)),
        Some(first) => say(&format!(
            "{} changed by more than the noise inside each window, most of all {} {}",
            match changed.len() {
                1 => "1 row".to_owned(),
                rows => format!("{rows} rows"),
            },
            first.kind.as_str(),
            cut(&first.name, 40)
        )),
    }
    say(&format!("before {}", about(&diff.before)));
    say(&format!("after  {}", about(&diff.after)));
    if !changed.is_empty() {
        say("");
        let mut table = Columns::new(["<what", "", "CPU", "", "count/s", "<also"]);
        for row in changed.iter().take(ROWS) {
            table.push(cells(row));
        }
        table.lines().for_each(|line| say(&line));
        if changed.len() > ROWS {
            say(&format!(
                "  {} more changed (--format json has all)",
                changed.len() - ROWS
            ));
        }
    }
    if !diff.facts.is_empty() {
        say("");
        say("Beside the figures");
        for fact in diff.facts.iter().take(FACTS) {
            say(&format!("  {}", fact_line(fact)));
        }
        if diff.facts.len() > FACTS {
            say(&format!(
                "  {} more (--format json has all)",
                diff.facts.len() - FACTS
            ));
        }
    }
    say("");
    untold(diff).iter().for_each(|line| say(line));
    out
}

/// The answer where nothing is known to have changed. What could not be looked at may have.
fn unchanged(diff: &Diff) -> String {
    let is_noise = |row: &RowDiff| {
        let mut figures = row.figures.iter();
        figures.any(|one| matches!(one.judged, Judged::Noise { .. }))
    };
    let sides = [&diff.before, &diff.after];
    let mut blind: Vec<&str> = (sides.iter())
        .flat_map(|side| &side.incomplete)
        .map(|incomplete| incomplete.family.as_str())
        .collect();
    blind.sort_unstable();
    blind.dedup();
    match (diff.rows.iter().any(is_noise), blind.is_empty()) {
        (true, true) => "nothing changed by more than the noise inside each window".to_owned(),
        (true, false) => format!(
            "nothing that can be told changed; it cannot be told of {}",
            blind.join(", ")
        ),
        (false, true) if diff.rows.is_empty() => "nothing ran in either window".to_owned(),
        (false, _) => format!(
            "cannot tell whether something changed: {}",
            reason(diff).unwrap_or("no row is in both")
        ),
    }
}

/// Why the first of the rows that cannot be told cannot.
fn reason(diff: &Diff) -> Option<&str> {
    let mut figures = diff.rows.iter().flat_map(|row| &row.figures);
    figures.find_map(|one| match &one.judged {
        Judged::CannotTell { reason } => Some(reason.as_str()),
        _ => None,
    })
}

fn about(about: &About) -> String {
    format!(
        "{} {}, {} from {}, {} records",
        cut(&about.hostname, 20),
        cut(&about.kernel_release, 24),
        duration(about.window.duration_ns),
        utc(about.window.start_unix_ns),
        brief(about.records)
    )
}

fn cells(row: &RowDiff) -> [String; 6] {
    let of = |figure| row.figures.iter().find(|one| one.figure == figure);
    let both = |figure, show: &dyn Fn(f64) -> String| match of(figure) {
        Some(one) => (
            show(one.before.unwrap_or(0.0)),
            format!("> {}", show(one.after.unwrap_or(0.0))),
        ),
        None => (String::new(), String::new()),
    };
    let cpu = both(Figure::Cpu, &|share| format!("{:.2} %", share * 100.0));
    let rate = both(Figure::Rate, &|rate| brief(rate.round() as u64));
    let what = format!("{} {}", row.kind.as_str(), name(&row.name));
    [cut(&what, 36), cpu.0, cpu.1, rate.0, rate.1, also(row)]
}

/// The quantiles that changed: the most telling one of each duration.
fn also(row: &RowDiff) -> String {
    let changed = |figure: Figure| {
        let mut figures = row.figures.iter();
        figures.find(|one| one.figure == figure && one.judged.is_changed())
    };
    let shown = [
        (Figure::WaitP99, "wait p99"),
        (Figure::WaitP50, "wait p50"),
        (Figure::ServiceP99, "took p99"),
        (Figure::ServiceP50, "took p50"),
    ];
    let first = shown.into_iter().find_map(|(figure, called)| {
        let FigureDiff { before, after, .. } = changed(figure)?;
        let ns = |value: &Option<f64>| value.map_or("-".to_owned(), |ns| duration(ns as u64));
        Some(format!("{called} {} > {}", ns(before), ns(after)))
    });
    first.unwrap_or_default()
}

fn fact_line(fact: &Fact) -> String {
    let shown = |text: &str| match text {
        "" => "not there".to_owned(),
        text => cut(text, 36),
    };
    format!(
        "{} {} > {}",
        fact.what,
        shown(&fact.before),
        shown(&fact.after)
    )
}

/// What is within the noise, and what cannot be told.
fn untold(diff: &Diff) -> Vec<String> {
    let mut lines = Vec::new();
    let rest = diff.rows.iter().filter(|row| !row.changed);
    let (mut noise, mut cannot) = (0, 0);
    for row in rest {
        let judged = |one: &FigureDiff| matches!(one.judged, Judged::Noise { .. });
        match row.figures.iter().any(judged) {
            true => noise += 1,
            false => cannot += 1,
        }
    }
    lines.push(format!("{noise} rows are within the noise"));
    if cannot > 0 {
        let reason = reason(diff).unwrap_or_default();
        lines.push(format!("{cannot} rows cannot be told: {reason}"));
    }
    for (which, about) in [("before", &diff.before), ("after", &diff.after)] {
        for incomplete in &about.incomplete {
            lines.push(format!("cannot tell, {which}: {}", incomplete.reason));
        }
        if about.rows_left_out > 0 {
            lines.push(format!(
                "{which}: {} records of rows beyond the bound are not compared",
                about.rows_left_out
            ));
        }
    }
    lines
}
