use std::sync::Arc;

use opentelemetry_proto::tonic::metrics::v1::Metric as Sent;

use super::*;
use crate::aggregate::window::{NapiRow, ProbeStatus, Window};
use crate::export::interval::Temporality;
use crate::export::otlp::points::{deltas, metrics_after};
use crate::export::otlp::settings::HistogramKind;
use crate::export::testing::{
    LIMITS, detects_reset, durations, exponential_points, labels, number, number_points, probe,
    softirq, window,
};
use crate::export::totals::Totals;

const NO_VALUE: u32 = 1;

fn on_cpus(end: u64, cpus: &[u32]) -> Arc<Window> {
    let mut each = window(end);
    each.softirq = cpus
        .iter()
        .map(|cpu| softirq("TIMER", *cpu, &[1000]))
        .collect();
    Arc::new(each)
}

fn sent(totals: &Totals, sent_at: Option<u64>) -> Vec<Sent> {
    totals.read(|state, _| {
        metrics_after(
            state,
            sent_at.map(|at| at * SECOND),
            HistogramKind::Exponential,
        )
    })
}

/// CPU, count and whether it is said that there is none.
fn counts(metrics: &[Sent]) -> Vec<(String, u64, bool)> {
    let points = exponential_points(metrics, "kctx.softirq.duration").iter();
    let each = points.map(|point| {
        let labels = labels(&point.attributes);
        let cpu = labels.rsplit('=').next().unwrap().to_owned();
        (cpu, point.count, point.flags == NO_VALUE)
    });
    each.collect()
}

fn point(cpu: &str, count: u64) -> (String, u64, bool) {
    (cpu.to_owned(), count, false)
}

#[test]
fn a_cpu_that_goes_offline_ends_after_a_while_once_and_goes_on_where_it_was() {
    let totals = Totals::new(LIMITS);
    totals.set_online(&[0, 1]);
    totals.offer(on_cpus(101, &[0, 1]));
    assert_eq!(counts(&sent(&totals, None)), [point("0", 1), point("1", 1)]);
    let before = exponential_points(&sent(&totals, None), "kctx.softirq.duration")[1].clone();
    totals.set_online(&[0]);
    // What it did last is still told for a while.
    totals.offer(on_cpus(150, &[0]));
    assert_eq!(
        counts(&sent(&totals, Some(101))),
        [point("0", 2), point("1", 1)]
    );
    totals.offer(on_cpus(402, &[0]));
    let last = ("1".to_owned(), 0, true);
    assert_eq!(counts(&sent(&totals, Some(150))), [point("0", 3), last]);
    // Until it got there, and no longer; and not to whom never heard of it.
    assert_eq!(counts(&sent(&totals, Some(402))), [point("0", 3)]);
    assert_eq!(counts(&sent(&totals, None)), [point("0", 3)]);
    totals.set_online(&[0, 1]);
    totals.offer(on_cpus(500, &[0, 1]));
    let metrics = sent(&totals, Some(402));
    assert_eq!(counts(&metrics), [point("0", 4), point("1", 2)]);
    let back = &exponential_points(&metrics, "kctx.softirq.duration")[1];
    assert_eq!(back.start_time_unix_nano, before.start_time_unix_nano);
    assert!(!detects_reset(back, &before));
}

#[test]
fn a_cpu_that_is_online_or_of_which_nobody_knows_does_not_end() {
    for online in [Some(vec![0, 1]), None] {
        let totals = Totals::new(LIMITS);
        if let Some(online) = online {
            totals.set_online(&online);
        }
        totals.offer(on_cpus(101, &[0, 1]));
        totals.offer(on_cpus(100_000, &[0]));
        assert_eq!(
            counts(&sent(&totals, Some(101))),
            [point("0", 2), point("1", 1)]
        );
    }
}

#[test]
fn a_device_that_was_silent_for_an_hour_ends() {
    let polled = |end, devices: &[&str]| {
        let mut each = window(end);
        each.napi = devices
            .iter()
            .map(|device| NapiRow {
                device: Arc::from(*device),
                napi_id: 1,
                cpu: 0,
                context: "irq_tail",
                overflow: false,
                count: 1,
                exhausted: 0,
                packets: 3,
                packets_max: 3,
                service: durations(&[1000]),
            })
            .collect();
        Arc::new(each)
    };
    let totals = Totals::new(LIMITS);
    totals.offer(polled(101, &["eth0", "veth1"]));
    let devices = |totals: &Totals, sent_at| {
        let metrics = sent(totals, Some(sent_at));
        let points = number_points(&metrics, "kctx.napi.poll.packets").iter();
        points
            .map(|point| {
                (
                    labels(&point.attributes),
                    point.value.map(|_| number(point) as u64),
                    point.flags,
                )
            })
            .collect::<Vec<_>>()
    };
    let device = |name| format!("network.interface.name={name},cpu.logical_number=0");
    totals.offer(polled(3600, &["eth0"]));
    let both = [(device("eth0"), Some(6), 0), (device("veth1"), Some(3), 0)];
    assert_eq!(devices(&totals, 101), both);
    totals.offer(polled(3800, &["eth0"]));
    let one = [
        (device("eth0"), Some(9), 0),
        (device("veth1"), None, NO_VALUE),
    ];
    assert_eq!(devices(&totals, 3600), one);
}

/// A state that no longer holds ends at once: another one holds.
#[test]
fn a_probe_that_is_detached_is_another_series() {
    let with = |end, probes: Vec<ProbeStatus>| {
        Arc::new(Window {
            probes,
            ..window(end)
        })
    };
    for deltas_too in [false, true] {
        let totals = match deltas_too {
            true => Totals::of(LIMITS, Temporality::Delta, false),
            false => Totals::new(LIMITS),
        };
        let sent = |sent_at: u64| {
            let sent_at = Some(sent_at * SECOND);
            let metrics = match deltas_too {
                true => deltas(
                    &totals.take_interval().0.unwrap(),
                    sent_at,
                    HistogramKind::Exponential,
                ),
                false => sent(&totals, sent_at.map(|at| at / SECOND)),
            };
            let points = number_points(&metrics, "kctx.probe.attached").iter();
            points
                .map(|point| (point.attributes.len(), point.flags))
                .collect::<Vec<_>>()
        };
        totals.offer(with(101, vec![probe("irq:softirq_raise", None)]));
        assert_eq!(sent(100), [(3, 0)]);
        totals.offer(with(
            102,
            vec![probe("irq:softirq_raise", Some("detached"))],
        ));
        assert_eq!(sent(101), [(3, 0), (3, NO_VALUE)]);
        assert_eq!(sent(102), [(3, 0)]);
    }
}

/// What counts since the last export ends with it: nothing of it may be dropped instead.
#[test]
fn deltas_of_what_is_gone_are_sent_all_the_same() {
    let totals = Totals::of(LIMITS, Temporality::Delta, true);
    totals.set_online(&[0]);
    totals.offer(on_cpus(101, &[0, 1]));
    totals.offer(on_cpus(1000, &[0]));
    let (taken, _) = totals.take_interval();
    let metrics = deltas(
        &taken.unwrap(),
        Some(50 * SECOND),
        HistogramKind::Exponential,
    );
    assert_eq!(counts(&metrics), [point("0", 2), point("1", 1)]);
    // A scrape leaves it out, which Prometheus takes for its end.
    assert_eq!(counts(&sent(&totals, None)), [point("0", 2)]);
}
