//! What `kctx run` would cost here: all of it at work for a bounded time, but nothing kept and nothing exported.

use std::time::Duration;

use anyhow::Context as _;
use tokio::sync::oneshot;

use crate::{
    config::Config,
    daemon::{PATIENCE, live_settings, pump},
    meter::{
        Sample,
        estimate::{Estimate, Tally},
    },
    pipeline::Pipeline,
    report::live,
    signals::{Ended, Signals},
    source::{drain::Edges, live::Prepared},
};

/// An address at which no function begins.
const ANY_FUNCTION: u64 = 1;

/// Measures for `duration`, or until a signal.
pub fn estimate(config: &Config, duration: Duration) -> anyhow::Result<Estimate> {
    let mut signals = Signals::install().context("cannot catch signals")?;
    let mut settings = live_settings(config, Some(config.run.interval), Some(duration));
    settings.sample = Sample::Throughout;
    // What it costs in the long run: the first seconds are not that.
    settings.sampling.at_first = Duration::ZERO;
    let (prepared, mut resolver, stream) = Prepared::attach(&settings)?;
    let rows = config.rows();
    let mut session = prepared.start(Edges::default())?;
    let (done, mut is_done) = oneshot::channel::<()>();
    let thread = std::thread::Builder::new()
        .name("kctx-pipeline".to_owned())
        .spawn(move || -> anyhow::Result<Tally> {
            // All names of functions are read when the first is asked for: now, in the first window, which does not count.
            resolver.function(ANY_FUNCTION);
            let mut pipeline = Pipeline::new(rows, resolver);
            let mut tally = Tally::default();
            let stream = stream.into_iter().map(Ok);
            pump(stream, &mut pipeline, None, &mut |window| {
                // What a window costs to be shown belongs to it.
                std::hint::black_box(live::one_line(&window));
                tally.add(&window);
                Ok(())
            })?;
            drop(done);
            Ok(tally)
        })
        .context("cannot start the pipeline thread")?;
    let interrupted = signals.wait(&mut is_done) == Ended::Signal;
    if interrupted {
        session.stop();
        signals.wait_for_end(&mut is_done, PATIENCE);
    }
    let drained = session.wait();
    let tally = thread
        .join()
        .map_err(|_| anyhow::anyhow!("the pipeline thread panicked"))??;
    drained?;
    drop(session);
    Ok(tally.finish(config.governor.cpu_limit, interrupted))
}
