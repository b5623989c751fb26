//! What the export's series add up to.

use std::collections::BTreeMap;

use kctx::export::{
    cumulative::Cumulative,
    otlp::{points, settings::HistogramKind},
};
use opentelemetry_proto::tonic::{
    common::v1::KeyValue,
    metrics::v1::{metric::Data, number_data_point::Value},
};

/// Sums and counts of each metric's points, as a backend gets them.
pub(crate) struct Exported(BTreeMap<String, Vec<Point>>);

struct Point {
    value: f64,
    overflow: bool,
}

impl Exported {
    /// All metrics of the state.
    pub(crate) fn of(state: &Cumulative) -> Self {
        let metrics = points::metrics(state, HistogramKind::Exponential);
        let metrics = metrics.into_iter().map(|metric| {
            let points = match metric.data {
                Some(Data::ExponentialHistogram(data)) => (data.data_points.iter())
                    .map(|point| Point {
                        value: point.count as f64,
                        overflow: is_overflow(&point.attributes),
                    })
                    .collect(),
                Some(Data::Sum(sum)) => (sum.data_points.iter())
                    .map(|point| Point {
                        value: match point.value {
                            Some(Value::AsInt(value)) => value as f64,
                            Some(Value::AsDouble(value)) => value,
                            None => f64::NAN,
                        },
                        overflow: is_overflow(&point.attributes),
                    })
                    .collect(),
                _ => Vec::new(),
            };
            (metric.name, points)
        });
        Self(metrics.collect())
    }

    fn points(&self, metric: &str) -> &[Point] {
        self.0.get(metric).map_or(&[], Vec::as_slice)
    }

    /// What all series of a metric counted.
    pub(crate) fn total(&self, metric: &str) -> f64 {
        self.points(metric).iter().map(|point| point.value).sum()
    }

    /// How many series it has.
    pub(crate) fn series(&self, metric: &str) -> usize {
        self.points(metric).len()
    }

    /// What its overflow series counted.
    pub(crate) fn overflow(&self, metric: &str) -> f64 {
        let points = self.points(metric).iter();
        points.filter(|p| p.overflow).map(|point| point.value).sum()
    }
}

fn is_overflow(attributes: &[KeyValue]) -> bool {
    matches!(attributes, [only] if only.key == "otel.metric.overflow")
}
