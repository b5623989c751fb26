//! Metrics as `ExportMetricsServiceRequest` messages, split by size.

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::{InstrumentationScope, any_value};
use opentelemetry_proto::tonic::metrics::v1::{
    ExponentialHistogramDataPoint, HistogramDataPoint, Metric, NumberDataPoint, ResourceMetrics,
    ScopeMetrics, metric::Data,
};
use opentelemetry_proto::tonic::resource::v1::Resource as ProtoResource;
use prost::Message;

use super::points::key_value;
use crate::export::resource::Resource;

/// Of the semantic conventions whose names are used.
pub(super) const SCHEMA_URL: &str = "https://opentelemetry.io/schemas/1.44.0";

/// Most bytes that a nested message's tag and length can take.
pub(super) const NESTING: usize = 6;

/// Part of one export: a whole request.
#[derive(Clone, Debug)]
pub struct Part<M> {
    /// The message.
    pub message: M,
    /// Data points or log records in it.
    pub items: u64,
}

/// A resource as the protocol has it.
#[must_use]
pub fn proto_resource(resource: &Resource) -> ProtoResource {
    ProtoResource {
        attributes: (resource.iter())
            .map(|(key, value)| key_value(key, any_value::Value::StringValue(value.to_owned())))
            .collect(),
        ..ProtoResource::default()
    }
}

/// Packs metrics into requests of at most `max_bytes` each, in order, cut between data points only.
///
/// Receivers bound the decompressed message (gRPC servers commonly at 4 MiB) and refuse the whole. A
/// single point larger than the bound still gets a request of its own.
#[must_use]
pub fn split(
    metrics: Vec<Metric>,
    resource: &ProtoResource,
    max_bytes: usize,
) -> Vec<Part<ExportMetricsServiceRequest>> {
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
                        items: points,
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
            items: points,
        });
    }
    parts
}

/// What made the telemetry, of every signal.
pub(super) fn scope() -> InstrumentationScope {
    InstrumentationScope {
        name: "kctx".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ..InstrumentationScope::default()
    }
}

fn request(resource: &ProtoResource, metrics: Vec<Metric>) -> ExportMetricsServiceRequest {
    ExportMetricsServiceRequest {
        resource_metrics: vec![ResourceMetrics {
            resource: Some(resource.clone()),
            scope_metrics: vec![ScopeMetrics {
                scope: Some(scope()),
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
