//! What the export's thread does: takes the state as of the last window, sends it, books what became of it.

use std::future::pending;
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;
use tracing::{info, warn};

use super::client::{Client, TlsError};
use super::collect::Collector;
use super::deliver::{Delivery, deliver};
use super::exporter::{Closing, Shared, ShutdownOutcome};
use super::request::{Part, proto_resource, split};
use super::settings::{OtlpSettings, Protocol};
use super::stats::Reporter;
use crate::export::attributes::Attributes;
use crate::export::health::{Backlog, Ended};
use crate::export::resource::Resource;
use crate::export::totals::lock;
use std::sync::Arc;

/// Requests are not made smaller than this when an endpoint finds them too large.
const SMALLEST_REQUEST: usize = 256 << 10;

/// Lives on the export's thread.
pub(super) struct Sender {
    shared: Arc<Shared>,
    client: Client,
    settings: OtlpSettings,
    collector: Collector,
    resource: Resource,
    component: Attributes,
    reporter: Reporter,
    max_request_bytes: usize,
    /// Windows that are in the state, and how many of them an export has taken.
    folded: u64,
    taken: u64,
    /// Of those, how many the endpoint has or will never have.
    settled: u64,
    final_chance_used: bool,
    /// When the next export is to start. One that cannot, because another is under way, is merged with it.
    next_due: Instant,
}

struct Flight {
    task: JoinHandle<Delivery>,
    /// Windows that this export contains.
    covers: u64,
    started: Instant,
}

impl Sender {
    /// Must be called inside a runtime.
    pub(super) fn new(
        shared: Arc<Shared>,
        settings: OtlpSettings,
        resource: Resource,
    ) -> Result<Self, TlsError> {
        Ok(Self {
            collector: Collector::new(Arc::clone(&shared.totals), &settings),
            shared,
            client: Client::new(&settings)?,
            component: component(&settings),
            next_due: Instant::now() + settings.interval,
            max_request_bytes: settings.max_request_bytes,
            settings,
            resource,
            reporter: Reporter::default(),
            folded: 0,
            taken: 0,
            settled: 0,
            final_chance_used: false,
        })
    }

    pub(super) async fn run(mut self) {
        let mut flight: Option<Flight> = None;
        let mut last_failure = None;
        loop {
            let (closing, aborted) = {
                let progress = lock(&self.shared.progress);
                (progress.closing, progress.aborted)
            };
            if aborted {
                return self.leave(flight, ShutdownOutcome::Aborted);
            }
            self.folded = self.shared.fold_queued();
            let now = Instant::now();
            let paced = !self.settings.interval.is_zero();
            let due = closing.is_some() || now >= self.next_due;
            if paced && due && closing.is_none() {
                self.next_due = now.max(self.next_due) + self.settings.interval;
                if flight.is_some() {
                    self.note_merged(1);
                }
            }
            if flight.is_none() && due {
                // What failed last gets one more chance when there is nothing newer.
                if closing.is_some() && !self.final_chance_used {
                    self.final_chance_used = true;
                    if last_failure.is_some() && self.taken == self.folded {
                        self.taken -= 1;
                    }
                }
                flight = self.take_off(closing);
            }
            let mut alarm = paced.then_some(self.next_due);
            if let Some(closing) = closing {
                let Some(current) = &flight else {
                    let outcome =
                        last_failure.map_or(ShutdownOutcome::Flushed, ShutdownOutcome::Failed);
                    return self.leave(None, outcome);
                };
                if now >= closing.deadline {
                    return self.leave(flight, ShutdownOutcome::TimedOut);
                }
                let lacks_last = current.covers < self.folded;
                if lacks_last && now >= closing.make_way {
                    current.task.abort();
                }
                alarm = Some(if lacks_last && now < closing.make_way {
                    closing.make_way
                } else {
                    closing.deadline
                });
            }
            tokio::select! {
                () = self.shared.wake.notified() => {}
                () = sleep_until(alarm) => {}
                ended = landing(&mut flight) => {
                    let delivery = ended.as_ref().map(|(delivery, ..)| delivery);
                    let lost = self.collector.ended(delivery);
                    if let Some((delivery, covers, took)) = ended {
                        if delivery.failure.is_none() || lost {
                            self.settled = covers;
                        }
                        self.note_backlog(0);
                        self.note_export(took, &delivery, lost);
                        last_failure = self.landed(delivery, lost);
                        lock(&self.shared.progress).settled = covers;
                        self.shared.changed.notify_all();
                    }
                    flight = None;
                }
            }
        }
    }

    /// Starts an export of the state, if it has anything new.
    fn take_off(&mut self, closing: Option<Closing>) -> Option<Flight> {
        if self.folded == self.taken {
            return None;
        }
        let before = self.taken;
        let parts = self.parts();
        // With an interval windows come more often than exports; without one each is to be an export.
        let merged = if self.settings.interval.is_zero() {
            self.taken - before - 1
        } else {
            0
        };
        self.note_merged(merged);
        if parts.is_empty() {
            lock(&self.shared.progress).settled = self.taken;
            self.shared.changed.notify_all();
            return None;
        }
        let rest =
            closing.map(|closing| closing.deadline.saturating_duration_since(Instant::now()));
        let limit = match (self.settings.timeout, rest) {
            (Some(timeout), Some(rest)) => Some(timeout.min(rest)),
            (timeout, rest) => timeout.or(rest),
        };
        self.note_backlog(parts.iter().map(|part| part.points).sum());
        Some(Flight {
            task: tokio::spawn(deliver(self.client.clone(), parts, limit)),
            covers: self.taken,
            started: Instant::now(),
        })
    }

    /// The state of now, with every window that was offered so far.
    fn parts(&mut self) -> Vec<Part> {
        let started = Instant::now();
        self.note_backlog(0);
        let (metrics, folded) = self.collector.collect();
        self.folded = folded;
        self.taken = folded;
        let parts = split(
            metrics,
            &proto_resource(&self.resource),
            self.max_request_bytes,
        );
        // Goes with the next one.
        let took = started.elapsed();
        (self.shared.totals).note(|state| state.note_collection(took, &reader()));
        parts
    }

    fn note_export(&self, took: Duration, delivery: &Delivery, lost: bool) {
        let failure = delivery.failure.as_ref();
        let ended = Ended {
            took,
            error: failure.map(|failure| &*failure.kind),
            exported: delivery.exported,
            rejected: delivery.rejected,
            failed: &delivery.failed,
            lost,
        };
        (self.shared.totals).note(|state| state.note_export(&ended, &self.component));
    }

    fn note_backlog(&self, inflight: u64) {
        let backlog = Backlog {
            windows: self.folded - self.settled,
            inflight,
        };
        (self.shared.totals).note(|state| state.note_backlog(backlog, &self.component));
    }

    fn note_merged(&self, exports: u64) {
        lock(&self.shared.progress).stats.collections_merged += exports;
        (self.shared.totals).note(|state| state.note_merged(exports, &self.component));
    }

    /// Books a delivery and says what is new about it; returns why it failed, if it did.
    fn landed(&mut self, delivery: Delivery, lost: bool) -> Option<String> {
        let endpoint = &self.settings.endpoint;
        for remark in &delivery.remarks {
            if self.reporter.remarked(remark) {
                warn!("OTLP export to {endpoint}: {remark}");
            }
        }
        if delivery.too_large {
            self.max_request_bytes = (self.max_request_bytes / 2).max(SMALLEST_REQUEST);
        }
        let error = delivery.failure.map(|failure| {
            if self.reporter.failed(&failure.kind) {
                warn!("OTLP export to {endpoint} failed: {}", failure.message);
            }
            failure.message
        });
        if error.is_none() && self.reporter.recovered() {
            info!("OTLP export to {endpoint} works again");
        }
        let stats = &mut lock(&self.shared.progress).stats;
        stats.retries += delivery.retries;
        stats.points_exported += delivery.exported;
        stats.points_rejected += delivery.rejected;
        if lost {
            stats.points_lost += delivery
                .failed
                .iter()
                .map(|(_, points)| points)
                .sum::<u64>();
        }
        for (kind, points) in delivery.failed {
            *stats.points_failed.entry(kind).or_default() += points;
        }
        match &error {
            None => stats.exports_ok += 1,
            Some(_) => stats.exports_failed += 1,
        }
        stats.last_error.clone_from(&error);
        error
    }

    fn leave(&self, flight: Option<Flight>, outcome: ShutdownOutcome) {
        if let Some(flight) = flight {
            flight.task.abort();
        }
        self.shared.finish(outcome);
    }
}

/// The end of the export under way: `None` when it was stopped. Pending when there is none.
async fn landing(flight: &mut Option<Flight>) -> Option<(Delivery, u64, Duration)> {
    match flight {
        Some(flight) => {
            let (covers, started) = (flight.covers, flight.started);
            (&mut flight.task)
                .await
                .ok()
                .map(|delivery| (delivery, covers, started.elapsed()))
        }
        None => pending().await,
    }
}

async fn sleep_until(alarm: Option<Instant>) {
    match alarm {
        Some(alarm) => tokio::time::sleep_until(alarm.into()).await,
        None => pending().await,
    }
}

/// Names what makes the requests in the metrics of that.
fn reader() -> Attributes {
    Attributes::new()
        .with("otel.component.type", "periodic_metric_reader")
        .with("otel.component.name", "periodic_metric_reader/0")
}

/// Names this exporter in its own metrics (semantic conventions, "OpenTelemetry SDK metrics").
pub(in crate::export) fn component(settings: &OtlpSettings) -> Attributes {
    let (kind, name) = match settings.protocol {
        Protocol::HttpProtobuf => ("otlp_http_metric_exporter", "otlp_http_metric_exporter/0"),
        Protocol::Grpc => ("otlp_grpc_metric_exporter", "otlp_grpc_metric_exporter/0"),
    };
    let https = settings.endpoint.scheme_str() == Some("https");
    let port = settings
        .endpoint
        .port_u16()
        .unwrap_or(if https { 443 } else { 80 });
    let host = settings.endpoint.host().unwrap_or_default().to_owned();
    Attributes::new()
        .with("otel.component.type", kind)
        .with("otel.component.name", name)
        .with("server.address", &host)
        .with("server.port", u32::from(port))
}
