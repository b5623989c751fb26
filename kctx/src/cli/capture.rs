//! `kctx capture`: a bounded window, brought home.

use std::{path::PathBuf, time::Duration};

use crate::config;

/// Longer is not a window: it is what `kctx run` is for.
const LONGEST_WINDOW: Duration = Duration::from_secs(3600);

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// How long: from 10ms to 1h.
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

fn window(text: &str) -> Result<Duration, String> {
    let window = config::parse_duration(text)?;
    if (Duration::from_millis(10)..=LONGEST_WINDOW).contains(&window) {
        Ok(window)
    } else {
        Err("a window is from 10ms to 1h; kctx run measures without an end".to_owned())
    }
}

#[cfg(not(kctx_live))]
pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    // The arguments are wrong or right all the same.
    let Args {
        window: _,
        output: _,
        config,
        max_size: _,
        ring_size: _,
        socket: _,
        alone: _,
        print: _,
    } = args;
    crate::config::Config::load(config.as_deref())?;
    anyhow::bail!(crate::probe::NO_OBJECT)
}

#[cfg(kctx_live)]
pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    use crate::{
        capture::{session, through},
        config::Config,
        report::text,
    };
    let mut config = Config::load(args.config.as_deref())?;
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
        if captured.interrupted {
            ", ended early"
        } else {
            ""
        },
    );
    if args.print {
        super::output(&text::render(&captured.summary), None)?;
    }
    Ok(())
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
    let daemon = match crate::control::client::Daemon::connect(&path) {
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
