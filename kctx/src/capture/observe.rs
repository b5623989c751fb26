//! A bounded window with evidence of its edges, of which nothing is kept but what it was: for a diagnosis.

use std::time::Duration;

use anyhow::Context as _;
use tokio::sync::oneshot;

use super::{evidence::Sampler, evidence_set::EvidenceSet, progress::Progress, session::Samples};
use crate::{
    aggregate::window::Window,
    config::Config,
    daemon::live_settings,
    governor::CpuShare,
    host::HostRoot,
    meter::Sample,
    pipeline::Pipeline,
    report::summary::Summary,
    signals::{Ended, Signals},
    source::live::Prepared,
};

/// What was seen.
#[derive(Debug)]
pub struct Observed {
    /// What was measured.
    pub summary: Summary,
    /// Both samples.
    pub evidence: EvidenceSet,
    /// A signal ended it before its window was over.
    pub interrupted: bool,
}

/// Measures for `window`.
pub fn observe(config: &Config, window: Duration) -> anyhow::Result<Observed> {
    let mut signals = Signals::install().context("cannot catch signals")?;
    let root = HostRoot::system();
    let mut settings = live_settings(config, None, Some(window));
    // As of a capture: it is bounded, and asked for.
    settings.cpu_limit = CpuShare::from_ppm(0);
    // Each CPU: what is asked for is bounded.
    settings.sampling.busy = CpuShare::from_ppm(0);
    settings.sample =
        Sample::Never("not counted in a diagnosis: the counting would be in its times");
    let sampler = Sampler::new(&root, &config.capture.evidence.limits());
    // Attaching gives up privileges; and so kctx's own programs are not among the machine's.
    sampler.take_privileged();
    let (prepared, resolver, stream) = Prepared::attach(&settings)?;
    let samples = Samples::default();
    let mut session = prepared.start(samples.at_edges(sampler, &Progress::default()))?;

    let mut pipeline = Pipeline::new(config.rows(), resolver);
    let (done, mut is_done) = oneshot::channel();
    let thread = std::thread::Builder::new()
        .name("kctx-pipeline".to_owned())
        .spawn(move || -> (Pipeline, Option<Window>) {
            let mut closed = None;
            for item in stream {
                closed = pipeline.take(&item).or(closed);
                // Nobody records here.
                drop(pipeline.take_learnt());
            }
            drop(done);
            (pipeline, closed)
        })
        .context("cannot start the pipeline thread")?;
    let interrupted = signals.wait(&mut is_done) == Ended::Signal;
    session.stop();
    let drained = session.wait();
    let joined = thread.join();
    let (pipeline, window) = joined.map_err(|_| anyhow::anyhow!("the pipeline thread panicked"))?;
    drained?;
    drop(session);

    let window = window.context("the stream ended without closing its window")?;
    let host = pipeline.aggregator().host().clone();
    let taint = host.taint;
    let mut evidence = EvidenceSet::default();
    for sample in samples.taken() {
        evidence.add(sample);
    }
    Ok(Observed {
        summary: Summary::from_window(&window, host, taint),
        evidence,
        interrupted,
    })
}
