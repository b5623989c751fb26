//! One duration of a row of the open window, as it is recorded: the first few into a histogram, many into a flat array of
//! counts, which goes into the histogram when the window closes and becomes [`Durations`].
//!
//! The array has the histogram's own buckets, so nothing is lost on the way: which value falls into which bucket is
//! decided here as hdrhistogram does it, with its constants known when this is compiled. That is a third of the work, and
//! a count takes a quarter of the memory that has to be in the cache: it has 16 bits, and what is over goes into the
//! histogram at once. Most rows of a large machine see few durations in a window: for those an array would cost more than
//! it saves.

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

/// So many durations go into the histogram before the array is made. To make it and to pour it takes about as long as
/// is lost with so many.
const FEW: u64 = 256;

/// What was seen so far of one duration in the open window.
#[derive(Debug, Default)]
pub struct Tally {
    /// How often each bucket; as long as the longest duration needs. Empty as long as there are few.
    counts: Vec<u16>,
    sum_ns: u64,
    max_ns: u64,
    /// What is not in `counts`: the first few, 65536 of a bucket at a time, spilled buckets.
    beyond: Option<Box<Histogram<u64>>>,
}

impl Tally {
    /// Adds one duration. Allocates only for the first, when they are no longer few, and when one is longer than any
    /// before it in this row.
    #[inline]
    pub fn record(&mut self, ns: u64) {
        if !self.count(ns) {
            self.record_apart(ns);
        }
    }

    /// Adds one duration if the array has a place for it.
    #[inline]
    fn count(&mut self, ns: u64) -> bool {
        let index = index(ns);
        let Some(count) = self.counts.get_mut(index) else {
            return false;
        };
        *count = count.wrapping_add(1);
        if *count == 0 {
            self.gone_round(index);
        }
        self.add_exact(ns, ns);
        true
    }

    #[cold]
    fn gone_round(&mut self, index: usize) {
        self.record_bucket(lowest(index), 1 << u16::BITS);
    }

    #[inline(never)]
    fn record_apart(&mut self, ns: u64) {
        if self.is_of_few() {
            self.record_bucket(ns, 1);
            self.add_exact(ns, ns);
        } else {
            self.record_among_many(ns);
        }
    }

    /// The array is not made yet, and the next need not be in it.
    fn is_of_few(&self) -> bool {
        let seen = self.beyond.as_ref().map_or(0, |beyond| beyond.len());
        self.counts.is_empty() && seen < FEW
    }

    /// Makes the array, or makes it longer.
    fn record_among_many(&mut self, ns: u64) {
        let longest = match &self.beyond {
            Some(beyond) if self.counts.is_empty() => beyond.max().max(ns),
            _ => ns,
        };
        // Longer than a histogram goes: it has the last bucket for it.
        let longest = longest.min(i64::MAX as u64);
        let len = (index(longest) / HALF + 1) * HALF;
        if len > self.counts.len() {
            self.counts.reserve_exact(len - self.counts.len());
            self.counts.resize(len, 0);
        }
        if !self.count(ns) {
            self.record_bucket(ns, 1);
            self.add_exact(ns, ns);
        }
    }

    /// Adds `count` durations near `ns`, without touching sum and maximum: a spilled bucket.
    pub fn record_bucket(&mut self, ns: u64, count: u64) {
        let ns = ns.min(i64::MAX as u64);
        // Somewhat longer than the first: then it seldom grows.
        let beyond = (self.beyond).get_or_insert_with(|| Box::new(up_to(ns.saturating_mul(2))));
        // Auto-resize is on, and such values a histogram can hold.
        let _ = beyond.record_n(ns, count);
    }

    /// Adds the exact sum and maximum that came with spilled buckets.
    #[inline]
    pub fn add_exact(&mut self, sum_ns: u64, max_ns: u64) {
        self.sum_ns = self.sum_ns.saturating_add(sum_ns);
        self.max_ns = self.max_ns.max(max_ns);
    }

    /// The window closes.
    #[must_use]
    pub fn close(mut self) -> Durations {
        let mut histogram = self.beyond.take();
        self.pour_into(&mut histogram);
        Durations::new(histogram, self.sum_ns, self.max_ns)
    }

    /// The same with another's durations, which that keeps.
    fn close_with(mut self, other: &Self) -> Durations {
        let mut histogram = self.beyond.take();
        self.pour_into(&mut histogram);
        other.pour_into(&mut histogram);
        if let Some(beyond) = &other.beyond {
            let histogram = histogram.get_or_insert_with(|| Box::new(empty()));
            // Cannot fail: auto-resize is on and both have the same significant figures.
            let _ = histogram.add(&**beyond);
        }
        self.add_exact(other.sum_ns, other.max_ns);
        Durations::new(histogram, self.sum_ns, self.max_ns)
    }

    fn pour_into(&self, histogram: &mut Option<Box<Histogram<u64>>>) {
        if self.counts.is_empty() {
            return;
        }
        // As long as is needed, if it is a new one.
        let longest = lowest(self.counts.len()) - 1;
        let histogram = histogram.get_or_insert_with(|| Box::new(up_to(longest)));
        // Most counts are 0, and most of those that are not lie together: sixty-four are looked at at once, then eight.
        // The longest come first: the histogram grows once.
        let (many, _) = self.counts.as_chunks::<64>();
        let counted = |counts: &[u16]| counts.iter().fold(0, |all, count| all | count) != 0;
        let many = (many.iter().enumerate().rev()).filter(|(_, many)| counted(*many));
        let eights = many.flat_map(|(at, many)| {
            let (eights, _) = many.as_chunks::<8>();
            eights
                .iter()
                .enumerate()
                .rev()
                .map(move |(i, eight)| (8 * at + i, eight))
        });
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
    /// Those that are the same, once they are many.
    undisturbed: Tally,
    gross: Tally,
    net: Tally,
}

impl ServedTally {
    /// Adds one duration; `net_ns` is a part of it.
    #[inline]
    pub fn record(&mut self, gross_ns: u64, net_ns: u64) {
        if gross_ns != net_ns {
            self.gross.record(gross_ns);
            self.net.record(net_ns);
        } else if !self.undisturbed.count(gross_ns) {
            self.record_apart(gross_ns);
        }
    }

    #[inline(never)]
    fn record_apart(&mut self, ns: u64) {
        if self.undisturbed.counts.is_empty() && self.gross.is_of_few() {
            self.gross.record(ns);
            self.net.record(ns);
        } else {
            self.undisturbed.record_among_many(ns);
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
    pub fn close(self) -> (Durations, Durations) {
        (
            self.gross.close_with(&self.undisturbed),
            self.net.close_with(&self.undisturbed),
        )
    }
}

#[cfg(test)]
#[path = "tally_tests.rs"]
mod tests;
