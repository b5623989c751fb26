//! The cumulative state as `ExportMetricsServiceRequest` messages, split by size.

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::InstrumentationScope;
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, ExponentialHistogram as ExponentialData, ExponentialHistogramDataPoint,
    Histogram, HistogramDataPoint, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum,
    exponential_histogram_data_point::Buckets, metric::Data, number_data_point,
};
use opentelemetry_proto::tonic::resource::v1::Resource as ProtoResource;
use prost::Message;

use super::cumulative::Cumulative;
use super::exponential::{ExponentialHistogram, explicit_bounds};
use super::series::SeriesSet;
use super::settings::HistogramKind;

/// Of the semantic conventions whose names are used.
const SCHEMA_URL: &str = "https://opentelemetry.io/schemas/1.44.0";

/// Most bytes that a nested message's tag and length can take.
const NESTING: usize = 6;

/// Part of one collection: a whole request with its number of points.
#[derive(Clone, Debug)]
pub struct Part {
    /// The message.
    pub message: ExportMetricsServiceRequest,
    /// Data points in it.
    pub points: u64,
}

/// All metrics of the state as of its last window; a metric without points is left out.
#[must_use]
pub fn metrics(state: &Cumulative, kind: HistogramKind) -> Vec<Metric> {
    let time = state.time_unix_ns();
    let histogram = |name, description, set: &SeriesSet<ExponentialHistogram>| {
        metric(name, description, "s", histogram_data(set, kind, time))
    };
    let counter = |name, description, unit, set: &SeriesSet<u64>| {
        metric(name, description, unit, sum_data(set, time, true, count))
    };
    [
        histogram(
            "kctx.softirq.wait.duration",
            "Time from the first pending raise of a softirq vector to its run.",
            &state.softirq_wait,
        ),
        histogram(
            "kctx.softirq.duration",
            "Time a softirq vector ran, with the interrupt handlers that fell into it.",
            &state.softirq_gross,
        ),
        histogram(
            "kctx.softirq.exclusive.duration",
            "Time a softirq vector ran, without the interrupt handlers that fell into it.",
            &state.softirq_net,
        ),
        histogram(
            "kctx.hardirq.duration",
            "Time in an interrupt action's handler, of calls that handled the interrupt.",
            &state.hardirq,
        ),
        counter(
            "kctx.hardirq.unhandled",
            "Calls of an interrupt action's handler that were not for its device.",
            "{interrupt}",
            &state.hardirq_unhandled,
        ),
        histogram(
            "kctx.workqueue.wait.duration",
            "Time from the queueing of a work item to its start.",
            &state.workqueue_wait,
        ),
        histogram(
            "kctx.workqueue.activate.duration",
            "Time from the queueing of a work item to its activation: the wait that max_active caused.",
            &state.workqueue_activate,
        ),
        histogram(
            "kctx.workqueue.duration",
            "Wall time from the start to the end of a work item; it may sleep.",
            &state.workqueue,
        ),
        metric(
            "kctx.cpu.context.time",
            "CPU time by kernel context; the contexts are disjoint.",
            "s",
            sum_data(&state.context_time_ns, time, true, seconds),
        ),
        counter(
            "kctx.module.events",
            "Kernel modules loaded, freed and asked for.",
            "{event}",
            &state.module_events,
        ),
        counter(
            "kctx.records",
            "Executions seen by the probes, by where their record went.",
            "{record}",
            &state.records,
        ),
        metric(
            "kctx.probe.attached",
            "Whether a probe is attached: 1 or 0.",
            "{probe}",
            sum_data(&state.probe_attached, time, false, count),
        ),
        counter(
            "otel.sdk.exporter.metric_data_point.exported",
            "Data points for which the export has finished, either successful or failed.",
            "{data_point}",
            &state.exported_points,
        ),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn metric(name: &str, description: &str, unit: &str, data: Option<Data>) -> Option<Metric> {
    data.map(|data| Metric {
        name: name.to_owned(),
        description: description.to_owned(),
        unit: unit.to_owned(),
        metadata: Vec::new(),
        data: Some(data),
    })
}

fn count(value: u64) -> number_data_point::Value {
    number_data_point::Value::AsInt(i64::try_from(value).unwrap_or(i64::MAX))
}

fn seconds(ns: u64) -> number_data_point::Value {
    number_data_point::Value::AsDouble(to_seconds(ns))
}

fn to_seconds(ns: u64) -> f64 {
    ns as f64 / 1e9
}

fn sum_data(
    set: &SeriesSet<u64>,
    time_unix_nano: u64,
    is_monotonic: bool,
    value: impl Fn(u64) -> number_data_point::Value,
) -> Option<Data> {
    let data_points: Vec<_> = set
        .iter()
        .map(|(attributes, series)| NumberDataPoint {
            attributes: attributes.to_proto(),
            start_time_unix_nano: series.start_unix_ns,
            time_unix_nano,
            value: Some(value(series.value)),
            ..NumberDataPoint::default()
        })
        .collect();
    (!data_points.is_empty()).then(|| {
        Data::Sum(Sum {
            data_points,
            aggregation_temporality: AggregationTemporality::Cumulative.into(),
            is_monotonic,
        })
    })
}

/// The maximum is exact over the life of the series. The minimum is not sent: the window's histograms
/// know it only to within a bucket.
fn histogram_data(
    set: &SeriesSet<ExponentialHistogram>,
    kind: HistogramKind,
    time_unix_nano: u64,
) -> Option<Data> {
    if set.is_empty() {
        return None;
    }
    let aggregation_temporality = AggregationTemporality::Cumulative.into();
    Some(match kind {
        HistogramKind::Exponential => Data::ExponentialHistogram(ExponentialData {
            aggregation_temporality,
            data_points: set
                .iter()
                .map(|(attributes, series)| ExponentialHistogramDataPoint {
                    attributes: attributes.to_proto(),
                    start_time_unix_nano: series.start_unix_ns,
                    time_unix_nano,
                    count: series.value.count(),
                    sum: Some(to_seconds(series.value.sum_ns())),
                    scale: series.value.scale(),
                    zero_count: series.value.zero_count(),
                    positive: Some(Buckets {
                        offset: series.value.offset(),
                        bucket_counts: series.value.counts().to_vec(),
                    }),
                    max: Some(to_seconds(series.value.max_ns())),
                    ..ExponentialHistogramDataPoint::default()
                })
                .collect(),
        }),
        HistogramKind::Explicit => Data::Histogram(Histogram {
            aggregation_temporality,
            data_points: set
                .iter()
                .map(|(attributes, series)| HistogramDataPoint {
                    attributes: attributes.to_proto(),
                    start_time_unix_nano: series.start_unix_ns,
                    time_unix_nano,
                    count: series.value.count(),
                    sum: Some(to_seconds(series.value.sum_ns())),
                    bucket_counts: series.value.explicit_counts(),
                    explicit_bounds: explicit_bounds(),
                    max: Some(to_seconds(series.value.max_ns())),
                    ..HistogramDataPoint::default()
                })
                .collect(),
        }),
    })
}

/// Packs metrics into requests of at most `max_bytes` each, in order, cut between data points only.
///
/// Receivers bound the decompressed message (gRPC servers commonly at 4 MiB) and refuse the whole. A
/// single point larger than the bound still gets a request of its own.
#[must_use]
pub fn split(metrics: Vec<Metric>, resource: &ProtoResource, max_bytes: usize) -> Vec<Part> {
    let envelope = request(resource, Vec::new()).encoded_len() + 3 * NESTING;
    let mut parts = Vec::new();
    let mut current: Vec<Metric> = Vec::new();
    let (mut bytes, mut points) = (envelope, 0);
    for mut metric in metrics {
        let Some(data) = metric.data.take() else {
            continue;
        };
        let mut pending = Points::of(data);
        // The header is the metric without points: names, unit, and the data's own nesting and fields.
        let header = metric.encoded_len() + 2 * NESTING + 4;
        while !pending.is_empty() {
            let room = max_bytes.saturating_sub(bytes + header);
            let mut taken = pending.fitting(room);
            if taken == 0 {
                if points > 0 {
                    parts.push(Part {
                        message: request(resource, std::mem::take(&mut current)),
                        points,
                    });
                    (bytes, points) = (envelope, 0);
                    continue;
                }
                taken = 1;
            }
            let (data, size) = pending.take(taken);
            bytes += header + size;
            points += taken as u64;
            current.push(Metric {
                data: Some(data),
                ..metric.clone()
            });
        }
    }
    if points > 0 {
        parts.push(Part {
            message: request(resource, current),
            points,
        });
    }
    parts
}

fn request(resource: &ProtoResource, metrics: Vec<Metric>) -> ExportMetricsServiceRequest {
    ExportMetricsServiceRequest {
        resource_metrics: vec![ResourceMetrics {
            resource: Some(resource.clone()),
            scope_metrics: vec![ScopeMetrics {
                scope: Some(InstrumentationScope {
                    name: "kctx".to_owned(),
                    version: env!("CARGO_PKG_VERSION").to_owned(),
                    ..InstrumentationScope::default()
                }),
                metrics,
                schema_url: SCHEMA_URL.to_owned(),
            }],
            schema_url: SCHEMA_URL.to_owned(),
        }],
    }
}

/// A metric's points, from which any number can be taken off the front.
struct Points {
    /// The data without points.
    empty: Data,
    points: PointList,
}

enum PointList {
    Number(std::vec::IntoIter<NumberDataPoint>),
    Explicit(std::vec::IntoIter<HistogramDataPoint>),
    Exponential(std::vec::IntoIter<ExponentialHistogramDataPoint>),
    None,
}

fn fitting<P: Message>(points: &[P], room: usize) -> usize {
    let mut used = 0;
    points
        .iter()
        .take_while(|point| {
            used += point.encoded_len() + NESTING;
            used <= room
        })
        .count()
}

fn taken<P: Message>(points: &mut std::vec::IntoIter<P>, count: usize) -> (Vec<P>, usize) {
    let points: Vec<P> = points.by_ref().take(count).collect();
    let size = points.iter().map(|p| p.encoded_len() + NESTING).sum();
    (points, size)
}

impl Points {
    fn of(mut data: Data) -> Self {
        let points = match &mut data {
            Data::Sum(sum) => PointList::Number(std::mem::take(&mut sum.data_points).into_iter()),
            Data::Gauge(gauge) => {
                PointList::Number(std::mem::take(&mut gauge.data_points).into_iter())
            }
            Data::Histogram(histogram) => {
                PointList::Explicit(std::mem::take(&mut histogram.data_points).into_iter())
            }
            Data::ExponentialHistogram(histogram) => {
                PointList::Exponential(std::mem::take(&mut histogram.data_points).into_iter())
            }
            // kctx makes no summaries: they cannot be aggregated further.
            Data::Summary(_) => PointList::None,
        };
        Self {
            empty: data,
            points,
        }
    }

    fn is_empty(&self) -> bool {
        match &self.points {
            PointList::Number(points) => points.as_slice().is_empty(),
            PointList::Explicit(points) => points.as_slice().is_empty(),
            PointList::Exponential(points) => points.as_slice().is_empty(),
            PointList::None => true,
        }
    }

    fn fitting(&self, room: usize) -> usize {
        match &self.points {
            PointList::Number(points) => fitting(points.as_slice(), room),
            PointList::Explicit(points) => fitting(points.as_slice(), room),
            PointList::Exponential(points) => fitting(points.as_slice(), room),
            PointList::None => 0,
        }
    }

    fn take(&mut self, count: usize) -> (Data, usize) {
        let mut data = self.empty.clone();
        let size = match (&mut self.points, &mut data) {
            (PointList::Number(points), Data::Sum(sum)) => {
                let size;
                (sum.data_points, size) = taken(points, count);
                size
            }
            (PointList::Number(points), Data::Gauge(gauge)) => {
                let size;
                (gauge.data_points, size) = taken(points, count);
                size
            }
            (PointList::Explicit(points), Data::Histogram(histogram)) => {
                let size;
                (histogram.data_points, size) = taken(points, count);
                size
            }
            (PointList::Exponential(points), Data::ExponentialHistogram(histogram)) => {
                let size;
                (histogram.data_points, size) = taken(points, count);
                size
            }
            _ => 0,
        };
        (data, size)
    }
}

#[cfg(test)]
#[path = "request_tests.rs"]
mod tests;
