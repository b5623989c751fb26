//! One duration of a row of the open window, as it is recorded: the first few as the buckets they are in, many into a flat
//! array of counts, which goes into a histogram when the window closes and becomes [`Durations`].
//!
//! The array has the histogram's own buckets, so nothing is lost on the way: which value falls into which bucket is
//! decided as hdrhistogram does it, with its constants known when this is compiled. That is a third of the work, and a count
//! takes a quarter of the memory that has to be in the cache: it has 16 bits, and what is over goes into the histogram at
//! once. Most rows of a large machine see few durations in a window: for those an array would cost more than it saves.

use hdrhistogram::Histogram;

use super::{
    duration::Durations,
    few::Few,
    hdr_bucket::{HALF, LONGEST_NS, index, lowest, up_to},
};

/// What was seen so far of one duration in the open window.
#[derive(Debug, Default)]
pub struct Tally {
    /// How often each bucket; as long as the longest duration needs. Empty as long as there are few.
    counts: Vec<u16>,
    /// The first few; none once there is an array.
    few: Few,
    sum_ns: u64,
    max_ns: u64,
    /// What is in neither: 65536 of a bucket at a time, spilled buckets.
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
        if self.counts.is_empty() && self.few.push(ns) {
            self.add_exact(ns, ns);
        } else {
            self.record_among_many(ns);
        }
    }

    /// Makes the array, or makes it longer.
    fn record_among_many(&mut self, ns: u64) {
        // Longer than a histogram goes: it has the last bucket for it.
        let longest = index(ns.min(LONGEST_NS)).max(self.few.longest().unwrap_or(0));
        let len = (longest / HALF + 1) * HALF;
        if len > self.counts.len() {
            self.counts.reserve_exact(len - self.counts.len());
            self.counts.resize(len, 0);
        }
        for index in std::mem::take(&mut self.few).indices() {
            self.counts[index] += 1;
        }
        if !self.count(ns) {
            self.record_bucket(ns, 1);
            self.add_exact(ns, ns);
        }
    }

    /// Adds `count` durations near `ns`, without touching sum and maximum: a spilled bucket.
    pub fn record_bucket(&mut self, ns: u64, count: u64) {
        let ns = ns.min(LONGEST_NS);
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
    pub fn close(self) -> Durations {
        if self.counts.is_empty() && self.beyond.is_none() {
            return Durations::of_few(self.few, self.sum_ns, self.max_ns);
        }
        // No bucket of those that are counted goes further.
        let longest = lowest(self.counts.len()).saturating_sub(1);
        let beyond = self.beyond;
        let mut histogram = beyond.unwrap_or_else(|| Box::new(up_to(longest)));
        pour(&self.counts, &mut histogram);
        self.few.sorted().add_to(&mut histogram);
        Durations::of_many(histogram, self.sum_ns, self.max_ns)
    }
}

/// Adds an array's counts to a histogram.
fn pour(counts: &[u16], histogram: &mut Histogram<u64>) {
    // Most counts are 0, and most of those that are not lie together: sixty-four are looked at at once, then eight.
    // The longest come first: the histogram grows once.
    let (many, _) = counts.as_chunks::<64>();
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

/// How long something took, with and without what fell into it. Most often nothing did, and then the two are one.
#[derive(Debug, Default)]
pub struct ServedTally {
    /// Those that are the same.
    undisturbed: Tally,
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
    pub fn close(self) -> (Durations, Durations) {
        let undisturbed = self.undisturbed.close();
        let with = |tally: Tally| {
            let mut durations = tally.close();
            durations.merge(&undisturbed);
            durations
        };
        (with(self.gross), with(self.net))
    }
}

#[cfg(test)]
#[path = "tally_tests.rs"]
mod tests;
