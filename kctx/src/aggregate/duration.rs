//! One measured duration of one row: exact count, sum and maximum, and a histogram.

use hdrhistogram::Histogram;

use super::{
    few::{Few, Sorted},
    hdr_bucket::Bucket,
    tally::Tally,
};

/// Significant figures of the histograms: a bucket is at most 1/128 as wide as what is in it.
pub const SIGNIFICANT_FIGURES: u8 = 2;

/// What was seen of one duration in one window.
///
/// The count, the sum and the maximum are exact (of spilled records too, but that a maximum which is not the
/// longest since the programs were loaded is the top of its bucket). The histogram is within
/// 0.8 % for a streamed value, 4 % for a spilled one (a quantile is the upper edge of its bucket).
#[derive(Clone, Debug, Default)]
pub struct Durations {
    values: Values,
    sum_ns: u64,
    max_ns: u64,
}

#[derive(Clone, Debug)]
enum Values {
    Few(Sorted),
    Many(Box<Histogram<u64>>),
}

impl Default for Values {
    fn default() -> Self {
        Self::Few(Sorted::default())
    }
}

impl Durations {
    /// A few, and their exact sum and maximum.
    pub(super) fn of_few(few: Few, sum_ns: u64, max_ns: u64) -> Self {
        Self {
            values: Values::Few(few.sorted()),
            sum_ns,
            max_ns,
        }
    }

    /// Of a histogram, and the exact sum and maximum.
    pub(super) fn of_many(histogram: Box<Histogram<u64>>, sum_ns: u64, max_ns: u64) -> Self {
        Self {
            values: Values::Many(histogram),
            sum_ns,
            max_ns,
        }
    }

    /// Adds all of `other`.
    pub fn merge(&mut self, other: &Self) {
        self.values.merge(&other.values);
        self.sum_ns = self.sum_ns.saturating_add(other.sum_ns);
        self.max_ns = self.max_ns.max(other.max_ns);
    }

    /// How many durations were recorded.
    #[must_use]
    pub fn count(&self) -> u64 {
        match &self.values {
            Values::Few(sorted) => sorted.len() as u64,
            Values::Many(histogram) => histogram.len(),
        }
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
        let value = match &self.values {
            Values::Few(sorted) => sorted.value_at_quantile(quantile),
            Values::Many(histogram) => histogram.value_at_quantile(quantile),
        };
        value.min(self.max_ns)
    }

    /// Hands out each bucket that something fell into, the shortest first.
    pub fn each_bucket(&self, mut take: impl FnMut(Bucket)) {
        match &self.values {
            Values::Few(sorted) => sorted.buckets().for_each(take),
            Values::Many(histogram) => {
                for step in histogram.iter_recorded() {
                    let value = step.value_iterated_to();
                    take(Bucket {
                        lowest_ns: histogram.lowest_equivalent(value),
                        highest_ns: histogram.highest_equivalent(value),
                        count: step.count_at_value(),
                    });
                }
            }
        }
    }
}

impl Values {
    fn merge(&mut self, other: &Self) {
        if self.is_empty() {
            *self = other.clone();
            return;
        }
        if let (Self::Few(few), Self::Few(others)) = (&mut *self, other)
            && few.append(others)
        {
            return;
        }
        let mut sum = std::mem::take(self).into_histogram();
        match other {
            Self::Few(others) => others.add_to(&mut sum),
            Self::Many(others) => {
                // Cannot fail: auto-resize is on and both have the same significant figures.
                let _ = sum.add(&**others);
            }
        }
        *self = Self::Many(sum);
    }

    fn is_empty(&self) -> bool {
        match self {
            Self::Few(few) => few.len() == 0,
            Self::Many(histogram) => histogram.is_empty(),
        }
    }

    fn into_histogram(self) -> Box<Histogram<u64>> {
        match self {
            Self::Few(few) => Box::new(few.histogram()),
            Self::Many(histogram) => histogram,
        }
    }
}

impl FromIterator<u64> for Durations {
    fn from_iter<T: IntoIterator<Item = u64>>(durations: T) -> Self {
        let mut tally = Tally::default();
        durations.into_iter().for_each(|ns| tally.record(ns));
        tally.close()
    }
}
