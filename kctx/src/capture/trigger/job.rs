//! The capture that a rule has taken, on a thread of its own: nothing waits for it.

use std::{
    thread::JoinHandle,
    time::{Duration, Instant},
};

use super::{Fired, Rule, store::BundleStore};
use crate::{
    aggregate::table::RowLimits,
    capture::{
        bundle::{WriteLimits, Written},
        evidence::{EvidenceLimits, Phase, Sampler},
        flight::{Assembly, END_PATIENCE, EndReason, Ending, FlightHandle, Piece, Subscription},
        partial,
        recorder::Recorder,
        redact::Redactor,
    },
    export::captures::BundleResult,
    host::{HostRoot, clock},
};

/// What a job needs of the daemon.
#[derive(Clone)]
pub(crate) struct JobSettings {
    pub(crate) flight: FlightHandle,
    pub(crate) store: BundleStore,
    pub(crate) limits: WriteLimits,
    pub(crate) rows: RowLimits,
    pub(crate) redact: bool,
    pub(crate) evidence: EvidenceLimits,
}

/// A capture at work.
pub(crate) struct Job {
    thread: Option<JoinHandle<BundleResult>>,
}

impl Job {
    /// Starts it.
    pub(crate) fn start(settings: JobSettings, rule: &Rule, fired: Fired) -> std::io::Result<Self> {
        let window = rule.window;
        eprintln!("kctx: trigger {}: {}; capturing", fired.rule, fired.saw);
        let thread = std::thread::Builder::new()
            .name("kctx-trigger".to_owned())
            .spawn(move || {
                let name = fired.rule.clone();
                match capture(&settings, window, fired) {
                    Ok(written) => {
                        let path = written.path.display();
                        let bytes = written.bytes;
                        eprintln!("kctx: trigger {name}: wrote {path} ({bytes} bytes)");
                        BundleResult::Written
                    }
                    Err(error) => {
                        eprintln!("kctx: trigger {name}: no bundle: {error:#}");
                        BundleResult::Failed
                    }
                }
            })?;
        Ok(Self {
            thread: Some(thread),
        })
    }

    /// Whether it has ended.
    pub(crate) fn is_finished(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Waits for its end: what became of it.
    pub(crate) fn wait(mut self) -> BundleResult {
        let ended = self.thread.take().map(JoinHandle::join);
        ended.and_then(Result::ok).unwrap_or(BundleResult::Failed)
    }
}

impl Drop for Job {
    /// The stream is over by then, and so is the dump: it writes what came.
    fn drop(&mut self) {
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn capture(settings: &JobSettings, window: Duration, fired: Fired) -> anyhow::Result<Written> {
    // First of all, while what it is about is there.
    let mut dump = settings.flight.subscribe(clock::monotonic_ns());
    let started = Instant::now();
    settings.store.make_room(settings.limits.max_bytes)?;
    let output = settings.store.path(&fired.rule, fired.time_unix_ns);
    let mut recorder = Recorder::create(&output, settings.limits)?;
    if settings.redact {
        recorder = recorder.redacting(Redactor::default());
    }
    recorder.manifest_mut().trigger = Some(fired);
    let left = recorder.partial().to_owned();
    let assembly = Assembly::new(recorder, settings.rows);
    let end = started + window;
    partial::told(take(settings, assembly, &mut dump, end), &left)
}

/// Takes the dump, which is asked to end at `end`, and the evidence around it.
fn take(
    settings: &JobSettings,
    mut assembly: Assembly,
    dump: &mut Subscription,
    end: Instant,
) -> anyhow::Result<Written> {
    let limits = settings.evidence;
    let sampler = Sampler::new(&HostRoot::system(), &limits);
    assembly.evidence(&sampler.sample(Phase::Before), &limits)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()?;
    let (mut deadline, mut asked) = (end, false);
    let ending = loop {
        // Not only when nothing comes: what comes may come faster than it is taken.
        if !asked && Instant::now() >= deadline {
            settings.flight.finish(dump.id, clock::monotonic_ns());
            (deadline, asked) = (Instant::now() + END_PATIENCE, true);
        }
        let next = async { tokio::time::timeout_at(deadline.into(), dump.next()).await };
        match runtime.block_on(next) {
            Ok(Some(Piece::Segment(segment))) => assembly.segment(&segment)?,
            Ok(Some(Piece::End(ending))) => break Some(ending),
            Ok(Some(Piece::GivenUp) | None) => break None,
            // What came is worth a bundle that says that it was interrupted.
            Err(_) if asked => break None,
            Err(_) => {}
        }
    };
    assembly.evidence(&sampler.sample(Phase::After), &limits)?;
    let asked = |ending: &Ending| ending.reason == EndReason::Asked;
    let interrupted = !ending.as_ref().is_some_and(asked);
    let (written, _) = assembly.finish(ending, interrupted, |_, _| ())?;
    Ok(written)
}
