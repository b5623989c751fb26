//! `kctx capture`: a bounded window, brought home.

use std::{path::PathBuf, time::Duration};

use super::Usage;
use crate::config::{self, Config};

/// Shorter ones would hold little more than their own edges.
const SHORTEST_WINDOW: Duration = Duration::from_millis(10);

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// How long: from 10ms to what the configuration allows (1h).
    #[arg(long, value_name = "DURATION", value_parser = window, default_value = "10s")]
    window: Duration,
    /// The bundle to write; it appears under this name when it is whole.
    #[arg(short, long, value_name = "FILE", default_value = "kctx.tar.zst")]
    output: PathBuf,
    /// The configuration.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The most that the bundle may take; records over it are left out and counted.
    #[arg(long, value_name = "SIZE", value_parser = config::parse_bundle_size)]
    max_size: Option<u64>,
    /// Size of each CPU's ring; it attaches by itself then.
    #[arg(long, value_name = "SIZE", value_parser = config::parse_ring_size)]
    ring_size: Option<u32>,
    /// Leave kernel pointers, hardware and IP addresses and command lines as they are.
    #[arg(long)]
    no_redact: bool,
    /// The running daemon's socket; without it, that of the configuration. Empty: none.
    #[arg(long, value_name = "PATH")]
    socket: Option<String>,
    /// Attach by itself, even where a daemon runs: the bundle then has nothing from before.
    #[arg(long)]
    alone: bool,
    /// Print the summary as text when done.
    #[arg(long)]
    print: bool,
}

pub(super) fn window(text: &str) -> Result<Duration, String> {
    let window = config::parse_duration(text)?;
    if window >= SHORTEST_WINDOW {
        Ok(window)
    } else {
        Err("a window is from 10ms to 1h, or to [capture] max_window".to_owned())
    }
}

/// Longer is not a window: it is what `kctx run` is for.
fn check_longest(window: Duration, config: &Config) -> Result<(), Usage> {
    let longest = config.capture.max_window;
    if window <= longest {
        return Ok(());
    }
    Err(Usage(format!(
        "--window is from 10ms to {} ([capture] max_window); kctx run measures without an end",
        humantime::format_duration(longest)
    )))
}

#[cfg(not(kctx_live))]
pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    // The arguments are wrong or right all the same.
    let Args {
        window,
        output: _,
        config,
        max_size: _,
        ring_size: _,
        no_redact: _,
        socket: _,
        alone: _,
        print: _,
    } = args;
    check_longest(*window, &Config::load(config.as_deref())?)?;
    anyhow::bail!(crate::probe::NO_OBJECT)
}

#[cfg(kctx_live)]
pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    use crate::{
        capture::{
            session::{self, Early},
            through,
        },
        report::text,
    };
    let mut config = Config::load(args.config.as_deref())?;
    check_longest(args.window, &config)?;
    if args.no_redact {
        config.capture.redact = false;
    }
    if let Some(size) = args.max_size {
        config.capture.max_size = size;
    }
    if let Some(size) = args.ring_size {
        config.kernel.ring_size = size;
    }
    let captured = match daemon(args, &config)? {
        Some(daemon) => through::capture(&config, args.window, &args.output, daemon)?,
        None => session::capture(&config, args.window, &args.output)?,
    };
    eprintln!(
        "kctx: wrote {} ({} bytes, {} records{})",
        captured.written.path.display(),
        captured.written.bytes,
        captured.summary.accounting.total.observed,
        match captured.early {
            Some(_) => ", ended early",
            None => "",
        },
    );
    if args.print {
        super::output::print(&text::render(&captured.summary))?;
    }
    match captured.early {
        None => Ok(()),
        Some(Early::Signal) => {
            anyhow::bail!("a signal ended the window early; the bundle is whole up to there")
        }
        Some(Early::Memory) => anyhow::bail!(
            "the window ended early: kctx took more memory than [capture] max_memory allows ({}); the bundle is whole up to there",
            bytesize::ByteSize(config.capture.max_memory)
        ),
    }
}

/// The running daemon, where there is one that is to be asked. Own settings of what is measured are for who measures.
#[cfg(kctx_live)]
fn daemon(
    args: &Args,
    config: &config::Config,
) -> anyhow::Result<Option<crate::control::client::Daemon>> {
    use anyhow::Context as _;
    if args.alone || args.ring_size.is_some() {
        return Ok(None);
    }
    let variable = std::env::var(crate::control::SOCKET_VARIABLE).ok();
    let choice = (config.control).choose(args.socket.as_deref(), variable.as_deref());
    let Some(path) = choice.path else {
        return Ok(None);
    };
    let daemon = match crate::control::client::Daemon::find(&path) {
        Ok(daemon) => daemon,
        // Whoever may not ask the daemon may not attach either: that says what is missing.
        Err(_) if !choice.named => None,
        Err(error) => {
            return Err(error)
                .with_context(|| format!("cannot ask the daemon on {}", path.display()));
        }
    };
    if daemon.is_none() && args.socket.as_deref().is_some_and(|path| !path.is_empty()) {
        anyhow::bail!(
            "no kctx run listens on {}; start one, or leave --socket out to attach without",
            path.display()
        );
    }
    Ok(daemon)
}
