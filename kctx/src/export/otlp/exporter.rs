//! The export of metrics: sends what is newest.
//!
//! Nothing waits for the endpoint. Windows are deltas, so each is folded into the totals also while a request is under
//! way; what "waits" behind that request is the totals themselves, which a later window brings up to date. An endpoint
//! that hangs thus costs resolution in time, never a count, and memory is bounded by the series.

use std::sync::Arc;
use std::time::{Duration, Instant};

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;

use super::collect::Collector;
use super::deliver::Delivery;
use super::push::Push;
use super::request::{Part, proto_resource, split};
use super::sender::{After, Feed, component};
use super::settings::OtlpSettings;
use super::signal::{Metrics, Signal};
use super::stats::ExporterStats;
use super::{ShutdownOutcome, StartError};
use crate::aggregate::window::Window;
use crate::export::attributes::Attributes;
use crate::export::health::{Backlog, Ended};
use crate::export::resource::Resource;
use crate::export::totals::Totals;

/// Pushes the totals to an OTLP endpoint from a thread of its own.
#[derive(Debug)]
pub struct OtlpExporter {
    totals: Arc<Totals>,
    push: Push,
}

impl OtlpExporter {
    /// Starts the export of these totals. Certificates and keys are read now.
    ///
    /// # Errors
    /// When they cannot be used, or the thread cannot start.
    pub fn spawn(
        settings: OtlpSettings,
        resource: Resource,
        totals: Arc<Totals>,
    ) -> Result<Self, StartError> {
        let feed = MetricsFeed {
            totals: Arc::clone(&totals),
            collector: Collector::new(Arc::clone(&totals), &settings),
            resource,
            component: component(Signal::Metrics, &settings.transport),
            folded: 0,
            taken: 0,
            settled: 0,
        };
        let push = Push::spawn(settings.transport, settings.interval, feed)?;
        Ok(Self { totals, push })
    }

    /// Hands over a closed window, where this is the only export. Never waits for the endpoint; after
    /// [`Self::shutdown`] nothing is sent any more.
    pub fn offer(&self, window: Arc<Window>) {
        self.totals.offer(window);
        self.announce();
    }

    /// Says that the totals were offered one more window.
    pub fn announce(&self) {
        self.push.announce();
    }

    /// Waits until every window offered so far was part of an export that has ended, well or not; false
    /// when time was up first. For a replay, which would otherwise merge its windows.
    #[must_use]
    pub fn settle(&self, limit: Duration) -> bool {
        self.push.settle(limit)
    }

    /// Sends what is not with the endpoint yet, and ends. Returns within about `limit`; a second call, or
    /// [`Self::abort`] from another thread, makes both return at once.
    pub fn shutdown(&self, limit: Duration) -> ShutdownOutcome {
        self.push.shutdown(limit)
    }

    /// Ends without sending anything more. Does not wait.
    pub fn abort(&self) {
        self.push.abort();
    }

    /// What was done so far.
    #[must_use]
    pub fn stats(&self) -> ExporterStats {
        ExporterStats {
            clock_steps: self.totals.clock_steps(),
            ..self.push.stats()
        }
    }
}

/// The totals as of the last window that was offered.
struct MetricsFeed {
    totals: Arc<Totals>,
    collector: Collector,
    resource: Resource,
    component: Attributes,
    /// Windows that are in the totals, and how many of them an export has taken.
    folded: u64,
    taken: u64,
    /// Of those, how many the endpoint has or will never have.
    settled: u64,
}

impl MetricsFeed {
    fn note_backlog(&self, inflight: u64) {
        let backlog = Backlog {
            windows: self.folded - self.settled,
            inflight,
        };
        (self.totals).note(|state| state.note_backlog(backlog, &self.component));
    }
}

impl Feed for MetricsFeed {
    type Signal = Metrics;

    fn offered(&mut self) -> u64 {
        self.folded = self.totals.fold_queued();
        self.folded
    }

    fn has_news(&self) -> bool {
        self.folded != self.taken
    }

    /// The state of now, with every window that was offered so far.
    fn collect(&mut self, max_bytes: usize) -> (Vec<Part<ExportMetricsServiceRequest>>, u64) {
        let started = Instant::now();
        self.note_backlog(0);
        let (metrics, folded) = self.collector.collect();
        self.folded = folded;
        self.taken = folded;
        let parts = split(metrics, &proto_resource(&self.resource), max_bytes);
        // Goes with the next one.
        let took = started.elapsed();
        (self.totals).note(|state| state.note_collection(took, &reader()));
        self.note_backlog(parts.iter().map(|part| part.items).sum());
        (parts, folded)
    }

    /// All that failed is lost to this export; a later one of totals holds the counts anyway.
    fn ended(&mut self, delivery: &Delivery, took: Duration, _: bool) -> After {
        let lost = self.collector.ended(Some(delivery));
        if delivery.failure.is_none() || lost {
            self.settled = self.taken;
        }
        self.note_backlog(0);
        let failed = delivery.failed_by_kind();
        let ended = Ended {
            took,
            error: delivery.failure.as_ref().map(|failure| &*failure.kind),
            exported: delivery.exported,
            rejected: delivery.rejected,
            failed: &failed,
            lost,
        };
        (self.totals).note(|state| state.note_export(&ended, &self.component));
        After {
            failed,
            lost: if lost { delivery.failed() } else { 0 },
            ..After::default()
        }
    }

    fn stopped(&mut self) {
        // Nothing is lost with what was stopped: it is put back.
        self.collector.ended(None);
    }

    fn merged(&mut self, exports: u64) {
        (self.totals).note(|state| state.note_merged(exports, &self.component));
    }

    fn once_more(&mut self) {
        if !self.has_news() {
            self.taken -= 1;
        }
    }
}

/// Names what makes the requests in the metrics of that.
fn reader() -> Attributes {
    Attributes::new()
        .with("otel.component.type", "periodic_metric_reader")
        .with("otel.component.name", "periodic_metric_reader/0")
}

#[cfg(test)]
#[path = "exporter_tests.rs"]
mod tests;
