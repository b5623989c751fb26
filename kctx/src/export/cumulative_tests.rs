use std::time::Duration;

use opentelemetry_proto::tonic::metrics::v1::{Metric, metric::Data};
use proptest::prelude::*;

use super::*;
use crate::aggregate::duration::Durations;
use crate::aggregate::window::{ContextTimes, GovernorRow};
use crate::export::health::Ended;
use crate::export::otlp::points::metrics;
use crate::export::otlp::settings::HistogramKind;
use crate::export::testing::{
    LIMITS, SECOND, detects_reset, everything, exponential_points, find, labels, number,
    number_points, probe, softirq, window, workqueue,
};

fn exported(state: &Cumulative) -> Vec<Metric> {
    metrics(state, HistogramKind::Exponential)
}

#[test]
fn names_units_and_attributes_are_those_of_the_design() {
    let first = everything();
    let mut state = Cumulative::new(LIMITS);
    state.fold(&first);
    let ended = Ended {
        took: Duration::from_millis(3),
        error: Some("503"),
        exported: 8,
        rejected: 0,
        failed: &[("503".to_owned(), 2)],
        lost: false,
    };
    state.note_export(&ended, &Attributes::new().with("otel.component.type", "t"));
    let shown: Vec<String> = exported(&state)
        .iter()
        .flat_map(|metric| {
            let (points, kind): (Vec<_>, _) = match metric.data.as_ref().unwrap() {
                Data::ExponentialHistogram(data) => {
                    assert_eq!(data.aggregation_temporality, 2);
                    let points = data.data_points.iter();
                    (
                        points
                            .map(|p| format!("{} {}", labels(&p.attributes), p.count))
                            .collect(),
                        "hist",
                    )
                }
                Data::Sum(data) => {
                    assert_eq!(data.aggregation_temporality, 2);
                    let points = data.data_points.iter();
                    let kind = if data.is_monotonic {
                        "counter"
                    } else {
                        "updown"
                    };
                    (
                        points
                            .map(|p| format!("{} {}", labels(&p.attributes), number(p)))
                            .collect(),
                        kind,
                    )
                }
                Data::Gauge(data) => {
                    // A line for those that are not 0: which there are, another test says.
                    let points = data.data_points.iter().filter(|p| number(p) > 0.0);
                    (
                        points
                            .map(|p| format!("{} {}", labels(&p.attributes), number(p)))
                            .collect(),
                        "gauge",
                    )
                }
                other => panic!("{other:?}"),
            };
            assert!(metric.description.ends_with('.'));
            points
                .into_iter()
                .map(move |p| format!("{} {kind} {} {p}", metric.name, metric.unit))
        })
        .collect();
    let expected = [
        "kctx.softirq.wait.duration hist s kctx.softirq.vector=NET_RX,kctx.softirq.context=irq_tail,cpu.logical_number=3 3",
        "kctx.ring.utilization gauge 1 cpu.logical_number=3 0.25",
        "kctx.ring.read counter By  4096",
        "kctx.self.bpf.runs counter {run} kctx.probe.family=napi 3",
        "kctx.self.bpf.time counter s kctx.probe.family=napi 0.0000006",
        "kctx.self.cpu.time counter s thread.name=kctx-drain 0.000001",
        "kctx.self.memory.usage updown By  9437184",
        "kctx.softirq.duration hist s kctx.softirq.vector=NET_RX,kctx.softirq.context=irq_tail,cpu.logical_number=3 4",
        "kctx.softirq.exclusive.duration hist s kctx.softirq.vector=NET_RX,kctx.softirq.context=irq_tail,cpu.logical_number=3 2",
        "kctx.hardirq.duration hist s kctx.irq.number=24,kctx.irq.name=nic,cpu.logical_number=1 1",
        "kctx.hardirq.duration hist s otel.metric.overflow=true 1",
        "kctx.hardirq.unhandled counter {interrupt} kctx.irq.number=24,kctx.irq.name=nic,cpu.logical_number=1 1",
        "kctx.hardirq.unhandled counter {interrupt} otel.metric.overflow=true 1",
        "kctx.workqueue.wait.duration hist s kctx.workqueue.name=events,code.function.name=vmstat_update 1",
        "kctx.workqueue.wait.duration hist s otel.metric.overflow=true 1",
        "kctx.workqueue.activate.duration hist s kctx.workqueue.name=events,code.function.name=vmstat_update 1",
        "kctx.workqueue.duration hist s kctx.workqueue.name=events,code.function.name=vmstat_update 1",
        "kctx.workqueue.duration hist s otel.metric.overflow=true 1",
        "kctx.softirq.raised counter {run} kctx.softirq.vector=NET_RX,kctx.origin.kind=irq,cpu.logical_number=3 15",
        "kctx.softirq.raised counter {run} kctx.softirq.vector=NET_RX,kctx.origin.kind=task,cpu.logical_number=3 9",
        "kctx.hardirq.duration hist s kctx.irq.name=LOC,cpu.logical_number=2 1",
        "kctx.tasklet.duration hist s code.function.name=tasklet_fn 2",
        "kctx.workqueue.exclusive.duration hist s kctx.workqueue.name=events,code.function.name=vmstat_update 1",
        "kctx.napi.poll.duration hist s network.interface.name=eth0,cpu.logical_number=3 4",
        "kctx.napi.poll.packets counter {packet} network.interface.name=eth0,cpu.logical_number=3 160",
        "kctx.napi.poll.exhausted counter {poll} network.interface.name=eth0,cpu.logical_number=3 2",
        "kctx.kthread.wait.duration hist s kctx.kthread.role=kworker,kctx.workqueue.name=events 2",
        "kctx.kthread.wait.duration hist s kctx.kthread.role=rcu 1",
        "kctx.kthread.cpu.time counter s kctx.kthread.role=kworker,kctx.workqueue.name=events 0.0000008",
        "kctx.kthread.cpu.time counter s kctx.kthread.role=rcu 0.0000004",
        "kctx.cpu.context.time counter s kctx.context=hardirq,cpu.logical_number=3 0.0000005",
        "kctx.cpu.context.time counter s kctx.context=kthread,cpu.logical_number=3 0.000001",
        "kctx.cpu.context.time counter s kctx.context=softirq,cpu.logical_number=3 0.000003",
        "kctx.module.events counter {event} kctx.module.event=load,kctx.module.name=dummy 1",
        "kctx.module.events counter {event} kctx.module.event=request 2",
        "kctx.kernel.taint gauge {flag} kctx.kernel.taint.flag=bit_40 1",
        "kctx.kernel.taint gauge {flag} kctx.kernel.taint.flag=oot_module 1",
        "kctx.kernel.taint gauge {flag} kctx.kernel.taint.flag=warn 1",
        "kctx.kernel.log.lines counter {line} kctx.kernel.log.level=err 2",
        "kctx.kernel.log.lines counter {line} kctx.kernel.log.level=warning 5",
        "kctx.records counter {record} kctx.probe.family=softirq,kctx.record.outcome=lost,error.type=ring 1",
        "kctx.records counter {record} kctx.probe.family=softirq,kctx.record.outcome=partial,error.type=no_entry 5",
        "kctx.records counter {record} kctx.probe.family=softirq,kctx.record.outcome=spilled 2",
        "kctx.records counter {record} kctx.probe.family=softirq,kctx.record.outcome=streamed 4",
        "kctx.probe.attached updown {probe} kctx.probe.name=irq:softirq_raise,kctx.probe.family=softirq,kctx.probe.mechanism=tp_btf 1",
        "kctx.probe.attached updown {probe} kctx.probe.name=module:load,kctx.probe.family=softirq,error.type=no BTF 0",
        "otel.sdk.exporter.metric_data_point.exported counter {data_point} otel.component.type=t 8",
        "otel.sdk.exporter.metric_data_point.exported counter {data_point} otel.component.type=t,error.type=503 2",
        "otel.sdk.exporter.operation.duration hist s otel.component.type=t,error.type=503 1",
    ];
    let (mut shown, mut expected) = (shown, expected.map(str::to_owned).to_vec());
    shown.sort();
    expected.sort();
    assert_eq!(shown, expected);
}

#[test]
fn what_the_governor_limits_is_told_and_that_it_no_longer_does() {
    let row = |until_unix_ns| GovernorRow {
        family: Family::Napi,
        since_unix_ns: 5_000_000_000,
        until_unix_ns,
        reason: "kctx used 3 % of a CPU".to_owned(),
    };
    let limited = |governor: Vec<GovernorRow>| {
        let mut state = Cumulative::new(LIMITS);
        for (i, row) in governor.into_iter().enumerate() {
            state.fold(&Window {
                start_unix_ns: 10_000_000_000 * (i as u64 + 1),
                duration_ns: 1_000_000_000,
                governor: vec![row],
                ..Window::default()
            });
        }
        let now: Vec<u64> = state
            .governor_limited
            .iter()
            .map(|(_, s)| s.value)
            .collect();
        let since: Vec<u64> = state
            .governor_since_ns
            .iter()
            .map(|(_, s)| s.value)
            .collect();
        (now, since)
    };
    assert_eq!(limited(vec![]), (vec![], vec![]));
    assert_eq!(limited(vec![row(None)]), (vec![1], vec![5_000_000_000]));
    assert_eq!(limited(vec![row(None), row(Some(7))]), (vec![0], vec![]));
}

#[test]
fn each_taint_flag_is_1_or_0_from_the_start_and_none_where_the_taint_is_not_known() {
    let mut state = Cumulative::new(LIMITS);
    let mut flags = |taint_value, end| {
        state.fold(&Window {
            taint_value,
            ..window(end)
        });
        let metrics = exported(&state);
        let points = number_points(&metrics, "kctx.kernel.taint").to_vec();
        let set = points.iter().filter(|p| number(p) == 1.0);
        // A gauge is not counted from anywhere.
        assert!(points.iter().all(|p| p.start_time_unix_nano == 0));
        assert!(points.iter().all(|p| p.time_unix_nano == end * SECOND));
        let set: Vec<_> = set.map(|p| labels(&p.attributes)).collect();
        (points.len(), set)
    };
    assert_eq!(flags(Some(0), 101), (20, vec![]));
    let warn = "kctx.kernel.taint.flag=warn".to_owned();
    assert_eq!(flags(Some(512), 102), (20, vec![warn.clone()]));
    let newer = "kctx.kernel.taint.flag=bit_63".to_owned();
    assert_eq!(flags(Some(512 | 1 << 63), 103), (21, vec![newer, warn]));
    assert_eq!(flags(None, 104), (0, vec![]));
}

#[test]
fn lines_of_the_log_are_counted_by_level_and_only_grow() {
    let mut state = Cumulative::new(LIMITS);
    for (end, warnings) in [(101, 3), (102, 0), (103, 4)] {
        let mut each = window(end);
        each.log.by_level[4] = warnings;
        state.fold(&each);
    }
    let metrics = exported(&state);
    let [point] = number_points(&metrics, "kctx.kernel.log.lines") else {
        panic!("{metrics:?}");
    };
    assert_eq!(
        (labels(&point.attributes).as_str(), number(point)),
        ("kctx.kernel.log.level=warning", 7.0)
    );
    assert_eq!(point.start_time_unix_nano, 100 * SECOND);
}

#[test]
fn metrics_without_points_are_left_out() {
    let mut state = Cumulative::new(LIMITS);
    state.fold(&window(101));
    assert!(exported(&state).is_empty());
    let mut next = window(102);
    next.softirq = vec![softirq("TIMER", 0, &[5])];
    next.softirq[0].wait = Durations::default();
    state.fold(&next);
    let metrics = exported(&state);
    assert!(find(&metrics, "kctx.softirq.duration").is_some());
    assert!(find(&metrics, "kctx.softirq.wait.duration").is_none());
}

#[test]
fn cpus_are_merged_when_not_wanted() {
    let mut state = Cumulative::new(Limits {
        per_cpu: false,
        ..LIMITS
    });
    let mut first = window(101);
    first.softirq = vec![softirq("TIMER", 0, &[5, 6]), softirq("TIMER", 1, &[7])];
    first.cpu = [0, 1]
        .map(|cpu| ContextTimes {
            cpu,
            softirq_ns: 9,
            ..ContextTimes::default()
        })
        .to_vec();
    state.fold(&first);
    let metrics = exported(&state);
    let points = exponential_points(&metrics, "kctx.softirq.duration");
    assert_eq!(points.len(), 1);
    assert_eq!(points[0].count, 3);
    assert_eq!(points[0].sum, Some(18e-9));
    assert_eq!(points[0].max, Some(7e-9));
    assert_eq!(
        labels(&points[0].attributes),
        "kctx.softirq.vector=TIMER,kctx.softirq.context=irq_tail"
    );
    assert_eq!(number_points(&metrics, "kctx.cpu.context.time").len(), 1);
}

#[test]
fn a_series_counts_from_the_end_of_the_collection_before_it_was_seen() {
    let mut state = Cumulative::new(LIMITS);
    let mut first = window(101);
    first.softirq = vec![softirq("TIMER", 0, &[5])];
    state.fold(&first);
    state.fold(&window(102));
    let mut third = window(103);
    // A gap between windows: what was not looked at belongs to the series all the same.
    third.start_unix_ns += SECOND / 2;
    third.duration_ns -= SECOND / 2;
    third.softirq = vec![softirq("RCU", 0, &[5]), softirq("TIMER", 0, &[5])];
    state.fold(&third);
    let metrics = exported(&state);
    let points = exponential_points(&metrics, "kctx.softirq.duration");
    let starts: Vec<_> = points
        .iter()
        .map(|p| {
            (
                labels(&p.attributes),
                p.start_time_unix_nano / SECOND,
                p.time_unix_nano / SECOND,
            )
        })
        .collect();
    let label = |vector: &str| {
        format!("kctx.softirq.vector={vector},kctx.softirq.context=irq_tail,cpu.logical_number=0")
    };
    assert_eq!(
        starts,
        [(label("RCU"), 102, 103), (label("TIMER"), 100, 103)]
    );
}

#[test]
fn a_small_step_of_the_clock_is_waited_out() {
    let mut state = Cumulative::new(LIMITS);
    let mut row = window(101);
    row.softirq = vec![softirq("TIMER", 0, &[5])];
    state.fold(&row);
    state.fold(&row);
    assert_eq!(state.time_unix_ns(), 101 * SECOND + 1);
    row.start_unix_ns -= SECOND / 2;
    state.fold(&row);
    assert_eq!(state.time_unix_ns(), 101 * SECOND + 2);
    assert_eq!(state.clock_steps(), 2);
    assert_eq!(
        exponential_points(&exported(&state), "kctx.softirq.duration")[0].count,
        3
    );
}

#[test]
fn a_clock_set_back_far_starts_everything_anew() {
    let mut state = Cumulative::new(LIMITS);
    let mut row = window(5001);
    row.softirq = vec![softirq("TIMER", 0, &[5])];
    state.fold(&row);
    row.start_unix_ns = 1000 * SECOND;
    state.fold(&row);
    let metrics = exported(&state);
    let point = &exponential_points(&metrics, "kctx.softirq.duration")[0];
    assert_eq!(point.start_time_unix_nano, 1000 * SECOND);
    assert_eq!(point.time_unix_nano, 1001 * SECOND);
    assert_eq!((point.count, state.clock_steps()), (1, 1));
}

#[test]
fn a_probe_is_reported_as_it_is_now() {
    let mut state = Cumulative::new(LIMITS);
    let mut first = window(101);
    first.probes = vec![probe("irq:softirq_raise", None)];
    state.fold(&first);
    let mut second = window(102);
    second.probes = vec![probe("irq:softirq_raise", Some("detached"))];
    state.fold(&second);
    let metrics = exported(&state);
    let points = number_points(&metrics, "kctx.probe.attached");
    assert_eq!(points.len(), 1);
    assert_eq!(number(&points[0]), 0.0);
    assert_eq!(points[0].start_time_unix_nano, 101 * SECOND);
}

#[test]
fn the_series_limit_moves_counts_and_loses_none() {
    let rows = |state: &mut Cumulative| {
        for end in 101..104 {
            let mut each = window(end);
            each.workqueue = (0..30)
                .map(|n| workqueue(&format!("f{n}"), n == 29, &[n, n + 1]))
                .collect();
            state.fold(&each);
        }
        let metrics = exported(state);
        let points = exponential_points(&metrics, "kctx.workqueue.duration").to_vec();
        let count: u64 = points.iter().map(|p| p.count).sum();
        let sum: f64 = points.iter().map(|p| (p.sum.unwrap() * 1e9).round()).sum();
        (points.len(), count, sum)
    };
    let free = rows(&mut Cumulative::new(LIMITS));
    let tight = rows(&mut Cumulative::new(Limits {
        max_series: 10,
        ..LIMITS
    }));
    assert_eq!((free.0, tight.0), (30, 10));
    assert_eq!((free.1, free.2), (tight.1, tight.2));
}

proptest! {
    /// What Prometheus takes for a counter reset never happens, whatever the windows hold.
    #[test]
    fn no_window_looks_like_a_reset(
        windows in prop::collection::vec(
            prop::collection::vec((0_usize..3, 0_u32..45, 1_usize..20), 0..8), 2..15),
    ) {
        const VECTORS: [&str; 3] = ["TIMER", "NET_RX", "RCU"];
        let mut state = Cumulative::new(Limits { max_buckets: 160, ..LIMITS });
        let mut before: Vec<_> = Vec::new();
        let mut total = 0;
        for (end, rows) in (101..).zip(&windows) {
            let mut next = window(end);
            for (vector, bits, count) in rows {
                let values: Vec<u64> = (0..*count as u64).map(|n| (1 << bits) + n * 37).collect();
                next.softirq.push(softirq(VECTORS[*vector], 0, &values));
                total += *count as u64;
            }
            state.fold(&next);
            let metrics = exported(&state);
            let now = exponential_points(&metrics, "kctx.softirq.duration").to_vec();
            for point in &now {
                prop_assert!(point.start_time_unix_nano < point.time_unix_nano);
                if let Some(old) = before
                    .iter()
                    .find(|old: &&opentelemetry_proto::tonic::metrics::v1::ExponentialHistogramDataPoint| old.attributes == point.attributes)
                {
                    prop_assert!(!detects_reset(point, old));
                    prop_assert!(point.time_unix_nano > old.time_unix_nano);
                    prop_assert_eq!(point.start_time_unix_nano, old.start_time_unix_nano);
                }
            }
            prop_assert!(now.len() >= before.len());
            before = now;
        }
        prop_assert_eq!(before.iter().map(|p| p.count).sum::<u64>(), total);
    }
}
