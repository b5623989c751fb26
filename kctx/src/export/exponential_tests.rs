use proptest::prelude::*;

use super::*;
use crate::export::testing::{durations, quantile};

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

/// From what a softirq takes at least to what nobody waits for: 100 ns to 10 s are told apart.
#[test]
fn explicit_bounds_are_those_of_kernel_work() {
    let bounds = explicit_bounds();
    assert_eq!(bounds.len(), 28);
    assert!(bounds[0] < 120e-9 && bounds[1] < 240e-9);
    assert!(bounds[27] > 10.0 && bounds[26] < 10.0);
    assert!(bounds.windows(2).all(|pair| pair[1] == 2.0 * pair[0]));
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
        17_000_000_000,
    ];
    for value in values {
        let mut exponential = ExponentialHistogram::new(160);
        let one = durations(&[value]);
        exponential.absorb(&one);
        let explicit = exponential.explicit_counts();
        let bucket = explicit.iter().position(|count| *count == 1).unwrap();
        let mut midpoints = Vec::new();
        one.each_bucket(|bucket| midpoints.push(bucket.midpoint_ns()));
        let seconds = midpoints[0] as f64 / 1e9;
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

    /// Whatever is merged with whatever: the same as if all had been seen by one, at the lower of the scales.
    #[test]
    fn merged_is_as_if_seen_by_one(
        parts in prop::collection::vec(prop::collection::vec(0_u64..1 << 40, 0..20), 1..6),
        max_size in prop::sample::select(vec![160_usize, 320]),
    ) {
        let mut merged = ExponentialHistogram::new(max_size);
        let mut all = ExponentialHistogram::new(max_size);
        let mut lowest = MAX_SCALE;
        for values in &parts {
            let mut part = ExponentialHistogram::new(max_size);
            part.absorb(&durations(values));
            merged.merge(&part);
            all.absorb(&durations(values));
            lowest = lowest.min(merged.scale());
            prop_assert!(merged.scale() <= part.scale() && merged.scale() == lowest);
            prop_assert!(merged.counts().len() <= max_size);
        }
        while merged.scale() > all.scale() {
            merged.downscale();
        }
        while all.scale() > merged.scale() {
            all.downscale();
        }
        let buckets = |of: &ExponentialHistogram| {
            let counts = (of.offset()..).zip(of.counts().to_vec());
            counts.filter(|(_, count)| *count > 0).collect::<Vec<_>>()
        };
        prop_assert_eq!(buckets(&merged), buckets(&all));
        prop_assert_eq!(
            (merged.count(), merged.sum_ns(), merged.max_ns(), merged.zero_count()),
            (all.count(), all.sum_ns(), all.max_ns(), all.zero_count())
        );
    }

    #[test]
    fn quantiles_stay_within_the_stated_error(
        exponents in prop::collection::vec(7.0_f64..30.0, 1..300),
        quantiles in prop::collection::vec(0.01_f64..1.0, 4),
    ) {
        check_quantiles(exponents.iter().map(|e| e.exp2() as u64).collect(), 320, &quantiles)?;
    }

    /// The same of what is made to be hard on buckets.
    #[test]
    fn adversarial_durations_stay_within_the_stated_error(
        values in adversarial(),
        max_size in prop::sample::select(vec![160_usize, 320, 1280]),
        quantiles in prop::collection::vec(0.001_f64..1.0, 8),
    ) {
        check_quantiles(values, max_size, &quantiles)?;
    }
}

/// The error that docs/metrics.md states: half a bucket, and what the window's histogram adds.
fn check_quantiles(
    mut values: Vec<u64>,
    max_size: usize,
    quantiles: &[f64],
) -> Result<(), TestCaseError> {
    let mut exponential = ExponentialHistogram::new(max_size);
    for window in values.chunks(50) {
        exponential.absorb(&durations(window));
    }
    values.sort_unstable();
    let base = f64::from(-exponential.scale()).exp2().exp2();
    for q in quantiles {
        let rank = ((q * values.len() as f64).ceil() as usize).clamp(1, values.len());
        let exact = values[rank - 1] as f64 / 1e9;
        let found = quantile(&exponential, *q);
        let error = (found - exact).abs() / exact;
        prop_assert!(
            error <= (base - 1.0) / 2.0 + 1.0 / 128.0,
            "{exact} {found} {error}"
        );
    }
    Ok(())
}

/// Two lengths far apart; one length; a heavy tail over nine decades; powers of two and what is beside them; edges of the
/// window's buckets.
fn adversarial() -> impl Strategy<Value = Vec<u64>> {
    let any = || 128_u64..1 << 42;
    let two = (any(), any(), 1_usize..200, 1_usize..200)
        .prop_map(|(a, b, n, m)| [vec![a; n], vec![b; m]].concat());
    let one = (any(), 1_usize..300).prop_map(|(value, n)| vec![value; n]);
    let tail = prop::collection::vec(1e-6_f64..1.0, 1..300)
        .prop_map(|us| us.iter().map(|u| (200.0 * u.powf(-1.5)) as u64).collect());
    let power = (8_u32..42, -1_i64..=1).prop_map(|(e, by)| (1_u64 << e).saturating_add_signed(by));
    let powers = prop::collection::vec(power, 1..300);
    let edge = (8_u32..42, 0_u64..256, -1_i64..=1)
        .prop_map(|(e, k, by)| ((256 + k) << (e - 8)).saturating_add_signed(by));
    let edges = prop::collection::vec(edge, 1..300);
    prop_oneof![two, one, tail, powers, edges]
}

#[test]
fn quantiles_are_within_half_a_bucket() {
    let durations: Durations = (1..=1000_u64).map(|us| us * 1000).collect();
    let mut histogram = ExponentialHistogram::new(1280);
    assert_eq!(histogram.quantile_ns(0.5), 0);
    histogram.absorb(&durations);
    for (quantile, exact) in [(0.5, 500_000.0), (0.99, 990_000.0)] {
        let off = histogram.quantile_ns(quantile) as f64 / exact - 1.0;
        assert!(off.abs() < 0.012, "{quantile}: {off}");
    }
    assert_eq!(histogram.quantile_ns(1.0), 1_000_000);
    let zeros: Durations = [0; 3].into_iter().collect();
    let mut histogram = ExponentialHistogram::new(1280);
    histogram.absorb(&zeros);
    assert_eq!(histogram.quantile_ns(0.99), 0);
}
