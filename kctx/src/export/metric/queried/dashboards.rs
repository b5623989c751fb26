//! docs/dashboards: what Grafana needs of them, and what a reader does.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use serde_json::Value;

use super::promql::Expression;
use super::{Exported, docs, metrics, name, read};

/// What Grafana sets by itself.
const BUILT_IN: [&str; 3] = ["__rate_interval", "__range", "__interval"];

/// By the name of their files.
fn dashboards() -> BTreeMap<String, Value> {
    let files = fs::read_dir(docs("dashboards")).unwrap();
    let dashboards = files.map(|file| {
        let path = file.unwrap().path();
        let stem = path.file_stem().unwrap().to_str().unwrap().to_owned();
        (stem, serde_json::from_str(&read(&path)).unwrap())
    });
    dashboards.collect()
}

fn list<'a>(value: &'a Value, pointer: &str) -> &'a [Value] {
    let list = value.pointer(pointer).and_then(Value::as_array);
    list.map_or(&[], Vec::as_slice)
}

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    let text = value.pointer(pointer).and_then(Value::as_str);
    text.unwrap_or_default()
}

/// Without the headings between them.
fn panels(dashboard: &Value) -> impl Iterator<Item = &Value> {
    let panels = list(dashboard, "/panels").iter();
    panels.filter(|panel| text(panel, "/type") != "row")
}

/// Every expression with where it stands: panels', annotations', variables'.
fn expressions(dashboard: &Value) -> Vec<(String, String)> {
    let mut all = Vec::new();
    for panel in panels(dashboard) {
        for target in list(panel, "/targets") {
            let expression = text(target, "/expr").to_owned();
            all.push((text(panel, "/title").to_owned(), expression));
        }
    }
    for annotation in list(dashboard, "/annotations/list") {
        if annotation["builtIn"] != 1 {
            let expression = text(annotation, "/expr").to_owned();
            all.push((text(annotation, "/name").to_owned(), expression));
        }
    }
    for variable in list(dashboard, "/templating/list") {
        let query = text(variable, "/query/query");
        let inner = |function: &str| query.strip_prefix(function)?.strip_suffix(')');
        let expression = match (inner("query_result("), inner("label_values(")) {
            (Some(expression), _) => expression.to_owned(),
            (_, Some(values)) => {
                let (metric, label) = values.rsplit_once(", ").unwrap();
                format!("count by ({label}) ({metric})")
            }
            _ => continue,
        };
        all.push((format!("${}", text(variable, "/name")), expression));
    }
    all
}

#[test]
fn what_dashboards_ask_for_is_exported() {
    let exported = Exported::new();
    let dashboards = dashboards();
    assert_eq!(dashboards.len(), 6);
    let mut faults = Vec::new();
    for (file, dashboard) in &dashboards {
        for (place, expression) in expressions(dashboard) {
            for fault in exported.faults(&expression, &BTreeSet::new()) {
                faults.push(format!("{file}, {place}: {fault}"));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn every_metric_is_on_a_panel() {
    let mut shown = BTreeSet::new();
    for dashboard in dashboards().values() {
        for target in panels(dashboard).flat_map(|panel| list(panel, "/targets")) {
            let expression = Expression::parse(text(target, "/expr")).unwrap();
            shown.extend(expression.selectors.into_iter().map(|s| s.metric));
        }
    }
    let missing: Vec<_> = metrics()
        .map(name::query)
        .filter(|name| !shown.contains(name))
        .collect();
    assert!(missing.is_empty(), "on no panel: {missing:?}");
}

#[test]
fn legends_have_labels_that_their_series_have() {
    let exported = Exported::new();
    for (file, dashboard) in dashboards() {
        for panel in panels(&dashboard) {
            let place = format!("{file}, {}", text(panel, "/title"));
            for target in list(panel, "/targets") {
                let expression = Expression::parse(text(target, "/expr")).unwrap();
                let labels = exported.labels_of(&expression, &BTreeSet::new());
                let legend = text(target, "/legendFormat");
                assert!(!legend.is_empty(), "{place}");
                for part in legend.split("{{").skip(1) {
                    let label = part.split("}}").next().unwrap();
                    assert!(labels.contains(label), "{place}: {label}");
                    // What the outermost aggregation dropped is no label any more.
                    let kept = expression.grouped.is_empty() || expression.grouped.contains(label);
                    assert!(kept, "{place}: {label} is aggregated away");
                }
            }
        }
    }
}

#[test]
fn panels_say_what_they_show() {
    for (file, dashboard) in dashboards() {
        for panel in panels(&dashboard) {
            let place = format!("{file}, {}", text(panel, "/title"));
            assert!(!text(panel, "/title").is_empty(), "{file}");
            let description = text(panel, "/description");
            assert!(description.ends_with('.'), "{place}: {description}");
            assert!(
                !text(panel, "/fieldConfig/defaults/unit").is_empty(),
                "{place}"
            );
            assert!(!list(panel, "/targets").is_empty(), "{place}");
            let targets = list(panel, "/targets").iter();
            for owner in targets.clone().chain([panel]) {
                assert_eq!(text(owner, "/datasource/uid"), "${datasource}", "{place}");
            }
            if text(panel, "/type") == "heatmap" {
                assert_eq!(text(panel, "/options/yAxis/unit"), "s", "{place}");
                assert_eq!(panel["options"]["calculate"], false, "{place}");
                for target in targets {
                    assert_eq!(text(target, "/format"), "heatmap", "{place}");
                }
            }
        }
    }
}

/// The `uid` of every data source that is named anywhere in `value`.
fn sources(value: &Value) -> Vec<&str> {
    let inner: Vec<&Value> = match value {
        Value::Object(fields) => fields.values().collect(),
        Value::Array(items) => items.iter().collect(),
        _ => Vec::new(),
    };
    let own = value
        .get("datasource")
        .map(|source| text(source, "/uid"))
        .into_iter();
    own.chain(inner.into_iter().flat_map(sources)).collect()
}

#[test]
fn nothing_names_a_data_source_of_one_grafana() {
    for (file, dashboard) in dashboards() {
        for uid in sources(&dashboard) {
            assert!(
                ["${datasource}", "-- Grafana --"].contains(&uid),
                "{file}: {uid}"
            );
        }
    }
}

#[test]
fn dashboards_can_be_imported_side_by_side() {
    for (file, dashboard) in dashboards() {
        // Grafana's own number of a dashboard would clash with another's.
        assert!(dashboard.get("id").is_none(), "{file}");
        assert_eq!(text(&dashboard, "/uid"), file);
        assert!(dashboard["schemaVersion"].as_u64() >= Some(39), "{file}");
        let panels = list(&dashboard, "/panels");
        let ids: BTreeSet<_> = panels.iter().map(|panel| panel["id"].as_u64()).collect();
        assert_eq!(ids.len(), panels.len(), "{file}");
        let mut cells = BTreeSet::new();
        for panel in panels {
            let [x, y, w, h] =
                ["x", "y", "w", "h"].map(|side| panel["gridPos"][side].as_u64().unwrap());
            assert!(x + w <= 24, "{file}, {}", text(panel, "/title"));
            for cell in (x..x + w).flat_map(|x| (y..y + h).map(move |y| (x, y))) {
                assert!(
                    cells.insert(cell),
                    "{file}, {}: covers another",
                    text(panel, "/title")
                );
            }
        }
    }
}

#[test]
fn variables_are_declared() {
    for (file, dashboard) in dashboards() {
        let declared: BTreeSet<_> = (list(&dashboard, "/templating/list").iter())
            .map(|variable| text(variable, "/name"))
            .collect();
        for needed in ["datasource", "host", "cpu"] {
            assert!(declared.contains(needed), "{file}: {needed}");
        }
        let mut used = BTreeSet::from(["datasource".to_owned()]);
        for (place, expression) in expressions(&dashboard) {
            for part in expression.split('$').skip(1) {
                let part = part.trim_start_matches('{');
                let end = part.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
                let variable = &part[..end.unwrap_or(part.len())];
                let known = declared.contains(variable) || BUILT_IN.contains(&variable);
                assert!(known, "{file}, {place}: {variable}");
                used.insert(variable.to_owned());
            }
        }
        let idle: Vec<_> = declared
            .iter()
            .filter(|name| !used.contains(**name))
            .collect();
        // Every dashboard has the CPU, so that a choice of it survives a detour.
        assert!(idle.iter().all(|name| **name == "cpu"), "{file}: {idle:?}");
    }
}
