//! Deltas on the wire, when all goes well and when it does not.

use super::*;
use crate::export::cumulative::Limits;
use crate::export::interval::Temporality;
use crate::export::testing::SECOND;

fn spawn_deltas(stub: &HttpStub) -> OtlpExporter {
    let mut settings = settings(stub);
    settings.interval = Duration::ZERO;
    settings.temporality = Temporality::Delta;
    let totals = Totals::of(LIMITS, Temporality::Delta, false);
    OtlpExporter::spawn(settings, Resource::default(), Arc::new(totals)).unwrap()
}

/// Start and end in seconds and count of the softirqs.
fn span(received: &Received) -> (u64, u64, u64) {
    let point = &exponential_points(received.metrics(), "kctx.softirq.duration")[0];
    let times = (point.start_time_unix_nano, point.time_unix_nano);
    (times.0 / SECOND, times.1 / SECOND, point.count)
}

#[test]
fn what_was_refused_is_a_gap_that_is_counted_and_what_was_not_heard_comes_again() {
    // An endpoint that asks for more time than there is has the export fail at once.
    let busy = || status(503, &[("retry-after", "3600")], b"");
    let stub = HttpStub::start([
        Answer::ok(),
        status(400, &[], b"out of order"),
        Answer::ok(),
        busy(),
        busy(),
    ]);
    let exporter = spawn_deltas(&stub);
    for (end, count) in (101..).zip([5, 6, 7, 8, 9, 10]) {
        offer_and_settle(&exporter, end, count);
    }
    let spans: Vec<_> = stub.received().iter().map(span).collect();
    assert_eq!(
        spans,
        [
            (100, 101, 5),
            // Refused.
            (101, 102, 6),
            (102, 103, 7),
            // Not heard.
            (103, 104, 8),
            (103, 105, 17),
            (103, 106, 27),
        ]
    );
    let stats = exporter.stats();
    assert_eq!(stats.points_lost, stats.points_failed["400"], "{stats:?}");
    assert!(stats.points_lost > 0 && stats.points_failed["503"] > 0);
    assert_eq!(exporter.shutdown(LONG), ShutdownOutcome::Flushed);
    // The export's own counters are deltas too: what was refused was said once, in the next export.
    for own in [
        "otel.sdk.exporter.metric_data_point.exported",
        "kctx.export.dropped",
    ] {
        let refused: Vec<_> = (stub.received().iter())
            .map(|received| {
                let points = number_points(received.metrics(), own).iter();
                let refused = points.filter(|p| labels(&p.attributes).ends_with("error.type=400"));
                refused.map(|point| number(point) as u64).sum::<u64>()
            })
            .collect();
        assert_eq!(refused, [0, 0, stats.points_lost, 0, 0, 0]);
    }
}

#[test]
fn the_last_export_has_what_the_one_before_could_not_bring() {
    let stub = HttpStub::start([status(503, &[("retry-after", "3600")], b"")]);
    let exporter = spawn_deltas(&stub);
    offer_and_settle(&exporter, 101, 5);
    assert_eq!(exporter.shutdown(LONG), ShutdownOutcome::Flushed);
    let spans: Vec<_> = stub.received().iter().map(span).collect();
    assert_eq!(spans.len(), 2);
    assert_eq!((spans[1].0, spans[1].2), (100, 5));
}

#[test]
fn parts_of_one_interval_are_of_one_time_and_what_got_there_is_not_sent_again() {
    let stub = HttpStub::start([Answer::ok(), status(503, &[("retry-after", "3600")], b"")]);
    let mut settings = settings(&stub);
    settings.interval = Duration::ZERO;
    settings.temporality = Temporality::Delta;
    settings.transport.max_request_bytes = 64 << 10;
    let totals = Totals::of(Limits::default(), Temporality::Delta, true);
    let exporter = OtlpExporter::spawn(settings, Resource::default(), Arc::new(totals)).unwrap();
    let mut wide = window(101);
    wide.softirq = (0..1000)
        .map(|cpu| softirq("TIMER", cpu, &[100, 7_000]))
        .collect();
    exporter.offer(Arc::new(wide));
    assert!(exporter.settle(LONG));
    let parts = stub.received();
    assert_eq!(parts.len(), 2, "the rest is not tried");
    assert!(exporter.stats().points_lost > 0);
    offer_and_settle(&exporter, 102, 4);
    let after = stub.received();
    assert_eq!(span(after.last().unwrap()), (101, 102, 4));
    assert_eq!(exporter.stats().collections_merged, 0);
}
