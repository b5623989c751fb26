//! docs/prometheus and docs/collector: rules, their tests, and the example configurations.

use std::collections::BTreeSet;

use saphyr::{LoadableYamlNode as _, Yaml};

use super::{Exported, docs, read};

const ALERTS: &str = "prometheus/kctx.alerts.yml";
const RULES: &str = "prometheus/kctx.rules.yml";
const TESTS: &str = "prometheus/kctx_test.yml";
const RUNBOOKS: &str = "alerts.md";

struct Rule {
    /// Of a recording rule or of an alert.
    name: String,
    expression: String,
    /// Of an alert: everything else that it says, by key.
    details: Vec<(String, String)>,
}

impl Rule {
    fn detail(&self, key: &str) -> &str {
        let detail = self.details.iter().find(|(known, _)| known == key);
        detail.map_or("", |(_, value)| value)
    }
}

/// Runs `f` with the one document of a file.
fn with_document<T>(path: &str, f: impl FnOnce(&Yaml<'_>) -> T) -> T {
    let text = read(&docs(path));
    let documents = Yaml::load_from_str(&text).unwrap_or_else(|error| panic!("{path}: {error}"));
    assert_eq!(documents.len(), 1, "{path}");
    f(&documents[0])
}

fn items<'a, 'b>(of: &'a Yaml<'b>, key: &str) -> &'a [Yaml<'b>] {
    let items = of.as_mapping_get(key).and_then(Yaml::as_vec);
    items.map_or(&[], Vec::as_slice)
}

fn string(of: &Yaml<'_>, key: &str) -> String {
    let text = of.as_mapping_get(key).and_then(Yaml::as_str);
    text.unwrap_or_default().to_owned()
}

/// All rules of a file, which are `kind`: `record` or `alert`.
fn rules(path: &str, kind: &str) -> Vec<Rule> {
    with_document(path, |document| {
        let rules = items(document, "groups")
            .iter()
            .flat_map(|group| items(group, "rules"));
        let rules = rules.map(|rule| {
            let mut details = vec![("for".to_owned(), string(rule, "for"))];
            for part in ["labels", "annotations"] {
                let part = rule.as_mapping_get(part).and_then(Yaml::as_mapping);
                for (key, value) in part.into_iter().flatten() {
                    let text = |yaml: &Yaml<'_>| yaml.as_str().unwrap_or_default().to_owned();
                    details.push((text(key), text(value)));
                }
            }
            Rule {
                name: string(rule, kind),
                expression: string(rule, "expr"),
                details,
            }
        });
        rules.collect()
    })
}

fn recorded() -> BTreeSet<String> {
    let rules = rules(RULES, "record");
    let names: BTreeSet<_> = rules.iter().map(|rule| rule.name.clone()).collect();
    assert_eq!(names.len(), rules.len());
    names
}

#[test]
fn what_rules_ask_for_is_exported_or_recorded() {
    let exported = Exported::new();
    let recorded = recorded();
    let mut faults = Vec::new();
    for rule in rules(RULES, "record").iter().chain(&rules(ALERTS, "alert")) {
        for fault in exported.faults(&rule.expression, &recorded) {
            faults.push(format!("{}: {fault}", rule.name));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn alerts_say_how_bad_what_and_what_to_do() {
    let runbooks = read(&docs(RUNBOOKS));
    let alerts = rules(ALERTS, "alert");
    let names: BTreeSet<_> = alerts.iter().map(|alert| alert.name.as_str()).collect();
    assert_eq!(names.len(), alerts.len());
    for alert in &alerts {
        let name = &alert.name;
        assert!(name.starts_with("Kctx"), "{name}");
        assert!(!alert.detail("for").is_empty(), "{name}");
        let severity = alert.detail("severity");
        assert!(
            ["critical", "warning", "info"].contains(&severity),
            "{name}"
        );
        let (summary, description) = (alert.detail("summary"), alert.detail("description"));
        assert!(summary.contains("{{"), "{name}: of which host?");
        assert!(description.contains("{{"), "{name}: with which figures?");
        let runbook = format!("/docs/{RUNBOOKS}#{}", name.to_lowercase());
        assert!(alert.detail("runbook_url").ends_with(&runbook), "{name}");
        let heading = format!("\n### {name}\n");
        assert!(
            runbooks.contains(&heading),
            "{RUNBOOKS} says nothing of {name}"
        );
    }
    for heading in runbooks
        .lines()
        .filter_map(|line| line.strip_prefix("### "))
    {
        assert!(
            names.contains(heading),
            "{RUNBOOKS} has {heading}, which is no alert"
        );
    }
}

/// Labels in what alerts say are those of something that is exported, or of the host.
#[test]
fn alerts_speak_of_labels_that_there_are() {
    let exported = Exported::new();
    let labels: BTreeSet<_> = exported
        .labels
        .values()
        .flatten()
        .map(String::as_str)
        .collect();
    for alert in rules(ALERTS, "alert") {
        for (_, text) in &alert.details {
            for part in text.split("$labels.").skip(1) {
                let end = part.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
                let label = &part[..end.unwrap_or(part.len())];
                assert!(labels.contains(label), "{}: {label}", alert.name);
            }
        }
    }
}

/// promtool runs them; here it is said that there is one for each alert, where it fires.
#[test]
fn each_alert_is_tested() {
    let tested: BTreeSet<String> = with_document(TESTS, |document| {
        let tests = items(document, "tests").iter();
        let cases = tests.flat_map(|test| items(test, "alert_rule_test"));
        let firing = cases.filter(|case| !items(case, "exp_alerts").is_empty());
        firing.map(|case| string(case, "alertname")).collect()
    });
    let alerts: BTreeSet<String> = rules(ALERTS, "alert").into_iter().map(|a| a.name).collect();
    assert_eq!(tested, alerts);
}

/// Series of the tests that nobody exports would test nothing.
#[test]
fn series_of_the_tests_are_exported() {
    let exported = Exported::new();
    let mut seen = 0;
    with_document(TESTS, |document| {
        for test in items(document, "tests") {
            for series in items(test, "input_series") {
                let series = string(series, "series");
                let parsed = super::Expression::parse(&series).unwrap();
                let faults = exported.faults_of_selector(&parsed.selectors[0], &BTreeSet::new());
                assert!(faults.is_empty(), "{series}: {faults:?}");
                seen += 1;
            }
        }
    });
    assert!(seen > 0);
}

#[test]
fn examples_of_configurations_are_documents() {
    with_document("prometheus/prometheus.yml", |document| {
        assert_eq!(items(document, "scrape_configs").len(), 1);
        for file in items(document, "rule_files") {
            let file = format!("prometheus/{}", file.as_str().unwrap());
            assert!(docs(&file).is_file(), "{file}");
        }
    });
    with_document("collector/otelcol.yml", |document| {
        let service = document.as_mapping_get("service").unwrap();
        let pipeline = service.as_mapping_get("pipelines").unwrap();
        let pipeline = pipeline.as_mapping_get("metrics").unwrap();
        for kind in ["receivers", "processors", "exporters"] {
            let declared = document.as_mapping_get(kind).unwrap();
            assert!(!items(pipeline, kind).is_empty(), "{kind}");
            for component in items(pipeline, kind) {
                let name = component.as_str().unwrap();
                assert!(declared.as_mapping_get(name).is_some(), "{kind}: {name}");
            }
        }
    });
}
