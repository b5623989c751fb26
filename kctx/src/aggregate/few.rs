//! A few durations, by the buckets that a histogram would have counted them in: two bytes each, where the histogram would
//! be kilobytes to make, to look through and to drop. Most rows of most windows have no more.

use hdrhistogram::Histogram;

use super::hdr_bucket::{Bucket, LONGEST_NS, empty, index, up_to};

/// So many are a few. A histogram of them takes four times the memory at least.
pub(super) const FEW: usize = 256;

/// At most [`FEW`] durations: the bucket of each, in the order in which they came.
#[derive(Clone, Debug, Default)]
pub(super) struct Few(Vec<u16>);

impl Few {
    /// Adds one; false where there is no place for another.
    #[inline]
    pub(super) fn push(&mut self, ns: u64) -> bool {
        let is_one_of_few = self.0.len() < FEW;
        if is_one_of_few {
            // The longest duration has bucket 7295.
            self.0.push(index(ns.min(LONGEST_NS)) as u16);
        }
        is_one_of_few
    }

    /// The buckets, of each duration one.
    pub(super) fn indices(&self) -> impl Iterator<Item = usize> {
        self.0.iter().map(|&index| usize::from(index))
    }

    /// The longest one's bucket.
    pub(super) fn longest(&self) -> Option<usize> {
        self.indices().max()
    }

    pub(super) fn sorted(mut self) -> Sorted {
        self.0.sort_unstable();
        Sorted(self.0)
    }
}

/// The same, the shortest first.
#[derive(Clone, Debug, Default)]
pub(super) struct Sorted(Vec<u16>);

impl Sorted {
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Adds another's; false, and nothing is done, where that is too many.
    pub(super) fn append(&mut self, other: &Self) -> bool {
        let are_few = self.len() + other.len() <= FEW;
        if are_few {
            self.0.extend_from_slice(&other.0);
            // Two runs: it merges them.
            self.0.sort();
        }
        are_few
    }

    /// A histogram of them.
    pub(super) fn histogram(&self) -> Histogram<u64> {
        let longest = self.buckets().last();
        let mut histogram = longest.map_or_else(empty, |bucket| up_to(bucket.highest_ns));
        self.add_to(&mut histogram);
        histogram
    }

    /// Counts them in a histogram.
    pub(super) fn add_to(&self, histogram: &mut Histogram<u64>) {
        for bucket in self.buckets() {
            // Cannot fail: auto-resize is on.
            let _ = histogram.record_n(bucket.lowest_ns, bucket.count);
        }
    }

    /// As `Histogram::value_at_quantile`: the upper edge of the bucket that so large a part of all does not go beyond; the
    /// lower edge of the first for 0.
    pub(super) fn value_at_quantile(&self, quantile: f64) -> u64 {
        let rank = (quantile.min(1.0) * self.len() as f64).ceil().max(1.0) as usize;
        let Some(&index) = self.0.get(rank - 1) else {
            return 0;
        };
        let bucket = Bucket::new(usize::from(index), 1);
        if quantile == 0.0 {
            bucket.lowest_ns
        } else {
            bucket.highest_ns
        }
    }

    pub(super) fn buckets(&self) -> impl Iterator<Item = Bucket> {
        let equal = self.0.chunk_by(|a, b| a == b);
        equal.map(|equal| Bucket::new(usize::from(equal[0]), equal.len() as u64))
    }
}
