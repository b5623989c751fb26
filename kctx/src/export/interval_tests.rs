use std::collections::BTreeMap;

use opentelemetry_proto::tonic::metrics::v1::{Metric as Sent, metric::Data};
use proptest::prelude::*;

use super::*;
use crate::aggregate::window::{ContextTimes, Window};
use crate::export::metric::metrics;
use crate::export::otlp::points;
use crate::export::otlp::settings::HistogramKind;
use crate::export::testing::{
    LIMITS, SECOND, everything, exponential_points, find, fold_everything, labels, number,
    number_points, softirq, window,
};

const DELTA: i32 = 1;

fn sent(taken: &Taken) -> Vec<Sent> {
    points::deltas(taken, None, HistogramKind::Exponential)
}

fn temporality(metric: &Sent) -> i32 {
    match metric.data.as_ref().unwrap() {
        Data::Sum(data) => data.aggregation_temporality,
        Data::ExponentialHistogram(data) => data.aggregation_temporality,
        Data::Gauge(_) => 0,
        other => panic!("{other:?}"),
    }
}

fn served(end: u64, values: &[u64]) -> Window {
    let mut each = window(end);
    each.softirq = vec![softirq("TIMER", 0, values)];
    each
}

/// Start and end in seconds, count, minimum and maximum in nanoseconds of the one series of softirqs.
fn span(taken: &Taken) -> (u64, u64, u64, f64, f64) {
    let metrics = sent(taken);
    let [point] = exponential_points(&metrics, "kctx.softirq.duration") else {
        panic!("{metrics:?}");
    };
    let ns = |seconds: Option<f64>| (seconds.unwrap() * 1e9).round();
    (
        point.start_time_unix_nano / SECOND,
        point.time_unix_nano / SECOND,
        point.count,
        ns(point.min),
        ns(point.max),
    )
}

#[test]
fn an_interval_begins_where_the_one_before_ended() {
    let mut interval = Interval::new(LIMITS, Temporality::Delta);
    assert!(interval.take().is_none());
    interval.fold(&served(101, &[5, 9]));
    interval.fold(&served(102, &[7]));
    assert_eq!(span(&interval.take().unwrap()), (100, 102, 3, 5.0, 9.0));
    // Nothing of it in these; the time passes all the same.
    interval.fold(&window(103));
    let silent = interval.take().unwrap();
    assert_eq!(find(&sent(&silent), "kctx.softirq.duration"), None);
    interval.fold(&served(104, &[8]));
    interval.fold(&served(105, &[6]));
    assert_eq!(span(&interval.take().unwrap()), (103, 105, 2, 6.0, 8.0));
}

#[test]
fn what_was_taken_in_vain_goes_with_the_next() {
    let mut interval = Interval::new(LIMITS, Temporality::Delta);
    interval.fold(&served(101, &[5]));
    interval.take().unwrap();
    interval.fold(&served(102, &[1_000_000]));
    let vain = interval.take().unwrap();
    interval.fold(&served(103, &[7]));
    interval.put_back(vain);
    interval.fold(&served(104, &[8]));
    let (start, end, count, min, max) = span(&interval.take().unwrap());
    assert_eq!((start, end, count), (101, 104, 3));
    assert_eq!((min, max), (7.0, 1_000_000.0));
    // And one that was not put back leaves a gap, not an overlap.
    interval.fold(&served(105, &[5]));
    drop(interval.take());
    interval.fold(&served(106, &[5]));
    assert_eq!(span(&interval.take().unwrap()), (105, 106, 1, 5.0, 5.0));
}

#[test]
fn taken_twice_in_one_window_it_is_never_empty_in_time() {
    let mut interval = Interval::new(LIMITS, Temporality::Delta);
    interval.fold(&served(101, &[5]));
    let first = interval.take().unwrap();
    let mut before = first.state.time_unix_ns();
    for _ in 0..3 {
        let next = interval.take().unwrap();
        assert_eq!(next.since_unix_ns, before);
        assert!(next.state.time_unix_ns() > before);
        before = next.state.time_unix_ns();
    }
}

#[test]
fn a_clock_set_back_far_loses_no_count_and_no_interval_ends_before_it_begins() {
    let mut interval = Interval::new(LIMITS, Temporality::Delta);
    interval.fold(&served(5001, &[5]));
    let vain = interval.take().unwrap();
    interval.fold(&served(5002, &[6]));
    interval.fold(&served(1001, &[7]));
    assert_eq!(span(&interval.take().unwrap()), (1000, 1001, 2, 6.0, 7.0));
    interval.fold(&served(1002, &[8]));
    interval.put_back(vain);
    let (start, end, count, ..) = span(&interval.take().unwrap());
    assert_eq!((start, end, count), (1001, 1002, 2));
}

/// Every metric has the temporality that the specification gives its kind, and what is no delta goes on.
#[test]
fn up_down_counters_and_gauges_stay_as_they_are() {
    for (temporality_wanted, observed) in
        [(Temporality::Delta, true), (Temporality::LowMemory, false)]
    {
        let mut interval = Interval::new(LIMITS, temporality_wanted);
        let everything = everything();
        interval.since_unix_ns = Some(everything.start_unix_ns);
        fold_everything(interval.state());
        let first = sent(&interval.take().unwrap());
        assert_eq!(first.len(), metrics().count());
        for metric in &first {
            let kind = metrics()
                .find(|known| known.name == metric.name)
                .unwrap()
                .kind;
            let delta = match kind {
                Kind::Histogram | Kind::Counter => true,
                Kind::ObservedCounter => observed,
                Kind::UpDownCounter | Kind::Gauge => false,
            };
            assert_eq!(temporality(metric) == DELTA, delta, "{}", metric.name);
        }
        let mut again = window(103);
        again.probes = everything.probes;
        interval.fold(&again);
        let second = sent(&interval.take().unwrap());
        let probes = |of: &[Sent]| {
            let points = number_points(of, "kctx.probe.attached").iter();
            points
                .map(|p| (labels(&p.attributes), p.start_time_unix_nano, number(p)))
                .collect::<Vec<_>>()
        };
        assert!(!probes(&first).is_empty());
        assert_eq!(probes(&second), probes(&first));
        assert_eq!(find(&second, "kctx.self.cpu.time").is_none(), observed);
        assert!(find(&second, "kctx.module.events").is_none());
    }
}

/// Where a backend refuses exponential histograms it gets deltas of the explicit buckets, which add up too.
#[test]
fn deltas_of_explicit_buckets_add_up() {
    let explicit = |metrics: Vec<Sent>| {
        let metric = find(&metrics, "kctx.softirq.duration").unwrap();
        let Some(Data::Histogram(data)) = &metric.data else {
            panic!("{metric:?}");
        };
        let point = &data.data_points[0];
        assert_eq!(point.bucket_counts.len(), point.explicit_bounds.len() + 1);
        (data.aggregation_temporality, point.bucket_counts.clone())
    };
    let mut interval = Interval::new(LIMITS, Temporality::Delta);
    let mut whole = Cumulative::new(LIMITS);
    let mut sums = vec![0; 29];
    for (end, values) in (101..).zip([[150, 90_000], [150, 20_000_000_000], [1, 10_000_000_000]]) {
        interval.fold(&served(end, &values));
        whole.fold(&served(end, &values));
        let taken = interval.take().unwrap();
        let (temporality, counts) = explicit(points::deltas(&taken, None, HistogramKind::Explicit));
        assert_eq!((temporality, counts.iter().sum::<u64>()), (DELTA, 2));
        sums.iter_mut()
            .zip(counts)
            .for_each(|(sum, count)| *sum += count);
    }
    let (_, counts) = explicit(points::metrics(&whole, HistogramKind::Explicit));
    assert_eq!(sums, counts);
    // 16 s and more; 8 to 16 s; 1 ns and 150 ns on both sides of the first bound.
    assert_eq!((counts[28], counts[27], counts[0], counts[1]), (1, 1, 1, 2));
}

#[test]
fn a_preference_is_one_of_three_words() {
    assert_eq!("Delta".parse(), Ok(Temporality::Delta));
    assert_eq!("lowmemory".parse(), Ok(Temporality::LowMemory));
    let error = "deltas".parse::<Temporality>().unwrap_err();
    assert_eq!(
        error,
        "\"deltas\" is not one of cumulative, delta, lowmemory"
    );
}

/// What a series comes to: its count and sum, and its buckets at the coarsest scale that there is.
#[derive(Debug, Default, PartialEq)]
struct Sum {
    count: u64,
    value: i64,
    buckets: BTreeMap<i32, u64>,
}

type Sums = BTreeMap<(String, String), Sum>;

/// Adds up points; buckets at scale 1, below which nothing falls here.
fn add_up(sums: &mut Sums, metrics: &[Sent]) {
    for metric in metrics {
        let key = |attributes| (metric.name.clone(), labels(attributes));
        for point in exponential_points(metrics, &metric.name) {
            let sum = sums.entry(key(&point.attributes)).or_default();
            sum.count += point.count;
            sum.value += (point.sum.unwrap() * 1e9).round() as i64;
            let positive = point.positive.as_ref().unwrap();
            for (index, count) in (positive.offset..).zip(&positive.bucket_counts) {
                assert!(point.scale >= 1);
                *sum.buckets.entry(index >> (point.scale - 1)).or_default() += count;
            }
            sum.buckets.retain(|_, count| *count > 0);
            let (min, max) = (point.min.unwrap(), point.max.unwrap());
            assert!(min <= max && point.sum.unwrap() <= max * point.count as f64 * (1.0 + 1e-9));
        }
        for point in number_points(metrics, &metric.name) {
            let sum = sums.entry(key(&point.attributes)).or_default();
            sum.value += (number(point) * 1e9).round() as i64;
        }
    }
}

/// What is told in one window: softirqs by vector, bits of a duration and how many; whether an export takes it then, and
/// whether that fails and is put back.
type Told = (Vec<(usize, u32, u8)>, bool, bool);

fn told() -> impl Strategy<Value = Vec<Told>> {
    let row = (0_usize..4, 0_u32..38, 0_u8..9);
    let rows = prop::collection::vec(row, 0..6);
    prop::collection::vec((rows, any::<bool>(), any::<bool>()), 1..25)
}

proptest! {
    /// Whatever is exported when, and whatever of that fails and comes again: the deltas add up to what has been
    /// counted, and their times follow one another without a gap.
    #[test]
    fn deltas_add_up_to_the_cumulative(told in told(), max_series in prop::sample::select(vec![3_usize, 2000])) {
        const VECTORS: [&str; 4] = ["TIMER", "NET_RX", "RCU", "SCHED"];
        let limits = Limits { max_series, ..LIMITS };
        let mut whole = Cumulative::new(limits);
        let mut interval = Interval::new(limits, Temporality::Delta);
        let mut sums = Sums::new();
        let mut ended = 100 * SECOND;
        let windows = told.len() as u64;
        for (end, (rows, exports, fails)) in (101..).zip(told) {
            let mut each = window(end);
            for (vector, bits, count) in rows {
                let values: Vec<u64> = (0..u64::from(count)).map(|n| (1 << bits) + n * 37).collect();
                each.softirq.push(softirq(VECTORS[vector], 0, &values));
                each.cpu.push(ContextTimes { cpu: 0, softirq_ns: 1 << bits, ..ContextTimes::default() });
            }
            whole.fold(&each);
            interval.fold(&each);
            if !exports && end < 100 + windows {
                continue;
            }
            let taken = interval.take().unwrap();
            prop_assert_eq!(taken.since_unix_ns, ended);
            if fails && end < 100 + windows {
                interval.put_back(taken);
                continue;
            }
            ended = taken.state.time_unix_ns();
            prop_assert_eq!(ended, end * SECOND);
            add_up(&mut sums, &sent(&taken));
        }
        let mut expected = Sums::new();
        add_up(&mut expected, &points::metrics(&whole, HistogramKind::Exponential));
        if max_series > 10 {
            prop_assert_eq!(&sums, &expected);
        }
        // What has room may differ: of an interval it is what comes first in it.
        let total = |sums: &Sums| {
            let mut total = BTreeMap::<String, (u64, i64)>::new();
            for ((metric, _), sum) in sums {
                let of = total.entry(metric.clone()).or_default();
                *of = (of.0 + sum.count, of.1 + sum.value);
            }
            total
        };
        prop_assert_eq!(total(&sums), total(&expected));
    }
}
