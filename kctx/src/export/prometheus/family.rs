//! The totals as families of samples: what every format writes.

use std::borrow::Cow;
use std::io;

use super::name;
use crate::export::attributes::{Attributes, Value};
use crate::export::cumulative::Cumulative;
use crate::export::exponential::ExponentialHistogram;
use crate::export::metric::{self, Kind, SeriesOf};
use crate::export::resource::Resource;
use crate::export::series::Series;

/// What the resource's attributes are labels of.
pub const TARGET: &str = "target";

/// The head of a family.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Family {
    /// With its unit, without `_total` or `_info`.
    pub name: String,
    /// One sentence.
    pub help: &'static str,
    /// What its samples are.
    pub kind: FamilyKind,
    /// The unit's word, which the name ends in; or empty.
    pub unit: &'static str,
}

/// What a family's samples are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FamilyKind {
    /// Only grows.
    Counter,
    /// A state; up-down counters too.
    Gauge,
    /// Durations.
    Histogram,
    /// Labels, with the value 1.
    Info,
}

/// A sample's labels, in order; no name twice.
pub type Labels<'a> = Vec<(Cow<'a, str>, Cow<'a, str>)>;

/// What a sample is worth.
#[derive(Clone, Copy, Debug)]
pub enum Sample<'a> {
    /// A whole number.
    Count(u64),
    /// Seconds, or a part of one.
    Real(f64),
    /// Durations.
    Durations(&'a ExponentialHistogram),
}

/// One of the formats.
pub trait Format {
    /// Begins a family.
    fn family(&mut self, family: &Family, out: &mut dyn io::Write) -> io::Result<()>;
    /// Adds a sample of the family begun last, which counts from `start_unix_ns`.
    fn sample(
        &mut self,
        labels: &Labels<'_>,
        start_unix_ns: u64,
        sample: Sample<'_>,
        out: &mut dyn io::Write,
    ) -> io::Result<()>;
    /// Ends the exposition.
    fn end(&mut self, out: &mut dyn io::Write) -> io::Result<()>;
}

/// Writes all families that have samples.
pub fn write(
    state: &Cumulative,
    resource: &Resource,
    format: &mut dyn Format,
    out: &mut dyn io::Write,
) -> io::Result<()> {
    for metric in state.limits.selection.metrics() {
        write_metric(metric, state, format, out)?;
    }
    let target = Family {
        name: TARGET.to_owned(),
        help: "Target metadata: where kctx runs.",
        kind: FamilyKind::Info,
        unit: "",
    };
    format.family(&target, out)?;
    let attributes = (resource.iter()).map(|(key, value)| (key, Cow::Borrowed(value)));
    format.sample(&labels(attributes), 0, Sample::Count(1), out)?;
    format.end(out)
}

fn write_metric(
    metric: &metric::Metric,
    state: &Cumulative,
    format: &mut dyn Format,
    out: &mut dyn io::Write,
) -> io::Result<()> {
    let family = Family {
        name: name::family(metric),
        help: metric.description,
        kind: match metric.kind {
            Kind::Histogram => FamilyKind::Histogram,
            Kind::Counter | Kind::ObservedCounter => FamilyKind::Counter,
            Kind::UpDownCounter | Kind::Gauge => FamilyKind::Gauge,
        },
        unit: name::unit(metric),
    };
    match metric.series(state) {
        SeriesOf::Durations(set) => samples(&family, set.iter(), Sample::Durations, format, out),
        SeriesOf::Count(set) => samples(&family, set.iter(), |n| Sample::Count(*n), format, out),
        SeriesOf::Seconds(set) => {
            let seconds = |ns: &u64| Sample::Real(*ns as f64 / 1e9);
            samples(&family, set.iter(), seconds, format, out)
        }
        SeriesOf::Millionths(set) => {
            let part = |ppm: &u64| Sample::Real(*ppm as f64 / 1e6);
            samples(&family, set.iter(), part, format, out)
        }
    }
}

fn samples<'a, T: 'a>(
    family: &Family,
    series: impl Iterator<Item = (&'a Attributes, &'a Series<T>)>,
    sample: impl Fn(&'a T) -> Sample<'a>,
    format: &mut dyn Format,
    out: &mut dyn io::Write,
) -> io::Result<()> {
    let mut begun = false;
    for (attributes, series) in series {
        if !begun {
            format.family(family, out)?;
            begun = true;
        }
        let labels = labels(attributes.iter().map(|(key, value)| (key, text(value))));
        format.sample(&labels, series.start_unix_ns, sample(&series.value), out)?;
    }
    Ok(())
}

fn text(value: &Value) -> Cow<'_, str> {
    match value {
        Value::Text(text) => Cow::Borrowed(text),
        Value::Static(text) => Cow::Borrowed(text),
        Value::Int(number) => Cow::Owned(number.to_string()),
        Value::Bool(flag) => Cow::Borrowed(if *flag { "true" } else { "false" }),
    }
}

/// Keys that become the same name are one label, with their values joined by `;`, as the OTLP receiver does.
fn labels<'a>(attributes: impl Iterator<Item = (&'a str, Cow<'a, str>)>) -> Labels<'a> {
    let mut labels: Labels<'a> = Vec::new();
    for (key, value) in attributes {
        let name = name::label(key);
        match labels.iter_mut().find(|(known, _)| *known == name) {
            Some((_, joined)) => {
                joined.to_mut().push(';');
                joined.to_mut().push_str(&value);
            }
            None => labels.push((name, value)),
        }
    }
    labels
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_become_one_name_are_one_label() {
        let attributes = [("a.b", "1"), ("c", "2"), ("a-b", "3")];
        let labels = labels(attributes.into_iter().map(|(k, v)| (k, Cow::Borrowed(v))));
        let labels: Vec<_> = labels.iter().map(|(k, v)| (&**k, &**v)).collect();
        assert_eq!(labels, [("a_b", "1;3"), ("c", "2")]);
    }
}
