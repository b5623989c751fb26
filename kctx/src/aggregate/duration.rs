//! One measured duration of one row: exact count, sum and maximum, and a histogram.

use std::sync::LazyLock;

use hdrhistogram::Histogram;

/// Significant figures of the histograms: a bucket is at most 1/128 as wide as what is in it.
pub const SIGNIFICANT_FIGURES: u8 = 2;

/// What was seen of one duration in one window.
///
/// The count, the sum and the maximum are exact (of spilled records too, but that a maximum which is not the
/// longest since the programs were loaded is the top of its bucket). The histogram is within
/// 0.8 % for a streamed value, 4 % for a spilled one (a quantile is the upper edge of its bucket).
#[derive(Clone, Debug, Default)]
pub struct Durations {
    /// Made with the first value: many a row has a duration that is never measured.
    histogram: Option<Box<Histogram<u64>>>,
    sum_ns: u64,
    max_ns: u64,
}

/// What stands for the histogram of a duration that was never measured.
static EMPTY: LazyLock<Histogram<u64>> = LazyLock::new(empty);

/// It grows with the longest duration: a kibibyte for each doubling.
fn empty() -> Histogram<u64> {
    let mut histogram = Histogram::new_with_bounds(1, 1 << 12, SIGNIFICANT_FIGURES)
        .expect("constant bounds are valid");
    histogram.auto(true);
    histogram
}

impl Durations {
    /// Adds one duration. Allocates only for the first, and when it is longer than any before
    /// it in this row.
    #[inline]
    pub fn record(&mut self, ns: u64) {
        // Auto-resize is on, so a value can only be refused above i64::MAX: 292 years.
        let _ = self.histogram_mut().record(ns.min(i64::MAX as u64));
        self.sum_ns = self.sum_ns.saturating_add(ns);
        self.max_ns = self.max_ns.max(ns);
    }

    /// Adds `count` durations near `ns`, without touching sum and maximum: a spilled bucket.
    pub fn record_bucket(&mut self, ns: u64, count: u64) {
        let _ = self
            .histogram_mut()
            .record_n(ns.min(i64::MAX as u64), count);
    }

    /// Adds the exact sum and maximum that came with spilled buckets.
    pub fn add_exact(&mut self, sum_ns: u64, max_ns: u64) {
        self.sum_ns = self.sum_ns.saturating_add(sum_ns);
        self.max_ns = self.max_ns.max(max_ns);
    }

    /// Adds all of `other`.
    pub fn merge(&mut self, other: &Self) {
        if let Some(histogram) = &other.histogram {
            // Cannot fail: auto-resize is on and both have the same significant figures.
            let _ = self.histogram_mut().add(&**histogram);
        }
        self.add_exact(other.sum_ns, other.max_ns);
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

    #[inline]
    fn histogram_mut(&mut self) -> &mut Histogram<u64> {
        self.histogram.get_or_insert_with(|| Box::new(empty()))
    }
}
