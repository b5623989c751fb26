//! What is exported: the one list of metrics.
//!
//! OTLP points, Prometheus families and the reference in docs/metrics.md are all made from [`GROUPS`], so they cannot
//! disagree. `KCTX_WRITE_DOCS=1 cargo test -p kctx --lib metric::reference` writes the reference.

mod kernel;
mod own;
#[cfg(test)]
mod queried;
#[cfg(test)]
mod reference;
mod tasks;

use super::cumulative::Cumulative;
use super::exponential::ExponentialHistogram;
use super::series::SeriesSet;

/// A metric.
#[derive(Debug)]
pub struct Metric {
    /// Its name in OTLP.
    pub name: &'static str,
    /// What its points are.
    pub kind: Kind,
    /// Its unit, as UCUM has it.
    pub unit: &'static str,
    /// One sentence that travels with it.
    pub description: &'static str,
    /// What has to be known to read it; may be empty.
    pub meaning: &'static str,
    /// What tells its series apart.
    pub attributes: &'static [&'static Attribute],
    /// Where it comes from: probes by their names, files by their paths.
    pub sources: &'static [&'static str],
    /// What bounds the number of its series, beside `max_series`.
    pub cardinality: &'static str,
    /// Its series in the state.
    pub series: fn(&Cumulative) -> SeriesOf<'_>,
}

/// What a metric's points are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Durations by how long they were.
    Histogram,
    /// A sum that only grows.
    Counter,
    /// A sum that also falls.
    UpDownCounter,
    /// A state.
    Gauge,
}

impl Kind {
    /// As people call it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Histogram => "histogram",
            Self::Counter => "counter",
            Self::UpDownCounter => "up-down counter",
            Self::Gauge => "gauge",
        }
    }
}

/// What a series may be told apart by.
#[derive(Debug)]
pub struct Attribute {
    /// Its key in OTLP.
    pub key: &'static str,
    /// Which values it has, or where it is there.
    pub values: &'static str,
}

/// The series of a metric, by what their values are.
#[derive(Clone, Copy, Debug)]
pub enum SeriesOf<'a> {
    /// Histograms of durations.
    Durations(&'a SeriesSet<ExponentialHistogram>),
    /// Whole numbers.
    Count(&'a SeriesSet<u64>),
    /// Nanoseconds that are handed out in seconds.
    Seconds(&'a SeriesSet<u64>),
}

/// Metrics of one part of the kernel, or of kctx.
#[derive(Debug)]
pub struct Group {
    /// Its heading in the reference.
    pub title: &'static str,
    /// Its metrics.
    pub metrics: &'static [Metric],
}

/// All metrics, by group.
pub static GROUPS: [Group; 7] = [
    kernel::SOFTIRQ,
    kernel::HARDIRQ,
    tasks::DEFERRED,
    tasks::NAPI,
    tasks::KTHREAD,
    kernel::EVENTS,
    own::KCTX,
];

/// All metrics.
pub fn metrics() -> impl Iterator<Item = &'static Metric> {
    GROUPS.iter().flat_map(|group| group.metrics)
}

static CPU: Attribute = Attribute {
    key: "cpu.logical_number",
    values: "CPU number; not there where `[otlp] per_cpu` is false",
};

/// In the row that takes what [`Limits::max_series`](super::cumulative::Limits) kept out; on any metric.
pub static OVERFLOW: Attribute = Attribute {
    key: "otel.metric.overflow",
    values: "`true`, and no other attribute, of what `[otlp] max_series` or a row limit kept out; on any metric",
};

#[cfg(test)]
mod tests;
