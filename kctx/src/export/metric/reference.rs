//! docs/metrics.md, as far as the list of metrics makes it: what lies between its marks.

use std::fmt::Write as _;

use super::{Attribute, GROUPS, Group, Metric, OVERFLOW, metrics};
use crate::export::prometheus::name;
use crate::export::testing::check_made_part;

fn group(group: &Group) -> String {
    let mut text = format!("### {}\n\n", group.title);
    text.push_str(
        "| metric | kind, unit | attributes | from | series at most |\n|---|---|---|---|---|\n",
    );
    for metric in group.metrics {
        let _ = writeln!(
            text,
            "| `{}`<br>`{}` | {}, {} | {} | {} | {} |",
            metric.name,
            name::query(metric),
            metric.kind.as_str(),
            if metric.unit.starts_with('{') {
                format!("`{}`", metric.unit)
            } else {
                metric.unit.to_owned()
            },
            list(metric.attributes.iter().map(|attribute| attribute.key)),
            sources(metric),
            metric.cardinality,
        );
    }
    text.push('\n');
    for metric in group.metrics {
        let _ = write!(text, "- `{}`: {}", metric.name, metric.description);
        if !metric.meaning.is_empty() {
            let _ = write!(text, " {}", metric.meaning);
        }
        text.push('\n');
    }
    text
}

fn list<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let names: Vec<_> = names.map(|name| format!("`{name}`")).collect();
    names.join(", ")
}

/// Probes and paths in code, what is said in words as it is.
fn sources(metric: &Metric) -> String {
    let sources = metric
        .sources
        .iter()
        .map(|source| match source.contains(' ') {
            true => (*source).to_owned(),
            false => format!("`{source}`"),
        });
    sources.collect::<Vec<_>>().join(", ")
}

fn attributes() -> String {
    let mut all: Vec<&Attribute> = vec![&OVERFLOW];
    for metric in metrics() {
        for attribute in metric.attributes {
            if all.iter().all(|known| known.key != attribute.key) {
                all.push(attribute);
            }
        }
    }
    all.sort_by_key(|attribute| attribute.key);
    let mut text = "### Attributes\n\n| attribute | label | values |\n|---|---|---|\n".to_owned();
    for attribute in all {
        let label = name::label(attribute.key);
        let _ = writeln!(
            text,
            "| `{}` | `{label}` | {} |",
            attribute.key, attribute.values
        );
    }
    text
}

fn reference() -> String {
    let mut parts: Vec<_> = GROUPS.iter().map(group).collect();
    parts.push(attributes());
    parts.join("\n")
}

#[test]
fn the_reference_is_what_the_list_makes() {
    check_made_part(
        "docs/metrics.md",
        "kctx/src/export/metric",
        &reference(),
        "metric::reference",
    );
}

/// One attribute is described once, whatever metric it is on.
#[test]
fn attributes_of_one_key_are_one() {
    for first in metrics().flat_map(|metric| metric.attributes) {
        for second in metrics().flat_map(|metric| metric.attributes) {
            assert!(
                first.key != second.key || first.values == second.values,
                "{}",
                first.key
            );
        }
    }
}
