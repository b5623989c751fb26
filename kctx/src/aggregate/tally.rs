//! One duration of a row of the open window, as it is recorded: counts in a flat array that is turned into
//! [`Durations`] when the window closes.
//!
//! The array has the histogram's own buckets, so nothing is lost on the way: which value falls into which bucket is
//! decided here as hdrhistogram does it, with its constants known when this is compiled. It is a third of the work, and
//! a quarter of the memory: a count has 16 bits, and what is over goes into a histogram at once.

use hdrhistogram::Histogram;

use super::duration::{Durations, empty, up_to};

/// Bits of a value that its bucket keeps: those of a histogram with
/// [`SIGNIFICANT_FIGURES`](super::duration::SIGNIFICANT_FIGURES) and a lowest value of 1 (`sub_bucket_count_magnitude`
/// in hdrhistogram 7).
const SUB_BITS: u32 = 8;
/// Below this each value has a bucket of its own.
const SUB_COUNT: u64 = 1 << SUB_BITS;
/// Buckets for each doubling from there on.
const HALF: usize = 1 << (SUB_BITS - 1);

/// The last bucket that a histogram has: 292 years.
const LAST: usize = index(i64::MAX as u64);

/// The bucket of a value.
#[inline]
const fn index(ns: u64) -> usize {
    // The mask makes all that is below SUB_COUNT one case with the first octave, and the logarithm total.
    let shift = (ns | (SUB_COUNT - 1)).ilog2() + 1 - SUB_BITS;
    ((shift as usize) << (SUB_BITS - 1)) + (ns >> shift) as usize
}

/// The lowest value of a bucket.
const fn lowest(index: usize) -> u64 {
    let shift = (index >> (SUB_BITS - 1)).saturating_sub(1);
    ((index - (shift << (SUB_BITS - 1))) as u64) << shift
}

/// What was seen so far of one duration in the open window.
#[derive(Debug, Default)]
pub struct Tally {
    /// How often each bucket; as long as the longest duration needs.
    counts: Vec<u16>,
    sum_ns: u64,
    max_ns: u64,
    /// What has no room in `counts`: 65536 of a bucket at a time, and spilled buckets.
    beyond: Option<Box<Histogram<u64>>>,
}

impl Tally {
    /// Adds one duration. Allocates only when it is longer than any before it in this row.
    #[inline]
    pub fn record(&mut self, ns: u64) {
        let index = index(ns);
        match self.counts.get_mut(index) {
            Some(count) => {
                *count = count.wrapping_add(1);
                if *count == 0 {
                    self.gone_round(index);
                }
            }
            None => self.first_so_long(index),
        }
        self.sum_ns = self.sum_ns.saturating_add(ns);
        self.max_ns = self.max_ns.max(ns);
    }

    #[cold]
    fn gone_round(&mut self, index: usize) {
        self.record_bucket(lowest(index), 1 << u16::BITS);
    }

    #[cold]
    fn first_so_long(&mut self, index: usize) {
        if index > LAST {
            return self.record_bucket(u64::MAX, 1);
        }
        let len = (index / HALF + 1) * HALF;
        self.counts.reserve_exact(len - self.counts.len());
        self.counts.resize(len, 0);
        self.counts[index] = 1;
    }

    /// Adds `count` durations near `ns`, without touching sum and maximum: a spilled bucket.
    pub fn record_bucket(&mut self, ns: u64, count: u64) {
        let beyond = self.beyond.get_or_insert_with(|| Box::new(empty()));
        // Auto-resize is on, so a value can only be refused above i64::MAX.
        let _ = beyond.record_n(ns.min(i64::MAX as u64), count);
    }

    /// Adds the exact sum and maximum that came with spilled buckets.
    pub fn add_exact(&mut self, sum_ns: u64, max_ns: u64) {
        self.sum_ns = self.sum_ns.saturating_add(sum_ns);
        self.max_ns = self.max_ns.max(max_ns);
    }

    /// The window closes.
    #[must_use]
    pub fn close(mut self) -> Durations {
        let histogram = self.take_histogram();
        Durations::new(histogram, self.sum_ns, self.max_ns)
    }

    fn is_empty(&self) -> bool {
        self.counts.is_empty() && self.beyond.is_none()
    }

    /// Adds another's durations, as they are in its histogram.
    fn close_with(mut self, other: &Self, histogram: Option<Box<Histogram<u64>>>) -> Durations {
        let histogram = match (histogram, self.is_empty()) {
            (histogram, true) => histogram,
            (None, false) => self.take_histogram(),
            (Some(mut histogram), false) => {
                self.pour_into(&mut histogram);
                if let Some(beyond) = self.beyond.take() {
                    // Cannot fail: auto-resize is on and both have the same significant figures.
                    let _ = histogram.add(&*beyond);
                }
                Some(histogram)
            }
        };
        self.add_exact(other.sum_ns, other.max_ns);
        Durations::new(histogram, self.sum_ns, self.max_ns)
    }

    /// What was counted, as a histogram; none where nothing was.
    fn take_histogram(&mut self) -> Option<Box<Histogram<u64>>> {
        let mut histogram = match self.beyond.take() {
            Some(beyond) => beyond,
            None if self.counts.is_empty() => return None,
            // As long as is needed: it need not grow.
            None => Box::new(up_to(lowest(self.counts.len()) - 1)),
        };
        self.pour_into(&mut histogram);
        Some(histogram)
    }

    fn pour_into(&self, histogram: &mut Histogram<u64>) {
        // Most counts are 0, and most of those that are not lie together: sixty-four are looked at at once, then eight.
        let (many, _) = self.counts.as_chunks::<64>();
        let counted = |counts: &[u16]| counts.iter().fold(0, |all, count| all | count) != 0;
        let many = many.iter().enumerate().filter(|(_, many)| counted(*many));
        let eights = many.flat_map(|(at, many)| (8 * at..).zip(many.as_chunks::<8>().0));
        for (at, eight) in eights {
            let mut counted = (0..8).fold(0_u32, |bits, i| bits | u32::from(eight[i] != 0) << i);
            while counted != 0 {
                let i = counted.trailing_zeros() as usize;
                counted &= counted - 1;
                // Auto-resize is on.
                let _ = histogram.record_n(lowest(8 * at + i), u64::from(eight[i]));
            }
        }
    }
}

/// How long something took, with and without what fell into it. Most often nothing did, and then the two are one.
#[derive(Debug, Default)]
pub struct ServedTally {
    /// Where they are the same.
    undisturbed: Tally,
    /// Where they are not.
    gross: Tally,
    net: Tally,
}

impl ServedTally {
    /// Adds one duration; `net_ns` is a part of it.
    #[inline]
    pub fn record(&mut self, gross_ns: u64, net_ns: u64) {
        if gross_ns == net_ns {
            self.undisturbed.record(gross_ns);
        } else {
            self.gross.record(gross_ns);
            self.net.record(net_ns);
        }
    }

    /// Durations with what fell into them, that were spilled.
    pub fn gross(&mut self) -> &mut Tally {
        &mut self.gross
    }

    /// Durations without it, that were spilled.
    pub fn net(&mut self) -> &mut Tally {
        &mut self.net
    }

    /// The window closes: gross and net.
    #[must_use]
    pub fn close(mut self) -> (Durations, Durations) {
        let both = self.undisturbed.take_histogram();
        (
            self.gross.close_with(&self.undisturbed, both.clone()),
            self.net.close_with(&self.undisturbed, both),
        )
    }
}

#[cfg(test)]
#[path = "tally_tests.rs"]
mod tests;
