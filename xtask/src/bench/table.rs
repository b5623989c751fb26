//! The figures as tables: for a terminal, and for docs/overhead.md.

use std::fmt::Write;

use anyhow::Result;

use super::figures::{Figures, LoadFigures, median};
use crate::made_part::MadePart;
use crate::workspace::Workspace;

const FIGURES: MadePart = MadePart {
    file: "docs/overhead.md",
    begin: "<!-- The figures: made by `cargo xtask bench --write-docs`, not by hand. -->",
    end: "<!-- The figures end. -->",
};

/// A load's table has a column for what its tracers are compared with.
fn references(load: &LoadFigures) -> Vec<&str> {
    let names = load.tracers.iter().map(|tracer| tracer.tracer.as_str());
    names
        .filter(|name| {
            let is_one = ["floor", "clock", "perf"]
                .iter()
                .any(|known| name.starts_with(known));
            is_one || name.ends_with(" -d")
        })
        .collect()
}

/// Rows of cells, of which the first are the heads.
fn rows(load: &LoadFigures) -> Vec<Vec<String>> {
    let references = references(load);
    let mut head = vec!["tracer".to_owned(), "ns".to_owned(), "adds".to_owned()];
    head.extend(references.iter().map(|name| format!("of {name}")));
    let mut rows = vec![head];
    for tracer in &load.tracers {
        let adds = load.adds(tracer);
        let number = |value: Option<f64>| value.map_or("-".to_owned(), |v| format!("{v:.0}"));
        let mut row = vec![
            tracer.tracer.clone(),
            number(median(&tracer.ns)),
            number(adds),
        ];
        for name in &references {
            let of = load.named(name).and_then(|other| load.adds(other));
            row.push(match (adds, of) {
                (Some(adds), Some(of)) if of > 0.0 => format!("{:.2}", adds / of),
                _ => "-".to_owned(),
            });
        }
        rows.push(row);
    }
    rows
}

/// For a terminal.
pub(super) fn text(figures: &Figures) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    for load in &figures.loads {
        let _ = writeln!(text, "\n{}: {}", load.load, load.operation);
        let rows = rows(load);
        let columns = rows.first().map_or(0, Vec::len);
        let widths: Vec<usize> = (0..columns)
            .map(|column| rows.iter().map(|row| row[column].len()).max().unwrap_or(0))
            .collect();
        for row in &rows {
            for (column, (cell, &width)) in row.iter().zip(&widths).enumerate() {
                let _ = match column {
                    0 => write!(text, "{cell:width$}"),
                    _ => write!(text, "  {cell:>width$}"),
                };
            }
            text.push('\n');
        }
    }
    if !figures.process.is_empty() {
        text.push('\n');
    }
    for figure in &figures.process {
        let _ = writeln!(
            text,
            "{:32} {:>10.2} {}",
            figure.name, figure.value, figure.unit
        );
    }
    if !figures.missing.is_empty() {
        let _ = writeln!(text, "\nnot installed here: {}", figures.missing.join(", "));
    }
    text
}

fn markdown(figures: &Figures) -> String {
    let machine = &figures.machine;
    let mut text = format!(
        "Machine: {}{} CPUs ({}), Linux {}, clock source {}. Medians of {} rounds.\n",
        if machine.is_virtual {
            "a virtual machine with "
        } else {
            ""
        },
        machine.cpus,
        machine.cpu,
        machine.kernel,
        machine.clocksource,
        figures.rounds
    );
    for load in &figures.loads {
        let _ = writeln!(text, "\n`{}`: {}.\n", load.load, load.operation);
        for (index, row) in rows(load).iter().enumerate() {
            let _ = writeln!(text, "| {} |", row.join(" | "));
            if index == 0 {
                let _ = writeln!(text, "|{}", "---|".repeat(row.len()));
            }
        }
        text.push('\n');
        for tracer in load.tracers.iter().filter(|tracer| !tracer.what.is_empty()) {
            let _ = writeln!(text, "- {}: {}", tracer.tracer, tracer.what);
        }
    }
    if !figures.process.is_empty() {
        text.push_str("\nThe process:\n\n| what | value | how |\n|---|---|---|\n");
    }
    for figure in &figures.process {
        let _ = writeln!(
            text,
            "| {} | {:.2} {} | {} |",
            figure.name, figure.value, figure.unit, figure.how
        );
    }
    text
}

/// Puts the tables into docs/overhead.md.
pub(super) fn write_docs(ws: &Workspace, figures: &Figures) -> Result<()> {
    FIGURES.write(ws, &markdown(figures))?;
    eprintln!("bench: {} has the figures", FIGURES.file);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::figures::{Machine, TracerFigures};

    fn figures() -> Figures {
        let tracer = |name: &str, ns: f64| TracerFigures {
            tracer: name.to_owned(),
            what: "something".to_owned(),
            ns: vec![ns],
        };
        Figures {
            machine: Machine::default(),
            rounds: 1,
            loads: vec![LoadFigures {
                load: "udp".to_owned(),
                operation: "a datagram".to_owned(),
                tracers: vec![
                    tracer("untraced", 1000.0),
                    tracer("floor", 1100.0),
                    tracer("kctx", 1250.0),
                ],
            }],
            process: Vec::new(),
            missing: vec!["bpftrace".to_owned()],
        }
    }

    #[test]
    fn a_ratio_is_of_what_both_add() {
        let text = text(&figures());
        let kctx = text.lines().find(|line| line.starts_with("kctx"));
        let cells: Vec<&str> = kctx.unwrap_or_default().split_whitespace().collect();
        assert_eq!(cells, ["kctx", "1250", "250", "2.50"]);
        assert!(text.contains("not installed here: bpftrace"));
    }

    #[test]
    fn the_document_has_the_same() {
        assert!(markdown(&figures()).contains("| kctx | 1250 | 250 | 2.50 |"));
    }
}
