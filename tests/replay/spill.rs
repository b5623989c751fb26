//! What was spilled counts as if it had been streamed, within the stated error.

use anyhow::Result;
use kctx::{
    aggregate::table::RowLimits,
    report::summary::{DurationSummary, Summary},
    source::{Control, Item, SpillDelta},
};
use kctx_common::record::kind;
use kctx_tests::stream::{
    self, Names, START_NS, batch, control, counted, softirq, spill_delta, spilled, start,
    window_end,
};
use proptest::prelude::*;

/// The histogram's bucket, of which a quantile is the upper edge, is 1/128 wide at most.
const STREAMED: f64 = 1.0 / 128.0;
/// The spill's midpoint is within 1/32 of what is in its bucket; then it goes into the histogram.
const SPILLED: f64 = 0.04;

fn spill(service: &[u64]) -> Item {
    let wait: Vec<u64> = service.iter().map(|ns| ns / 2).collect();
    control(Control::Spill(Box::new(SpillDelta {
        number: 3,
        wait: spilled(&wait),
        service: spilled(service),
        third: spilled(service),
        ..spill_delta(kind::SOFTIRQ, 0)
    })))
}

fn streamed(service: &[u64]) -> Item {
    let records: Vec<_> = (service.iter())
        .map(|ns| softirq(3, START_NS + 5, Some(ns / 2), *ns))
        .collect();
    batch(0, &records)
}

fn summary(pieces: Vec<Item>) -> Result<Summary> {
    let mut items = vec![start()];
    items.extend(pieces);
    items.extend([counted([0; 4]), window_end(1_000_000)]);
    let live = stream::live(&items, &Names::default(), RowLimits::default());
    let recorded = stream::recorded(&items, &Names::default(), RowLimits::default())?;
    assert_eq!(live, recorded);
    Ok(live[0].clone())
}

fn quantiles(durations: &DurationSummary) -> [(f64, u64); 4] {
    let d = durations;
    [
        (0.5, d.p50_ns),
        (0.9, d.p90_ns),
        (0.99, d.p99_ns),
        (0.999, d.p999_ns),
    ]
}

fn check_quantiles(durations: &DurationSummary, mut exact: Vec<u64>, stated: f64) {
    exact.sort_unstable();
    for (quantile, found) in quantiles(durations) {
        let rank = (quantile * exact.len() as f64).ceil() as usize;
        let wanted = exact[rank.clamp(1, exact.len()) - 1];
        let error = found.abs_diff(wanted) as f64;
        assert!(
            error <= 3.0 + wanted as f64 * stated,
            "p{quantile}: {found}, exactly {wanted}"
        );
    }
}

fn durations() -> impl Strategy<Value = Vec<u64>> {
    // Evenly over the octaves, from nothing to 34 s.
    let one =
        (0..35_u32, any::<u64>()).prop_map(|(bits, low)| (1 << bits) | (low & ((1 << bits) - 1)));
    prop::collection::vec(one, 1..300)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn half_spilled_is_as_good_as_streamed(first in durations(), second in durations(), third in durations()) {
        let all = [first.clone(), second.clone(), third.clone()].concat();
        let summary = summary(vec![streamed(&first), spill(&second), spill(&third)]).expect("a summary");
        let row = &summary.softirq[0];
        let max = all.iter().copied().max().unwrap_or(0);
        for (durations, exact) in [
            (&row.service, all.clone()),
            (&row.service_net, all.clone()),
            (&row.wait, all.iter().map(|ns| ns / 2).collect()),
        ] {
            prop_assert_eq!(durations.count, all.len() as u64);
            prop_assert_eq!(durations.sum_ns, exact.iter().sum::<u64>());
            check_quantiles(durations, exact, SPILLED);
        }
        prop_assert_eq!(row.count, all.len() as u64);
        prop_assert_eq!(row.service.max_ns, max);
    }

    #[test]
    fn streamed_quantiles_are_within_the_stated_error(durations in durations()) {
        let summary = summary(vec![streamed(&durations)]).expect("a summary");
        check_quantiles(&summary.softirq[0].service, durations, STREAMED);
    }
}

#[test]
fn a_spilled_wait_that_was_not_seen_is_unknown() -> Result<()> {
    let delta = SpillDelta {
        number: 9,
        wait: spilled(&[10, 20]),
        service: spilled(&[1000, 2000, 3000]),
        third: spilled(&[900, 1900, 2900]),
        ..spill_delta(kind::SOFTIRQ, 2)
    };
    let summary = summary(vec![control(Control::Spill(Box::new(delta)))])?;
    let row = &summary.softirq[0];
    assert_eq!((row.vector.as_str(), row.cpu), ("RCU", 2));
    assert_eq!((row.count, row.wait_unknown), (3, 1));
    assert_eq!(row.wait.sum_ns, 30);
    assert_eq!((row.service.sum_ns, row.service_net.sum_ns), (6000, 5700));
    Ok(())
}

#[test]
fn a_spilled_interrupt_keeps_what_its_handler_returned() -> Result<()> {
    let delta = |unhandled, service: &[u64], woke: &[u64]| {
        control(Control::Spill(Box::new(SpillDelta {
            unhandled,
            number: 30,
            name_id: 4,
            service: spilled(service),
            third: spilled(woke),
            ..spill_delta(kind::HARDIRQ, 0)
        })))
    };
    let items = vec![
        delta(false, &[100, 200, 300], &[300]),
        delta(true, &[50, 50], &[]),
    ];
    let summary = summary(items)?;
    let row = &summary.hardirq[0];
    assert_eq!(
        (row.irq, row.count, row.unhandled, row.woke_thread),
        (Some(30), 3, 2, 1)
    );
    assert_eq!((row.service.count, row.service.sum_ns), (3, 600));
    Ok(())
}

#[test]
fn a_spilled_work_keeps_its_waits() -> Result<()> {
    let delta = SpillDelta {
        name_id: 6,
        function: 0x77,
        wait: spilled(&[5000; 4]),
        service: spilled(&[100; 5]),
        third: spilled(&[1000; 3]),
        ..spill_delta(kind::WORK, 0)
    };
    let summary = summary(vec![control(Control::Spill(Box::new(delta)))])?;
    let row = &summary.workqueue[0];
    assert_eq!((row.count, row.wait_unknown), (5, 1));
    assert_eq!((row.wait.sum_ns, row.activate.sum_ns), (20_000, 3000));
    assert_eq!((row.service.sum_ns, row.service.max_ns), (500, 100));
    Ok(())
}
