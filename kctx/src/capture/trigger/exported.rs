//! A figure out of what a window adds to an exported metric.
//!
//! Series that match are taken together: durations and counts are added up, of states it is the highest.

use serde::Deserialize;

use super::{figure::WAITS, unit::Unit};
use crate::export::{
    attributes::{Attributes, Value},
    cumulative::Cumulative,
    exponential::ExponentialHistogram,
    metric::{Kind, Metric, Place, SeriesOf, metrics},
};

/// Buckets of several series' durations together.
const BUCKETS: usize = 1280;

/// What is taken of a metric's points.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Of {
    /// The median.
    P50,
    /// The 99th percentile, of 100 durations or more.
    P99,
    /// The highest.
    Max,
    /// How many durations.
    Count,
    /// All of them, or all that was counted.
    Sum,
    /// How many in a second; of a count of time: how many seconds in one.
    Rate,
    /// What holds at the window's end.
    Value,
}

/// What it is a rule about.
#[derive(Clone, Debug)]
pub struct Exported {
    metric: &'static Metric,
    /// What the series' attributes have to be, by their keys.
    filter: Vec<(&'static str, String)>,
    of: Of,
}

impl PartialEq for Exported {
    fn eq(&self, other: &Self) -> bool {
        let key = |one: &Self| (one.metric.name, one.of);
        key(self) == key(other) && self.filter == other.filter
    }
}

impl Eq for Exported {}

impl Of {
    fn as_str(self) -> &'static str {
        match self {
            Self::P50 => "p50",
            Self::P99 => "p99",
            Self::Max => "max",
            Self::Count => "count",
            Self::Sum => "sum",
            Self::Rate => "rate",
            Self::Value => "value",
        }
    }

    fn allowed(kind: Kind) -> &'static [Self] {
        match kind {
            Kind::Histogram => &[
                Self::P50,
                Self::P99,
                Self::Max,
                Self::Count,
                Self::Sum,
                Self::Rate,
            ],
            Kind::Counter | Kind::ObservedCounter => &[Self::Sum, Self::Rate],
            Kind::UpDownCounter | Kind::Gauge => &[Self::Value],
        }
    }
}

impl Exported {
    /// From the configuration's words.
    ///
    /// # Errors
    /// Where there is no such metric, or it has no such attribute or nothing of that kind: one line that says what it has.
    pub fn new<'a>(
        name: &str,
        filter: impl Iterator<Item = (&'a str, String)>,
        of: Option<Of>,
    ) -> Result<Self, String> {
        let metric = metrics().find(|metric| metric.name == name);
        let metric = metric.ok_or_else(|| unknown(name))?;
        let filter = filter.map(|(key, value)| condition(metric, key, value));
        let allowed = Of::allowed(metric.kind);
        let has = || {
            let words: Vec<_> = allowed.iter().map(|of| of.as_str()).collect();
            format!("{name} is a {}: {}", metric.kind.as_str(), words.join(", "))
        };
        let of = of.ok_or_else(|| format!("it needs of = {:?}; {}", allowed[0].as_str(), has()))?;
        if !allowed.contains(&of) {
            return Err(format!("there is no {:?}: {}", of.as_str(), has()));
        }
        Ok(Self {
            metric,
            filter: filter.collect::<Result<_, _>>()?,
            of,
        })
    }

    /// Which metric.
    #[must_use]
    pub fn metric(&self) -> &'static Metric {
        self.metric
    }

    /// Whether it is about some CPU alone.
    #[must_use]
    pub fn is_of_a_cpu(&self) -> bool {
        self.filter
            .iter()
            .any(|(key, _)| *key == "cpu.logical_number")
    }

    /// What it is counted in.
    #[must_use]
    pub fn unit(&self) -> Unit {
        let bytes = self.metric.unit == "By";
        match (self.metric.place, self.of) {
            (Place::Durations(..), Of::Count) => Unit::Number,
            (Place::Durations(..), Of::Rate) => Unit::Rate,
            (Place::Durations(..), _) => Unit::Time,
            (Place::Seconds(..), Of::Rate) => Unit::CpuTime,
            (Place::Seconds(..), _) => Unit::Time,
            (Place::Millionths(..), _) => Unit::Share,
            (Place::Count(..), Of::Rate) if bytes => Unit::ByteRate,
            (Place::Count(..), Of::Rate) => Unit::Rate,
            (Place::Count(..), _) if bytes => Unit::Bytes,
            (Place::Count(..), _) => Unit::Number,
        }
    }

    /// For people.
    #[must_use]
    pub fn words(&self) -> String {
        let of = match self.of {
            Of::P50 => "the median of",
            Of::P99 => "the 99th percentile of",
            Of::Max => "the highest of",
            Of::Count => "the number of durations in a window of",
            Of::Sum => "the sum in a window of",
            Of::Rate => "the rate of",
            Of::Value => "the value of",
        };
        let mut words = format!("{of} {}", self.metric.name);
        for (i, (key, value)) in self.filter.iter().enumerate() {
            let join = if i == 0 { "where" } else { "and" };
            words += &format!(" {join} {key} is {value}");
        }
        words
    }

    /// In a window of that length; `None` where there is nothing to read.
    #[must_use]
    pub fn read(&self, window: &Cumulative, duration_ns: u64) -> Option<u64> {
        let rate = |count: u64, unit: u128| {
            let rate = u128::from(count) * unit / u128::from(duration_ns.max(1));
            u64::try_from(rate).unwrap_or(u64::MAX)
        };
        match self.metric.series(window) {
            SeriesOf::Durations(set) => {
                let mut all = ExponentialHistogram::new(BUCKETS);
                for (_, series) in set.iter().filter(|(attributes, _)| self.is_met(attributes)) {
                    all.merge(&series.value);
                }
                match self.of {
                    Of::P50 => (all.count() > 0).then(|| all.quantile_ns(0.5)),
                    Of::P99 => (all.count() >= WAITS).then(|| all.quantile_ns(0.99)),
                    Of::Max => (all.count() > 0).then(|| all.max_ns()),
                    Of::Count => Some(all.count()),
                    Of::Sum => Some(all.sum_ns()),
                    Of::Rate => Some(rate(all.count(), 1_000_000_000)),
                    Of::Value => None,
                }
            }
            SeriesOf::Count(set) | SeriesOf::Seconds(set) | SeriesOf::Millionths(set) => {
                let matching = set.iter().filter(|(attributes, _)| self.is_met(attributes));
                let values = matching.map(|(_, series)| series.value);
                // Nanoseconds by nanoseconds are a part of a CPU, here in millionths.
                let second = match self.metric.place {
                    Place::Seconds(..) => 1_000_000,
                    _ => 1_000_000_000,
                };
                match self.of {
                    Of::Value => values.max(),
                    Of::Rate => Some(rate(values.fold(0, u64::saturating_add), second)),
                    _ => Some(values.fold(0, u64::saturating_add)),
                }
            }
        }
    }

    fn is_met(&self, attributes: &Attributes) -> bool {
        self.filter.iter().all(|(key, wanted)| {
            let found = attributes.iter().find(|(known, _)| known == key);
            found.is_some_and(|(_, value)| is(value, wanted))
        })
    }
}

fn is(value: &Value, wanted: &str) -> bool {
    match value {
        Value::Text(text) => **text == *wanted,
        Value::Static(text) => *text == wanted,
        Value::Int(number) => wanted.parse() == Ok(*number),
        Value::Bool(flag) => wanted.parse() == Ok(*flag),
    }
}

fn unknown(name: &str) -> String {
    // A name's beginning is what one remembers.
    let close = metrics().find(|metric| !name.is_empty() && metric.name.starts_with(name));
    let close = close.map_or(String::new(), |metric| format!(" (as {})", metric.name));
    format!("there is no metric {name:?}; docs/metrics.md lists them{close}")
}

fn condition(
    metric: &'static Metric,
    key: &str,
    value: String,
) -> Result<(&'static str, String), String> {
    let attribute = metric.attributes.iter().find(|known| known.key == key);
    let attribute = attribute.ok_or_else(|| {
        let keys: Vec<_> = metric.attributes.iter().map(|known| known.key).collect();
        let keys = if keys.is_empty() {
            "none".to_owned()
        } else {
            keys.join(", ")
        };
        format!("{} has no attribute {key:?}; it has {keys}", metric.name)
    })?;
    if let Some(values) = attribute.all_values()
        && !values.contains(&value.as_str())
    {
        return Err(format!(
            "{key} is never {value:?}; it is one of {}",
            values.join(", ")
        ));
    }
    Ok((attribute.key, value))
}

#[cfg(test)]
#[path = "exported_tests.rs"]
mod tests;
