//! Records that wait for the endpoint: bounded, and over the bound the oldest go.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Mutex;

use opentelemetry_proto::tonic::logs::v1::LogRecord;

use crate::export::event::LeftOut;
use crate::export::totals::lock;

/// Why a record is dropped before an export takes it: values of `error.type`. `queue_full` is what the semantic conventions
/// demand; the others have no name there.
pub(super) mod why {
    /// The endpoint was not taking records as fast as they came.
    pub(in crate::export::otlp::logs) const QUEUE_FULL: &str = "queue_full";
    /// Its window had too many.
    pub(super) const WINDOW_FULL: &str = "window_full";
    /// A line that the kernel log's own bounds kept out of its window.
    pub(super) const LOG_LIMIT: &str = "log_limit";
    /// The endpoint takes no logs.
    pub(in crate::export::otlp::logs) const NO_RECEIVER: &str = "no_receiver";
    /// The export ended first.
    pub(in crate::export::otlp::logs) const SHUTDOWN: &str = "shutdown";
}

/// See the module.
#[derive(Debug)]
pub(super) struct Queue {
    most: usize,
    waiting: Mutex<Waiting>,
}

#[derive(Debug, Default)]
struct Waiting {
    records: VecDeque<LogRecord>,
    /// Windows that were offered, of those in which something happened.
    windows: u64,
    /// Records that were dropped, by why.
    dropped: BTreeMap<&'static str, u64>,
}

impl Queue {
    /// For so many records.
    pub(super) fn new(most: usize) -> Self {
        Self {
            most,
            waiting: Mutex::default(),
        }
    }

    /// Takes the records of one more window.
    pub(super) fn offer(&self, records: Vec<LogRecord>, left_out: LeftOut) {
        let mut waiting = lock(&self.waiting);
        waiting.windows += 1;
        waiting.count(why::WINDOW_FULL, left_out.over_window);
        waiting.count(why::LOG_LIMIT, left_out.over_log);
        waiting.records.extend(records);
        waiting.keep(self.most);
    }

    /// Takes back what was taken, and is older than all that waits.
    pub(super) fn put_back(&self, records: Vec<LogRecord>) {
        let mut waiting = lock(&self.waiting);
        for record in records.into_iter().rev() {
            waiting.records.push_front(record);
        }
        waiting.keep(self.most);
    }

    /// All that waits, oldest first, and how many windows were offered so far.
    pub(super) fn take(&self) -> (VecDeque<LogRecord>, u64) {
        let mut waiting = lock(&self.waiting);
        (std::mem::take(&mut waiting.records), waiting.windows)
    }

    /// Drops all that waits.
    pub(super) fn drop_all(&self, why: &'static str) {
        let mut waiting = lock(&self.waiting);
        let count = waiting.records.len() as u64;
        waiting.records.clear();
        waiting.count(why, count);
    }

    /// How many windows were offered so far.
    pub(super) fn windows(&self) -> u64 {
        lock(&self.waiting).windows
    }

    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        lock(&self.waiting).records.is_empty()
    }

    /// Records that were dropped so far, by why.
    pub(super) fn dropped(&self) -> BTreeMap<&'static str, u64> {
        lock(&self.waiting).dropped.clone()
    }
}

impl Waiting {
    fn keep(&mut self, most: usize) {
        let over = self.records.len().saturating_sub(most);
        self.records.drain(..over);
        self.count(why::QUEUE_FULL, over as u64);
    }

    fn count(&mut self, why: &'static str, records: u64) {
        if records > 0 {
            *self.dropped.entry(why).or_default() += records;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records(numbers: impl IntoIterator<Item = u64>) -> Vec<LogRecord> {
        let numbers = numbers.into_iter();
        numbers
            .map(|time_unix_nano| LogRecord {
                time_unix_nano,
                ..LogRecord::default()
            })
            .collect()
    }

    fn waiting(queue: &Queue) -> Vec<u64> {
        let (records, _) = queue.take();
        let times = records.iter().map(|record| record.time_unix_nano).collect();
        queue.put_back(records.into());
        times
    }

    #[test]
    fn the_oldest_go_and_are_counted() {
        let queue = Queue::new(3);
        queue.offer(records(1..=2), LeftOut::default());
        queue.offer(records(3..=5), LeftOut::default());
        assert_eq!(waiting(&queue), [3, 4, 5]);
        assert_eq!((queue.windows(), queue.is_empty()), (2, false));
        let (taken, windows) = queue.take();
        assert_eq!((taken.len(), windows, queue.is_empty()), (3, 2, true));
        queue.offer(records(6..=7), LeftOut::default());
        // What is put back is the oldest, and goes first.
        queue.put_back(taken.into());
        assert_eq!(waiting(&queue), [5, 6, 7]);
        assert_eq!(queue.dropped(), [(why::QUEUE_FULL, 4)].into());
    }

    #[test]
    fn each_reason_has_its_count() {
        let queue = Queue::new(10);
        let left_out = LeftOut {
            over_window: 2,
            over_log: 3,
        };
        queue.offer(records(1..=4), left_out);
        queue.drop_all(why::NO_RECEIVER);
        queue.drop_all(why::SHUTDOWN);
        assert!(queue.is_empty());
        assert_eq!(
            queue.dropped(),
            [
                (why::WINDOW_FULL, 2),
                (why::LOG_LIMIT, 3),
                (why::NO_RECEIVER, 4)
            ]
            .into()
        );
    }
}
