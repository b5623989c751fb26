//! Wires the stages, and owns the shutdown.

use std::{ops::ControlFlow, sync::Arc, time::Duration};

use anyhow::Context as _;
use tokio::sync::oneshot;

use crate::{
    aggregate::window::Window,
    config::{Config, ConfigError},
    pipeline::Pipeline,
    signals::{Ended, Signals},
    source::Item,
};

mod findings;
mod recording;
#[cfg(kctx_live)]
mod reload;
mod sinks;
#[cfg(kctx_live)]
mod triggers;
mod windows;

pub(crate) use recording::Recording;
use sinks::Pace;
pub use sinks::{Sinks, Wishes};
use windows::Windows;

/// Reads a configuration again, as it was read at the start.
pub type ReadAgain<'a> = &'a mut dyn FnMut() -> Result<Config, ConfigError>;

/// How long an orderly end may take after a signal.
pub(crate) const PATIENCE: Duration = Duration::from_secs(15);

/// What the configuration means for the live source.
#[cfg(kctx_live)]
#[must_use]
pub fn live_settings(
    config: &Config,
    window: Option<Duration>,
    end_after: Option<Duration>,
) -> crate::source::live::LiveSettings {
    crate::source::live::LiveSettings {
        families: config.probes.families.clone(),
        without: config.probes.without.clone(),
        softirq_vectors: config.probes.softirq_vectors,
        sizes: crate::probe::load::MapSizes {
            ring_bytes: config.kernel.ring_size,
            spill_rows: config.kernel.spill_rows,
            pending_works: config.kernel.pending_works,
            bpf_log: config.kernel.bpf_log,
            outlier_ns: config.governor.outlier.as_nanos() as u64,
        },
        sampling: crate::probe::clock::Sampling {
            frequency: config.stacks.frequency,
            busy: config.stacks.busy,
            at_first: crate::probe::clock::LASTS,
        },
        stacks: config.stacks.most as usize,
        log: config.log.bounds(),
        cpu_limit: config.governor.cpu_limit,
        sample: config.meter.sample(),
        window,
        end_after,
        keep: rustix::thread::CapabilitySet::empty(),
    }
}

/// Sends a stream through the pipeline and its windows to the sinks, until the stream ends. A sink that is
/// gone (a closed pipe) ends it too. What is recorded of it is recorded first.
pub(crate) fn pump(
    stream: impl Iterator<Item = anyhow::Result<Item>>,
    pipeline: &mut Pipeline,
    mut recording: Option<&mut Recording>,
    sink: &mut dyn FnMut(Arc<Window>) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    for item in stream {
        let item = item?;
        let window = pipeline.take(&item).map(Arc::new);
        let learnt = pipeline.take_learnt();
        if let Some(recording) = &mut recording {
            recording.item(learnt, &item, pipeline, window.is_some());
        }
        if let Some(window) = window {
            sink(window)?;
        }
    }
    if let Some(window) = pipeline.finish() {
        sink(Arc::new(window))?;
    }
    Ok(())
}

/// `kctx run`: this kernel to the sinks, until a signal or the end of `duration`. At SIGHUP the configuration is taken from
/// `read_again`.
#[cfg(kctx_live)]
pub fn run_live(
    (config, read_again): (&Config, ReadAgain<'_>),
    sinks: Sinks,
    socket: &crate::config::SocketChoice,
    duration: Option<Duration>,
) -> anyhow::Result<()> {
    let terminals = reload::Terminals::now();
    let mut signals = Signals::install().context("cannot catch signals")?;
    let settings = live_settings(config, Some(config.run.interval), duration);
    let (mut prepared, resolver, stream) = crate::source::live::Prepared::attach(&settings)?;
    // Not before: where nothing can be attached what runs instead ends at a SIGHUP, as other commands do.
    (signals.catch_hangup()).context("cannot catch signals")?;
    for probe in prepared.probes().iter().filter(|p| p.reason.is_some()) {
        let reason = probe.reason.as_deref().unwrap_or_default();
        if probe.attached {
            tracing::warn!("{} is attached, but {reason}", probe.name);
        } else {
            eprintln!("kctx: {} is not attached: {reason}", probe.name);
        }
    }
    if let Some(reason) = prepared.unmetered() {
        eprintln!("kctx: nobody knows what its programs cost: {reason}");
    }
    let pipeline = Pipeline::new(config.rows(), resolver);
    // Before another thread is made.
    let socket = recording::listen(socket)?;
    let works = prepared.take_running_works();
    let exports = sinks.start(Pace::Interval)?;
    let mut session = prepared.start(crate::source::drain::Edges::default())?;
    let cut = session.cutter().context("the drain has ended")?;
    let started = recording::start(config, socket, cut, exports.totals())?;
    let plan = triggers::TriggerPlan::new(config, &started.handle)?;
    let triggers = triggers::Triggers::new(plan, works, exports.totals());
    let totals = Arc::clone(exports.totals());
    let (to_windows, changes) = std::sync::mpsc::channel();
    let windows = Windows::live(exports, triggers, changes);
    let mut reload = reload::Reload {
        read: read_again,
        config: config.clone(),
        flight: started.handle,
        to_recording: started.changes,
        to_windows,
        to_drain: session.bounds().context("the drain has ended")?,
        totals,
        terminals,
    };
    let on_signals = OnSignals {
        hangup: &mut || reload.on_hangup(),
        stop: &|| session.stop(),
    };
    let result = serve(
        &mut signals,
        stream.into_iter().map(Ok),
        pipeline,
        (windows, Some(started.recording)),
        on_signals,
    );
    // Those who take a dump get their last pieces.
    drop(started.server);
    let drained = session.wait();
    drop(session);
    result.and(drained)
}

/// A recorded stream to the same sinks.
pub fn run_recorded(
    config: &Config,
    sinks: Sinks,
    stream: impl Iterator<Item = anyhow::Result<Item>> + Send + 'static,
) -> anyhow::Result<()> {
    let mut signals = Signals::install().context("cannot catch signals")?;
    let resolver = crate::resolve::Resolver::new(Box::new(crate::resolve::Recorded));
    let pipeline = Pipeline::new(config.rows(), resolver);
    let exports = sinks.start(Pace::EachWindow)?;
    let windows = Windows::recorded(exports);
    let on_signals = OnSignals {
        hangup: &mut || ControlFlow::Break(()),
        stop: &|| {},
    };
    serve(&mut signals, stream, pipeline, (windows, None), on_signals)
}

/// What signals do to a run.
struct OnSignals<'a> {
    /// At SIGHUP, where that is caught: whether it is one that ends the run.
    hangup: &'a mut dyn FnMut() -> ControlFlow<()>,
    /// At the first that ends it: has the stream end.
    stop: &'a dyn Fn(),
}

fn serve(
    signals: &mut Signals,
    stream: impl Iterator<Item = anyhow::Result<Item>> + Send + 'static,
    mut pipeline: Pipeline,
    (mut windows, mut recording): (Windows, Option<Recording>),
    on: OnSignals<'_>,
) -> anyhow::Result<()> {
    let exports = windows.exports();
    let (done, mut is_done) = oneshot::channel::<()>();
    let thread = std::thread::Builder::new()
        .name("kctx-pipeline".to_owned())
        .spawn(move || {
            let mut sink = |window: Arc<Window>| windows.take(&window);
            let result = pump(stream, &mut pipeline, recording.as_mut(), &mut sink);
            if let Some(recording) = recording {
                recording.finish();
            }
            let flushed = windows.finish();
            drop(done);
            result.and(flushed)
        })
        .context("cannot start the pipeline thread")?;
    let ended = signals.wait_through_hangups(&mut is_done, on.hangup);
    if ended == Ended::Signal {
        (on.stop)();
        signals.wait_for_end(&mut is_done, PATIENCE);
    }
    let result = thread
        .join()
        .map_err(|_| anyhow::anyhow!("the pipeline thread panicked"))?;
    if ended == Ended::Done && result.is_ok() && exports.outlast() {
        eprintln!("kctx: that was all of it; answering scrapes until a signal");
        let (_kept, mut never) = oneshot::channel();
        signals.wait(&mut never);
    }
    result
}
