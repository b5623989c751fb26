//! `kctx report`: a bundle's summary, for people or as JSON.

use std::path::{Path, PathBuf};

use anyhow::Context as _;

use super::Format;
use crate::{
    pipeline::Pipeline,
    report::{summary::Summary, text},
    resolve::{Recorded, Resolver},
    source::recorded::{self, RecordedSource, ReplayError},
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

/// A bundle's summary: the recorded one; where a bundle lost it, one made from the records that are there.
pub(super) fn load(bundle: &Path) -> anyhow::Result<Summary> {
    // What can be read twice is first read without a look at its records: the checksums say that they are whole.
    if std::fs::metadata(bundle).is_ok_and(|it| it.is_file())
        && let Ok(Some(recorded)) = recorded::checked_summary(bundle)
    {
        return parsed(&recorded);
    }
    let error = match summary(RecordedSource::open(bundle)?, bundle) {
        Err(error) if is_damage(&error) => error,
        result => return result,
    };
    let Ok(Some(source)) = RecordedSource::salvage(bundle) else {
        return Err(error);
    };
    let damage = source.damage();
    let summary = summary(source, bundle)?;
    let name = bundle.display();
    eprintln!("kctx: {name} is damaged; this is what is whole. Copy it again if you can");
    for what in damage {
        eprintln!("kctx: damaged: {what}");
    }
    Ok(summary)
}

fn is_damage(error: &anyhow::Error) -> bool {
    let error = error.downcast_ref::<ReplayError>();
    error.is_some_and(ReplayError::is_damage)
}

fn summary(mut source: RecordedSource, bundle: &Path) -> anyhow::Result<Summary> {
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
        "it lost its records, or was cut short before the first were written; the evidence in it can be read with tar",
    )?;
    let records = pipeline.aggregator().received().iter().sum::<u64>();
    let why = match source.truncated() {
        true => "was cut short",
        false => "lost its summary",
    };
    let host = pipeline.aggregator().host().clone();
    let taint = host.taint;
    let summary = Summary::from_window(&window, host, taint);
    // The kernel's counts come with the last segment, and say nothing of records that were lost since.
    let streamed = summary.accounting.total.streamed;
    let of = match streamed > records {
        true => format!(" (the kernel streamed {streamed}: the accounting below is the kernel's)"),
        false => String::new(),
    };
    let name = bundle.display();
    eprintln!("kctx: {name} {why}; this is made from the {records} records in it{of}");
    Ok(summary)
}

fn parsed(summary: &[u8]) -> anyhow::Result<Summary> {
    serde_json::from_slice(summary).context("its summary.json is not of a version this kctx reads")
}
