//! docs/logs.md, as far as the list of events makes it: what lies between its marks.

use std::fmt::Write as _;

use super::{EVENTS, Event, Severity};
use crate::export::metric::{Attribute, metrics};
use crate::export::testing::check_made_part;
use crate::host::kmsg::LEVEL_NAMES;
use crate::probe::PROBES;

fn list<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let names: Vec<_> = names.map(|name| format!("`{name}`")).collect();
    names.join(", ")
}

fn events() -> String {
    let mut text =
        "### Events\n\n| event name | severity | body | attributes | from |\n|---|---|---|---|---|\n"
            .to_owned();
    for event in EVENTS {
        let _ = writeln!(
            text,
            "| `{}` | {} | `{}` | {} | {} |",
            event.name,
            event.severity,
            event.body,
            list(event.attributes.iter().map(|attribute| attribute.key)),
            list(event.sources.iter().copied()),
        );
    }
    text.push('\n');
    for event in EVENTS {
        let _ = writeln!(text, "- `{}`: {}", event.name, event.description);
    }
    text
}

/// Each attribute once, in the order of the events.
fn all_attributes() -> Vec<&'static Attribute> {
    let mut all: Vec<&Attribute> = Vec::new();
    for attribute in EVENTS.iter().flat_map(|event| event.attributes) {
        if all.iter().all(|known| known.key != attribute.key) {
            all.push(attribute);
        }
    }
    all
}

fn attributes() -> String {
    let mut text = "### Attributes\n\n| attribute | values |\n|---|---|\n".to_owned();
    for attribute in all_attributes() {
        let _ = writeln!(text, "| `{}` | {} |", attribute.key, attribute.values);
    }
    text
}

fn severities() -> String {
    let mut text =
        "### Severity of the kernel's lines\n\n| level | severity text | severity number |\n|---|---|---|\n"
            .to_owned();
    for (level, name) in (0..).zip(LEVEL_NAMES) {
        let severity = Severity::of_level(level);
        let _ = writeln!(
            text,
            "| {level}, {name} | `{}` | {} |",
            severity.text, severity.number
        );
    }
    text
}

fn reference() -> String {
    [events(), attributes(), severities()].join("\n")
}

#[test]
fn the_reference_is_what_the_list_makes() {
    check_made_part(
        "docs/logs.md",
        "kctx/src/export/event",
        &reference(),
        "event::reference",
    );
}

/// Naming rules of the semantic conventions; sources that look like probes are some.
#[test]
fn each_event_is_well_formed() {
    let legal = |c: char| c.is_ascii_lowercase() || matches!(c, '.' | '_');
    for Event {
        name,
        description,
        sources,
        attributes,
        ..
    } in EVENTS
    {
        assert!(
            name.starts_with("kctx.") && name.chars().all(legal),
            "{name}"
        );
        assert!(description.ends_with('.') && !description.contains('\n'));
        assert!(
            attributes
                .iter()
                .all(|attribute| attribute.key.chars().all(legal))
        );
        for source in *sources {
            let is_probe = PROBES.iter().any(|probe| probe.name() == *source);
            assert!(is_probe || source.starts_with('/'), "{name}: {source}");
        }
    }
    let names: std::collections::BTreeSet<_> = EVENTS.iter().map(|event| event.name).collect();
    assert_eq!(names.len(), EVENTS.len());
}

/// What a metric is told apart by has the same name in a record, so that one can be laid over the other.
#[test]
fn attributes_are_those_of_the_metrics_where_there_are_such() {
    let of_metrics: Vec<_> = metrics()
        .flat_map(|metric| metric.attributes)
        .map(|attribute| attribute.key)
        .collect();
    for key in [
        "kctx.module.name",
        "kctx.kernel.taint.flag",
        "kctx.kernel.log.level",
        "cpu.logical_number",
        "thread.name",
    ] {
        assert!(of_metrics.contains(&key), "{key}");
        assert!(
            all_attributes()
                .iter()
                .any(|attribute| attribute.key == key),
            "{key}"
        );
    }
    // One attribute is described once.
    for first in EVENTS.iter().flat_map(|event| event.attributes) {
        for second in EVENTS.iter().flat_map(|event| event.attributes) {
            assert!(
                first.key != second.key || first.values == second.values,
                "{}",
                first.key
            );
        }
    }
}
