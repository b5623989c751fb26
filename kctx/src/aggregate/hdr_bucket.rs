//! The buckets that a histogram of durations has: those of hdrhistogram with
//! [`SIGNIFICANT_FIGURES`](super::duration::SIGNIFICANT_FIGURES) and a lowest value of 1, computed with constants that are
//! known when this is compiled.

use hdrhistogram::Histogram;

use super::duration::SIGNIFICANT_FIGURES;

/// Bits of a value that its bucket keeps (`sub_bucket_count_magnitude` in hdrhistogram 7).
const SUB_BITS: u32 = 8;
/// Below this each value has a bucket of its own.
const SUB_COUNT: u64 = 1 << SUB_BITS;
/// Buckets for each doubling from there on.
pub(super) const HALF: usize = 1 << (SUB_BITS - 1);

/// The longest that a histogram goes: what is longer has the last bucket.
pub(super) const LONGEST_NS: u64 = i64::MAX as u64;

/// The bucket of a value.
#[inline]
pub(super) const fn index(ns: u64) -> usize {
    // The mask makes all that is below SUB_COUNT one case with the first octave, and the logarithm total.
    let shift = (ns | (SUB_COUNT - 1)).ilog2() + 1 - SUB_BITS;
    ((shift as usize) << (SUB_BITS - 1)) + (ns >> shift) as usize
}

/// The doubling that a bucket is of; its width is 2 to the power of it.
const fn shift(index: usize) -> usize {
    (index >> (SUB_BITS - 1)).saturating_sub(1)
}

/// The lowest value of a bucket.
pub(super) const fn lowest(index: usize) -> u64 {
    let shift = shift(index);
    ((index - (shift << (SUB_BITS - 1))) as u64) << shift
}

/// How often durations fell into a bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bucket {
    /// The shortest that falls into it.
    pub lowest_ns: u64,
    /// The longest that falls into it.
    pub highest_ns: u64,
    /// How many did.
    pub count: u64,
}

impl Bucket {
    pub(super) fn new(index: usize, count: u64) -> Self {
        let lowest_ns = lowest(index);
        Self {
            lowest_ns,
            highest_ns: lowest_ns + ((1 << shift(index)) - 1),
            count,
        }
    }

    /// Its middle, half its width above its lowest.
    #[must_use]
    pub fn midpoint_ns(self) -> u64 {
        self.lowest_ns + (self.highest_ns - self.lowest_ns).div_ceil(2)
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_have_the_edges_that_hdrhistogram_gives_them() {
        let mut histogram = empty();
        histogram.record(LONGEST_NS).unwrap();
        let last = index(LONGEST_NS);
        assert_eq!(histogram.distinct_values(), last + 1);
        for i in 0..=last {
            let bucket = Bucket::new(i, 1);
            assert_eq!(index(lowest(i)), i);
            assert_eq!(histogram.lowest_equivalent(lowest(i)), bucket.lowest_ns);
            assert_eq!(histogram.highest_equivalent(lowest(i)), bucket.highest_ns);
            assert_eq!(histogram.median_equivalent(lowest(i)), bucket.midpoint_ns());
            if i < last {
                assert_eq!(histogram.next_non_equivalent(lowest(i)), lowest(i + 1));
                assert_eq!(index(lowest(i + 1) - 1), i);
            }
        }
    }
}
