//! A few durations, by the buckets that a histogram would have counted them in: two bytes each, where the histogram would
//! be kilobytes to make, to look through and to drop. Most rows of most windows have no more.

use hdrhistogram::Histogram;

use super::hdr_bucket::{Bucket, LONGEST_NS, empty, index, lowest, up_to};

/// So many are a few. A histogram of them takes four times the memory at least.
pub(super) const FEW: usize = 256;

/// At most [`FEW`] durations.
#[derive(Clone, Debug, Default)]
pub(super) struct Few {
    /// The bucket of each, in the order in which they came.
    indices: Vec<u16>,
}

impl Few {
    pub(super) fn len(&self) -> usize {
        self.indices.len()
    }

    /// Adds one; false where there is no place for another.
    #[inline]
    pub(super) fn push(&mut self, ns: u64) -> bool {
        let is_one_of_few = self.indices.len() < FEW;
        if is_one_of_few {
            // The longest duration has bucket 7295.
            self.indices.push(index(ns.min(LONGEST_NS)) as u16);
        }
        is_one_of_few
    }

    /// Adds another's; false, and nothing is done, where that is too many.
    pub(super) fn append(&mut self, other: &Self) -> bool {
        let are_few = self.len() + other.len() <= FEW;
        if are_few {
            self.indices.extend_from_slice(&other.indices);
        }
        are_few
    }

    /// The buckets, of each duration one.
    pub(super) fn indices(&self) -> impl Iterator<Item = usize> {
        self.indices.iter().map(|&index| usize::from(index))
    }

    /// The longest one's bucket.
    pub(super) fn longest(&self) -> Option<usize> {
        self.indices().max()
    }

    pub(super) fn sorted(mut self) -> Sorted {
        self.indices.sort_unstable();
        Sorted(self)
    }

    /// A histogram of them.
    pub(super) fn histogram(&self) -> Histogram<u64> {
        let longest = self.longest();
        let mut histogram = longest.map_or_else(empty, |at| up_to(Bucket::new(at, 1).highest_ns));
        self.add_to(&mut histogram);
        histogram
    }

    /// Counts them in a histogram.
    pub(super) fn add_to(&self, histogram: &mut Histogram<u64>) {
        for index in self.indices() {
            // Cannot fail: auto-resize is on.
            let _ = histogram.record(lowest(index));
        }
    }
}

/// The same, the shortest first.
#[derive(Clone, Debug, Default)]
pub(super) struct Sorted(Few);

impl Sorted {
    pub(super) fn few(&self) -> &Few {
        &self.0
    }

    /// Adds another's; false, and nothing is done, where that is too many.
    pub(super) fn append(&mut self, other: &Self) -> bool {
        let had = self.0.len();
        let are_few = self.0.append(&other.0);
        if are_few && had > 0 {
            // Two runs: it merges them.
            self.0.indices.sort();
        }
        are_few
    }

    /// As `Histogram::value_at_quantile`: the upper edge of the bucket that so large a part of all does not go beyond; the
    /// lower edge of the first for 0.
    pub(super) fn value_at_quantile(&self, quantile: f64) -> u64 {
        let indices = &self.0.indices;
        let rank = (quantile.min(1.0) * indices.len() as f64).ceil().max(1.0) as usize;
        let Some(&index) = indices.get(rank - 1) else {
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
        let equal = self.0.indices.chunk_by(|a, b| a == b);
        equal.map(|equal| Bucket::new(usize::from(equal[0]), equal.len() as u64))
    }
}
