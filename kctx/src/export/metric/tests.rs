use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::aggregate::accounting::FAMILIES;
use crate::export::series::SeriesSet;
use crate::probe::PROBES;

#[test]
fn each_metric_is_well_formed_and_there_once() {
    let names: BTreeSet<_> = metrics().map(|metric| metric.name).collect();
    assert_eq!(names.len(), metrics().count());
    for metric in metrics() {
        let name = metric.name;
        let legal = |c: char| c.is_ascii_lowercase() || matches!(c, '.' | '_');
        assert!(name.chars().all(legal), "{name}");
        assert!(
            name.starts_with("kctx.") || name.starts_with("otel.sdk."),
            "{name}"
        );
        // Naming rules of the semantic conventions: units and totals are no part of the name.
        assert!(
            !name.contains("total") && !name.contains("seconds"),
            "{name}"
        );
        assert!(metric.description.ends_with('.'), "{name}");
        assert!(!metric.description.contains('\n'), "{name}");
        assert!(
            metric.meaning.is_empty() || metric.meaning.ends_with('.'),
            "{name}"
        );
        // A gauge of 0 and 1 in unit 1 would be called a ratio by Prometheus.
        let unit = metric.unit;
        assert!(
            unit == "s"
                || unit == "By"
                || unit == "1" && name.ends_with(".utilization")
                || unit.starts_with('{') && unit.ends_with('}'),
            "{name}: {unit}"
        );
        let durations = matches!(metric.series(&empty()), SeriesOf::Durations(_));
        assert_eq!(durations, metric.kind == Kind::Histogram, "{name}");
        assert!(!durations || name.ends_with(".duration"), "{name}");
    }
}

/// A source that looks like a probe's name is one; that of a group is of one.
#[test]
fn sources_are_probes() {
    for metric in metrics() {
        for source in metric.sources {
            let known = match source.split_once(':') {
                Some(_) => PROBES.iter().any(|probe| probe.name() == *source),
                None => {
                    source.contains([' ', '/']) || PROBES.iter().any(|probe| probe.group == *source)
                }
            };
            assert!(known, "{}: {source}", metric.name);
        }
    }
}

fn empty() -> Cumulative {
    Cumulative::new(crate::export::testing::LIMITS)
}

/// Attribute keys of all series, by metric.
fn keys(state: &Cumulative) -> BTreeMap<&'static str, BTreeSet<&'static str>> {
    fn of<T>(set: &SeriesSet<T>) -> BTreeSet<&'static str> {
        (set.iter())
            .flat_map(|(attributes, _)| attributes.iter().map(|(key, _)| key))
            .collect()
    }
    let keys = metrics().map(|metric| {
        let keys = match metric.series(state) {
            SeriesOf::Durations(set) => of(set),
            SeriesOf::Count(set) | SeriesOf::Seconds(set) | SeriesOf::Millionths(set) => of(set),
        };
        (metric.name, keys)
    });
    keys.collect()
}

#[test]
fn every_series_has_the_attributes_that_are_listed_and_no_others() {
    assert_eq!(FAMILIES, 8);
    let mut state = empty();
    crate::export::testing::fold_everything(&mut state);
    for (name, mut seen) in keys(&state) {
        let metric = metrics().find(|metric| metric.name == name).unwrap();
        assert!(
            !seen.is_empty() || metric.attributes.is_empty(),
            "nothing made a series of {name}"
        );
        seen.remove(OVERFLOW.key);
        let listed: BTreeSet<_> = metric.attributes.iter().map(|a| a.key).collect();
        assert_eq!(seen, listed, "{name}");
    }
}

#[test]
fn values_are_known_where_the_list_of_them_is_whole() {
    let attribute = |key: &str| {
        let mut all = metrics().flat_map(|metric| metric.attributes);
        all.find(|attribute| attribute.key == key).unwrap()
    };
    let vectors = attribute("kctx.softirq.vector").all_values().unwrap();
    assert_eq!(vectors, crate::resolve::SOFTIRQ_VECTORS);
    let levels = attribute("kctx.kernel.log.level").all_values().unwrap();
    assert_eq!(levels, crate::host::kmsg::LEVEL_NAMES);
    for open in [
        "kctx.softirq.context",
        "cpu.logical_number",
        "kctx.irq.name",
    ] {
        assert_eq!(attribute(open).all_values(), None, "{open}");
    }
}
