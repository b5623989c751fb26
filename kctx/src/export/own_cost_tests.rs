//! What a backend is told of kctx's own cost, and of the export's.

use std::time::Duration;

use super::*;
use crate::{
    aggregate::window::Family,
    export::{
        attributes::Attributes,
        health::Ended,
        otlp::{points::metrics, settings::HistogramKind},
        testing::{
            LIMITS, SECOND, exponential_points, find, labels, number, number_points, window,
        },
    },
    meter::{Basis, BpfCost, OwnCost, ProgramCost, RingFill, ThreadTime},
};

fn cost(memory_bytes: Option<u64>) -> OwnCost {
    let program = |program: &str, family| ProgramCost {
        program: program.to_owned(),
        family,
        runs: 100,
        run_ns: 25_000_000,
    };
    OwnCost {
        threads: vec![
            ThreadTime {
                thread: "kctx-drain".to_owned(),
                cpu_ns: 250_000_000,
            },
            ThreadTime {
                thread: "other".to_owned(),
                cpu_ns: 0,
            },
        ],
        memory_bytes,
        ring_bytes: 1,
        fullest_ring_ppm: 1,
        rings: Vec::new(),
        bpf: BpfCost {
            basis: Basis::Counted,
            programs: vec![
                program("softirq_entry", Family::Softirq),
                program("softirq_exit", Family::Softirq),
                program("napi_poll", Family::Napi),
            ],
            ..BpfCost::default()
        },
    }
}

/// `attributes value` of each point of a metric.
fn points(state: &Cumulative, metric: &str) -> Vec<String> {
    let metrics = metrics(state, HistogramKind::Exponential);
    let points = number_points(&metrics, metric).iter();
    points
        .map(|point| format!("{} {}", labels(&point.attributes), number(point)))
        .collect()
}

#[test]
fn its_own_cost_is_summed_up_and_its_memory_is_as_of_now() {
    let mut state = Cumulative::new(LIMITS);
    for (second, memory) in [(1, 500), (2, 400)] {
        let mut window = window(second);
        window.own_cost = Some(cost(Some(memory)));
        state.fold(&window);
    }
    assert_eq!(
        points(&state, "kctx.self.cpu.time"),
        ["thread.name=kctx-drain 0.5"]
    );
    assert_eq!(
        points(&state, "kctx.self.bpf.time"),
        [
            "kctx.probe.family=napi 0.05",
            "kctx.probe.family=softirq 0.1"
        ]
    );
    assert_eq!(
        points(&state, "kctx.self.bpf.runs"),
        [
            "kctx.probe.family=napi 200",
            "kctx.probe.family=softirq 400"
        ]
    );
    assert_eq!(points(&state, "kctx.self.memory.usage"), [" 400"]);
    let metrics = metrics(&state, HistogramKind::Exponential);
    let units = ["cpu.time", "bpf.time", "bpf.runs", "memory.usage"].map(|name| {
        find(&metrics, &format!("kctx.self.{name}"))
            .unwrap()
            .unit
            .clone()
    });
    assert_eq!(units, ["s", "s", "{run}", "By"]);
}

#[test]
fn what_is_not_told_or_not_known_has_no_points() {
    let mut state = Cumulative::new(LIMITS);
    state.fold(&window(1));
    let mut second = window(2);
    second.own_cost = Some(OwnCost {
        bpf: BpfCost::default(),
        ..cost(None)
    });
    state.fold(&second);
    assert_eq!(points(&state, "kctx.self.cpu.time").len(), 1);
    for metric in ["bpf.time", "bpf.runs", "memory.usage"] {
        let metric = format!("kctx.self.{metric}");
        assert!(points(&state, &metric).is_empty(), "{metric}");
    }
}

#[test]
fn how_long_exports_take_is_told_by_how_they_end() {
    let mut state = Cumulative::new(LIMITS);
    state.fold(&window(1));
    let component = Attributes::new().with("otel.component.type", "otlp_http_metric_exporter");
    let ms = Duration::from_millis;
    for (took, error) in [(20, None), (30, None), (10_000, Some("timeout"))] {
        let ended = Ended {
            took: ms(took),
            error,
            ..Ended::default()
        };
        state.note_export(&ended, &component);
    }
    state.note_collection(ms(1), &component);
    let metrics = metrics(&state, HistogramKind::Exponential);
    let exports = exponential_points(&metrics, "otel.sdk.exporter.operation.duration");
    let said: Vec<_> = (exports.iter())
        .map(|point| (labels(&point.attributes), point.count, point.sum))
        .collect();
    let component = "otel.component.type=otlp_http_metric_exporter";
    assert_eq!(
        said,
        [
            (component.to_owned(), 2, Some(0.05)),
            (format!("{component},error.type=timeout"), 1, Some(10.0)),
        ]
    );
    let collections = exponential_points(&metrics, "otel.sdk.metric_reader.collection.duration");
    assert_eq!(collections.len(), 1);
    assert_eq!(collections[0].start_time_unix_nano, SECOND);
}

/// A peak is told for a minute, to whoever looks then: by CPU where CPUs are kept apart.
#[test]
fn rings_are_told_at_their_fullest() {
    let found = |fullest_ring_ppm, rings: &[(u32, u32)]| OwnCost {
        fullest_ring_ppm,
        rings: (rings.iter())
            .map(|&(cpu, fullest_ppm)| RingFill { cpu, fullest_ppm })
            .collect(),
        ..cost(None)
    };
    let told = |per_cpu| {
        let mut state = Cumulative::new(Limits { per_cpu, ..LIMITS });
        let mut told = Vec::new();
        for end in 101..=200 {
            let mut each = window(end);
            each.own_cost = Some(match end {
                110 => found(900_000, &[(0, 20_000), (7, 900_000)]),
                _ => found(20_000, &[(0, 20_000)]),
            });
            state.fold(&each);
            told.push(points(&state, "kctx.ring.utilization"));
        }
        (told[9].clone(), told[60].clone(), told[99].clone())
    };
    let together = |fill: &str| vec![format!(" {fill}")];
    assert_eq!(
        told(false),
        (together("0.9"), together("0.9"), together("0.02"))
    );
    let apart = |fill: &str| {
        vec![
            "cpu.logical_number=0 0.02".to_owned(),
            format!("cpu.logical_number=7 {fill}"),
        ]
    };
    assert_eq!(told(true), (apart("0.9"), apart("0.9"), apart("0")));
}
