//! What the logs' thread sends, and what becomes of what the endpoint did not take.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use opentelemetry_proto::tonic::resource::v1::Resource as ProtoResource;

use super::queue::{Queue, why};
use super::request::{batches, request};
use super::settings::LogSettings;
use crate::export::attributes::Attributes;
use crate::export::health::Ended;
use crate::export::otlp::deliver::Delivery;
use crate::export::otlp::request::{Part, proto_resource};
use crate::export::otlp::retry::{Backoff, Verdict};
use crate::export::otlp::sender::{After, Feed, component};
use crate::export::otlp::signal::{Logs, Signal};
use crate::export::resource::Resource;
use crate::export::totals::Totals;

/// How long an endpoint that takes no logs is left alone at least, and at most: one may be about to start, another is for
/// metrics alone, and will not change.
const LEFT_ALONE: Duration = Duration::from_secs(60);
const LEFT_ALONE_AT_MOST: Duration = Duration::from_secs(3600);

/// An endpoint that asks for more time than that is asked before.
const LONGEST_WAIT: Duration = Duration::from_secs(300);

/// What whoever reads that the endpoint takes no logs wants to know.
const UNSERVED: &str = "it takes no logs, so none are sent, but for a try from time to time; \
                        `[otlp.logs] enabled = false` ends that, and metrics are not touched by it";

/// Lives on the export's thread.
pub(super) struct LogFeed {
    queue: Arc<Queue>,
    totals: Arc<Totals>,
    resource: ProtoResource,
    batch: usize,
    exporter: Attributes,
    /// What each request under way holds.
    under_way: Vec<Vec<LogRecord>>,
    /// Records that were dropped, as far as the totals know.
    told: BTreeMap<&'static str, u64>,
    /// Grows while the endpoint cannot be reached.
    backoff: Backoff,
    unserved: Option<Unserved>,
}

/// The endpoint takes no logs.
struct Unserved {
    until: Instant,
    backoff: Backoff,
}

impl LogFeed {
    pub(super) fn new(
        queue: Arc<Queue>,
        settings: &LogSettings,
        resource: &Resource,
        totals: Arc<Totals>,
    ) -> Self {
        Self {
            queue,
            totals,
            resource: proto_resource(resource),
            batch: settings.batch,
            exporter: component(Signal::Logs, &settings.transport),
            under_way: Vec::new(),
            told: BTreeMap::new(),
            backoff: Backoff::new(),
            unserved: None,
        }
    }

    /// Puts what was dropped since the last time into the totals.
    fn tell_dropped(&mut self) {
        let dropped = self.queue.dropped();
        if dropped == self.told {
            return;
        }
        self.totals.fold_queued();
        for (why, total) in &dropped {
            let more = total - self.told.get(why).copied().unwrap_or(0);
            (self.totals).note(|state| state.note_processed(more, Some(why), &processor()));
        }
        self.told = dropped;
    }

    /// Has the endpoint left alone for longer than the last time.
    fn leave_alone(&mut self) {
        let fresh = || Backoff::new().up_to(LEFT_ALONE_AT_MOST);
        let mut backoff = self
            .unserved
            .take()
            .map_or_else(fresh, |before| before.backoff);
        let until = Instant::now() + backoff.next(Some(LEFT_ALONE));
        self.unserved = Some(Unserved { until, backoff });
    }
}

impl Feed for LogFeed {
    type Signal = Logs;

    fn offered(&mut self) -> u64 {
        let windows = self.queue.windows();
        if (self.unserved.as_ref()).is_some_and(|unserved| Instant::now() < unserved.until) {
            self.queue.drop_all(why::NO_RECEIVER);
        }
        self.tell_dropped();
        windows
    }

    fn has_news(&self) -> bool {
        !self.queue.is_empty()
    }

    fn collect(&mut self, max_bytes: usize) -> (Vec<Part<ExportLogsServiceRequest>>, u64) {
        let (records, windows) = self.queue.take();
        self.under_way = batches(records, &self.resource, self.batch, max_bytes);
        let parts = self.under_way.iter().map(|batch| Part {
            message: request(&self.resource, batch.clone()),
            items: batch.len() as u64,
        });
        (parts.collect(), windows)
    }

    /// What failed for a reason that may pass goes with the next export, but not at once: the endpoint is in trouble.
    fn ended(&mut self, delivery: &Delivery, took: Duration, smaller: bool) -> After {
        let mut under_way = std::mem::take(&mut self.under_way);
        let mut again = Vec::new();
        let mut after = After::default();
        let mut asked = None;
        for part in &delivery.failed {
            let may_pass = match part.verdict {
                Verdict::Retry { after } => {
                    asked = asked.max(Some(after));
                    true
                }
                Verdict::TooLarge => smaller,
                Verdict::Unserved | Verdict::Permanent => false,
            };
            match under_way.get_mut(part.at) {
                Some(batch) if may_pass => again.append(batch),
                _ => after.failed.push((part.kind.clone(), part.items)),
            }
        }
        self.queue.put_back(again);
        match asked {
            Some(asked) => {
                let asked = asked.map(|asked| asked.min(LONGEST_WAIT));
                after.pause = Some(self.backoff.next(asked));
            }
            None => self.backoff = Backoff::new(),
        }
        if delivery
            .failed
            .iter()
            .any(|part| part.verdict == Verdict::Unserved)
        {
            self.leave_alone();
            after.unserved = Some(UNSERVED.to_owned());
        } else if delivery.exported > 0 {
            self.unserved = None;
        }
        let lost: u64 = after.failed.iter().map(|(_, records)| records).sum();
        after.lost = lost;
        let ended = Ended {
            took,
            error: delivery.failure.as_ref().map(|failure| &*failure.kind),
            exported: delivery.exported,
            rejected: delivery.rejected,
            failed: &after.failed,
            lost: true,
        };
        let handed_on = delivery.exported + delivery.rejected + lost;
        // So that what is counted has a time.
        self.totals.fold_queued();
        (self.totals).note(|state| {
            state.note_log_export(&ended, &self.exporter);
            state.note_processed(handed_on, None, &processor());
        });
        self.tell_dropped();
        after
    }

    fn stopped(&mut self) {
        let under_way = std::mem::take(&mut self.under_way);
        self.queue
            .put_back(under_way.into_iter().flatten().collect());
    }

    fn leave(&mut self) {
        self.queue.drop_all(why::SHUTDOWN);
        self.tell_dropped();
    }
}

/// Names what hands records to the exporter in the metrics of that.
fn processor() -> Attributes {
    Attributes::new()
        .with("otel.component.type", "batching_log_processor")
        .with("otel.component.name", "batching_log_processor/0")
}

#[cfg(test)]
#[path = "feed_tests.rs"]
mod tests;
