//! The export's thread: folds every window, sends what is newest.
//!
//! Nothing waits for the endpoint. Windows are deltas, so each is folded into the cumulative state also
//! while a request is under way; what "waits" behind that request is the state itself, which a later
//! window brings up to date. An endpoint that hangs thus costs resolution in time, never a count, and
//! memory is bounded by the series.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tracing::{info, warn};

use super::attributes::Attributes;
use super::client::{Client, TlsError};
use super::cumulative::Cumulative;
use super::deliver::{Delivery, deliver};
use super::request::{Part, metrics, split};
use super::resource::Resource;
use super::settings::{OtlpSettings, Protocol};
use super::stats::{ExporterStats, Reporter};
use crate::aggregate::window::Window;

/// Windows that may wait for the export's thread; at more, whoever offers one folds them. Each can be
/// megabytes, and a replay closes them as fast as it reads.
const MAX_QUEUED: usize = 8;

/// Requests are not made smaller than this when an endpoint finds them too large.
const SMALLEST_REQUEST: usize = 256 << 10;

/// Why an exporter cannot start.
#[derive(Debug, thiserror::Error)]
#[error("OTLP export to {endpoint} cannot start: {reason}")]
pub struct StartError {
    endpoint: String,
    reason: StartReason,
}

#[derive(Debug, thiserror::Error)]
enum StartReason {
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// How the export ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ShutdownOutcome {
    /// All that was offered is with the endpoint.
    Flushed,
    /// The last export failed, for this reason.
    Failed(String),
    /// Time was up before the last export was answered.
    TimedOut,
    /// It was told to leave at once.
    Aborted,
}

/// Pushes windows to an OTLP endpoint from a thread of its own.
#[derive(Debug)]
pub struct OtlpExporter {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    queue: Mutex<VecDeque<Arc<Window>>>,
    /// Locked before `queue` by whoever folds, so that windows are folded in their order.
    state: Mutex<State>,
    wake: Notify,
    progress: Mutex<Progress>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    cumulative: Cumulative,
    /// Windows folded so far.
    folded: u64,
}

#[derive(Debug, Default)]
struct Progress {
    stats: ExporterStats,
    /// Windows offered, and how many of them an export that has ended contained.
    offered: u64,
    settled: u64,
    closing: Option<Closing>,
    aborted: bool,
    outcome: Option<ShutdownOutcome>,
}

#[derive(Clone, Copy, Debug)]
struct Closing {
    /// When an export that lacks the last windows makes way for one that has them.
    make_way: Instant,
    deadline: Instant,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // No invariant spans a panic: each holder leaves counts that are true by themselves.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl OtlpExporter {
    /// Starts the export. Certificates and keys are read now.
    ///
    /// # Errors
    /// When they cannot be used, or the thread cannot start.
    pub fn spawn(settings: OtlpSettings, resource: Resource) -> Result<Self, StartError> {
        let endpoint = settings.endpoint.to_string();
        let start = || -> Result<Self, StartReason> {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            let client = {
                let _inside = runtime.enter();
                Client::new(&settings)?
            };
            let shared = Arc::new(Shared {
                queue: Mutex::default(),
                state: Mutex::new(State {
                    cumulative: Cumulative::new(settings.limits),
                    folded: 0,
                }),
                wake: Notify::new(),
                progress: Mutex::default(),
                changed: Condvar::new(),
            });
            let sender = Sender {
                shared: Arc::clone(&shared),
                client,
                component: component(&settings),
                max_request_bytes: settings.max_request_bytes,
                settings,
                resource,
                reporter: Reporter::default(),
                folded: 0,
                taken: 0,
                final_chance_used: false,
            };
            std::thread::Builder::new()
                .name("kctx-otlp".to_owned())
                .spawn(move || {
                    runtime.block_on(sender.run());
                    // A name lookup that hangs sits in a blocking task: do not wait for it.
                    runtime.shutdown_background();
                })?;
            Ok(Self { shared })
        };
        start().map_err(|reason| StartError { endpoint, reason })
    }

    /// Hands over a closed window. Never waits for the endpoint; after [`Self::shutdown`] it is ignored.
    pub fn offer(&self, window: Arc<Window>) {
        {
            let mut progress = lock(&self.shared.progress);
            if progress.closing.is_some() || progress.aborted {
                return;
            }
            progress.offered += 1;
        }
        let queued = {
            let mut queue = lock(&self.shared.queue);
            queue.push_back(window);
            queue.len()
        };
        if queued > MAX_QUEUED {
            self.shared.fold_queued();
        }
        self.shared.wake.notify_one();
    }

    /// Waits until every window offered so far was part of an export that has ended, well or not; false
    /// when time was up first. For a replay, which would otherwise merge its windows.
    #[must_use]
    pub fn settle(&self, limit: Duration) -> bool {
        let progress = lock(&self.shared.progress);
        let goal = progress.offered;
        let (progress, _) = self
            .shared
            .changed
            .wait_timeout_while(progress, limit, |p| p.settled < goal && p.outcome.is_none())
            .unwrap_or_else(PoisonError::into_inner);
        progress.settled >= goal
    }

    /// Sends what is not with the endpoint yet, and ends. Returns within about `limit`; a second call, or
    /// [`Self::abort`] from another thread, makes both return at once.
    pub fn shutdown(&self, limit: Duration) -> ShutdownOutcome {
        let mut progress = lock(&self.shared.progress);
        if progress.closing.is_some() {
            drop(progress);
            self.abort();
            progress = lock(&self.shared.progress);
        } else {
            let now = Instant::now();
            progress.closing = Some(Closing {
                make_way: now + limit / 2,
                deadline: now + limit,
            });
        }
        self.shared.wake.notify_one();
        // The thread keeps the limit itself; the grace is for one that got no CPU.
        let grace = limit.saturating_add(Duration::from_millis(500));
        let (progress, _) = self
            .shared
            .changed
            .wait_timeout_while(progress, grace, |p| p.outcome.is_none() && !p.aborted)
            .unwrap_or_else(PoisonError::into_inner);
        match &progress.outcome {
            Some(outcome) => outcome.clone(),
            None if progress.aborted => ShutdownOutcome::Aborted,
            None => ShutdownOutcome::TimedOut,
        }
    }

    /// Ends without sending anything more. Does not wait.
    pub fn abort(&self) {
        lock(&self.shared.progress).aborted = true;
        self.shared.changed.notify_all();
        self.shared.wake.notify_one();
    }

    /// What was done so far.
    #[must_use]
    pub fn stats(&self) -> ExporterStats {
        lock(&self.shared.progress).stats.clone()
    }
}

impl Drop for OtlpExporter {
    fn drop(&mut self) {
        self.abort();
    }
}

impl Shared {
    /// Folds what is queued, and returns how many windows are folded in all.
    fn fold_queued(&self) -> u64 {
        let mut state = lock(&self.state);
        loop {
            // A statement of its own, so that the queue is not locked while folding.
            let next = lock(&self.queue).pop_front();
            let Some(window) = next else {
                break;
            };
            state.cumulative.fold(&window);
            state.folded += 1;
        }
        lock(&self.progress).stats.clock_steps = state.cumulative.clock_steps();
        state.folded
    }

    fn finish(&self, outcome: ShutdownOutcome) {
        lock(&self.progress).outcome = Some(outcome);
        self.changed.notify_all();
    }
}

/// Lives on the export's thread.
struct Sender {
    shared: Arc<Shared>,
    client: Client,
    settings: OtlpSettings,
    resource: Resource,
    component: Attributes,
    reporter: Reporter,
    max_request_bytes: usize,
    /// Windows that are in the state, and how many of them an export has taken.
    folded: u64,
    taken: u64,
    final_chance_used: bool,
}

struct Flight {
    task: JoinHandle<Delivery>,
    /// Windows that this export contains.
    covers: u64,
}

impl Sender {
    async fn run(mut self) {
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
            if flight.is_none() {
                // What failed last gets one more chance when there is nothing newer.
                if closing.is_some() && !self.final_chance_used {
                    self.final_chance_used = true;
                    if last_failure.is_some() && self.taken == self.folded {
                        self.taken -= 1;
                    }
                }
                flight = self.take_off(closing);
            }
            let now = Instant::now();
            let mut alarm = None;
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
                    if let Some((delivery, covers)) = ended {
                        last_failure = self.landed(delivery);
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
        let merged = self.folded - self.taken - 1;
        self.taken = self.folded;
        let stats = {
            let mut progress = lock(&self.shared.progress);
            progress.stats.collections_merged += merged;
            progress.stats.clone()
        };
        let parts = self.parts(&stats);
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
        Some(Flight {
            task: tokio::spawn(deliver(self.client.clone(), parts, limit)),
            covers: self.taken,
        })
    }

    fn parts(&self, stats: &ExporterStats) -> Vec<Part> {
        let mut state = lock(&self.shared.state);
        state.cumulative.set_export_stats(stats, &self.component);
        let metrics = metrics(&state.cumulative, self.settings.histogram);
        drop(state);
        split(metrics, &self.resource.to_proto(), self.max_request_bytes)
    }

    /// Books a delivery and says what is new about it; returns why it failed, if it did.
    fn landed(&mut self, delivery: Delivery) -> Option<String> {
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
async fn landing(flight: &mut Option<Flight>) -> Option<(Delivery, u64)> {
    match flight {
        Some(flight) => {
            let covers = flight.covers;
            (&mut flight.task)
                .await
                .ok()
                .map(|delivery| (delivery, covers))
        }
        None => std::future::pending().await,
    }
}

async fn sleep_until(alarm: Option<Instant>) {
    match alarm {
        Some(alarm) => tokio::time::sleep_until(alarm.into()).await,
        None => std::future::pending().await,
    }
}

/// Names this exporter in its own metrics (semantic conventions, "OpenTelemetry SDK metrics").
fn component(settings: &OtlpSettings) -> Attributes {
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

#[cfg(test)]
#[path = "exporter_tests.rs"]
mod tests;
