//! One capture, from the open output to the finished bundle.

use std::{
    path::Path,
    sync::{Arc, OnceLock},
    time::Duration,
};

use anyhow::Context as _;
use rustix::thread::CapabilitySet;
use tokio::sync::oneshot;

use super::{
    bounds,
    bundle::{WriteLimits, Written},
    evidence::{Evidence, Phase, Sampler},
    partial,
    progress::{Progress, Stage},
    recorder::Recorder,
    redact::Redactor,
    watcher::Watcher,
};
use crate::{
    aggregate::window::Window,
    config::Config,
    daemon::live_settings,
    governor::CpuShare,
    host::HostRoot,
    meter::Sample,
    pipeline::Pipeline,
    report::summary::Summary,
    signals::Signals,
    source::{Item, drain::Edges, live::Prepared},
};

/// A capture that was written.
#[derive(Debug)]
pub struct Captured {
    /// Where, and how large.
    pub written: Written,
    /// What was measured.
    pub summary: Summary,
    /// Why it ended before its window was over.
    pub early: Option<Early>,
}

/// Why a window ended early.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Early {
    /// Somebody asked for it.
    Signal,
    /// kctx took more memory than it may.
    Memory,
}

/// The two samples of evidence, once they are taken. Nobody is woken for them: at the window's edge that
/// would take the CPU from the drain just before it opens the gate.
#[derive(Clone, Default)]
pub(super) struct Samples {
    before: Arc<OnceLock<Evidence>>,
    after: Arc<OnceLock<Evidence>>,
}

impl Samples {
    pub(super) fn at_edges(&self, sampler: Sampler, progress: &Progress) -> Edges {
        let sampler = Arc::new(sampler);
        let sample = |phase: Phase, place: &Arc<OnceLock<Evidence>>| {
            let (sampler, place) = (Arc::clone(&sampler), Arc::clone(place));
            let progress = progress.clone();
            let (during, then) = match phase {
                Phase::Before => (Stage::EvidenceBefore, Stage::Window),
                Phase::After => (Stage::EvidenceAfter, Stage::Writing),
            };
            Box::new(move || {
                progress.enter(during);
                let _ = place.set(sampler.sample(phase));
                progress.enter(then);
            })
        };
        Edges {
            before_open: sample(Phase::Before, &self.before),
            after_close: sample(Phase::After, &self.after),
        }
    }

    /// Those that are taken.
    pub(super) fn taken(&self) -> impl Iterator<Item = &Evidence> {
        [&self.before, &self.after]
            .into_iter()
            .filter_map(|place| place.get())
    }
}

/// Measures for `window` and writes the bundle.
pub fn capture(config: &Config, window: Duration, output: &Path) -> anyhow::Result<Captured> {
    let mut signals = Signals::install().context("cannot catch signals")?;
    let limits = WriteLimits {
        max_bytes: config.capture.max_size,
    };
    let mut recorder = Recorder::create(output, limits)?;
    let left = recorder.partial().to_owned();
    if config.capture.redact {
        recorder = recorder.redacting(Redactor::default());
    }
    let root = HostRoot::system();
    let evidence_limits = config.capture.evidence.limits();

    let mut settings = live_settings(config, None, Some(window));
    // The bundle is renamed in the end, maybe in a folder that is not root's.
    settings.keep = CapabilitySet::DAC_OVERRIDE;
    // Its own limit: it is bounded by its window and its size, and is asked for in order to have the records.
    settings.cpu_limit = config.capture.max_cpu;
    // Each CPU: what is asked for is bounded.
    settings.sampling.busy = CpuShare::from_ppm(0);
    // Counting the programs' run time would be in the times that it measures.
    settings.sample = Sample::Never("not counted in a capture: the counting would be in its times");
    let sampler = Sampler::new(&root, &evidence_limits);
    // Attaching gives up privileges; and so kctx's own programs are not among the machine's.
    sampler.take_privileged();
    let (prepared, resolver, stream) = Prepared::attach(&settings)?;
    let (samples, progress) = (Samples::default(), Progress::default());
    let mut session = prepared.start(samples.at_edges(sampler, &progress))?;

    let mut pipeline = Pipeline::new(config.rows(), resolver);
    let (done, mut is_done) = oneshot::channel();
    let counted = progress.clone();
    let thread = std::thread::Builder::new()
        .name("kctx-pipeline".to_owned())
        .spawn(
            move || -> anyhow::Result<(Recorder, Pipeline, Option<Window>)> {
                let mut closed = None;
                for (i, item) in stream.into_iter().enumerate() {
                    // The first item is sent after the gate opened, hence after the sample.
                    if i == 0
                        && let Some(before) = samples.before.get()
                    {
                        recorder.evidence(before, &evidence_limits)?;
                    }
                    let item = recorder.redacted(item);
                    closed = pipeline.take(&item).or(closed);
                    recorder.item(&pipeline.take_learnt(), &item)?;
                    if let Item::Records { batch, .. } = &item {
                        let records = crate::decode::records(batch).count() as u64;
                        counted.count(records, recorder.bytes());
                    }
                }
                if let Some(after) = samples.after.get() {
                    recorder.evidence(after, &evidence_limits)?;
                }
                drop(done);
                Ok((recorder, pipeline, closed))
            },
        )?;

    let mut watcher = Watcher::new(progress, window, &config.capture);
    let ending = watcher.wait(&mut signals, &mut is_done);
    session.stop();
    // It goes on to show how far it is.
    watcher.wait_for_end(&mut signals, &mut is_done);
    let drained = session.wait();
    let taken = thread
        .join()
        .map_err(|_| anyhow::anyhow!("the pipeline thread panicked"))?;
    let (mut recorder, pipeline, window_closed) = partial::told(taken, &left)?;
    drained?;
    drop(session);

    let closed = window_closed.context("the stream ended without closing its window")?;
    let host = pipeline.aggregator().host().clone();
    let taint = host.taint;
    let summary = Summary::from_window(&closed, host, taint);
    let asked = bounds::Asked {
        window,
        before_ns: 0,
        of_daemon: false,
    };
    bounds::note(recorder.manifest_mut(), config, asked, &summary, &ending);
    let early = ending.early();
    let written = recorder.finish(&summary, early.is_some());
    let written = partial::told(written.map_err(Into::into), &left)?;
    Ok(Captured {
        written,
        summary,
        early,
    })
}
