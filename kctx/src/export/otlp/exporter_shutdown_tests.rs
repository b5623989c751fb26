//! The exporter's end, and endpoints that hang.

use super::*;

#[test]
fn an_endpoint_that_hangs_costs_resolution_and_no_count() {
    let stub = HttpStub::start([Answer::Hang]);
    let mut settings = settings(&stub);
    settings.transport.timeout = Some(Duration::from_secs(2));
    let exporter = spawn(settings);
    exporter.offer(counted(101, 5));
    std::thread::sleep(Duration::from_millis(300));
    let start = Instant::now();
    for end in 102..132 {
        exporter.offer(counted(end, 5));
    }
    assert!(start.elapsed() < Duration::from_secs(1), "offering waits");
    assert!(exporter.settle(LONG));
    let received = stub.received();
    assert_eq!(received.len(), 2);
    assert_eq!(count_of(&received[1]), 155);
    let stats = exporter.stats();
    assert_eq!(
        (
            stats.exports_ok,
            stats.exports_failed,
            stats.collections_merged
        ),
        (1, 1, 29)
    );
    assert!(stats.points_failed.contains_key("timeout"));
}

#[test]
fn shutdown_gives_the_last_windows_a_chance_past_a_request_that_hangs() {
    let stub = HttpStub::start([Answer::Hang]);
    let exporter = spawn(settings(&stub));
    exporter.offer(counted(101, 5));
    std::thread::sleep(Duration::from_millis(300));
    exporter.offer(counted(102, 5));
    let start = Instant::now();
    assert_eq!(
        exporter.shutdown(Duration::from_secs(2)),
        ShutdownOutcome::Flushed
    );
    assert!(start.elapsed() < Duration::from_secs(2));
    assert_eq!(count_of(stub.received().last().unwrap()), 10);
    exporter.offer(counted(103, 5));
    assert_eq!(
        exporter.stats().exports_ok,
        1,
        "after the shutdown nothing is taken"
    );
}

#[test]
fn shutdown_is_bounded_and_a_second_one_leaves_at_once() {
    let stub = HttpStub::start([Answer::Hang, Answer::Hang, Answer::Hang]);
    let exporter = spawn(settings(&stub));
    exporter.offer(counted(101, 5));
    std::thread::sleep(Duration::from_millis(300));
    let start = Instant::now();
    assert_eq!(
        exporter.shutdown(Duration::from_secs(1)),
        ShutdownOutcome::TimedOut
    );
    assert!(
        start.elapsed() < Duration::from_secs(5),
        "{:?}",
        start.elapsed()
    );

    let exporter = Arc::new(spawn(settings(&stub)));
    exporter.offer(counted(101, 5));
    let first = {
        let exporter = Arc::clone(&exporter);
        std::thread::spawn(move || exporter.shutdown(LONG))
    };
    std::thread::sleep(Duration::from_millis(200));
    let start = Instant::now();
    assert_eq!(exporter.shutdown(LONG), ShutdownOutcome::Aborted);
    assert_eq!(first.join().unwrap(), ShutdownOutcome::Aborted);
    assert!(start.elapsed() < LONG / 2);
}

#[test]
fn shutdown_tries_what_failed_once_more_and_says_so_when_it_fails_again() {
    let stub = HttpStub::start([status(401, &[], b"who?"), status(401, &[], b"who?")]);
    let exporter = spawn(settings(&stub));
    offer_and_settle(&exporter, 101, 5);
    let outcome = exporter.shutdown(LONG);
    assert!(
        matches!(&outcome, ShutdownOutcome::Failed(why) if why.contains("who?")),
        "{outcome:?}"
    );
    assert_eq!(stub.received().len(), 2);
}

#[test]
fn shutdown_without_windows_is_immediate() {
    let stub = HttpStub::start([]);
    let exporter = spawn(settings(&stub));
    assert_eq!(exporter.shutdown(LONG), ShutdownOutcome::Flushed);
    assert!(stub.received().is_empty());
}
