//! The cumulative state as the protocol's metrics.

use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, ExponentialHistogram as ExponentialData, ExponentialHistogramDataPoint,
    Gauge, Histogram, HistogramDataPoint, Metric, NumberDataPoint, Sum,
    exponential_histogram_data_point::Buckets, metric::Data, number_data_point,
};

use super::cumulative::Cumulative;
use super::exponential::{ExponentialHistogram, explicit_bounds};
use super::series::SeriesSet;
use super::settings::HistogramKind;

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
        counter(
            "kctx.softirq.raised",
            "Runs of a softirq vector, by the kind of context that raised them.",
            "{run}",
            &state.softirq_raised,
        ),
        histogram(
            "kctx.hardirq.duration",
            "Time in an interrupt action's handler or in a vector, of calls that handled the interrupt.",
            &state.hardirq,
        ),
        counter(
            "kctx.hardirq.unhandled",
            "Calls of an interrupt action's handler that were not for its device.",
            "{interrupt}",
            &state.hardirq_unhandled,
        ),
        histogram(
            "kctx.tasklet.duration",
            "Time a tasklet's function ran, with the interrupt handlers that fell into it.",
            &state.tasklet,
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
        histogram(
            "kctx.workqueue.exclusive.duration",
            "Time a work item was on the CPU, without interrupts and softirqs.",
            &state.workqueue_net,
        ),
        histogram(
            "kctx.napi.poll.duration",
            "Time of a NAPI poll, without interrupts.",
            &state.napi,
        ),
        counter(
            "kctx.napi.poll.packets",
            "Packets that NAPI polls received.",
            "{packet}",
            &state.napi_packets,
        ),
        counter(
            "kctx.napi.poll.exhausted",
            "NAPI polls that used their whole budget: there was more to do.",
            "{poll}",
            &state.napi_exhausted,
        ),
        histogram(
            "kctx.kthread.wait.duration",
            "Time a kernel thread was runnable before it ran.",
            &state.kthread_wait,
        ),
        metric(
            "kctx.kthread.cpu.time",
            "CPU time of kernel threads, without interrupts and softirqs.",
            "s",
            sum_data(&state.kthread_cpu_ns, time, true, seconds),
        ),
        metric(
            "kctx.cpu.context.time",
            "CPU time by kernel context; the contexts are disjoint.",
            "s",
            sum_data(&state.context_time_ns, time, true, seconds),
        ),
        counter(
            "kctx.module.events",
            "Kernel modules loaded, initialized, freed and asked for.",
            "{event}",
            &state.module_events,
        ),
        metric(
            "kctx.kernel.taint",
            "Whether a flag of the kernel's taint is set: 1 or 0.",
            "{flag}",
            gauge_data(&state.taint, time),
        ),
        counter(
            "kctx.kernel.log.lines",
            "Lines of the kernel's log, by level.",
            "{line}",
            &state.log_lines,
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
        metric(
            "kctx.governor.limited",
            "Whether the governor keeps a family from the rings, because kctx used more than its limit: 1 or 0.",
            "{family}",
            sum_data(&state.governor_limited, time, false, count),
        ),
        metric(
            "kctx.governor.limited.since",
            "Since when the governor keeps a family from the rings, since the Unix epoch; only while it does.",
            "s",
            sum_data(&state.governor_since_ns, time, false, seconds),
        ),
        metric(
            "kctx.self.cpu.time",
            "CPU time of kctx's own threads.",
            "s",
            sum_data(&state.self_cpu_ns, time, true, seconds),
        ),
        metric(
            "kctx.self.bpf.time",
            "Time in kctx's BPF programs: counted by the kernel for the first seconds, then estimated from that.",
            "s",
            sum_data(&state.self_bpf_ns, time, true, seconds),
        ),
        counter(
            "kctx.self.bpf.runs",
            "Runs of kctx's BPF programs, known in the same way.",
            "{run}",
            &state.self_bpf_runs,
        ),
        metric(
            "kctx.self.memory.usage",
            "Resident memory of kctx.",
            "By",
            sum_data(&state.self_memory, time, false, count),
        ),
        counter(
            "otel.sdk.exporter.metric_data_point.exported",
            "Data points for which the export has finished, either successful or failed.",
            "{data_point}",
            &state.exported_points,
        ),
        histogram(
            "otel.sdk.exporter.operation.duration",
            "The duration of exporting a batch of telemetry records.",
            &state.export_duration,
        ),
        histogram(
            "otel.sdk.metric_reader.collection.duration",
            "The duration of the collect operation of the metric reader.",
            &state.collection_duration,
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

/// A gauge has no start: it is not counted from anywhere.
fn gauge_data(set: &SeriesSet<u64>, time_unix_nano: u64) -> Option<Data> {
    let data_points: Vec<_> = set
        .iter()
        .map(|(attributes, series)| NumberDataPoint {
            attributes: attributes.to_proto(),
            time_unix_nano,
            value: Some(count(series.value)),
            ..NumberDataPoint::default()
        })
        .collect();
    (!data_points.is_empty()).then_some(Data::Gauge(Gauge { data_points }))
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
