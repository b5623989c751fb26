//! One capture, from the open output to the finished bundle.

use std::{
    path::Path,
    sync::{Arc, OnceLock, mpsc},
    time::Duration,
};

use anyhow::Context as _;
use rustix::thread::CapabilitySet;
use tokio::sync::oneshot;

use super::{
    bundle::{WriteLimits, Written},
    evidence::{Evidence, EvidenceLimits, Phase, Sampler},
    recorder::Recorder,
};
use crate::{
    aggregate::window::Window,
    config::Config,
    daemon::{CHANNEL_ITEMS, live_settings},
    governor::CpuShare,
    host::HostRoot,
    meter::Sample,
    pipeline::Pipeline,
    report::summary::Summary,
    signals::{Ended, Signals},
    source::{drain::Edges, live::Prepared},
};

/// A capture that was written.
#[derive(Debug)]
pub struct Captured {
    /// Where, and how large.
    pub written: Written,
    /// What was measured.
    pub summary: Summary,
    /// A signal ended it before its window was over.
    pub interrupted: bool,
}

/// The two samples of evidence, once they are taken. Nobody is woken for them: at the window's edge that
/// would take the CPU from the drain just before it opens the gate.
#[derive(Clone, Default)]
struct Samples {
    before: Arc<OnceLock<Evidence>>,
    after: Arc<OnceLock<Evidence>>,
}

impl Samples {
    fn at_edges(&self, sampler: Sampler) -> Edges {
        let sampler = Arc::new(sampler);
        let sample = |phase: Phase, place: &Arc<OnceLock<Evidence>>| {
            let (sampler, place) = (Arc::clone(&sampler), Arc::clone(place));
            Box::new(move || {
                let _ = place.set(sampler.sample(phase));
            })
        };
        Edges {
            before_open: sample(Phase::Before, &self.before),
            after_close: sample(Phase::After, &self.after),
        }
    }
}

/// Measures for `window` and writes the bundle.
pub fn capture(config: &Config, window: Duration, output: &Path) -> anyhow::Result<Captured> {
    let mut signals = Signals::install().context("cannot catch signals")?;
    let limits = WriteLimits {
        max_bytes: config.capture.max_size,
    };
    let mut recorder = Recorder::create(output, limits)?;
    let root = HostRoot::system();
    let evidence_limits = EvidenceLimits::default();

    let mut settings = live_settings(config, None, Some(window));
    // The bundle is renamed in the end, maybe in a folder that is not root's.
    settings.keep = CapabilitySet::DAC_OVERRIDE;
    // A capture is bounded by its window and its size, and is asked for in order to have the records.
    settings.cpu_limit = CpuShare::from_ppm(0);
    // Counting the programs' run time would be in the times that it measures.
    settings.sample = Sample::Never("not counted in a capture: the counting would be in its times");
    let (to_pipeline, stream) = mpsc::sync_channel(CHANNEL_ITEMS);
    let sampler = Sampler::new(&root, &evidence_limits);
    // Attaching gives up privileges; and so kctx's own programs are not among the machine's.
    sampler.take_privileged();
    let (prepared, resolver) = Prepared::attach(&settings, to_pipeline)?;
    let samples = Samples::default();
    let mut session = prepared.start(samples.at_edges(sampler))?;

    let mut pipeline = Pipeline::new(config.rows(), resolver);
    let (done, mut is_done) = oneshot::channel();
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
                    closed = pipeline.take(&item).or(closed);
                    recorder.item(&pipeline.take_learnt(), &item)?;
                }
                if let Some(after) = samples.after.get() {
                    recorder.evidence(after, &evidence_limits)?;
                }
                drop(done);
                Ok((recorder, pipeline, closed))
            },
        )?;

    let interrupted = signals.wait(&mut is_done) == Ended::Signal;
    session.stop();
    let drained = session.wait();
    let (recorder, pipeline, window) = thread
        .join()
        .map_err(|_| anyhow::anyhow!("the pipeline thread panicked"))??;
    drained?;
    drop(session);

    let window = window.context("the stream ended without closing its window")?;
    let host = pipeline.aggregator().host().clone();
    let taint = host.taint;
    let summary = Summary::from_window(&window, host, taint);
    let written = recorder.finish(&summary, interrupted)?;
    Ok(Captured {
        written,
        summary,
        interrupted,
    })
}
