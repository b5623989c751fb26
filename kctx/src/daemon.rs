//! Wires the stages, and owns the shutdown.

use std::{
    io::{IsTerminal as _, Write as _},
    sync::Arc,
    time::Duration,
};

use anyhow::Context as _;
use tokio::sync::oneshot;

use crate::{
    aggregate::window::Window,
    config::Config,
    export::otlp::{self, OtlpConfig, OtlpExporter, OtlpSettings, Resource, ShutdownOutcome},
    pipeline::Pipeline,
    report::{live, notices::notices},
    signals::{Ended, Signals},
    source::Item,
};

/// Pieces of the stream that may wait for the pipeline: at 256 KiB a batch, 16 MiB.
pub const CHANNEL_ITEMS: usize = 64;

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
        softirq_vectors: config.probes.softirq_vectors,
        sizes: crate::probe::load::MapSizes {
            ring_bytes: config.kernel.ring_size,
            spill_rows: config.kernel.spill_rows,
            pending_works: config.kernel.pending_works,
            bpf_log: config.kernel.bpf_log,
            outlier_ns: config.governor.outlier.as_nanos() as u64,
        },
        samples: u64::from(config.stacks.frequency),
        log: config.log.bounds(),
        cpu_limit: config.governor.cpu_limit,
        sample: config.meter.sample(),
        window,
        end_after,
        keep: rustix::thread::CapabilitySet::empty(),
    }
}

/// How long the last export may take.
const FLUSH: Duration = Duration::from_secs(5);

/// Where windows go beside the display.
#[derive(Default)]
pub struct Sinks {
    otlp: Option<(OtlpSettings, Resource)>,
}

impl Sinks {
    /// What command line, configuration and environment ask for.
    pub fn resolve(config: &Config, cli: &OtlpConfig) -> anyhow::Result<Self> {
        let lookup = |name: &str| std::env::var(name).ok();
        let resolved = otlp::env::resolve(cli, &config.otlp, &lookup)
            .context("cannot set up the OTLP export")?;
        for warning in &resolved.warnings {
            eprintln!("kctx: {warning}");
        }
        let otlp = resolved.settings.clone().map(|settings| {
            let mut resource = Resource::detect();
            resolved.apply_to(&mut resource);
            (settings, resource)
        });
        Ok(Self { otlp })
    }

    /// Starts the export. After privileges were dropped: its thread needs none of them.
    fn start(self, pace: Pace) -> anyhow::Result<Option<OtlpExporter>> {
        let Some((mut settings, resource)) = self.otlp else {
            return Ok(None);
        };
        eprintln!("kctx: exporting OTLP to {}", settings.endpoint);
        if pace == Pace::EachWindow {
            settings.interval = Duration::ZERO;
        }
        Ok(Some(OtlpExporter::spawn(settings, resource)?))
    }
}

/// When to export.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Pace {
    /// By the export's own interval.
    #[cfg(kctx_live)]
    Interval,
    /// Each window, and wait for it: a recording goes by much faster than it was made.
    EachWindow,
}

/// Shows windows: a table that is redrawn on a terminal, else one line each. Notices go to stderr, but not into
/// the table's terminal: the table has them.
struct Display {
    terminal: bool,
    notices: bool,
}

impl Display {
    fn new() -> Self {
        let terminal = std::io::stdout().is_terminal();
        Self {
            terminal,
            notices: !(terminal && std::io::stderr().is_terminal()),
        }
    }

    fn show(&self, window: &Window) -> std::io::Result<()> {
        if self.notices {
            for notice in notices(window) {
                eprintln!("kctx: {notice}");
            }
        }
        let mut out = std::io::stdout().lock();
        if self.terminal {
            let (width, height) = terminal_size();
            // Home, the table, and erase what is left of the one before.
            write!(
                out,
                "\x1b[H{}\x1b[J",
                live::table(window, width, height).replace('\n', "\x1b[K\n")
            )?;
        } else {
            writeln!(out, "{}", live::one_line(window))?;
        }
        out.flush()
    }
}

fn terminal_size() -> (usize, usize) {
    let size = rustix::termios::tcgetwinsize(std::io::stdout());
    match size {
        Ok(size) if size.ws_col > 0 && size.ws_row > 0 => {
            (usize::from(size.ws_col), usize::from(size.ws_row))
        }
        _ => (100, 40),
    }
}

/// Sends a stream through the pipeline and its windows to the sinks, until the stream ends. A sink that is
/// gone (a closed pipe) ends it too.
pub(crate) fn pump(
    stream: impl Iterator<Item = anyhow::Result<Item>>,
    pipeline: &mut Pipeline,
    sink: &mut dyn FnMut(Arc<Window>) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    for item in stream {
        if let Some(window) = pipeline.take(&item?) {
            sink(Arc::new(window))?;
        }
        // Nobody records here.
        drop(pipeline.take_learnt());
    }
    if let Some(window) = pipeline.finish() {
        sink(Arc::new(window))?;
    }
    Ok(())
}

/// `kctx run`: this kernel to the sinks, until a signal or the end of `duration`.
#[cfg(kctx_live)]
pub fn run_live(config: &Config, sinks: Sinks, duration: Option<Duration>) -> anyhow::Result<()> {
    let mut signals = Signals::install().context("cannot catch signals")?;
    let settings = live_settings(config, Some(config.run.interval), duration);
    let (to_pipeline, stream) = std::sync::mpsc::sync_channel(CHANNEL_ITEMS);
    let (prepared, resolver) = crate::source::live::Prepared::attach(&settings, to_pipeline)?;
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
    let exporter = sinks.start(Pace::Interval)?;
    let mut session = prepared.start(crate::source::drain::Edges::default())?;
    let result = serve(
        &mut signals,
        stream.into_iter().map(Ok),
        pipeline,
        exporter.map(|exporter| (exporter, Pace::Interval)),
        || session.stop(),
    );
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
    let exporter = sinks
        .start(Pace::EachWindow)?
        .map(|exporter| (exporter, Pace::EachWindow));
    serve(&mut signals, stream, pipeline, exporter, || {})
}

fn serve(
    signals: &mut Signals,
    stream: impl Iterator<Item = anyhow::Result<Item>> + Send + 'static,
    mut pipeline: Pipeline,
    exporter: Option<(OtlpExporter, Pace)>,
    stop: impl Fn(),
) -> anyhow::Result<()> {
    let (done, mut is_done) = oneshot::channel::<()>();
    let thread = std::thread::Builder::new()
        .name("kctx-pipeline".to_owned())
        .spawn(move || {
            let display = Display::new();
            let mut sink = |window: Arc<Window>| -> anyhow::Result<()> {
                display.show(&window)?;
                if let Some((exporter, pace)) = &exporter {
                    exporter.offer(window);
                    if *pace == Pace::EachWindow {
                        let _ = exporter.settle(PATIENCE);
                    }
                }
                Ok(())
            };
            let result = pump(stream, &mut pipeline, &mut sink);
            let flushed = exporter.map_or(Ok(()), |(exporter, pace)| flush(&exporter, pace));
            drop(done);
            result.and(flushed)
        })
        .context("cannot start the pipeline thread")?;
    if signals.wait(&mut is_done) == Ended::Signal {
        stop();
        signals.wait_for_end(&mut is_done, PATIENCE);
    }
    thread
        .join()
        .map_err(|_| anyhow::anyhow!("the pipeline thread panicked"))?
}

/// The last export. That it failed is told; a replay, which has nothing else to do, has failed with it.
fn flush(exporter: &OtlpExporter, pace: Pace) -> anyhow::Result<()> {
    let why = match exporter.shutdown(FLUSH) {
        ShutdownOutcome::Flushed => return Ok(()),
        ShutdownOutcome::Failed(why) => why,
        ShutdownOutcome::TimedOut => format!("no answer within {FLUSH:?}"),
        ShutdownOutcome::Aborted => "aborted".to_owned(),
    };
    match pace {
        #[cfg(kctx_live)]
        Pace::Interval => {
            eprintln!("kctx: the last OTLP export failed: {why}");
            Ok(())
        }
        Pace::EachWindow => anyhow::bail!("the OTLP export failed: {why}"),
    }
}
