//! What was counted since an export took it last: delta temporality.
//!
//! Counts of an interval begin where those of the one before ended that was taken, whatever became of that: no moment is in
//! two of them, and none in neither. An interval that was taken in vain can be put back.

use std::fmt;
use std::str::FromStr;

use super::cumulative::{Cumulative, Limits};
use super::metric::{Kind, Metric, SeriesMut};
use super::rows::{add_all, merge_all};
use super::series::SeriesSet;
use crate::aggregate::window::Window;

/// What counts since the last export, and what since the start of its series (OTLP metrics exporter specification,
/// "Additional environment variable configuration").
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(try_from = "String")]
pub enum Temporality {
    /// All since the start of their series.
    #[default]
    Cumulative,
    /// Counters and histograms since the last export.
    Delta,
    /// The same without the counters that are read as totals from where they are kept.
    LowMemory,
}

impl Temporality {
    /// As the specification calls it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cumulative => "cumulative",
            Self::Delta => "delta",
            Self::LowMemory => "lowmemory",
        }
    }

    /// Whether what is of that kind counts since the last export. What also falls does so never.
    #[must_use]
    pub fn is_delta(self, kind: Kind) -> bool {
        match kind {
            Kind::Histogram | Kind::Counter => self != Self::Cumulative,
            Kind::ObservedCounter => self == Self::Delta,
            Kind::UpDownCounter | Kind::Gauge => false,
        }
    }
}

impl fmt::Display for Temporality {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Temporality {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let all = [Self::Cumulative, Self::Delta, Self::LowMemory];
        (all.into_iter())
            .find(|one| text.eq_ignore_ascii_case(one.as_str()))
            .ok_or_else(|| format!("{text:?} is not one of cumulative, delta, lowmemory"))
    }
}

impl TryFrom<String> for Temporality {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

/// The interval that is open.
#[derive(Debug)]
pub struct Interval {
    state: Cumulative,
    temporality: Temporality,
    /// End of the last one that was taken, or start of the first window.
    since_unix_ns: Option<u64>,
}

/// An interval that an export took.
#[derive(Clone, Debug)]
pub struct Taken {
    /// What counts since its start, and beside it as it is what counts since longer.
    pub state: Cumulative,
    /// What counts since its start.
    pub temporality: Temporality,
    /// Its start.
    pub since_unix_ns: u64,
}

impl Interval {
    /// Nothing counted yet.
    #[must_use]
    pub fn new(limits: Limits, temporality: Temporality) -> Self {
        Self {
            state: Cumulative::new(limits),
            temporality,
            since_unix_ns: None,
        }
    }

    /// Adds a closed window.
    pub fn fold(&mut self, window: &Window) {
        if self.state.is_long_before(window) {
            // What was counted so far has no time any more, but is not lost: it goes with what the new clock says.
            let temporality = self.temporality;
            self.state
                .start_anew(|metric| temporality.is_delta(metric.kind));
            self.since_unix_ns = None;
        }
        self.since_unix_ns.get_or_insert(window.start_unix_ns);
        self.state.fold(window);
    }

    /// Ends the series of what is no longer there, of those that go on from interval to interval.
    pub fn end_gone(&mut self, online: Option<&[u32]>) {
        let temporality = self.temporality;
        self.state
            .end_gone(online, |metric| temporality.is_delta(metric.kind));
    }

    /// The state, to which something is to be added beside windows.
    pub fn state(&mut self) -> &mut Cumulative {
        &mut self.state
    }

    /// Ends the interval; the next one begins there. `None` before the first window.
    pub fn take(&mut self) -> Option<Taken> {
        let since_unix_ns = self.since_unix_ns?;
        // Twice in one window: an interval is at least a nanosecond.
        self.state.reach(since_unix_ns + 1);
        self.since_unix_ns = Some(self.state.time_unix_ns());
        let mut state = self.state.empty_at_that_time();
        for (metric, _) in state.limits.selection.each() {
            let deltas = self.temporality.is_delta(metric.kind);
            let pair = (
                metric.series_mut(&mut self.state),
                metric.series_mut(&mut state),
            );
            match pair {
                (SeriesMut::Durations(open), SeriesMut::Durations(taken)) => {
                    hand_over(open, taken, deltas);
                }
                (SeriesMut::Numbers(open), SeriesMut::Numbers(taken)) => {
                    hand_over(open, taken, deltas);
                }
                _ => unreachable!("both are of one metric"),
            }
        }
        Some(Taken {
            state,
            temporality: self.temporality,
            since_unix_ns,
        })
    }

    /// Takes back an interval that did not get anywhere, the last one that was taken: the open one then begins where that
    /// did.
    pub fn put_back(&mut self, taken: Taken) {
        // Where the clock was set back meanwhile the start is later than the end: then that of the new clock holds.
        let since = self.since_unix_ns.unwrap_or(u64::MAX);
        self.since_unix_ns = Some(since.min(taken.since_unix_ns));
        let mut earlier = taken.state;
        let max = earlier.limits.max_buckets;
        for (metric, _) in earlier.limits.selection.each() {
            if !self.temporality.is_delta(metric.kind) {
                continue;
            }
            let pair = (
                metric.series_mut(&mut self.state),
                metric.series_mut(&mut earlier),
            );
            match pair {
                (SeriesMut::Durations(open), SeriesMut::Durations(taken)) => {
                    merge_all(open, taken, max);
                }
                (SeriesMut::Numbers(open), SeriesMut::Numbers(taken)) => add_all(open, taken),
                _ => unreachable!("both are of one metric"),
            }
        }
    }
}

/// The series themselves where they begin anew, else a copy.
fn hand_over<T: Clone>(open: &mut SeriesSet<T>, taken: &mut SeriesSet<T>, anew: bool) {
    if anew {
        // The other one is empty, and may hold as many.
        std::mem::swap(open, taken);
    } else {
        taken.clone_from(open);
    }
}

impl Taken {
    /// Whether what is of that metric counts since the interval's start.
    #[must_use]
    pub fn is_delta(&self, metric: &Metric) -> bool {
        self.temporality.is_delta(metric.kind)
    }
}

#[cfg(test)]
#[path = "interval_tests.rs"]
mod tests;
