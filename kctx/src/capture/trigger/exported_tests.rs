use super::*;
use crate::{
    aggregate::duration::Durations,
    aggregate::window::{ContextTimes, HardirqRow, SoftirqRow, Window},
    export::{cumulative::Limits, metric::metrics, totals::Totals},
    meter::OwnCost,
};
use std::sync::Arc;

const SECOND: u64 = 1_000_000_000;

fn figure(name: &str, filter: &[(&str, &str)], of: Of) -> Exported {
    let filter = filter
        .iter()
        .map(|(key, value)| (*key, (*value).to_owned()));
    Exported::new(name, filter, Some(of)).unwrap()
}

fn softirq(vector: &'static str, cpu: u32, us: u64, runs: usize) -> SoftirqRow {
    let durations = || std::iter::repeat_n(us * 1000, runs).collect();
    SoftirqRow {
        vector,
        cpu,
        context: "task",
        count: runs as u64,
        wait_unknown: 0,
        wait: durations(),
        service: durations(),
        service_net: durations(),
    }
}

/// Two seconds of two CPUs.
fn window() -> Window {
    Window {
        start_unix_ns: 1_000 * SECOND,
        duration_ns: 2 * SECOND,
        softirq: vec![
            softirq("NET_RX", 0, 10, 98),
            softirq("NET_RX", 1, 5000, 2),
            softirq("TIMER", 0, 7, 50),
        ],
        hardirq: vec![HardirqRow {
            irq: Some(9),
            name: Arc::from("acpi"),
            cpu: 0,
            overflow: false,
            count: 0,
            unhandled: 300,
            woke_thread: 0,
            service: Durations::default(),
        }],
        cpu: (0..2)
            .map(|cpu| ContextTimes {
                cpu,
                softirq_ns: 3 * SECOND / 2,
                ..ContextTimes::default()
            })
            .collect(),
        own_cost: Some(OwnCost {
            memory_bytes: Some(20 << 20),
            ring_bytes: 6 << 20,
            fullest_ring_ppm: 250_000,
            ..OwnCost::default()
        }),
        ..Window::default()
    }
}

/// As a trigger reads it.
fn read(figure: &Exported, window: &Window) -> Option<u64> {
    let totals = Totals::new(Limits::default());
    let names = [figure.metric().name.to_owned()];
    let selection = crate::export::metric::Selection::of_metrics(&names).unwrap();
    totals.watch(Some((selection, figure.is_of_a_cpu())));
    totals.in_window(window, |state| figure.read(state?, window.duration_ns))
}

#[test]
fn durations_that_match_are_taken_together() {
    let wait = |vector, of| {
        let filter = [("kctx.softirq.vector", vector)];
        let figure = figure("kctx.softirq.wait.duration", &filter, of);
        read(&figure, &window())
    };
    let near = |value: Option<u64>, wanted: f64| {
        let off = value.unwrap() as f64 / wanted - 1.0;
        assert!(off.abs() < 0.02, "{value:?} for {wanted}");
    };
    near(wait("NET_RX", Of::P99), 5_000_000.0);
    near(wait("NET_RX", Of::P50), 10_000.0);
    assert_eq!(wait("NET_RX", Of::Max), Some(5_000_000));
    assert_eq!(wait("NET_RX", Of::Count), Some(100));
    assert_eq!(wait("NET_RX", Of::Rate), Some(50));
    assert_eq!(wait("NET_RX", Of::Sum), Some(10_980_000));
    assert_eq!(wait("TIMER", Of::P99), None, "too few");
    assert_eq!(wait("BLOCK", Of::Max), None);
    assert_eq!(wait("BLOCK", Of::Count), Some(0));
    let both = [
        ("kctx.softirq.vector", "NET_RX"),
        ("cpu.logical_number", "1"),
    ];
    let one = figure("kctx.softirq.duration", &both, Of::Count);
    assert_eq!(read(&one, &window()), Some(2));
}

#[test]
fn counts_are_the_windows_own_and_states_the_highest() {
    let of = |name, of| read(&figure(name, &[], of), &window());
    assert_eq!(of("kctx.hardirq.unhandled", Of::Sum), Some(300));
    assert_eq!(of("kctx.hardirq.unhandled", Of::Rate), Some(150));
    assert_eq!(of("kctx.ring.read", Of::Rate), Some(3 << 20));
    assert_eq!(of("kctx.self.memory.usage", Of::Value), Some(20 << 20));
    assert_eq!(of("kctx.ring.utilization", Of::Value), Some(250_000));
    assert_eq!(of("kctx.kernel.taint", Of::Value), None, "it can't be read");
    // Three quarters of two CPUs.
    assert_eq!(of("kctx.cpu.context.time", Of::Rate), Some(1_500_000));
    assert_eq!(of("kctx.cpu.context.time", Of::Sum), Some(3 * SECOND));
    let irq = [("kctx.irq.number", "9")];
    let figure = figure("kctx.hardirq.unhandled", &irq, Of::Sum);
    assert_eq!(read(&figure, &window()), Some(300));
}

#[test]
fn every_exported_metric_can_be_watched() {
    for metric in metrics() {
        for of in Of::allowed(metric.kind) {
            let figure = figure(metric.name, &[], *of);
            assert!(!figure.unit().example().is_empty(), "{}", metric.name);
            let _ = read(&figure, &window());
        }
    }
}
