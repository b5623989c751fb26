use proptest::prelude::*;

use super::*;
use crate::export::cumulative::Cumulative;
use crate::export::otlp::points::metrics;
use crate::export::otlp::settings::HistogramKind;
use crate::export::resource::Resource;
use crate::export::testing::{LIMITS, hardirq, softirq, window, workqueue};

fn state(functions: usize, values: &[u64]) -> Cumulative {
    let mut first = window(101);
    first.softirq = vec![softirq("NET_RX", 0, values), softirq("TIMER", 1, values)];
    first.hardirq = vec![hardirq(Some(1), 0, values)];
    first.workqueue = (0..functions)
        .map(|n| workqueue(&format!("function_{n}"), false, values))
        .collect();
    let mut state = Cumulative::new(LIMITS);
    state.fold(&first);
    state
}

/// Each point of each metric as (name, unit, one point), in order.
fn flat(metrics: &[Metric]) -> Vec<Metric> {
    let mut flat = Vec::new();
    for metric in metrics {
        let mut points = Points::of(metric.data.clone().unwrap());
        while !points.is_empty() {
            let data = Some(points.take(1).0);
            flat.push(Metric {
                data,
                ..metric.clone()
            });
        }
    }
    flat
}

#[test]
fn one_small_collection_is_one_request() {
    let metrics = metrics(&state(3, &[100, 5_000]), HistogramKind::Exponential);
    let points = flat(&metrics).len() as u64;
    let parts = split(
        metrics.clone(),
        &proto_resource(&Resource::default()),
        3 << 20,
    );
    assert_eq!(parts.len(), 1);
    assert_eq!(parts[0].items, points);
    assert_eq!(
        parts[0].message.resource_metrics[0].scope_metrics[0].metrics,
        metrics
    );
}

#[test]
fn nothing_makes_no_request() {
    assert!(split(Vec::new(), &proto_resource(&Resource::default()), 3 << 20).is_empty());
}

#[test]
fn explicit_histograms_hold_the_same_counts() {
    let state = state(1, &[100, 5_000, 70_000_000]);
    let metrics = metrics(&state, HistogramKind::Explicit);
    let metric = metrics
        .iter()
        .find(|m| m.name == "kctx.softirq.duration")
        .unwrap();
    let Some(Data::Histogram(histogram)) = &metric.data else {
        panic!("{metric:?}");
    };
    let point = &histogram.data_points[0];
    assert_eq!(point.bucket_counts.len(), point.explicit_bounds.len() + 1);
    assert_eq!(point.bucket_counts.iter().sum::<u64>(), 3);
    assert_eq!((point.count, point.sum), (3, Some(0.070_005_1)));
    assert_eq!(point.explicit_bounds.first(), Some(&2_f64.powi(-23)));
    assert_eq!(point.explicit_bounds.last(), Some(&16.0));
    assert_eq!(point.bucket_counts[0], 1);
}

proptest! {
    #[test]
    fn splitting_keeps_the_bound_and_every_point(
        functions in 1_usize..60,
        exponents in prop::collection::vec(5_u32..32, 1..20),
        max_bytes in 4_000_usize..60_000,
    ) {
        let values: Vec<u64> = exponents.iter().map(|e| 1 << e).collect();
        let metrics = metrics(&state(functions, &values), HistogramKind::Exponential);
        let mut resource = Resource::default();
        resource.set("service.name", "kctx");
        let parts = split(metrics.clone(), &proto_resource(&resource), max_bytes);
        let mut seen = Vec::new();
        for (at, part) in parts.iter().enumerate() {
            let size = part.message.encoded_len();
            prop_assert!(size <= max_bytes, "{size} > {max_bytes}");
            // Packed, not scattered: two neighbours would not fit one request.
            if at > 0 {
                prop_assert!(size + parts[at - 1].message.encoded_len() > max_bytes / 2);
            }
            let resource_metrics = &part.message.resource_metrics[0];
            prop_assert_eq!(resource_metrics.resource.as_ref(), Some(&proto_resource(&resource)));
            prop_assert_eq!(&resource_metrics.scope_metrics[0].scope.as_ref().unwrap().name, "kctx");
            let points = flat(&resource_metrics.scope_metrics[0].metrics);
            prop_assert_eq!(points.len() as u64, part.items);
            seen.extend(points);
        }
        prop_assert_eq!(seen, flat(&metrics));
    }
}
