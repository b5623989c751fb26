//! One measured duration of one row: exact count, sum and maximum, and a histogram.

use std::sync::LazyLock;

use hdrhistogram::Histogram;

use super::tally::Tally;

/// Significant figures of the histograms: a bucket is at most 1/128 as wide as what is in it.
pub const SIGNIFICANT_FIGURES: u8 = 2;

/// What was seen of one duration in one window.
///
/// The count, the sum and the maximum are exact (of spilled records too, but that a maximum which is not the
/// longest since the programs were loaded is the top of its bucket). The histogram is within
/// 0.8 % for a streamed value, 4 % for a spilled one (a quantile is the upper edge of its bucket).
#[derive(Clone, Debug, Default)]
pub struct Durations {
    /// Only where there is a value: many a row has a duration that is never measured.
    histogram: Option<Box<Histogram<u64>>>,
    sum_ns: u64,
    max_ns: u64,
}

/// What stands for the histogram of a duration that was never measured.
static EMPTY: LazyLock<Histogram<u64>> = LazyLock::new(empty);

/// Has two kibibytes to begin with, and grows.
pub(super) fn empty() -> Histogram<u64> {
    up_to(u64::from(u8::MAX))
}

/// Has room for so long a duration, from 255 ns on: a kibibyte for each doubling. It grows with a longer one.
pub(super) fn up_to(ns: u64) -> Histogram<u64> {
    let mut histogram = Histogram::new_with_bounds(1, ns.max(2), SIGNIFICANT_FIGURES)
        .expect("the lowest is 1, the highest 2 or more");
    histogram.auto(true);
    histogram
}

impl Durations {
    /// Of a histogram, if there was any, and the exact sum and maximum.
    pub(super) fn new(histogram: Option<Box<Histogram<u64>>>, sum_ns: u64, max_ns: u64) -> Self {
        Self {
            histogram,
            sum_ns,
            max_ns,
        }
    }

    /// Adds all of `other`.
    pub fn merge(&mut self, other: &Self) {
        if let Some(histogram) = &other.histogram {
            // Cannot fail: auto-resize is on and both have the same significant figures.
            let sum = self.histogram.get_or_insert_with(|| Box::new(empty()));
            let _ = sum.add(&**histogram);
        }
        self.sum_ns = self.sum_ns.saturating_add(other.sum_ns);
        self.max_ns = self.max_ns.max(other.max_ns);
    }

    /// How many durations were recorded.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.histogram
            .as_ref()
            .map_or(0, |histogram| histogram.len())
    }

    /// Exact sum in nanoseconds.
    #[must_use]
    pub fn sum_ns(&self) -> u64 {
        self.sum_ns
    }

    /// Exact maximum in nanoseconds; 0 when empty.
    #[must_use]
    pub fn max_ns(&self) -> u64 {
        self.max_ns
    }

    /// The value at a quantile in nanoseconds, never above the exact maximum; 0 when empty.
    #[must_use]
    pub fn quantile_ns(&self, quantile: f64) -> u64 {
        self.histogram()
            .value_at_quantile(quantile)
            .min(self.max_ns)
    }

    /// The histogram itself, for re-bucketing.
    #[must_use]
    pub fn histogram(&self) -> &Histogram<u64> {
        self.histogram.as_deref().unwrap_or(&EMPTY)
    }
}

impl FromIterator<u64> for Durations {
    fn from_iter<T: IntoIterator<Item = u64>>(durations: T) -> Self {
        let mut tally = Tally::default();
        durations.into_iter().for_each(|ns| tally.record(ns));
        tally.close()
    }
}
