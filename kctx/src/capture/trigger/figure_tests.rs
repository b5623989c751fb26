use super::*;
use crate::aggregate::window::{HardirqRow, KthreadRow, SoftirqRow};
use std::sync::Arc;

const SECOND: u64 = 1_000_000_000;

fn softirq(vector: &'static str, cpu: u32, waits: impl IntoIterator<Item = u64>) -> SoftirqRow {
    SoftirqRow {
        vector,
        cpu,
        context: "task",
        count: 0,
        wait_unknown: 0,
        wait: waits.into_iter().collect(),
        service: Durations::default(),
        service_net: Durations::default(),
    }
}

fn read(figure: &Figure, window: &Window) -> Option<(u64, String)> {
    let reading = figure.read(window, &Beside::default());
    reading.map(|reading| (reading.value, reading.of))
}

#[test]
fn a_wait_is_that_of_all_cpus_and_of_enough_runs() {
    let window = Window {
        duration_ns: SECOND,
        softirq: vec![
            softirq("NET_RX", 0, vec![1000; 60]),
            softirq("NET_RX", 1, vec![50_000; 60]),
            softirq("TIMER", 0, vec![2000; 200]),
            softirq("BLOCK", 0, vec![9_000_000; 99]),
        ],
        ..Window::default()
    };
    let (value, of) = read(&Figure::SoftirqWaitP99(None), &window).unwrap();
    assert_eq!((value, of.as_str()), (50_000, "NET_RX"));
    let timer = read(&Figure::SoftirqWaitP99(Some("TIMER")), &window).unwrap();
    assert_eq!(timer.0, 2000);
    assert_eq!(read(&Figure::SoftirqWaitP99(Some("BLOCK")), &window), None);
}

#[test]
fn shares_are_the_highest_cpus() {
    let thread = |comm: &str, role, cpu_ns| KthreadRow {
        role,
        comm: Arc::from(comm),
        pid: 1,
        workqueue: Arc::from(""),
        overflow: false,
        count: 1,
        preempted: 0,
        wait: Durations::default(),
        service: Durations::default(),
        service_net: Durations::default(),
        cpu_ns,
        cpu_net_ns: 0,
    };
    let time = |cpu, softirq_ns, ksoftirqd_ns| ContextTimes {
        cpu,
        softirq_ns,
        ksoftirqd_ns,
        ..ContextTimes::default()
    };
    let window = Window {
        duration_ns: 2 * SECOND,
        kthread: vec![
            thread("ksoftirqd/0", "ksoftirqd", SECOND / 2),
            thread("ksoftirqd/1", "ksoftirqd", SECOND),
            thread("kworker/0:1", "kworker", 2 * SECOND),
        ],
        cpu: vec![time(0, SECOND / 10, None), time(1, SECOND, None)],
        ..Window::default()
    };
    let share = |figure: &Figure| read(figure, &window);
    assert_eq!(
        share(&Figure::KsoftirqdShare),
        Some((500_000, "ksoftirqd/1".to_owned()))
    );
    assert_eq!(
        share(&Figure::ContextShare(Context::Softirq)),
        Some((500_000, "CPU 1".to_owned()))
    );
    // Where switches are not followed nobody knows.
    assert_eq!(share(&Figure::ContextShare(Context::Ksoftirqd)), None);
}

#[test]
fn unhandled_interrupts_are_counted_by_line() {
    let row = |irq, cpu, unhandled| HardirqRow {
        irq,
        name: Arc::from("a"),
        overflow: false,
        cpu,
        count: 10,
        unhandled,
        woke_thread: 0,
        service: Durations::default(),
    };
    let window = Window {
        duration_ns: SECOND / 2,
        hardirq: vec![
            row(Some(9), 0, 30),
            row(Some(9), 1, 20),
            row(Some(10), 0, 40),
            row(None, 0, 1000),
        ],
        ..Window::default()
    };
    assert_eq!(
        read(&Figure::UnhandledInterrupts, &window),
        Some((100, "irq 9".to_owned()))
    );
}

#[test]
fn what_is_asked_beside_is_handed_on() {
    let findings = ["NET-FW".to_owned()];
    let beside = Beside {
        softnet: Some(SoftnetRates {
            dropped: 3,
            time_squeeze: 4,
        }),
        longest_work: Some(Reading {
            value: 5,
            of: "0x1".to_owned(),
        }),
        findings: Some(&findings),
        exported: None,
    };
    let value = |figure: Figure| {
        let reading = figure.read(&Window::default(), &beside);
        reading.map(|reading| reading.value)
    };
    assert_eq!(value(Figure::BacklogDrops), Some(3));
    assert_eq!(value(Figure::TimeSqueeze), Some(4));
    assert_eq!(value(Figure::WorkInFlight), Some(5));
    assert_eq!(value(Figure::Finding("NET-FW".to_owned())), Some(1));
    assert_eq!(value(Figure::Finding("NET".to_owned())), Some(0));
    assert_eq!(read(&Figure::TimeSqueeze, &Window::default()), None);
    let undiagnosed = Figure::Finding("NET-FW".to_owned());
    assert_eq!(read(&undiagnosed, &Window::default()), None);
}
