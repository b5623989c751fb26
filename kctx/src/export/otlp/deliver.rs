//! One export to the endpoint: part by part, with retries, until a deadline.

use std::time::Duration;

use tokio::time::{Instant, sleep_until, timeout_at};

use super::client::{Accepted, Client, Failure, Prepared};
use super::request::Part;
use super::retry::{Backoff, Verdict};
use super::signal::Carried;

/// How long an export without a deadline is retried: the next one holds its counts, or takes its records along.
const UNLIMITED_RETRIES_FOR: Duration = Duration::from_secs(60);

/// What became of one export.
#[derive(Debug, Default)]
pub(super) struct Delivery {
    pub(super) retries: u64,
    pub(super) exported: u64,
    pub(super) rejected: u64,
    /// Requests that failed, in their order.
    pub(super) failed: Vec<FailedPart>,
    pub(super) remarks: Vec<String>,
    /// The first failure.
    pub(super) failure: Option<Failure>,
    pub(super) too_large: bool,
}

/// A request that failed.
#[derive(Clone, Debug)]
pub(super) struct FailedPart {
    /// Which one, from 0.
    pub(super) at: usize,
    pub(super) items: u64,
    /// Value of `error.type`.
    pub(super) kind: String,
    pub(super) verdict: Verdict,
}

impl Delivery {
    /// Whether nothing of it was taken, for a reason that may pass: all of it can be sent once more.
    pub(super) fn may_be_repeated(&self) -> bool {
        let passing = |failure: &Failure| matches!(failure.verdict, Verdict::Retry { .. });
        self.exported == 0 && self.rejected == 0 && self.failure.as_ref().is_some_and(passing)
    }

    /// Items in requests that failed.
    pub(super) fn failed(&self) -> u64 {
        self.failed.iter().map(|part| part.items).sum()
    }

    /// The same by why.
    pub(super) fn failed_by_kind(&self) -> Vec<(String, u64)> {
        let parts = self.failed.iter();
        parts.map(|part| (part.kind.clone(), part.items)).collect()
    }
}

/// Sends all parts, in order and one at a time.
pub(super) async fn deliver<S: Carried>(
    client: Client<S>,
    parts: Vec<Part<S::Request>>,
    limit: Option<Duration>,
) -> Delivery {
    let started = Instant::now();
    let deadline = limit.and_then(|limit| started.checked_add(limit));
    let mut delivery = Delivery::default();
    let mut closed: Option<Failure> = None;
    for (at, part) in parts.into_iter().enumerate() {
        let result = match &closed {
            // What could not be reached a moment ago, or is not there, is not tried again with the rest.
            Some(failure) => Err(failure.clone()),
            None => {
                let request = client.prepare(part.message);
                let sending = Sending {
                    client: &client,
                    request: &request,
                    started,
                    deadline,
                    limit,
                };
                sending.run(&mut delivery.retries).await
            }
        };
        match result {
            Ok(Accepted { rejected, remark }) => {
                let rejected = rejected.min(part.items);
                delivery.rejected += rejected;
                delivery.exported += part.items - rejected;
                if !remark.is_empty() {
                    delivery.remarks.push(remark);
                }
            }
            Err(failure) => {
                delivery.failed.push(FailedPart {
                    at,
                    items: part.items,
                    kind: failure.kind.to_string(),
                    verdict: failure.verdict,
                });
                delivery.too_large |= failure.verdict == Verdict::TooLarge;
                if matches!(failure.verdict, Verdict::Retry { .. } | Verdict::Unserved) {
                    closed = Some(failure.clone());
                }
                delivery.failure.get_or_insert(failure);
            }
        }
    }
    delivery
}

struct Sending<'a, S: Carried> {
    client: &'a Client<S>,
    request: &'a Prepared<S>,
    started: Instant,
    deadline: Option<Instant>,
    limit: Option<Duration>,
}

impl<S: Carried> Sending<'_, S> {
    async fn run(&self, retries: &mut u64) -> Result<Accepted, Failure> {
        let give_up = self
            .deadline
            .unwrap_or(self.started + UNLIMITED_RETRIES_FOR);
        let mut backoff = Backoff::new();
        let mut before: Option<Failure> = None;
        loop {
            let failure = match self.attempt().await {
                Some(Ok(accepted)) => return Ok(accepted),
                Some(Err(failure)) => failure,
                None => return Err(self.timed_out(before)),
            };
            let Verdict::Retry { after } = failure.verdict else {
                return Err(failure);
            };
            // An endpoint may ask for more time than there is, or than an Instant can hold.
            let wake = Instant::now().checked_add(backoff.next(after));
            let Some(wake) = wake.filter(|wake| *wake < give_up) else {
                return Err(failure);
            };
            before = Some(failure);
            *retries += 1;
            sleep_until(wake).await;
        }
    }

    /// `None` when the deadline came first, which cancels the request in flight.
    async fn attempt(&self) -> Option<Result<Accepted, Failure>> {
        let sending = self.client.send(self.request);
        match self.deadline {
            Some(deadline) => timeout_at(deadline, sending).await.ok(),
            None => Some(sending.await),
        }
    }

    fn timed_out(&self, before: Option<Failure>) -> Failure {
        let mut message = format!("no answer within {:?}", self.limit.unwrap_or_default());
        if let Some(before) = before {
            message = format!("{message}; before that: {}", before.message);
        }
        Failure {
            verdict: Verdict::Retry { after: None },
            kind: "timeout".into(),
            message,
        }
    }
}
