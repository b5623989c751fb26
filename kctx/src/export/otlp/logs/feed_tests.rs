use super::*;
use crate::export::event::LeftOut;
use crate::export::metric::{SeriesOf, metrics};
use crate::export::otlp::client::Failure;
use crate::export::otlp::deliver::FailedPart;
use crate::export::otlp::settings::Protocol;
use crate::export::otlp::transport::Transport;
use crate::export::testing::LIMITS;

const RETRY: Verdict = Verdict::Retry { after: None };
const BIG: usize = 1 << 20;
const TOOK: Duration = Duration::from_millis(3);

/// A feed whose requests have two records each.
fn feed(queue: usize) -> LogFeed {
    let endpoint = "http://127.0.0.1:4318/v1/logs".parse().unwrap();
    let mut settings = LogSettings::new(Transport::new(endpoint, Protocol::HttpProtobuf));
    settings.queue = queue;
    settings.batch = 2;
    let queue = Arc::new(Queue::new(settings.queue));
    let totals = Arc::new(Totals::new(LIMITS));
    LogFeed::new(queue, &settings, &Resource::default(), totals)
}

fn offer(feed: &LogFeed, numbers: impl IntoIterator<Item = u64>) {
    let records = numbers.into_iter().map(|time_unix_nano| LogRecord {
        time_unix_nano,
        ..LogRecord::default()
    });
    feed.queue.offer(records.collect(), LeftOut::default());
}

/// Takes all that waits; which records, by request.
fn collected(feed: &mut LogFeed) -> Vec<Vec<u64>> {
    let (parts, _) = feed.collect(BIG);
    let records = parts
        .iter()
        .map(|part| &part.message.resource_logs[0].scope_logs[0].log_records);
    records
        .map(|records| records.iter().map(|record| record.time_unix_nano).collect())
        .collect()
}

/// A delivery in which these requests of two records failed, and `exported` records arrived.
fn delivery(exported: u64, failed: &[(usize, &str, Verdict)]) -> Delivery {
    let parts = failed.iter().map(|(at, kind, verdict)| FailedPart {
        at: *at,
        items: 2,
        kind: (*kind).to_owned(),
        verdict: *verdict,
    });
    Delivery {
        exported,
        failure: failed.first().map(|(_, kind, verdict)| Failure {
            verdict: *verdict,
            kind: (*kind).to_owned().into(),
            message: "no".to_owned(),
        }),
        failed: parts.collect(),
        ..Delivery::default()
    }
}

/// `error.type value` of each series of a metric, the error empty where there is none.
fn counted(feed: &LogFeed, name: &str) -> Vec<String> {
    let metric = metrics().find(|metric| metric.name == name).unwrap();
    let mut lines = feed.totals.read(|state, _| match metric.series(state) {
        SeriesOf::Count(set) => (set.iter())
            .map(|(attributes, series)| {
                let error = attributes.iter().find(|(key, _)| *key == "error.type");
                let error = error.map(|(_, value)| format!("{value:?}"));
                format!("{} {}", error.unwrap_or_default(), series.value)
            })
            .collect::<Vec<_>>(),
        other => panic!("{other:?}"),
    });
    lines.sort();
    lines
}

fn exported(feed: &LogFeed) -> Vec<String> {
    counted(feed, "otel.sdk.exporter.log.exported")
}

fn processed(feed: &LogFeed) -> Vec<String> {
    counted(feed, "otel.sdk.processor.log.processed")
}

#[test]
fn what_may_pass_is_sent_again_in_its_order_and_counted_when_that_is_over() {
    let mut feed = feed(10);
    offer(&feed, 1..=6);
    assert!(feed.has_news());
    assert_eq!(collected(&mut feed), [[1, 2], [3, 4], [5, 6]]);
    assert!(!feed.has_news());
    offer(&feed, [7]);
    let failed = [(0, "400", Verdict::Permanent), (2, "503", RETRY)];
    let after = feed.ended(&delivery(2, &failed), TOOK, false);
    assert_eq!(after.failed, [("400".to_owned(), 2)]);
    assert_eq!(after.lost, 2);
    assert!(after.pause.is_some() && after.unserved.is_none());
    assert_eq!(exported(&feed), [" 2", "Text(\"400\") 2"]);
    assert_eq!(processed(&feed), [" 4"]);
    assert_eq!(collected(&mut feed), [vec![5, 6], vec![7]]);
    let after = feed.ended(&delivery(3, &[]), TOOK, false);
    assert!(after.pause.is_none() && after.failed.is_empty());
    assert_eq!(exported(&feed), [" 5", "Text(\"400\") 2"]);
    assert_eq!(processed(&feed), [" 7"]);
}

#[test]
fn what_the_endpoint_asks_for_is_kept_within_reason() {
    let mut feed = feed(10);
    for (asked, least, most) in [(7, 7, 8), (1 << 40, 300, 331)] {
        offer(&feed, [1]);
        collected(&mut feed);
        let after = Some(Duration::from_secs(asked));
        let failed = [(0, "503", Verdict::Retry { after })];
        let pause = feed
            .ended(&delivery(0, &failed), TOOK, false)
            .pause
            .unwrap();
        assert!(
            (least..=most).contains(&pause.as_secs()),
            "{asked}: {pause:?}"
        );
    }
}

#[test]
fn requests_that_are_too_large_come_again_where_they_can_be_smaller() {
    let too_large = [(0, "413", Verdict::TooLarge)];
    let mut feed = feed(10);
    offer(&feed, 1..=2);
    collected(&mut feed);
    assert!(
        feed.ended(&delivery(0, &too_large), TOOK, true)
            .failed
            .is_empty()
    );
    assert_eq!(collected(&mut feed), [[1, 2]]);
    let after = feed.ended(&delivery(0, &too_large), TOOK, false);
    assert_eq!(after.failed, [("413".to_owned(), 2)]);
    assert!(!feed.has_news());
}

#[test]
fn what_waits_for_an_endpoint_that_is_gone_is_bounded() {
    let mut feed = feed(3);
    for first in (1..=9).step_by(3) {
        offer(&feed, first..first + 3);
        collected(&mut feed);
        feed.ended(
            &delivery(0, &[(0, "connect", RETRY), (1, "connect", RETRY)]),
            TOOK,
            false,
        );
    }
    offer(&feed, 10..=13);
    assert_eq!(collected(&mut feed), [vec![11, 12], vec![13]]);
    feed.ended(&delivery(3, &[]), TOOK, false);
    // Nothing is in no count: 13 were offered.
    assert_eq!(exported(&feed), [" 3"]);
    assert_eq!(processed(&feed), [" 3", "Text(\"queue_full\") 10"]);
}

#[test]
fn an_endpoint_that_takes_no_logs_is_left_alone_for_ever_longer() {
    let mut feed = feed(10);
    let unserved = [(0, "404", Verdict::Unserved), (1, "404", Verdict::Unserved)];
    let mut left_alone = Vec::new();
    for _ in 0..12 {
        offer(&feed, 1..=4);
        feed.offered();
        collected(&mut feed);
        let after = feed.ended(&delivery(0, &unserved), TOOK, false);
        assert_eq!(after.failed.len(), 2);
        let told = after.unserved.unwrap();
        assert!(told.contains("[otlp.logs] enabled = false"), "{told}");
        let until = feed.unserved.as_ref().unwrap().until;
        left_alone.push(until.duration_since(Instant::now()));
        // Meanwhile records are dropped and counted, and nothing is sent.
        offer(&feed, [5]);
        assert_eq!(feed.offered() % 2, 0);
        assert!(!feed.has_news());
        feed.unserved.as_mut().unwrap().until = Instant::now();
    }
    assert!(
        left_alone
            .iter()
            .all(|time| *time > LEFT_ALONE - Duration::from_secs(5))
    );
    assert!(
        *left_alone.iter().max().unwrap() > 10 * LEFT_ALONE,
        "{left_alone:?}"
    );
    assert_eq!(exported(&feed), ["Text(\"404\") 48"]);
    assert_eq!(processed(&feed), [" 48", "Text(\"no_receiver\") 12"]);
    // One day it takes them.
    offer(&feed, 6..=7);
    feed.offered();
    assert_eq!(collected(&mut feed), [[6, 7]]);
    feed.ended(&delivery(2, &[]), TOOK, false);
    assert!(feed.unserved.is_none());
    offer(&feed, [8]);
    feed.offered();
    assert!(feed.has_news());
}

#[test]
fn what_was_stopped_is_sent_again_and_what_is_left_at_the_end_is_counted() {
    let mut feed = feed(10);
    offer(&feed, 1..=3);
    collected(&mut feed);
    offer(&feed, [4]);
    feed.stopped();
    assert_eq!(collected(&mut feed), [[1, 2], [3, 4]]);
    feed.stopped();
    feed.leave();
    assert!(!feed.has_news());
    assert_eq!(processed(&feed), ["Text(\"shutdown\") 4"]);
}
