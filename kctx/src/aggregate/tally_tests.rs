use proptest::prelude::*;

use super::{
    super::{
        few::FEW,
        hdr_bucket::{Bucket, empty},
    },
    *,
};

/// Any size of number is as likely as any other.
fn durations() -> impl Strategy<Value = Vec<u64>> {
    let one = (0u32..64, any::<u64>()).prop_map(|(shift, value)| value >> shift);
    // Few, and many.
    prop::collection::vec(one, 0..3 * FEW)
}

/// As hdrhistogram records them itself.
fn recorded(values: &[u64]) -> Durations {
    let mut histogram = Box::new(empty());
    let (mut sum_ns, mut max_ns) = (0_u64, 0);
    for &ns in values {
        histogram.record(ns.min(LONGEST_NS)).unwrap();
        sum_ns = sum_ns.saturating_add(ns);
        max_ns = max_ns.max(ns);
    }
    Durations::of_many(histogram, sum_ns, max_ns)
}

/// All that can be asked of them.
fn assert_same(a: &Durations, b: &Durations) {
    assert_eq!((a.count(), a.sum_ns()), (b.count(), b.sum_ns()));
    assert_eq!(a.max_ns(), b.max_ns());
    for quantile in [0.0, 0.5, 0.9, 0.99, 0.999, 1.0] {
        assert_eq!(a.quantile_ns(quantile), b.quantile_ns(quantile));
    }
    assert_eq!(buckets(a), buckets(b));
}

fn buckets(durations: &Durations) -> Vec<Bucket> {
    let mut buckets = Vec::new();
    durations.each_bucket(|bucket| buckets.push(bucket));
    buckets
}

fn tally(values: &[u64]) -> Tally {
    let mut tally = Tally::default();
    values.iter().for_each(|&ns| tally.record(ns));
    tally
}

#[test]
fn a_count_goes_beyond_what_its_sixteen_bits_hold() {
    let mut tally = Tally::default();
    let mut histogram = empty();
    for (ns, times) in [(1100_u64, 200_000_u64), (70, 65_536), (70_000_000, 65_535)] {
        (0..times).for_each(|_| tally.record(ns));
        histogram.record_n(ns, times).unwrap();
    }
    let closed = tally.close();
    assert_eq!(closed.count(), 200_000 + 65_536 + 65_535);
    let (sum_ns, max_ns) = (closed.sum_ns(), closed.max_ns());
    assert_same(
        &closed,
        &Durations::of_many(Box::new(histogram), sum_ns, max_ns),
    );
}

proptest! {
    #[test]
    fn what_is_closed_is_what_a_histogram_would_have_recorded(values in durations()) {
        assert_same(&tally(&values).close(), &recorded(&values));
    }

    #[test]
    fn spilled_buckets_and_streamed_durations_add_up(values in durations(), spilled in durations()) {
        let mut tally = tally(&values);
        for &ns in &spilled {
            tally.record_bucket(ns, 1);
            tally.add_exact(ns, ns);
        }
        assert_same(&tally.close(), &recorded(&[values, spilled].concat()));
    }

    #[test]
    fn gross_and_net_are_as_if_they_were_two(
        pairs in prop::collection::vec((0u32..64, any::<u64>(), 0u64..3), 0..3 * FEW),
        spilled in durations(),
    ) {
        let pairs: Vec<_> = pairs
            .into_iter()
            .map(|(shift, value, nested)| (value >> shift, (value >> shift).saturating_sub(nested)))
            .collect();
        let mut served = ServedTally::default();
        pairs.iter().for_each(|&(gross, net)| served.record(gross, net));
        for &ns in &spilled {
            served.gross().record_bucket(ns, 1);
            served.gross().add_exact(ns, ns);
        }
        let (gross, net): (Vec<_>, Vec<_>) = pairs.into_iter().unzip();
        let (closed_gross, closed_net) = served.close();
        assert_same(&closed_gross, &recorded(&[gross, spilled].concat()));
        assert_same(&closed_net, &recorded(&net));
    }

    #[test]
    fn windows_add_up(windows in prop::collection::vec(durations(), 0..5)) {
        let mut sum = Durations::default();
        for values in &windows {
            sum.merge(&tally(values).close());
        }
        assert_same(&sum, &recorded(&windows.concat()));
    }
}
