//! `kctx top`: the live view to look around in.

use std::{path::PathBuf, time::Duration};

use anyhow::Context as _;

use super::Usage;
use crate::{
    config::{self, Config},
    top,
};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// A bundle to look at instead of this machine.
    bundle: Option<PathBuf>,
    /// The configuration; /etc/kctx/kctx.toml where there is one.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Length of a window.
    #[arg(long, value_name = "DURATION", value_parser = config::parse_interval)]
    interval: Option<Duration>,
}

pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    let mut config = match args.bundle {
        Some(_) => Config::load_for_a_bundle(args.config.as_deref())?,
        None => Config::load(args.config.as_deref())?,
    };
    if let Some(interval) = args.interval {
        config.top.interval = interval;
    }
    top::check_terminal().map_err(|error| Usage(error.to_string()))?;
    match &args.bundle {
        Some(bundle) => {
            let cannot = || format!("cannot show {}", bundle.display());
            let source = super::open(bundle).with_context(cannot)?;
            let stream = super::replay::items(source, bundle);
            top::run_recorded(&config, stream).with_context(cannot)
        }
        None => live(&config),
    }
}

#[cfg(kctx_live)]
fn live(config: &Config) -> anyhow::Result<()> {
    top::run_live(config)
}

#[cfg(not(kctx_live))]
fn live(_config: &Config) -> anyhow::Result<()> {
    anyhow::bail!(crate::probe::NO_OBJECT)
}
