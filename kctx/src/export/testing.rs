//! What several tests need: windows, readers of metrics, Prometheus' rules.

mod everything;
mod large_host;
mod made_part;
// The tests of other crates look at what endpoints got by the same rules.
#[expect(unreachable_pub, reason = "public in kctx-tests")]
#[path = "../../../tests/src/resets.rs"]
mod resets;

pub(in crate::export) use everything::{everything, fold_everything, probe};
pub(in crate::export) use large_host::large_host;
pub(crate) use made_part::check_made_part;
pub(in crate::export) use resets::{Native, detects_reset};

use std::sync::Arc;

use opentelemetry_proto::tonic::metrics::v1::{
    ExponentialHistogramDataPoint, Metric, NumberDataPoint, metric::Data, number_data_point::Value,
};

use crate::aggregate::duration::Durations;
use crate::aggregate::window::{HardirqRow, SoftirqRow, Window, WorkqueueRow};
use crate::export::cumulative::Limits;
use crate::export::exponential::ExponentialHistogram;
use crate::export::metric::Selection;

pub(in crate::export) const LIMITS: Limits = Limits {
    max_buckets: 320,
    max_series: 2000,
    per_cpu: true,
    selection: Selection::ALL,
};

pub(in crate::export) const SECOND: u64 = 1_000_000_000;

pub(in crate::export) fn durations(values: &[u64]) -> Durations {
    values.iter().copied().collect()
}

pub(in crate::export) fn softirq(vector: &'static str, cpu: u32, values: &[u64]) -> SoftirqRow {
    SoftirqRow {
        vector,
        cpu,
        context: "irq_tail",
        count: values.len() as u64,
        wait_unknown: 0,
        wait: durations(values),
        service: durations(values),
        service_net: durations(values),
    }
}

pub(in crate::export) fn hardirq(irq: Option<u32>, cpu: u32, values: &[u64]) -> HardirqRow {
    HardirqRow {
        irq,
        name: Arc::from("nic"),
        overflow: irq.is_none(),
        cpu,
        count: values.len() as u64,
        unhandled: 1,
        woke_thread: 0,
        service: durations(values),
    }
}

pub(in crate::export) fn workqueue(function: &str, overflow: bool, values: &[u64]) -> WorkqueueRow {
    WorkqueueRow {
        workqueue: Arc::from("events"),
        function: Arc::from(function),
        overflow,
        count: values.len() as u64,
        wait_unknown: 0,
        remote: 0,
        wait: durations(values),
        activate: Durations::default(),
        service: durations(values),
        service_net: Durations::default(),
        bh: 0,
        queued_by: Vec::new(),
    }
}

/// A window of one second that ends at `end` seconds.
pub(in crate::export) fn window(end: u64) -> Window {
    Window {
        start_unix_ns: (end - 1) * SECOND,
        duration_ns: SECOND,
        ..Window::default()
    }
}

/// The quantile as a backend that does not interpolate has it: the middle of the bucket.
pub(in crate::export) fn quantile(histogram: &ExponentialHistogram, q: f64) -> f64 {
    let rank = ((q * histogram.count() as f64).ceil() as u64).max(1);
    let mut seen = histogram.zero_count();
    if seen >= rank {
        return 0.0;
    }
    let base_exponent = f64::from(-histogram.scale()).exp2();
    for (index, count) in (histogram.offset()..).zip(histogram.counts()) {
        seen += count;
        if seen >= rank {
            let low = (f64::from(index) * base_exponent).exp2();
            let high = (f64::from(index + 1) * base_exponent).exp2();
            return f64::midpoint(low, high);
        }
    }
    unreachable!("counts do not add up")
}

pub(in crate::export) fn find<'a>(metrics: &'a [Metric], name: &str) -> Option<&'a Metric> {
    metrics.iter().find(|metric| metric.name == name)
}

pub(in crate::export) fn exponential_points<'a>(
    metrics: &'a [Metric],
    name: &str,
) -> &'a [ExponentialHistogramDataPoint] {
    match find(metrics, name).and_then(|metric| metric.data.as_ref()) {
        Some(Data::ExponentialHistogram(histogram)) => &histogram.data_points,
        _ => &[],
    }
}

pub(in crate::export) fn number_points<'a>(
    metrics: &'a [Metric],
    name: &str,
) -> &'a [NumberDataPoint] {
    match find(metrics, name).and_then(|metric| metric.data.as_ref()) {
        Some(Data::Sum(sum)) => &sum.data_points,
        Some(Data::Gauge(gauge)) => &gauge.data_points,
        _ => &[],
    }
}

pub(in crate::export) fn number(point: &NumberDataPoint) -> f64 {
    match point.value {
        Some(Value::AsInt(number)) => number as f64,
        Some(Value::AsDouble(number)) => number,
        None => f64::NAN,
    }
}

/// `k=v` of each attribute, joined by commas.
pub(in crate::export) fn labels(
    attributes: &[opentelemetry_proto::tonic::common::v1::KeyValue],
) -> String {
    use opentelemetry_proto::tonic::common::v1::any_value::Value;
    let text = |value: &Value| match value {
        Value::StringValue(text) => text.clone(),
        Value::IntValue(number) => number.to_string(),
        Value::BoolValue(flag) => flag.to_string(),
        other => format!("{other:?}"),
    };
    attributes
        .iter()
        .map(|pair| {
            let value = pair.value.as_ref().and_then(|value| value.value.as_ref());
            format!("{}={}", pair.key, value.map(text).unwrap_or_default())
        })
        .collect::<Vec<_>>()
        .join(",")
}
