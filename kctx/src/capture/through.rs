//! A capture through a running daemon: what it kept before, and what comes. It costs the daemon no gap, and the bundle is
//! written here, by who asked for it.

use std::{path::Path, time::Duration};

use anyhow::Context as _;
use rustix::thread::CapabilitySet;
use tokio::sync::oneshot;

use super::{
    bounds::{self, Asked},
    bundle::WriteLimits,
    evidence::{Phase, Sampler},
    flight::{Assembly, AssemblyError, EndReason, Ending},
    partial,
    progress::{Progress, Stage},
    recorder::Recorder,
    redact::Redactor,
    session::Captured,
    watcher::{self, Watcher},
};
use crate::{
    config::Config,
    control::{
        client::{ClientError, Daemon, Granted},
        frame::Frame,
    },
    host::{HostRoot, privilege},
    signals::Signals,
};

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
    let evidence_limits = config.capture.evidence.limits();
    let sampler = Sampler::new(&HostRoot::system(), &evidence_limits);
    sampler.take_privileged();
    // It asks, reads evidence, and renames the bundle in the end, maybe in a folder that is not root's.
    let needed =
        CapabilitySet::SYSLOG | CapabilitySet::DAC_READ_SEARCH | CapabilitySet::DAC_OVERRIDE;
    privilege::drop_all_but(needed).context("cannot drop privileges")?;
    let left = recorder.partial().to_owned();
    let mut assembly = Assembly::new(recorder, config.rows());
    let progress = Progress::default();
    progress.enter(Stage::EvidenceBefore);
    let before = sampler.sample(Phase::Before);
    // A refusal leaves nothing behind.
    let granted = daemon.capture(window)?;
    assembly.evidence(&before, &evidence_limits)?;
    eprintln!(
        "kctx: through the running daemon (kctx {}): what it kept, and {} from now on",
        granted.hello.kctx_version,
        humantime::format_duration(window)
    );
    let mut finisher = granted
        .finisher()
        .context("cannot copy the daemon's connection")?;
    progress.enter(Stage::Window);
    let (done, mut is_done) = oneshot::channel();
    let of_thread = progress.clone();
    let thread = std::thread::Builder::new()
        .name("kctx-capture".to_owned())
        .spawn(
            move || -> anyhow::Result<(Assembly, Result<Ending, ClientError>)> {
                let end = receive(&mut assembly, granted, &of_thread)?;
                of_thread.enter(Stage::EvidenceAfter);
                assembly.evidence(&sampler.sample(Phase::After), &evidence_limits)?;
                of_thread.enter(Stage::Writing);
                drop(done);
                Ok((assembly, end))
            },
        )?;
    let mut watcher = Watcher::new(progress, window, &config.capture);
    let ending = watcher.wait(&mut signals, &mut is_done);
    if ending.early().is_some() {
        // A daemon that is gone has told the thread so.
        let _ = finisher.finish();
    }
    watcher.wait_for_end(&mut signals, &mut is_done);
    let taken = thread
        .join()
        .map_err(|_| anyhow::anyhow!("the capture's thread panicked"))?;
    let (assembly, end) = partial::told(taken, &left)?;
    finish(assembly, end, config, window, &ending)
}

/// Takes the dump to its end, or to where the daemon went away.
fn receive(
    assembly: &mut Assembly,
    mut granted: Granted,
    progress: &Progress,
) -> anyhow::Result<Result<Ending, ClientError>> {
    loop {
        match granted.frame() {
            Ok(Frame::Segment(segment)) => {
                let before = assembly.records();
                assembly.segment(&segment)?;
                progress.count(assembly.records() - before, assembly.bytes());
            }
            Ok(Frame::End(ending)) => return Ok(Ok(ending)),
            Ok(_) => {
                anyhow::bail!("the daemon said what nobody asked for; use its version of kctx")
            }
            Err(error) => return Ok(Err(error)),
        }
    }
}

/// Writes the bundle, whatever came; what ended it too early is told when that is done.
fn finish(
    assembly: Assembly,
    end: Result<Ending, ClientError>,
    config: &Config,
    window: Duration,
    ended: &watcher::Ending,
) -> anyhow::Result<Captured> {
    let (ending, broken) = match end {
        Ok(ending) => (Some(ending), None),
        Err(error) => (None, Some(error)),
    };
    let daemon_ended = (ending.as_ref()).is_some_and(|end| end.reason == EndReason::DaemonEnded);
    let asked = Asked {
        window,
        before_ns: ending.as_ref().map_or(0, |end| end.before_ns),
        of_daemon: true,
    };
    let early = ended.early();
    let left = assembly.partial().to_owned();
    let interrupted = early.is_some() || daemon_ended || broken.is_some();
    let written = assembly.finish(ending, interrupted, |manifest, summary| {
        bounds::note(manifest, config, asked, summary, ended);
    });
    let (written, summary) = match (written, broken.as_ref()) {
        // Nothing came since the connection broke: that is what there is to say.
        (Err(AssemblyError::Nothing), Some(error)) => anyhow::bail!("{error}"),
        (written, _) => partial::told(written.map_err(Into::into), &left)?,
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
        early,
    })
}
