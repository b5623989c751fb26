//! What an export's thread does: takes what its feed has, sends it, books what became of it.

use std::future::pending;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;
use tracing::{info, warn};

use super::client::Client;
use super::deliver::{Delivery, deliver};
use super::push::{Closing, Shared, ShutdownOutcome};
use super::request::Part;
use super::settings::Protocol;
use super::signal::{Carried, Signal};
use super::stats::Reporter;
use super::transport::Transport;
use crate::export::attributes::Attributes;
use crate::export::totals::lock;

/// Requests are not made smaller than this when an endpoint finds them too large.
const SMALLEST_REQUEST: usize = 256 << 10;

/// Where an export's requests come from, and where it is told what became of them. Lives on the export's thread.
pub(super) trait Feed: Send + 'static {
    type Signal: Carried;

    /// Takes in what was offered meanwhile. Returns how many windows were offered in all.
    fn offered(&mut self) -> u64;

    /// Whether there is anything that no export has taken yet.
    fn has_news(&self) -> bool;

    /// Everything that is to be sent, in requests of at most so many bytes, and how many windows are in it and in what
    /// was sent before.
    fn collect(&mut self, max_bytes: usize)
    -> (Vec<Part<<Self::Signal as Carried>::Request>>, u64);

    /// What was collected last was delivered, or not. `smaller`: the next requests are smaller than these.
    fn ended(&mut self, delivery: &Delivery, took: Duration, smaller: bool) -> After;

    /// The sending of what was collected last was given up: nobody knows how much of it arrived.
    fn stopped(&mut self);

    /// So many exports were due, or windows offered, while another export was under way.
    fn merged(&mut self, _exports: u64) {}

    /// There will be one last export: what failed last may go with it, where it does not anyway.
    fn once_more(&mut self) {}

    /// The export is over, and nothing is sent any more.
    fn leave(&mut self) {}
}

/// What the end of an export means.
#[derive(Debug, Default)]
pub(super) struct After {
    /// Items that are not sent again, by why.
    pub(super) failed: Vec<(String, u64)>,
    /// Of those, items whose counts no later export has.
    pub(super) lost: u64,
    /// The next export is not to start before so long.
    pub(super) pause: Option<Duration>,
    /// The endpoint does not take this signal, and that is no failure: what the user is told, once.
    pub(super) unserved: Option<String>,
}

/// Lives on the export's thread.
pub(super) struct Sender<F: Feed> {
    shared: Arc<Shared>,
    client: Client<F::Signal>,
    transport: Transport,
    interval: Duration,
    feed: F,
    reporter: Reporter,
    max_request_bytes: usize,
    /// Windows that were offered, and how many of them an export has taken.
    offered: u64,
    taken: u64,
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

impl<F: Feed> Sender<F> {
    pub(super) fn new(
        shared: Arc<Shared>,
        client: Client<F::Signal>,
        transport: Transport,
        interval: Duration,
        feed: F,
    ) -> Self {
        Self {
            shared,
            client,
            next_due: Instant::now() + interval,
            interval,
            max_request_bytes: transport.max_request_bytes,
            transport,
            feed,
            reporter: Reporter::default(),
            offered: 0,
            taken: 0,
            final_chance_used: false,
        }
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
            self.offered = self.feed.offered();
            let now = Instant::now();
            let paced = !self.interval.is_zero();
            let due = closing.is_some() || now >= self.next_due;
            if paced && due && closing.is_none() {
                self.next_due = now.max(self.next_due) + self.interval;
                if flight.is_some() {
                    self.merged(1);
                }
            }
            // One that fails at the end was the last: it would be tried for as long as there is time.
            let in_vain = self.final_chance_used && last_failure.is_some();
            if flight.is_none() && due && !in_vain {
                // What failed last gets one more chance when there is nothing newer.
                if closing.is_some() && !self.final_chance_used {
                    self.final_chance_used = true;
                    if last_failure.is_some() {
                        self.feed.once_more();
                    }
                }
                flight = self.take_off(closing);
            }
            // Where nothing waits, what comes next wakes it.
            let waits = self.feed.has_news() && (paced || now < self.next_due);
            let mut alarm = waits.then_some(self.next_due);
            if let Some(closing) = closing {
                let Some(current) = &flight else {
                    let outcome =
                        last_failure.map_or(ShutdownOutcome::Flushed, ShutdownOutcome::Failed);
                    return self.leave(None, outcome);
                };
                if now >= closing.deadline {
                    return self.leave(flight, ShutdownOutcome::TimedOut);
                }
                let lacks_last = self.feed.has_news();
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
                    flight = None;
                    match ended {
                        Some((delivery, covers, took)) => {
                            last_failure = self.landed(delivery, took);
                            self.settled(covers);
                        }
                        None => self.feed.stopped(),
                    }
                }
            }
        }
    }

    /// Starts an export of what the feed has, if that is anything new.
    fn take_off(&mut self, closing: Option<Closing>) -> Option<Flight> {
        if !self.feed.has_news() {
            self.taken = self.offered;
            self.settled(self.taken);
            return None;
        }
        let (parts, covers) = self.feed.collect(self.max_request_bytes);
        // With an interval windows come more often than exports; without one each is to be an export.
        let merged = if self.interval.is_zero() {
            covers.saturating_sub(self.taken + 1)
        } else {
            0
        };
        self.taken = covers;
        self.merged(merged);
        if parts.is_empty() {
            self.settled(covers);
            return None;
        }
        let rest =
            closing.map(|closing| closing.deadline.saturating_duration_since(Instant::now()));
        let limit = match (self.transport.timeout, rest) {
            (Some(timeout), Some(rest)) => Some(timeout.min(rest)),
            (timeout, rest) => timeout.or(rest),
        };
        Some(Flight {
            task: tokio::spawn(deliver(self.client.clone(), parts, limit)),
            covers,
            started: Instant::now(),
        })
    }

    fn merged(&mut self, exports: u64) {
        lock(&self.shared.progress).stats.collections_merged += exports;
        self.feed.merged(exports);
    }

    /// So many windows were part of an export that has ended, or had nothing to send.
    fn settled(&self, windows: u64) {
        lock(&self.shared.progress).settled = windows;
        self.shared.changed.notify_all();
    }

    /// Books a delivery and says what is new about it; returns why it failed, if it did.
    fn landed(&mut self, delivery: Delivery, took: Duration) -> Option<String> {
        let smaller = delivery.too_large && self.max_request_bytes > SMALLEST_REQUEST;
        if smaller {
            self.max_request_bytes = (self.max_request_bytes / 2).max(SMALLEST_REQUEST);
        }
        let after = self.feed.ended(&delivery, took, smaller);
        if let Some(pause) = after.pause {
            let earliest = Instant::now().checked_add(pause);
            self.next_due = earliest.map_or(self.next_due, |earliest| earliest.max(self.next_due));
        }
        let error = self.tell(&delivery, after.unserved);
        let stats = &mut lock(&self.shared.progress).stats;
        stats.retries += delivery.retries;
        stats.points_exported += delivery.exported;
        stats.points_rejected += delivery.rejected;
        stats.points_lost += after.lost;
        for (kind, items) in after.failed {
            *stats.points_failed.entry(kind).or_default() += items;
        }
        let failure = delivery.failure.map(|failure| failure.message);
        match &failure {
            None => stats.exports_ok += 1,
            Some(_) => stats.exports_failed += 1,
        }
        stats.last_error = failure;
        error
    }

    /// Says what is new about a delivery. Returns why it failed, if it did and that is a failure.
    fn tell(&mut self, delivery: &Delivery, unserved: Option<String>) -> Option<String> {
        let what = <F::Signal as Carried>::SIGNAL.as_str();
        let endpoint = &self.transport.endpoint;
        for remark in &delivery.remarks {
            if self.reporter.remarked(remark) {
                warn!("OTLP export of {what} to {endpoint}: {remark}");
            }
        }
        let Some(failure) = &delivery.failure else {
            if self.reporter.recovered() {
                info!("OTLP export of {what} to {endpoint} works again");
            }
            return None;
        };
        let is_new = self.reporter.failed(&failure.kind);
        let message = &failure.message;
        match unserved {
            Some(consequence) => {
                if is_new {
                    warn!("OTLP export of {what} to {endpoint}: {message}; {consequence}");
                }
                None
            }
            None => {
                if is_new {
                    warn!("OTLP export of {what} to {endpoint} failed: {message}");
                }
                Some(message.clone())
            }
        }
    }

    fn leave(mut self, flight: Option<Flight>, outcome: ShutdownOutcome) {
        if let Some(flight) = flight {
            flight.task.abort();
            self.feed.stopped();
        }
        self.feed.leave();
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

/// Names an exporter in its own metrics (semantic conventions, "OpenTelemetry SDK metrics").
pub(in crate::export) fn component(signal: Signal, transport: &Transport) -> Attributes {
    let (kind, name) = match (signal, transport.protocol) {
        (Signal::Metrics, Protocol::HttpProtobuf) => {
            ("otlp_http_metric_exporter", "otlp_http_metric_exporter/0")
        }
        (Signal::Metrics, Protocol::Grpc) => {
            ("otlp_grpc_metric_exporter", "otlp_grpc_metric_exporter/0")
        }
        (Signal::Logs, Protocol::HttpProtobuf) => {
            ("otlp_http_log_exporter", "otlp_http_log_exporter/0")
        }
        (Signal::Logs, Protocol::Grpc) => ("otlp_grpc_log_exporter", "otlp_grpc_log_exporter/0"),
    };
    let endpoint = &transport.endpoint;
    let https = endpoint.scheme_str() == Some("https");
    let port = endpoint.port_u16().unwrap_or(if https { 443 } else { 80 });
    let host = endpoint.host().unwrap_or_default().to_owned();
    Attributes::new()
        .with("otel.component.type", kind)
        .with("otel.component.name", name)
        .with("server.address", &host)
        .with("server.port", u32::from(port))
}
