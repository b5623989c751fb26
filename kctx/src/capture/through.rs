//! A capture through a running daemon: what it kept before, and what comes. It costs the daemon no gap, and the bundle is
//! written here, by who asked for it.

use std::{
    io::IsTerminal as _,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::Context as _;
use rustix::thread::CapabilitySet;
use tokio::sync::oneshot;

use super::{
    bundle::WriteLimits,
    evidence::{self, EvidenceLimits, Phase},
    flight::{Assembly, EndReason, Ending},
    recorder::Recorder,
    redact::Redactor,
    session::{Captured, Early},
};
use crate::{
    config::Config,
    control::{
        client::{ClientError, Daemon, Granted},
        frame::Frame,
    },
    host::{HostRoot, privilege},
    signals::{Ended, Signals},
};

/// How often the progress line changes.
const PROGRESS_EVERY: Duration = Duration::from_millis(500);

/// Takes what `daemon` has and what comes within `window`, and writes the bundle.
pub fn capture(
    config: &Config,
    window: Duration,
    output: &Path,
    daemon: Daemon,
) -> anyhow::Result<Captured> {
    let mut signals = Signals::install().context("cannot catch signals")?;
    let limits = WriteLimits {
        max_bytes: config.capture.max_size,
    };
    let mut recorder = Recorder::create(output, limits)?;
    if config.capture.redact {
        recorder = recorder.redacting(Redactor::default());
    }
    // It asks, reads evidence, and renames the bundle in the end, maybe in a folder that is not root's.
    let needed =
        CapabilitySet::SYSLOG | CapabilitySet::DAC_READ_SEARCH | CapabilitySet::DAC_OVERRIDE;
    privilege::drop_all_but(needed).context("cannot drop privileges")?;
    let root = HostRoot::system();
    let evidence_limits = config.capture.evidence.limits();
    let mut assembly = Assembly::new(recorder, config.rows());
    let before = evidence::collect(&root, Phase::Before, &evidence_limits);
    assembly.evidence(&before, &evidence_limits)?;

    let granted = daemon.capture(window)?;
    eprintln!(
        "kctx: through the running daemon (kctx {}): what it kept, and {} from now on",
        granted.hello.kctx_version,
        humantime::format_duration(window)
    );
    let mut finisher = granted
        .finisher()
        .context("cannot copy the daemon's connection")?;
    let early = Arc::new(AtomicBool::new(false));
    let was_early = Arc::clone(&early);
    let (done, mut is_done) = oneshot::channel();
    let thread = std::thread::Builder::new()
        .name("kctx-capture".to_owned())
        .spawn(move || -> anyhow::Result<Captured> {
            let (assembly, end) = receive(assembly, granted, window)?;
            let after = evidence::collect(&root, Phase::After, &evidence_limits);
            let captured = finish(assembly, end, &after, &evidence_limits, &was_early);
            drop(done);
            captured
        })?;
    if signals.wait(&mut is_done) == Ended::Signal {
        early.store(true, Ordering::Release);
        // A daemon that is gone has told the thread so.
        let _ = finisher.finish();
        signals.wait_for_end(&mut is_done, crate::daemon::PATIENCE);
    }
    thread
        .join()
        .map_err(|_| anyhow::anyhow!("the capture's thread panicked"))?
}

/// Takes the dump to its end, or to where the daemon went away.
fn receive(
    mut assembly: Assembly,
    mut granted: Granted,
    window: Duration,
) -> anyhow::Result<(Assembly, Result<Ending, ClientError>)> {
    let terminal = std::io::stderr().is_terminal();
    let started = Instant::now();
    let mut shown = started;
    loop {
        match granted.frame() {
            Ok(Frame::Segment(segment)) => assembly.segment(&segment)?,
            Ok(Frame::End(ending)) => return Ok((assembly, Ok(ending))),
            Ok(_) => {
                anyhow::bail!("the daemon said what nobody asked for; use its version of kctx")
            }
            Err(error) => return Ok((assembly, Err(error))),
        }
        if terminal && shown.elapsed() >= PROGRESS_EVERY {
            shown = Instant::now();
            let left = window.saturating_sub(started.elapsed()).as_secs();
            eprint!(
                "\r\x1b[Kkctx: {} records, {left} s to go",
                assembly.records()
            );
            if left == 0 {
                eprint!("\r\x1b[K");
            }
        }
    }
}

/// Writes the bundle, whatever came; what ended it too early is told when that is done.
fn finish(
    mut assembly: Assembly,
    end: Result<Ending, ClientError>,
    after: &evidence::Evidence,
    limits: &EvidenceLimits,
    early: &AtomicBool,
) -> anyhow::Result<Captured> {
    assembly.evidence(after, limits)?;
    let (ending, broken) = match end {
        Ok(ending) => (Some(ending), None),
        Err(error) => (None, Some(error)),
    };
    let daemon_ended = (ending.as_ref()).is_some_and(|end| end.reason == EndReason::DaemonEnded);
    let interrupted = early.load(Ordering::Acquire) || daemon_ended || broken.is_some();
    let (written, summary) = match (assembly.finish(ending, interrupted), &broken) {
        (Ok(written), _) => written,
        // Nothing came since the connection broke: that is what there is to say.
        (Err(_), Some(error)) => anyhow::bail!("{error}"),
        (Err(error), None) => return Err(error.into()),
    };
    let path = written.path.display();
    if let Some(error) = broken {
        anyhow::bail!("{error}; what came until then is in {path}");
    }
    if daemon_ended {
        anyhow::bail!(
            "the daemon ended before the window was over; what came until then is in {path}"
        );
    }
    Ok(Captured {
        written,
        summary,
        early: interrupted.then_some(Early::Signal),
    })
}
