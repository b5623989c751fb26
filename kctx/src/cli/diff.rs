//! `kctx diff`: what changed between two bundles.

use std::path::{Path, PathBuf};

use anyhow::Context as _;

use super::Format;
use crate::diff::{self, Side};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The bundle to compare with.
    before: PathBuf,
    /// The bundle to look at.
    after: PathBuf,
    /// How to print it.
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
    /// Where to; stdout without it.
    #[arg(short, long)]
    output: Option<PathBuf>,
}

pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    let diff = diff::compare(&read(&args.before)?, &read(&args.after)?);
    let printed = match args.format {
        Format::Text => diff::render(&diff),
        Format::Json => serde_json::to_string_pretty(&diff)? + "\n",
    };
    let inputs = [args.before.as_path(), args.after.as_path()];
    super::output::write(&printed, args.output.as_deref(), &inputs)
}

fn read(bundle: &Path) -> anyhow::Result<Side> {
    let side =
        Side::read(bundle).with_context(|| format!("cannot compare {}", bundle.display()))?;
    super::note_evidence(bundle, side.evidence());
    Ok(side)
}
