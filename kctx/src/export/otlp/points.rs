//! The cumulative state as the protocol's metrics.

use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, DataPointFlags, ExponentialHistogram as ExponentialData,
    ExponentialHistogramDataPoint, Gauge, Histogram, HistogramDataPoint, Metric, NumberDataPoint,
    Sum, exponential_histogram_data_point::Buckets, metric::Data, number_data_point,
};

use super::settings::HistogramKind;
use crate::export::attributes::{Attributes, Value};
use crate::export::cumulative::Cumulative;
use crate::export::exponential::{ExponentialHistogram, explicit_bounds};
use crate::export::interval::Taken;
use crate::export::metric::{self, Kind, SeriesOf};
use crate::export::series::{Series, SeriesSet};

/// All metrics of the state as of its last window; a metric without points is left out.
#[must_use]
pub fn metrics(state: &Cumulative, histogram: HistogramKind) -> Vec<Metric> {
    metrics_after(state, None, histogram)
}

/// The same for an endpoint that has the points of `sent_unix_ns`: series that ended since then have a last point, which
/// says that there is no value any more.
#[must_use]
pub fn metrics_after(
    state: &Cumulative,
    sent_unix_ns: Option<u64>,
    histogram: HistogramKind,
) -> Vec<Metric> {
    of_state(state, sent_unix_ns, histogram, |_| None)
}

/// All metrics of an interval, likewise. What of it counts since the interval's start does not end: it has no point.
#[must_use]
pub fn deltas(taken: &Taken, sent_unix_ns: Option<u64>, histogram: HistogramKind) -> Vec<Metric> {
    of_state(&taken.state, sent_unix_ns, histogram, |metric| {
        taken.is_delta(metric).then_some(taken.since_unix_ns)
    })
}

/// `since` is the start of a metric's points, where all of them have the same.
fn of_state(
    state: &Cumulative,
    sent_unix_ns: Option<u64>,
    histogram: HistogramKind,
    since: impl Fn(&metric::Metric) -> Option<u64>,
) -> Vec<Metric> {
    (state.limits.selection.metrics())
        .filter_map(|metric| {
            let span = Span {
                since_unix_ns: since(metric),
                sent_unix_ns: sent_unix_ns.unwrap_or(0),
                time_unix_ns: state.time_unix_ns(),
            };
            Some(Metric {
                name: metric.name.to_owned(),
                description: metric.description.to_owned(),
                unit: metric.unit.to_owned(),
                metadata: Vec::new(),
                data: Some(data(metric, state, histogram, span)?),
            })
        })
        .collect()
}

/// On a point: there is no value any more.
const NO_VALUE: u32 = DataPointFlags::NoRecordedValueMask as u32;

/// From when to when points count.
#[derive(Clone, Copy)]
struct Span {
    /// Of deltas: the start of all of them.
    since_unix_ns: Option<u64>,
    /// What ended before is known to have.
    sent_unix_ns: u64,
    time_unix_ns: u64,
}

impl Span {
    fn temporality(self) -> i32 {
        match self.since_unix_ns {
            Some(_) => AggregationTemporality::Delta.into(),
            None => AggregationTemporality::Cumulative.into(),
        }
    }

    fn start<T>(self, series: &Series<T>) -> u64 {
        self.since_unix_ns.unwrap_or(series.start_unix_ns)
    }

    /// Points of what there is, then of what ended since the endpoint heard of it.
    fn points<T, P>(
        self,
        set: &SeriesSet<T>,
        of: impl Fn(&Attributes, &Series<T>) -> P,
        ended: impl Fn(&Attributes, &Series<T>) -> P,
    ) -> Vec<P> {
        let mut points = Vec::with_capacity(set.len());
        points.extend(
            set.iter()
                .map(|(attributes, series)| of(attributes, series)),
        );
        let over = set.ended_after(self.sent_unix_ns);
        points.extend(over.map(|(attributes, series)| ended(attributes, series)));
        points
    }
}

fn data(
    metric: &metric::Metric,
    state: &Cumulative,
    histogram: HistogramKind,
    span: Span,
) -> Option<Data> {
    let (set, value): (_, fn(u64) -> number_data_point::Value) = match metric.series(state) {
        SeriesOf::Durations(set) => return histogram_data(set, histogram, span),
        SeriesOf::Count(set) => (set, count),
        SeriesOf::Seconds(set) => (set, seconds),
        SeriesOf::Millionths(set) => (set, part),
    };
    let data = match metric.kind {
        // It has no start: it is not counted from anywhere.
        Kind::Gauge => Data::Gauge(Gauge {
            data_points: number_points(set, span, |_| 0, value),
        }),
        kind => Data::Sum(Sum {
            data_points: number_points(set, span, |series| span.start(series), value),
            aggregation_temporality: span.temporality(),
            is_monotonic: kind.is_counter(),
        }),
    };
    let is_empty = match &data {
        Data::Gauge(gauge) => gauge.data_points.is_empty(),
        Data::Sum(sum) => sum.data_points.is_empty(),
        _ => false,
    };
    (!is_empty).then_some(data)
}

/// Attributes as the protocol has them.
#[must_use]
pub fn key_values(attributes: &Attributes) -> Vec<KeyValue> {
    (attributes.iter())
        .map(|(key, value)| {
            let value = match value {
                Value::Text(text) => any_value::Value::StringValue(text.as_ref().to_owned()),
                Value::Static(text) => any_value::Value::StringValue((*text).to_owned()),
                Value::Int(number) => any_value::Value::IntValue(*number),
                Value::Bool(flag) => any_value::Value::BoolValue(*flag),
            };
            key_value(key, value)
        })
        .collect()
}

/// One attribute as the protocol has it.
#[must_use]
pub fn key_value(key: &str, value: any_value::Value) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue { value: Some(value) }),
        ..KeyValue::default()
    }
}

fn count(value: u64) -> number_data_point::Value {
    number_data_point::Value::AsInt(i64::try_from(value).unwrap_or(i64::MAX))
}

fn seconds(ns: u64) -> number_data_point::Value {
    number_data_point::Value::AsDouble(to_seconds(ns))
}

fn part(ppm: u64) -> number_data_point::Value {
    number_data_point::Value::AsDouble(ppm as f64 / 1e6)
}

fn to_seconds(ns: u64) -> f64 {
    ns as f64 / 1e9
}

/// Points of numbers, which count from `start`.
fn number_points(
    set: &SeriesSet<u64>,
    span: Span,
    start: impl Fn(&Series<u64>) -> u64,
    value: fn(u64) -> number_data_point::Value,
) -> Vec<NumberDataPoint> {
    let of = |attributes: &Attributes, series: &Series<u64>| NumberDataPoint {
        attributes: key_values(attributes),
        start_time_unix_nano: start(series),
        time_unix_nano: span.time_unix_ns,
        value: Some(value(series.value)),
        ..NumberDataPoint::default()
    };
    let ended = |attributes: &Attributes, series: &Series<u64>| NumberDataPoint {
        value: None,
        flags: NO_VALUE,
        ..of(attributes, series)
    };
    span.points(set, of, ended)
}

fn histogram_data(
    set: &SeriesSet<ExponentialHistogram>,
    kind: HistogramKind,
    span: Span,
) -> Option<Data> {
    let aggregation_temporality = span.temporality();
    match kind {
        HistogramKind::Exponential => {
            let data_points = span.points(
                set,
                |attributes, series| exponential_point(attributes, series, span),
                |attributes, series| ExponentialHistogramDataPoint {
                    attributes: key_values(attributes),
                    start_time_unix_nano: span.start(series),
                    time_unix_nano: span.time_unix_ns,
                    flags: NO_VALUE,
                    ..ExponentialHistogramDataPoint::default()
                },
            );
            (!data_points.is_empty()).then_some(Data::ExponentialHistogram(ExponentialData {
                aggregation_temporality,
                data_points,
            }))
        }
        HistogramKind::Explicit => {
            let data_points = span.points(
                set,
                |attributes, series| explicit_point(attributes, series, span),
                |attributes, series| HistogramDataPoint {
                    attributes: key_values(attributes),
                    start_time_unix_nano: span.start(series),
                    time_unix_nano: span.time_unix_ns,
                    flags: NO_VALUE,
                    ..HistogramDataPoint::default()
                },
            );
            (!data_points.is_empty()).then_some(Data::Histogram(Histogram {
                aggregation_temporality,
                data_points,
            }))
        }
    }
}

/// The maximum is exact. The minimum is the lower edge of a bucket of the windows' histograms: 1/128 below at most.
fn exponential_point(
    attributes: &Attributes,
    series: &Series<ExponentialHistogram>,
    span: Span,
) -> ExponentialHistogramDataPoint {
    ExponentialHistogramDataPoint {
        attributes: key_values(attributes),
        start_time_unix_nano: span.start(series),
        time_unix_nano: span.time_unix_ns,
        count: series.value.count(),
        sum: Some(to_seconds(series.value.sum_ns())),
        scale: series.value.scale(),
        zero_count: series.value.zero_count(),
        positive: Some(Buckets {
            offset: series.value.offset(),
            bucket_counts: series.value.counts().to_vec(),
        }),
        min: Some(to_seconds(series.value.min_ns())),
        max: Some(to_seconds(series.value.max_ns())),
        ..ExponentialHistogramDataPoint::default()
    }
}

fn explicit_point(
    attributes: &Attributes,
    series: &Series<ExponentialHistogram>,
    span: Span,
) -> HistogramDataPoint {
    HistogramDataPoint {
        attributes: key_values(attributes),
        start_time_unix_nano: span.start(series),
        time_unix_nano: span.time_unix_ns,
        count: series.value.count(),
        sum: Some(to_seconds(series.value.sum_ns())),
        bucket_counts: series.value.explicit_counts(),
        explicit_bounds: explicit_bounds(),
        min: Some(to_seconds(series.value.min_ns())),
        max: Some(to_seconds(series.value.max_ns())),
        ..HistogramDataPoint::default()
    }
}
