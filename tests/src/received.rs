//! What an endpoint got of one daemon's cumulative metrics, as a backend would judge it: in order, and without a reset.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use opentelemetry_proto::tonic::{
    collector::metrics::v1::ExportMetricsServiceRequest,
    common::v1::KeyValue,
    metrics::v1::{
        ExponentialHistogramDataPoint, NumberDataPoint, metric::Data, number_data_point::Value,
    },
};
use prost::Message as _;

use crate::resets;

/// `DATA_POINT_FLAGS_NO_RECORDED_VALUE_MASK`
const NO_VALUE: u32 = 1;

/// The latest point of each series.
#[derive(Debug, Default)]
pub struct Series {
    histograms: BTreeMap<String, ExponentialHistogramDataPoint>,
    counters: BTreeMap<String, NumberDataPoint>,
    /// Points that came after another of their series.
    pub later: u64,
}

impl Series {
    /// Takes the next request.
    ///
    /// # Errors
    /// Where it is none, or where a series has a point that is not after its last one, with another start, or that looks like a
    /// reset.
    pub fn take(&mut self, body: &[u8]) -> Result<()> {
        let request = ExportMetricsServiceRequest::decode(body)?;
        let scopes = request.resource_metrics.into_iter();
        let metrics = scopes.flat_map(|r| r.scope_metrics).flat_map(|s| s.metrics);
        for metric in metrics {
            match metric.data {
                Some(Data::ExponentialHistogram(data)) => {
                    for point in data.data_points {
                        let key = key(&metric.name, &point.attributes);
                        self.histogram(key, point)?;
                    }
                }
                Some(Data::Sum(sum)) if sum.is_monotonic => {
                    for point in sum.data_points {
                        let key = key(&metric.name, &point.attributes);
                        self.counter(key, point)?;
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn histogram(&mut self, key: String, point: ExponentialHistogramDataPoint) -> Result<()> {
        if point.flags & NO_VALUE != 0 {
            return Ok(());
        }
        if let Some(before) = self.histograms.get(&key) {
            let starts = (before.start_time_unix_nano, point.start_time_unix_nano);
            check(&key, starts, (before.time_unix_nano, point.time_unix_nano))?;
            ensure!(
                !resets::detects_reset(&point, before),
                "{key}: {point:?} after {before:?}"
            );
            self.later += 1;
        }
        self.histograms.insert(key, point);
        Ok(())
    }

    fn counter(&mut self, key: String, point: NumberDataPoint) -> Result<()> {
        if point.flags & NO_VALUE != 0 {
            return Ok(());
        }
        if let Some(before) = self.counters.get(&key) {
            let starts = (before.start_time_unix_nano, point.start_time_unix_nano);
            check(&key, starts, (before.time_unix_nano, point.time_unix_nano))?;
            ensure!(
                value(&point) >= value(before),
                "{key}: {point:?} after {before:?}"
            );
            self.later += 1;
        }
        self.counters.insert(key, point);
        Ok(())
    }

    /// What all series of a histogram counted.
    #[must_use]
    pub fn count(&self, metric: &str) -> u64 {
        let own = self
            .histograms
            .iter()
            .filter(|(key, _)| key.starts_with(&format!("{metric}{{")));
        own.map(|(_, point)| point.count).sum()
    }
}

fn key(name: &str, attributes: &[KeyValue]) -> String {
    let mut attributes: Vec<_> = attributes
        .iter()
        .map(|one| format!("{}={:?}", one.key, one.value))
        .collect();
    attributes.sort();
    format!("{name}{{{}}}", attributes.join(","))
}

fn check(key: &str, starts: (u64, u64), times: (u64, u64)) -> Result<()> {
    ensure!(
        starts.0 == starts.1,
        "{key}: started at {} and at {}",
        starts.0,
        starts.1
    );
    ensure!(
        times.0 < times.1,
        "{key}: of {} after one of {}",
        times.1,
        times.0
    );
    Ok(())
}

fn value(point: &NumberDataPoint) -> f64 {
    match point.value {
        Some(Value::AsInt(value)) => value as f64,
        Some(Value::AsDouble(value)) => value,
        None => f64::NAN,
    }
}
