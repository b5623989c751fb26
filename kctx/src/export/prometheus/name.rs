//! OTLP names as Prometheus has them: what its OTLP receiver does by default (`UnderscoreEscapingWithSuffixes`).
//!
//! Source: prometheus/otlptranslator `metric_namer.go`, `label_namer.go` (v1.0); OpenTelemetry specification,
//! "Prometheus and OpenMetrics Compatibility".

use std::borrow::Cow;

use crate::export::metric::{Kind, Metric};

/// What the suffix of a counter's samples is.
pub const TOTAL: &str = "_total";

/// The unit's word in a name; empty where it has none: `{packet}` says what is counted, not in what.
#[must_use]
pub fn unit(metric: &Metric) -> &'static str {
    match metric.unit {
        "s" => "seconds",
        "By" => "bytes",
        "1" if metric.kind == Kind::Gauge => "ratio",
        _ => "",
    }
}

/// The family's name: the metric's with its unit, without `_total`.
#[must_use]
pub fn family(metric: &Metric) -> String {
    let mut name = metric.name.replace(|c: char| !is_legal(c), "_");
    let unit = unit(metric);
    if !unit.is_empty() && !name.ends_with(&format!("_{unit}")) {
        name.push('_');
        name.push_str(unit);
    }
    name
}

/// The name to query: the family's, with `_total` where it is a counter.
#[must_use]
pub fn query(metric: &Metric) -> String {
    let mut name = family(metric);
    if metric.kind.is_counter() {
        name.push_str(TOTAL);
    }
    name
}

/// An attribute's key as a label's name. Like the receiver: a leading digit gets `key_`, a leading underscore `key`.
#[must_use]
pub fn label(key: &str) -> Cow<'_, str> {
    if !key.is_empty()
        && key.chars().all(is_legal)
        && key.starts_with(|c: char| c.is_ascii_alphabetic())
    {
        return Cow::Borrowed(key);
    }
    let name = key.replace(|c: char| !is_legal(c), "_");
    Cow::Owned(match name.chars().next() {
        Some('0'..='9') => format!("key_{name}"),
        // Names with two underscores are Prometheus' own.
        Some('_') => format!("key{name}"),
        None => "key".to_owned(),
        _ => name,
    })
}

fn is_legal(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::export::metric::metrics;

    #[test]
    fn names_are_those_of_the_otlp_receiver() {
        for (otlp, prometheus) in [
            ("kctx.softirq.duration", "kctx_softirq_duration_seconds"),
            (
                "kctx.cpu.context.time",
                "kctx_cpu_context_time_seconds_total",
            ),
            ("kctx.hardirq.unhandled", "kctx_hardirq_unhandled_total"),
            ("kctx.records", "kctx_records_total"),
            ("kctx.kernel.taint", "kctx_kernel_taint"),
            ("kctx.probe.attached", "kctx_probe_attached"),
            (
                "kctx.governor.limited.since",
                "kctx_governor_limited_since_seconds",
            ),
            (
                "otel.sdk.exporter.metric_data_point.exported",
                "otel_sdk_exporter_metric_data_point_exported_total",
            ),
        ] {
            let metric = metrics().find(|metric| metric.name == otlp).unwrap();
            assert_eq!(query(metric), prometheus);
        }
    }

    #[test]
    fn labels_are_legal_whatever_the_key() {
        for (key, name) in [
            ("kctx.softirq.vector", "kctx_softirq_vector"),
            ("plain", "plain"),
            ("9lives", "key_9lives"),
            ("_hidden", "key_hidden"),
            ("__name__", "key__name__"),
            ("grün/blau", "gr_n_blau"),
            ("", "key"),
        ] {
            assert_eq!(label(key), name);
        }
    }
}
