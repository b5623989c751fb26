//! `kctx replay`: a bundle through the daemon's whole pipeline.

use std::path::{Path, PathBuf};

use anyhow::Context as _;

use crate::{
    config::Config,
    daemon::{self, Wishes},
    host::HostIdentity,
    source::{Control, Item, recorded::RecordedSource},
};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The bundle.
    bundle: PathBuf,
    /// The configuration; /etc/kctx/kctx.toml where there is one.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    exports: super::ExportArgs,
}

pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    let config = Config::load_for_a_bundle(args.config.as_deref())?;
    replay(&args.bundle, &config, &args.exports.wishes())
}

pub(super) fn replay(bundle: &Path, config: &Config, wishes: &Wishes) -> anyhow::Result<()> {
    let cannot = || format!("cannot replay {}", bundle.display());
    let source = super::open(bundle).with_context(cannot)?;
    let is_whole = source.damage().is_empty();
    let mut stream = items(source, bundle);
    let first = stream.next().transpose().with_context(cannot)?;
    let nobody = HostIdentity::default();
    let recorded = first.as_ref().and_then(whose).unwrap_or((&nobody, 0));
    let sinks = daemon::Sinks::of_a_recording(config, wishes, recorded)?;
    let stream = first.map(Ok).into_iter().chain(stream);
    daemon::run_recorded(config, sinks, stream).with_context(cannot)?;
    anyhow::ensure!(
        is_whole,
        "{} is damaged: only what is whole was replayed",
        bundle.display()
    );
    Ok(())
}

/// What a bundle recorded; where it was cut short, that is said at its end.
pub(super) fn items(
    mut source: RecordedSource,
    bundle: &Path,
) -> impl Iterator<Item = anyhow::Result<Item>> + Send + 'static {
    let path = bundle.to_owned();
    std::iter::from_fn(move || match source.next_item() {
        Ok(Some(item)) => Some(Ok(item)),
        Ok(None) => {
            if source.truncated() {
                eprintln!(
                    "kctx: {} was cut short; this is what is in it",
                    path.display()
                );
            }
            None
        }
        Err(error) => Some(Err(error.into())),
    })
}

/// Which machine's it is, and since when it measured: what a stream begins with.
fn whose(first: &Item) -> Option<(&HostIdentity, u64)> {
    match first {
        Item::Control(control) => match &**control {
            Control::Start { host, unix_ns, .. } => Some((host, *unix_ns)),
            _ => None,
        },
        Item::Records { .. } => None,
    }
}
