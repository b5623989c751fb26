//! Expositions read back, by the formats' own rules.

use std::collections::{BTreeMap, BTreeSet};

use prost::Message as _;

use super::model::{Histogram, MetricFamily, MetricType};
use crate::export::testing::Native;

/// Each sample by its name and labels, sorted.
pub(super) type Samples = BTreeMap<(String, BTreeMap<String, String>), f64>;

/// Reads a text exposition; panics where it is none.
///
/// Rules: prometheus.io "Exposition formats" (text 0.0.4), OpenMetrics 1.0.0 (RFC draft, "Text format").
pub(super) fn text(text: &str, open_metrics: bool) -> Samples {
    let mut samples = Samples::new();
    let mut done = BTreeSet::new();
    let mut family = (String::new(), String::new());
    let mut lines = text.split('\n').peekable();
    let mut ended = false;
    while let Some(line) = lines.next() {
        if line.is_empty() && lines.peek().is_none() {
            break;
        }
        assert!(!ended, "after the end: {line}");
        assert!(!line.contains('\r') && !line.is_empty(), "{line:?}");
        if line == "# EOF" {
            assert!(open_metrics);
            ended = true;
            continue;
        }
        let Some(comment) = line.strip_prefix("# ") else {
            let (name, labels, value) = sample(line);
            check_sample(&name, &labels, &family, open_metrics);
            let known = samples.insert((name, labels), value);
            assert!(known.is_none(), "twice: {line}");
            continue;
        };
        let mut words = comment.splitn(3, ' ');
        let (keyword, name, rest) = (words.next().unwrap(), words.next().unwrap(), words.next());
        match keyword {
            "HELP" => {
                assert!(
                    done.insert(name.to_owned()),
                    "a family in two parts: {name}"
                );
                family = (name.to_owned(), String::new());
                check_escapes(rest.unwrap(), open_metrics);
            }
            "TYPE" => {
                assert_eq!(name, family.0);
                rest.unwrap().clone_into(&mut family.1);
                let known = ["counter", "gauge", "histogram"].contains(&rest.unwrap());
                assert!(known || open_metrics && rest == Some("info"), "{line}");
            }
            "UNIT" => {
                assert!(open_metrics && name == family.0, "{line}");
                assert!(name.ends_with(&format!("_{}", rest.unwrap())), "{line}");
            }
            _ => panic!("{line}"),
        }
    }
    assert!(text.ends_with('\n'));
    assert_eq!(ended, open_metrics);
    check_histograms(&samples);
    samples
}

fn check_sample(
    name: &str,
    labels: &BTreeMap<String, String>,
    family: &(String, String),
    open: bool,
) {
    let suffix = name
        .strip_prefix(&*family.0)
        .unwrap_or_else(|| panic!("{name} in {family:?}"));
    let allowed: &[&str] = match (family.1.as_str(), open) {
        ("counter", true) => &["_total"],
        ("histogram", _) => &["_bucket", "_sum", "_count"],
        ("info", true) => &["_info"],
        ("counter" | "gauge", _) => &[""],
        _ => panic!("{name} in {family:?}"),
    };
    assert!(allowed.contains(&suffix), "{name} in {family:?}");
    assert_eq!(labels.contains_key("le"), suffix == "_bucket", "{name}");
    if family.1 == "counter" {
        assert!(name.ends_with("_total"), "{name}");
    }
}

/// A text with only the escapes that it may have.
fn check_escapes(text: &str, quotes: bool) {
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => assert!(matches!(chars.next(), Some('\\' | 'n' | '"')), "{text}"),
            '"' => assert!(!quotes, "{text}"),
            _ => {}
        }
    }
}

fn sample(line: &str) -> (String, BTreeMap<String, String>, f64) {
    let name_end = line.find(['{', ' ']).unwrap();
    let name = &line[..name_end];
    assert!(is_name(name), "{line}");
    let mut labels = BTreeMap::new();
    let mut rest = &line[name_end..];
    if let Some(inner) = rest.strip_prefix('{') {
        rest = inner;
        loop {
            let (label, after) = rest.split_once("=\"").unwrap();
            assert!(is_name(label) && !label.contains(':'), "{line}");
            let (value, after) = quoted(after);
            assert!(labels.insert(label.to_owned(), value).is_none(), "{line}");
            if let Some(after) = after.strip_prefix('}') {
                rest = after;
                break;
            }
            rest = after.strip_prefix(',').unwrap();
        }
    }
    let value = rest.strip_prefix(' ').unwrap();
    assert!(!value.contains(' '), "no timestamps: {line}");
    (
        name.to_owned(),
        labels,
        value.replace("Inf", "inf").parse().unwrap(),
    )
}

/// What is up to the closing quote, and what is after it.
fn quoted(text: &str) -> (String, &str) {
    let mut value = String::new();
    let mut chars = text.char_indices();
    loop {
        match chars.next().unwrap() {
            (at, '"') => return (value, &text[at + 1..]),
            (_, '\\') => value.push(match chars.next().unwrap().1 {
                'n' => '\n',
                c @ ('\\' | '"') => c,
                c => panic!("escaped {c:?} in {text:?}"),
            }),
            (_, c) => value.push(c),
        }
    }
}

fn is_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// Buckets are cumulative, and the last is the count.
fn check_histograms(samples: &Samples) {
    let mut buckets: BTreeMap<_, Vec<(f64, f64)>> = BTreeMap::new();
    for ((name, labels), value) in samples {
        if let Some(family) = name.strip_suffix("_bucket") {
            let mut labels = labels.clone();
            let le: f64 = labels
                .remove("le")
                .unwrap()
                .replace("Inf", "inf")
                .parse()
                .unwrap();
            buckets
                .entry((family.to_owned(), labels))
                .or_default()
                .push((le, *value));
        }
    }
    for ((family, labels), mut buckets) in buckets {
        buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
        assert!(
            buckets.windows(2).all(|pair| pair[0].1 <= pair[1].1),
            "{family} {labels:?}"
        );
        let last = buckets.last().unwrap();
        let count = samples[&(format!("{family}_count"), labels.clone())];
        assert_eq!(*last, (f64::INFINITY, count), "{family} {labels:?}");
        assert!(samples.contains_key(&(format!("{family}_sum"), labels)));
    }
}

/// Reads a protobuf exposition.
pub(super) fn protobuf(mut bytes: &[u8]) -> Vec<MetricFamily> {
    let mut families = Vec::new();
    while !bytes.is_empty() {
        families.push(MetricFamily::decode_length_delimited(&mut bytes).unwrap());
    }
    families
}

/// The samples that Prometheus makes of it without native histograms.
pub(super) fn samples(families: &[MetricFamily]) -> Samples {
    let mut samples = Samples::new();
    let mut done = BTreeSet::new();
    for family in families {
        let name = family.name();
        assert!(is_name(name) && done.insert(name.to_owned()), "{name}");
        assert!(
            !family.help().is_empty() && !family.metric.is_empty(),
            "{name}"
        );
        if !family.unit().is_empty() {
            // The parser refuses a unit that the name does not end in (prometheus model/textparse/protobufparse.go).
            let stem = name.strip_suffix("_total").unwrap_or(name);
            assert!(stem.ends_with(&format!("_{}", family.unit())), "{name}");
        }
        for metric in &family.metric {
            let mut labels = BTreeMap::new();
            for pair in &metric.label {
                assert!(is_name(pair.name()));
                let known = labels.insert(pair.name().to_owned(), pair.value().to_owned());
                assert!(known.is_none());
            }
            let mut add = |suffix: &str, labels: &BTreeMap<String, String>, value| {
                let known = samples.insert((format!("{name}{suffix}"), labels.clone()), value);
                assert!(known.is_none(), "{name} {labels:?}");
            };
            match family.r#type() {
                MetricType::Counter => add("", &labels, metric.counter.unwrap().value()),
                MetricType::Gauge => add("", &labels, metric.gauge.unwrap().value()),
                MetricType::Histogram => {
                    let histogram = metric.histogram.as_ref().unwrap();
                    add("_count", &labels, histogram.sample_count() as f64);
                    add("_sum", &labels, histogram.sample_sum());
                    for bucket in &histogram.bucket {
                        let mut labels = labels.clone();
                        labels.insert("le".to_owned(), le(bucket.upper_bound()));
                        add("_bucket", &labels, bucket.cumulative_count() as f64);
                    }
                }
                other => panic!("{other:?}"),
            }
        }
    }
    check_histograms(&samples);
    samples
}

/// As Prometheus writes it (`formatOpenMetricsFloat`, model/textparse/protobufparse.go).
fn le(bound: f64) -> String {
    let text = super::text::number(bound);
    let whole = bound.is_finite() && !text.contains(['.', 'e']);
    if whole { format!("{text}.0") } else { text }
}

/// A histogram as Prometheus holds it.
pub(super) fn native(histogram: &Histogram) -> Native {
    let buckets = native_buckets(histogram).into_iter();
    Native {
        count: histogram.sample_count(),
        schema: histogram.schema(),
        zero_threshold: histogram.zero_threshold(),
        zero_count: histogram.zero_count(),
        buckets: buckets
            .filter(|(_, count)| *count > 0)
            .map(|(index, count)| (index, count as u64))
            .collect(),
    }
}

/// Absolute counts of the native buckets by Prometheus' index, empty ones too
/// (model/histogram/histogram.go, `PositiveBucketIterator`).
pub(super) fn native_buckets(histogram: &Histogram) -> BTreeMap<i32, i64> {
    let mut buckets = BTreeMap::new();
    let mut deltas = histogram.positive_delta.iter();
    let (mut index, mut count) = (0, 0);
    for span in &histogram.positive_span {
        index += span.offset();
        for _ in 0..span.length() {
            count += deltas.next().expect("a delta for each bucket");
            assert!(count >= 0);
            assert!(buckets.insert(index, count).is_none());
            index += 1;
        }
    }
    assert_eq!(deltas.next(), None, "a bucket for each delta");
    buckets
}
