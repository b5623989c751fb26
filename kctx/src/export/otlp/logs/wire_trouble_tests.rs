//! Endpoints that take no logs, hang or are in trouble, and the exporter's end.

use super::*;

/// Endpoints for metrics alone: what they answer of logs, by HTTP and by gRPC.
#[test]
fn an_endpoint_that_takes_no_logs_is_asked_once() {
    let victoria = b"unsupported path requested: \"/v1/logs\"";
    for answer in [
        status(404, &[], b"404 page not found"),
        status(400, &[], victoria),
    ] {
        let stub = HttpStub::start_logs([answer.clone(), answer.clone(), answer]);
        let exporter = spawn(settings(&stub));
        for end in 101..111 {
            offer_and_settle(&exporter, end, 2);
        }
        assert_eq!(stub.received().len(), 1, "asked again at once");
        let stats = exporter.stats();
        assert_eq!((stats.exports_failed, stats.retries), (1, 0));
        assert_eq!(stats.points_failed.values().sum::<u64>(), 2);
        assert_eq!(exporter.dropped(), [("no_receiver", 18)].into());
        // Not having them is no failure of the run.
        assert_eq!(exporter.shutdown(LONG), ShutdownOutcome::Flushed);
        assert_eq!(stub.received().len(), 1);
    }
    // A gRPC server that has the service of metrics alone.
    let stub = GrpcStub::start([]);
    let endpoint = format!("http://{}/", stub.address).parse().unwrap();
    let exporter = spawn(LogSettings::new(Transport::new(endpoint, Protocol::Grpc)));
    for end in 101..111 {
        offer_and_settle(&exporter, end, 2);
    }
    let stats = exporter.stats();
    assert_eq!(
        stats.points_failed,
        [("UNIMPLEMENTED".to_owned(), 2)].into()
    );
    assert_eq!(exporter.dropped(), [("no_receiver", 18)].into());
    assert_eq!(exporter.shutdown(LONG), ShutdownOutcome::Flushed);
}

#[test]
fn an_endpoint_that_hangs_costs_the_oldest_records_and_never_a_wait() {
    let stub = HttpStub::start_logs([Answer::Hang]);
    let mut settings = settings(&stub);
    settings.transport.timeout = Some(Duration::from_secs(2));
    settings.queue = 10;
    let exporter = spawn(settings);
    exporter.offer(&logged(101, 3));
    std::thread::sleep(Duration::from_millis(300));
    let start = Instant::now();
    for end in 102..132 {
        exporter.offer(&logged(end, 1));
    }
    assert!(start.elapsed() < Duration::from_secs(1), "offering waits");
    assert!(exporter.settle(LONG));
    assert_eq!(exporter.shutdown(LONG), ShutdownOutcome::Flushed);
    let received = bodies(&stub);
    assert_eq!(received.len(), 2);
    let youngest: Vec<_> = (122..132).map(|end| format!("line {end}.0")).collect();
    assert_eq!(received[1], youngest);
    // Nothing is in no count: 33 were offered.
    assert_eq!(exporter.dropped(), [("queue_full", 23)].into());
    assert_eq!(exporter.stats().points_exported, 10);
}

#[test]
fn shutdown_sends_what_waits() {
    let stub = HttpStub::start_logs([]);
    let mut settings = settings(&stub);
    settings.interval = Duration::from_secs(3600);
    let totals = Arc::new(Totals::new(LIMITS));
    let exporter = LogExporter::spawn(settings, &Resource::default(), totals).unwrap();
    exporter.offer(&logged(101, 2));
    exporter.offer(&logged(102, 1));
    assert!(stub.received().is_empty());
    assert_eq!(exporter.shutdown(LONG), ShutdownOutcome::Flushed);
    assert_eq!(bodies(&stub), [["line 101.0", "line 101.1", "line 102.0"]]);
}

#[test]
fn shutdown_tries_once_more_what_waits_for_an_endpoint_in_trouble_and_says_so() {
    let stub = HttpStub::start_logs([busy("3600"), busy("3600"), busy("3600")]);
    let exporter = spawn(settings(&stub));
    offer_and_settle(&exporter, 101, 2);
    let start = Instant::now();
    let outcome = exporter.shutdown(LONG);
    assert!(
        matches!(&outcome, ShutdownOutcome::Failed(why) if why.contains("503")),
        "{outcome:?}"
    );
    assert!(start.elapsed() < LONG / 2);
    assert_eq!(stub.received().len(), 2, "tried again and again");
    assert_eq!(exporter.dropped(), [("shutdown", 2)].into());
}

#[test]
fn shutdown_is_bounded() {
    let stub = HttpStub::start_logs([Answer::Hang, Answer::Hang]);
    let exporter = spawn(settings(&stub));
    exporter.offer(&logged(101, 2));
    std::thread::sleep(Duration::from_millis(300));
    let start = Instant::now();
    assert_eq!(
        exporter.shutdown(Duration::from_secs(1)),
        ShutdownOutcome::TimedOut
    );
    assert!(start.elapsed() < Duration::from_secs(5));
    assert_eq!(exporter.dropped(), [("shutdown", 2)].into());
}
