//! A cumulative base-2 exponential histogram of durations (OTLP metrics data model).
//!
//! Two rules keep a stream free of what Prometheus takes for a counter reset: the scale of a histogram
//! only ever falls, and one hdr bucket always goes whole into one exponential bucket, the one that
//! holds the hdr bucket's midpoint. A value is thus off by at most half an exponential bucket,
//! `(base - 1) / 2`, plus half an hdr bucket, 1/256. Count and sum are exact.

use crate::aggregate::duration::Durations;

/// The finest scale: Prometheus takes -4 to 8 and would merge finer buckets itself.
pub const MAX_SCALE: i32 = 8;
/// The coarsest scale: Prometheus drops a histogram below it.
pub const MIN_SCALE: i32 = -4;
/// Default bound on the number of buckets: scale 3 (4.3 % to either side) over 100 ns to 4 s.
pub const DEFAULT_MAX_SIZE: usize = 320;
/// Smallest bound that may be set: the specification's default, and enough for scale 1 over every u64.
pub const SMALLEST_MAX_SIZE: usize = 160;
/// Upper bounds of the explicit buckets are the powers of two of a second from this exponent ...
pub const EXPLICIT_MIN_EXPONENT: i32 = -23;
/// ... up to this one.
pub const EXPLICIT_MAX_EXPONENT: i32 = 4;

/// Room that a new histogram leaves above what it was first given: a tenfold longer duration, in buckets
/// at [`MAX_SCALE`] (256 * log2(10)). Otherwise each of the first exports would lower the scale a step,
/// and each step starts a new chunk in Prometheus.
const HEADROOM: i32 = 851;

/// The bucket at [`MAX_SCALE`] of a duration above zero: `base^index < seconds <= base^(index + 1)`.
#[must_use]
pub fn index_at_max_scale(ns: u64) -> i32 {
    debug_assert!(ns > 0, "zero has a bucket of its own");
    // Division, not a product with 1e-9: it is correctly rounded, so powers of two of a second stay exact.
    let seconds = ns as f64 / 1e9;
    let bits = seconds.to_bits();
    if bits & ((1 << 52) - 1) == 0 {
        // A power of two is the inclusive upper bound of the bucket below it.
        let exponent = ((bits >> 52) as i32) - 1023;
        return (exponent << MAX_SCALE) - 1;
    }
    (seconds.log2() * f64::from(1 << MAX_SCALE)).ceil() as i32 - 1
}

/// The highest scale, not above `scale`, at which `low..=high` (at [`MAX_SCALE`]) fits `max_size` buckets.
fn fitting_scale(mut scale: i32, low: i32, high: i32, max_size: usize) -> i32 {
    let buckets = |scale: i32| {
        let shift = MAX_SCALE - scale;
        ((high >> shift) - (low >> shift)) as usize + 1
    };
    while scale > MIN_SCALE && buckets(scale) > max_size {
        scale -= 1;
    }
    scale
}

/// Durations since the start of a series. Integers of nanoseconds; seconds are made at the edge.
#[derive(Clone, Debug)]
pub struct ExponentialHistogram {
    scale: i32,
    max_size: usize,
    /// Index of `counts[0]` at `scale`.
    offset: i32,
    counts: Vec<u64>,
    zero_count: u64,
    count: u64,
    sum_ns: u64,
    /// The highest there is, as long as nothing was added.
    min_ns: u64,
    max_ns: u64,
}

impl ExponentialHistogram {
    /// An empty one, of at most `max_size` buckets.
    #[must_use]
    pub fn new(max_size: usize) -> Self {
        Self {
            scale: MAX_SCALE,
            max_size: max_size.max(SMALLEST_MAX_SIZE),
            offset: 0,
            counts: Vec::new(),
            zero_count: 0,
            count: 0,
            sum_ns: 0,
            min_ns: u64::MAX,
            max_ns: 0,
        }
    }

    /// Adds what was seen in one window.
    pub fn absorb(&mut self, durations: &Durations) {
        let mut buckets: Vec<(i32, u64)> = Vec::new();
        let mut shortest = None;
        durations.each_bucket(|bucket| {
            let (count, midpoint) = (bucket.count, bucket.midpoint_ns());
            shortest.get_or_insert(bucket.lowest_ns);
            self.count += count;
            if midpoint == 0 {
                // Only an exact 0 ns: a wider zero bucket would be read as 0 s by Prometheus.
                self.zero_count += count;
                return;
            }
            // Midpoints rise, so indices do too: equal ones are neighbours.
            let index = index_at_max_scale(midpoint);
            match buckets.last_mut() {
                Some((last, n)) if *last == index => *n += count,
                _ => buckets.push((index, count)),
            }
        });
        if let Some(shortest) = shortest {
            // A spilled duration is in the histogram with its bucket's upper edge: no minimum is above the mean.
            let mean = durations.sum_ns() / durations.count();
            self.min_ns = self.min_ns.min(shortest.min(mean));
        }
        self.sum_ns = self.sum_ns.saturating_add(durations.sum_ns());
        self.max_ns = self.max_ns.max(durations.max_ns());
        let (Some(&(low, _)), Some(&(high, _))) = (buckets.first(), buckets.last()) else {
            return;
        };
        self.make_room(low, high);
        for (index, count) in buckets {
            let at = (index >> (MAX_SCALE - self.scale)) - self.offset;
            self.counts[at as usize] += count;
        }
    }

    /// Adds all of `other`. The scale is then the lower of the two, or lower still; no count moves by more than that.
    pub fn merge(&mut self, other: &Self) {
        self.zero_count += other.zero_count;
        self.count += other.count;
        self.sum_ns = self.sum_ns.saturating_add(other.sum_ns);
        self.min_ns = self.min_ns.min(other.min_ns);
        self.max_ns = self.max_ns.max(other.max_ns);
        if other.counts.is_empty() {
            return;
        }
        while self.scale > other.scale {
            self.downscale();
        }
        let finest = MAX_SCALE - other.scale;
        let end = other.offset + other.counts.len() as i32;
        self.make_room(other.offset << finest, (end << finest) - 1);
        for (index, count) in (other.offset..).zip(&other.counts) {
            let at = (index >> (other.scale - self.scale)) - self.offset;
            self.counts[at as usize] += count;
        }
    }

    /// Makes `low..=high` (at [`MAX_SCALE`]) addressable, lowering the scale where needed.
    fn make_room(&mut self, low: i32, high: i32) {
        if self.counts.is_empty() {
            self.scale = fitting_scale(self.scale, low, high + HEADROOM, self.max_size);
            let shift = MAX_SCALE - self.scale;
            self.offset = low >> shift;
            self.counts = vec![0; ((high >> shift) - self.offset) as usize + 1];
            return;
        }
        loop {
            let shift = MAX_SCALE - self.scale;
            let end = self.offset + self.counts.len() as i32;
            let (first, last) = (self.offset.min(low >> shift), (end - 1).max(high >> shift));
            if (last - first) as usize + 1 > self.max_size && self.scale > MIN_SCALE {
                self.downscale();
                continue;
            }
            let front = (self.offset - first) as usize;
            if front > 0 {
                self.counts.splice(0..0, std::iter::repeat_n(0, front));
                self.offset = first;
            }
            self.counts.resize((last - first) as usize + 1, 0);
            return;
        }
    }

    /// One scale coarser: two neighbours become one, exactly ("perfect subsetting").
    fn downscale(&mut self) {
        self.scale -= 1;
        if self.counts.is_empty() {
            return;
        }
        let offset = self.offset >> 1;
        let last = (self.offset + self.counts.len() as i32 - 1) >> 1;
        let mut counts = vec![0; (last - offset) as usize + 1];
        for (index, count) in (self.offset..).zip(&self.counts) {
            counts[((index >> 1) - offset) as usize] += count;
        }
        self.offset = offset;
        self.counts = counts;
    }

    /// The scale: `base = 2^(2^-scale)`.
    #[must_use]
    pub fn scale(&self) -> i32 {
        self.scale
    }

    /// Index of the first bucket.
    #[must_use]
    pub fn offset(&self) -> i32 {
        self.offset
    }

    /// Counts of the buckets from [`Self::offset`] on.
    #[must_use]
    pub fn counts(&self) -> &[u64] {
        &self.counts
    }

    /// How many durations were exactly 0 ns.
    #[must_use]
    pub fn zero_count(&self) -> u64 {
        self.zero_count
    }

    /// How many durations in all.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Exact sum in nanoseconds.
    #[must_use]
    pub fn sum_ns(&self) -> u64 {
        self.sum_ns
    }

    /// Minimum in nanoseconds: of streamed durations at most 1/128 below the exact one, of spilled ones within their bucket
    /// (4 %). 0 when empty.
    #[must_use]
    pub fn min_ns(&self) -> u64 {
        if self.count == 0 { 0 } else { self.min_ns }
    }

    /// Exact maximum in nanoseconds.
    #[must_use]
    pub fn max_ns(&self) -> u64 {
        self.max_ns
    }

    /// The duration that `quantile` of all are not longer than, in nanoseconds: the middle of its bucket, never outside of
    /// what there is. 0 when empty.
    #[must_use]
    pub fn quantile_ns(&self, quantile: f64) -> u64 {
        let rank = (quantile * self.count as f64).ceil().max(1.0) as u64;
        let mut seen = self.zero_count;
        if rank <= seen {
            return 0;
        }
        for (index, count) in (self.offset..).zip(&self.counts) {
            seen += count;
            if seen >= rank {
                let middle = (f64::from(index) + 0.5) / f64::from(self.scale).exp2();
                let ns = (middle.exp2() * 1e9).round() as u64;
                return ns.max(self.min_ns()).min(self.max_ns);
            }
        }
        self.max_ns
    }

    /// The same counts in explicit buckets, whose upper bounds are [`explicit_bounds`].
    ///
    /// Powers of two are bucket boundaries of every scale from 0 up, and the scale cannot fall lower with
    /// [`SMALLEST_MAX_SIZE`] buckets, so no count is split or moved.
    #[must_use]
    pub fn explicit_counts(&self) -> Vec<u64> {
        let mut explicit = vec![0; (EXPLICIT_MAX_EXPONENT - EXPLICIT_MIN_EXPONENT) as usize + 2];
        let last = explicit.len() as i32 - 1;
        explicit[0] += self.zero_count;
        for (index, count) in (self.offset..).zip(&self.counts) {
            let upper_exponent = if self.scale >= 0 {
                (index >> self.scale) + 1
            } else {
                (index + 1) << -self.scale
            };
            let bucket = (upper_exponent - EXPLICIT_MIN_EXPONENT).clamp(0, last);
            explicit[bucket as usize] += count;
        }
        explicit
    }
}

/// Upper bounds in seconds of the explicit buckets: 119 ns to 16 s by powers of two.
#[must_use]
pub fn explicit_bounds() -> Vec<f64> {
    (EXPLICIT_MIN_EXPONENT..=EXPLICIT_MAX_EXPONENT)
        .map(|exponent| f64::from(exponent).exp2())
        .collect()
}

#[cfg(test)]
#[path = "exponential_tests.rs"]
mod tests;
