//! An hour of series, window by window and over the wire of both exports: nothing in it looks like a counter reset.

use std::collections::BTreeMap;

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::metrics::v1::ExponentialHistogramDataPoint;
use prost::Message as _;

use super::accept::Exposition;
use super::page::{Wanted, render};
use super::parsed;
use crate::aggregate::window::Window;
use crate::export::cumulative::{Cumulative, Limits};
use crate::export::metric::Selection;
use crate::export::otlp::points::metrics;
use crate::export::otlp::request::{proto_resource, split};
use crate::export::otlp::settings::HistogramKind;
use crate::export::resource::Resource;
use crate::export::testing::{LIMITS, Native, exponential_points, labels, softirq, window};

const HOUR: u64 = 3600;
const SECOND: u64 = 1_000_000_000;
const METRIC: &str = "kctx.softirq.duration";
const FAMILY: &str = "kctx_softirq_duration_seconds";

/// xorshift64*: the same hour each time.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    /// From `low` to about `high`, as many in each doubling.
    fn spread(&mut self, low: u64, high: u64) -> u64 {
        let doublings = (high / low).ilog2() + 1;
        let base = low << self.below(u64::from(doublings));
        base + self.below(base)
    }
}

/// What a series sees in a second, by how it is made to go wrong.
fn seen(kind: u32, second: u64, random: &mut Random) -> Vec<u64> {
    match kind {
        // A busy vector.
        0 => (0..40).map(|_| random.spread(500, 50_000)).collect(),
        // The same with outliers, from an exact 0 and 1 ns to 100 s.
        1 => {
            let mut values: Vec<_> = (0..20).map(|_| random.spread(2_000, 20_000)).collect();
            if random.below(200) == 0 {
                values.push([0, 1, 3, 1_000_000_000, 100_000_000_000][random.below(5) as usize]);
            }
            values
        }
        // Anything.
        2 => (0..5).map(|_| random.spread(1, 100 * SECOND)).collect(),
        // Wider and wider to both sides, a step each minute: the scale falls once after the other.
        3 => {
            let steps = second / 60 % 40;
            vec![
                10_000_u64.checked_shr(steps as u32 / 3).unwrap_or(0).max(1),
                10_000 << (steps * 23 / 40),
            ]
        }
        // Bounds of buckets, and their neighbours.
        4 => {
            let bound = SECOND >> random.below(24);
            vec![bound - 1, bound, bound + 1, bound << 2]
        }
        // Hardly ever anything, and then it is far from what was.
        5 if random.below(400) == 0 => vec![random.spread(1, 100 * SECOND)],
        5 => Vec::new(),
        // One length, very often.
        6 => vec![777; 300],
        // First the longest.
        _ => vec![(100 * SECOND) >> second.min(36)],
    }
}

const KINDS: u32 = 8;

fn wanted() -> Wanted {
    Wanted {
        exposition: Exposition::Protobuf,
        gzip: false,
    }
}

/// Points of one metric, sent and received.
fn pushed(state: &Cumulative) -> Vec<ExponentialHistogramDataPoint> {
    let metrics = metrics(state, HistogramKind::Exponential);
    let parts = split(metrics, &proto_resource(&Resource::default()), 64 << 10);
    let mut points = Vec::new();
    for part in parts {
        let wire = part.message.encode_to_vec();
        let received = ExportMetricsServiceRequest::decode(&*wire).unwrap();
        let metrics = &received.resource_metrics[0].scope_metrics[0].metrics;
        points.extend_from_slice(exponential_points(metrics, METRIC));
    }
    points
}

/// The same by scrape, in the same order.
fn scraped(state: &Cumulative) -> Vec<Native> {
    let page = render(state, &Resource::default(), wanted()).unwrap();
    let families = parsed::protobuf(&page);
    let family = families.iter().find(|family| family.name() == FAMILY);
    let series = family.unwrap().metric.iter();
    series
        .map(|metric| parsed::native(metric.histogram.as_ref().unwrap()))
        .collect()
}

/// A series as it was last seen, and what went into it.
struct Known {
    native: Native,
    start: u64,
    time: u64,
}

fn an_hour(max_buckets: usize, seed: u64) {
    let mut state = Cumulative::new(Limits {
        max_buckets,
        selection: Selection::of_metrics(&[METRIC.to_owned()]).unwrap(),
        ..LIMITS
    });
    let mut random = Random(seed);
    let mut known: BTreeMap<String, Known> = BTreeMap::new();
    let mut fed: BTreeMap<String, u64> = BTreeMap::new();
    let mut falls = 0;
    for second in 0..HOUR {
        let mut next: Window = window(101 + second);
        for kind in 0..KINDS {
            let values = seen(kind, second, &mut random);
            if !values.is_empty() {
                let row = softirq("TIMER", kind, &values);
                let label = format!(
                    "kctx.softirq.vector=TIMER,kctx.softirq.context=irq_tail,cpu.logical_number={kind}"
                );
                *fed.entry(label).or_default() += values.len() as u64;
                next.softirq.push(row);
            }
        }
        state.fold(&next);
        let points = pushed(&state);
        let natives: Vec<_> = points.iter().map(Native::of_point).collect();
        assert_eq!(natives, scraped(&state), "both exports, in second {second}");
        for (point, native) in points.iter().zip(natives) {
            let label = labels(&point.attributes);
            let (start, time) = (point.start_time_unix_nano, point.time_unix_nano);
            assert!(start < time);
            if let Some(before) = known.get(&label) {
                let reset = native.reset_since(&before.native);
                assert_eq!(reset, None, "{label} in second {second}, seed {seed}");
                assert_eq!(start, before.start);
                assert!(time > before.time);
                falls += before.native.schema - native.schema;
            }
            let buckets: u64 = native.buckets.values().sum();
            assert_eq!(buckets + native.zero_count, native.count);
            assert!(native.buckets.len() <= max_buckets);
            known.insert(
                label,
                Known {
                    native,
                    start,
                    time,
                },
            );
        }
    }
    // Nothing was lost, and it was put to the test.
    let counts = known
        .iter()
        .map(|(label, known)| (label.clone(), known.native.count));
    assert_eq!(counts.collect::<BTreeMap<_, _>>(), fed);
    assert_eq!(known.len(), KINDS as usize);
    assert!(falls >= 10, "scales fell {falls} times only");
}

#[test]
fn an_hour_of_series_looks_like_no_reset() {
    an_hour(320, 0x9e37_79b9);
}

#[test]
fn nor_does_one_with_few_buckets() {
    an_hour(160, 7);
}
