//! What is exported: the one list of metrics.
//!
//! OTLP points, Prometheus families and the reference in docs/metrics.md are all made from [`GROUPS`], so they cannot
//! disagree. `KCTX_WRITE_DOCS=1 cargo test -p kctx --lib metric::reference` writes the reference.

#[macro_use]
mod place;

mod kernel;
mod own;
#[cfg(test)]
mod queried;
#[cfg(test)]
mod reference;
mod selection;
mod tasks;

use super::cumulative::Cumulative;

pub use place::{Place, SeriesMut, SeriesOf};
pub use selection::{OWN, Selection, UnknownName};

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
    /// Where its series are in the state.
    pub place: Place,
}

impl Metric {
    /// Whether it says what holds, not how much there was.
    #[must_use]
    pub fn is_state(&self) -> bool {
        matches!(self.kind, Kind::UpDownCounter | Kind::Gauge)
    }

    /// Its series.
    #[must_use]
    pub fn series<'a>(&self, state: &'a Cumulative) -> SeriesOf<'a> {
        self.place.of(state)
    }

    /// Its series, to be changed.
    pub(super) fn series_mut<'a>(&self, state: &'a mut Cumulative) -> SeriesMut<'a> {
        self.place.of_mut(state)
    }
}

/// What a metric's points are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Durations by how long they were.
    Histogram,
    /// A sum that only grows, of what is seen to happen.
    Counter,
    /// A sum that only grows, read as a total from where it is kept (an asynchronous counter of OpenTelemetry).
    ObservedCounter,
    /// A sum that also falls.
    UpDownCounter,
    /// A state.
    Gauge,
}

impl Kind {
    /// Whether it is a sum that only grows.
    #[must_use]
    pub fn is_counter(self) -> bool {
        matches!(self, Self::Counter | Self::ObservedCounter)
    }

    /// As people call it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Histogram => "histogram",
            Self::Counter | Self::ObservedCounter => "counter",
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

impl Attribute {
    /// Its values, where `values` is a list of all of them and nothing else.
    #[must_use]
    pub fn all_values(&self) -> Option<Vec<&'static str>> {
        let parts = self.values.split(", ");
        let value = |part: &'static str| part.strip_prefix('`')?.strip_suffix('`');
        parts.map(value).collect()
    }
}

/// Metrics of one part of the kernel, or of kctx.
#[derive(Debug)]
pub struct Group {
    /// What `[export] families` calls it.
    pub family: &'static str,
    /// Its heading in the reference.
    pub title: &'static str,
    /// Its metrics.
    pub metrics: &'static [Metric],
}

/// All metrics, by group.
pub static GROUPS: [Group; 11] = [
    kernel::SOFTIRQ,
    kernel::CPU_TIME,
    kernel::HARDIRQ,
    tasks::TASKLET,
    tasks::WORKQUEUE,
    tasks::NAPI,
    tasks::KTHREAD,
    kernel::MODULE,
    kernel::TAINT,
    kernel::LOG,
    own::KCTX,
];

/// All metrics.
pub fn metrics() -> impl Iterator<Item = &'static Metric> {
    GROUPS.iter().flat_map(|group| group.metrics)
}

static CPU: Attribute = Attribute {
    key: "cpu.logical_number",
    values: "CPU number; not there where CPUs are summed up (`[export] per_cpu`)",
};

/// In the row that takes what [`Limits::max_series`](super::cumulative::Limits) kept out; on any metric.
pub static OVERFLOW: Attribute = Attribute {
    key: "otel.metric.overflow",
    values: "`true`, and no other attribute, of what `[export] max_series` or a row limit kept out; on any metric",
};

#[cfg(test)]
mod tests;
