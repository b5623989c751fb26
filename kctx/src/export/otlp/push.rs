//! An export's thread, and what others see of it: how far it got, and how it is ended.

use std::io;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::client::{Client, TlsError};
use super::sender::{Feed, Sender};
use super::stats::ExporterStats;
use super::transport::Transport;
use crate::export::totals::lock;

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

/// Pushes what a feed has to an OTLP endpoint, from a thread of its own.
#[derive(Debug)]
pub(super) struct Push {
    shared: Arc<Shared>,
}

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) wake: Notify,
    pub(super) progress: Mutex<Progress>,
    pub(super) changed: Condvar,
}

#[derive(Debug, Default)]
pub(super) struct Progress {
    pub(super) stats: ExporterStats,
    /// Windows offered, and how many of them an export that has ended contained.
    offered: u64,
    pub(super) settled: u64,
    pub(super) closing: Option<Closing>,
    pub(super) aborted: bool,
    outcome: Option<ShutdownOutcome>,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Closing {
    /// When an export that lacks the last windows makes way for one that has them.
    pub(super) make_way: Instant,
    pub(super) deadline: Instant,
}

impl Push {
    /// Starts the export of what `feed` has, every `interval`. Certificates and keys are read now.
    ///
    /// # Errors
    /// When they cannot be used, or the thread cannot start.
    pub(super) fn spawn<F: Feed>(
        transport: Transport,
        interval: Duration,
        feed: F,
    ) -> Result<Self, StartError> {
        let endpoint = transport.endpoint.to_string();
        let start = || -> Result<Self, StartReason> {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            let shared = Arc::new(Shared {
                wake: Notify::new(),
                progress: Mutex::default(),
                changed: Condvar::new(),
            });
            let client = {
                let _inside = runtime.enter();
                Client::new(&transport)?
            };
            let sender = Sender::new(Arc::clone(&shared), client, transport, interval, feed);
            // All signals' threads have one name: what they use is told together.
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

    /// Says that one more window was offered.
    pub(super) fn announce(&self) {
        {
            let mut progress = lock(&self.shared.progress);
            if progress.closing.is_some() || progress.aborted {
                return;
            }
            progress.offered += 1;
        }
        self.shared.wake.notify_one();
    }

    /// Waits until every window offered so far was part of an export that has ended, well or not; false
    /// when time was up first.
    pub(super) fn settle(&self, limit: Duration) -> bool {
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
    pub(super) fn shutdown(&self, limit: Duration) -> ShutdownOutcome {
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
    pub(super) fn abort(&self) {
        lock(&self.shared.progress).aborted = true;
        self.shared.changed.notify_all();
        self.shared.wake.notify_one();
    }

    /// What was done so far.
    pub(super) fn stats(&self) -> ExporterStats {
        lock(&self.shared.progress).stats.clone()
    }
}

impl Drop for Push {
    fn drop(&mut self) {
        self.abort();
    }
}

impl Shared {
    pub(super) fn finish(&self, outcome: ShutdownOutcome) {
        lock(&self.progress).outcome = Some(outcome);
        self.changed.notify_all();
    }
}
