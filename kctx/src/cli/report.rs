//! `kctx report`: a bundle's summary, for people or as JSON.

use std::path::{Path, PathBuf};

use anyhow::Context as _;

use super::Format;
use crate::{
    pipeline::Pipeline,
    report::{summary::Summary, text},
    resolve::{Recorded, Resolver},
    source::recorded::{self, RecordedSource},
};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The bundle.
    bundle: PathBuf,
    /// How to print it.
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
    /// Where to; stdout without it.
    #[arg(short, long)]
    output: Option<PathBuf>,
}

pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    let summary =
        load(&args.bundle).with_context(|| format!("cannot report {}", args.bundle.display()))?;
    let printed = match args.format {
        Format::Text => text::render(&summary),
        Format::Json => serde_json::to_string_pretty(&summary)? + "\n",
    };
    super::output(&printed, args.output.as_deref())
}

/// A bundle's summary: the recorded one; where a bundle was cut short before it, one made from the records
/// that are there.
pub(super) fn load(bundle: &Path) -> anyhow::Result<Summary> {
    // What can be read twice is first read without a look at its records: the checksums say that they are whole.
    if std::fs::metadata(bundle).is_ok_and(|it| it.is_file())
        && let Some(recorded) = recorded::checked_summary(bundle)?
    {
        return parsed(&recorded);
    }
    let mut source = RecordedSource::open(bundle)?;
    let mut pipeline = Pipeline::new(
        crate::aggregate::table::RowLimits::default(),
        Resolver::new(Box::new(Recorded)),
    );
    let mut window = None;
    while let Some(item) = source.next_item()? {
        window = pipeline.take(&item).or(window);
    }
    if let Some(recorded) = source.summary() {
        return parsed(recorded);
    }
    let window = window.or_else(|| pipeline.finish()).context(
        "it was cut short before the first records were written; the evidence in it can be read with tar",
    )?;
    eprintln!(
        "kctx: {} was cut short; this is made from the {} records in it",
        bundle.display(),
        pipeline.aggregator().received().iter().sum::<u64>()
    );
    let host = pipeline.aggregator().host().clone();
    let taint = host.taint;
    Ok(Summary::from_window(&window, host, taint))
}

fn parsed(summary: &[u8]) -> anyhow::Result<Summary> {
    serde_json::from_slice(summary).context("its summary.json is not of a version this kctx reads")
}
