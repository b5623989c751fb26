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
pub const EXPLICIT_MAX_EXPONENT: i32 = 2;

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
            max_ns: 0,
        }
    }

    /// Adds what was seen in one window.
    pub fn absorb(&mut self, durations: &Durations) {
        let histogram = durations.histogram();
        let mut buckets: Vec<(i32, u64)> = Vec::new();
        for step in histogram.iter_recorded() {
            let count = step.count_at_value();
            let midpoint = histogram.median_equivalent(step.value_iterated_to());
            self.count += count;
            if midpoint == 0 {
                // Only an exact 0 ns: a wider zero bucket would be read as 0 s by Prometheus.
                self.zero_count += count;
                continue;
            }
            // Midpoints rise, so indices do too: equal ones are neighbours.
            let index = index_at_max_scale(midpoint);
            match buckets.last_mut() {
                Some((last, n)) if *last == index => *n += count,
                _ => buckets.push((index, count)),
            }
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
        let offset = self.offset >> 1;
        let last = (self.offset + self.counts.len() as i32 - 1) >> 1;
        let mut counts = vec![0; (last - offset) as usize + 1];
        for (index, count) in (self.offset..).zip(&self.counts) {
            counts[((index >> 1) - offset) as usize] += count;
        }
        self.offset = offset;
        self.counts = counts;
        self.scale -= 1;
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

    /// Exact maximum in nanoseconds.
    #[must_use]
    pub fn max_ns(&self) -> u64 {
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

/// Upper bounds in seconds of the explicit buckets: 119 ns to 4 s by powers of two.
#[must_use]
pub fn explicit_bounds() -> Vec<f64> {
    (EXPLICIT_MIN_EXPONENT..=EXPLICIT_MAX_EXPONENT)
        .map(|exponent| f64::from(exponent).exp2())
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::export::otlp::testing::{durations, quantile};

    fn bound(index: i32, scale: i32) -> f64 {
        (f64::from(index) * f64::from(-scale).exp2()).exp2()
    }

    #[test]
    fn powers_of_two_are_inclusive_upper_bounds() {
        assert_eq!(index_at_max_scale(1_000_000_000), -1);
        assert_eq!(index_at_max_scale(1_000_000_001), 0);
        assert_eq!(index_at_max_scale(2_000_000_000), 255);
        assert_eq!(index_at_max_scale(500_000_000), -257);
        assert_eq!(index_at_max_scale(500_000_001), -256);
        assert_eq!(index_at_max_scale(1_953_125), -(9 << 8) - 1);
    }

    #[test]
    fn zero_has_its_own_bucket() {
        let mut exponential = ExponentialHistogram::new(160);
        exponential.absorb(&durations(&[0, 0, 1]));
        assert_eq!(exponential.zero_count(), 2);
        assert_eq!(exponential.counts().iter().sum::<u64>(), 1);
        assert_eq!(exponential.count(), 3);
        assert_eq!(exponential.explicit_counts()[0], 3);
    }

    #[test]
    fn a_tenfold_longer_duration_does_not_lower_the_scale() {
        let mut exponential = ExponentialHistogram::new(320);
        exponential.absorb(&durations(&[1_000, 20_000]));
        let scale = exponential.scale();
        exponential.absorb(&durations(&[190_000]));
        assert_eq!(exponential.scale(), scale);
        exponential.absorb(&durations(&[3_000_000_000]));
        assert!(exponential.scale() < scale);
    }

    #[test]
    fn stated_scales_hold() {
        for (max_size, scale) in [(160, 2), (320, 3), (640, 4)] {
            let mut exponential = ExponentialHistogram::new(max_size);
            exponential.absorb(&durations(&[100]));
            exponential.absorb(&durations(&[4_290_000_000]));
            assert_eq!(exponential.scale(), scale, "at {max_size} buckets");
        }
    }

    #[test]
    fn every_u64_fits_the_smallest_size_at_scale_one() {
        let mut exponential = ExponentialHistogram::new(SMALLEST_MAX_SIZE);
        exponential.absorb(&durations(&[1, u64::MAX]));
        assert!(exponential.scale() >= 1);
        assert!(exponential.counts().len() <= SMALLEST_MAX_SIZE);
    }

    #[test]
    fn explicit_buckets_hold_their_bounds() {
        let bounds = explicit_bounds();
        let values = [
            1,
            119,
            120,
            1_000,
            1_953_125,
            1_953_126,
            1_000_000_000,
            9_000_000_000,
        ];
        for value in values {
            let mut exponential = ExponentialHistogram::new(160);
            let one = durations(&[value]);
            exponential.absorb(&one);
            let explicit = exponential.explicit_counts();
            let bucket = explicit.iter().position(|count| *count == 1).unwrap();
            let seconds = one.histogram().median_equivalent(value) as f64 / 1e9;
            assert!(
                bucket == bounds.len() || seconds <= bounds[bucket],
                "{value}"
            );
            assert!(bucket == 0 || seconds > bounds[bucket - 1], "{value}");
        }
    }

    proptest! {
        #[test]
        fn index_holds_its_value(ns in 1_u64..=u64::MAX) {
            let seconds = ns as f64 / 1e9;
            let index = index_at_max_scale(ns);
            prop_assert!(bound(index, MAX_SCALE) * (1.0 - 1e-12) < seconds);
            prop_assert!(seconds <= bound(index + 1, MAX_SCALE) * (1.0 + 1e-12));
        }

        #[test]
        fn a_coarser_index_is_the_finer_one_shifted(ns in 1_u64..1 << 50, shift in 1_i32..=12) {
            let scale = MAX_SCALE - shift;
            let seconds = ns as f64 / 1e9;
            let index = index_at_max_scale(ns) >> shift;
            prop_assert!(bound(index, scale) * (1.0 - 1e-12) < seconds);
            prop_assert!(seconds <= bound(index + 1, scale) * (1.0 + 1e-12));
        }

        #[test]
        fn counts_and_sums_are_conserved_and_the_scale_never_rises(
            windows in prop::collection::vec(prop::collection::vec(0_u64..1 << 40, 0..40), 1..12),
            max_size in prop::sample::select(vec![160_usize, 320, 640]),
        ) {
            let mut exponential = ExponentialHistogram::new(max_size);
            let (mut count, mut sum, mut max, mut scale) = (0, 0, 0, MAX_SCALE);
            for values in &windows {
                exponential.absorb(&durations(values));
                count += values.len() as u64;
                sum += values.iter().sum::<u64>();
                max = max.max(values.iter().copied().max().unwrap_or(0));
                prop_assert!(exponential.scale() <= scale);
                scale = exponential.scale();
                prop_assert!(exponential.counts().len() <= max_size);
                let bucketed = exponential.zero_count() + exponential.counts().iter().sum::<u64>();
                prop_assert_eq!(bucketed, count);
                prop_assert_eq!(exponential.explicit_counts().iter().sum::<u64>(), count);
            }
            prop_assert_eq!((exponential.count(), exponential.sum_ns()), (count, sum));
            prop_assert_eq!(exponential.max_ns(), max);
        }

        #[test]
        fn quantiles_stay_within_the_stated_error(
            exponents in prop::collection::vec(7.0_f64..30.0, 1..300),
            quantiles in prop::collection::vec(0.01_f64..1.0, 4),
        ) {
            let mut values: Vec<u64> = exponents.iter().map(|e| e.exp2() as u64).collect();
            let mut exponential = ExponentialHistogram::new(320);
            for window in values.chunks(50) {
                exponential.absorb(&durations(window));
            }
            values.sort_unstable();
            let base = f64::from(-exponential.scale()).exp2().exp2();
            for q in quantiles {
                let rank = ((q * values.len() as f64).ceil() as usize).clamp(1, values.len());
                let exact = values[rank - 1] as f64 / 1e9;
                let found = quantile(&exponential, q);
                let error = (found - exact).abs() / exact;
                prop_assert!(error <= (base - 1.0) / 2.0 + 1.0 / 128.0, "{exact} {found} {error}");
            }
        }
    }
}
