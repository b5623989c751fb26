//! `kctx report`: a bundle's summary, for people, for a browser, or as JSON.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use anyhow::Context as _;

use crate::{
    diagnose::{Case, diagnose},
    report::{
        html,
        narrow::{Moment, Narrowing, parse_cpus, parse_vectors},
        reading::{self, Reading, Wanted},
        summary::Summary,
        text,
    },
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
    /// Only what ran on these CPUs: 0-3,8.
    #[arg(long, value_name = "LIST", value_parser = parse_cpus)]
    cpu: Option<BTreeSet<u32>>,
    /// Only these softirq vectors and what ran in them: NET_RX,TIMER.
    #[arg(long, value_name = "NAMES", value_parser = parse_vectors)]
    vector: Option<BTreeSet<u8>>,
    /// Only what ended then or later: so long after the window's start (2.5s), or a time (RFC 3339).
    #[arg(long, value_name = "WHEN")]
    from: Option<Moment>,
    /// Only what ended before.
    #[arg(long, value_name = "WHEN")]
    to: Option<Moment>,
}

/// How to print a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// For people.
    Text,
    /// One JSON document.
    Json,
    /// One file for a browser, with all that it needs.
    Html,
}

pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    let wanted = Wanted {
        narrowing: Narrowing {
            cpus: args.cpu.clone(),
            vectors: args.vector.clone(),
            from: args.from,
            to: args.to,
        },
        timeline: args.format == Format::Html,
    };
    let cannot = || format!("cannot report {}", args.bundle.display());
    if args.format == Format::Json && wanted.narrowing.is_all() {
        let summary = load(&args.bundle).with_context(cannot)?;
        let printed = serde_json::to_string_pretty(&summary)? + "\n";
        return super::output(&printed, args.output.as_deref());
    }
    let mut reading = read(&args.bundle, &wanted).with_context(cannot)?;
    let printed = match args.format {
        Format::Json => serde_json::to_string_pretty(&reading.summary)? + "\n",
        Format::Text => {
            let case = Case {
                summary: &reading.summary,
                evidence: &reading.evidence,
            };
            let width = super::width::of_output(args.output.as_deref());
            text::render_whole(&reading.summary, &diagnose(&case), width)
        }
        Format::Html => html::render(&mut reading)?,
    };
    super::output(&printed, args.output.as_deref())
}

/// A bundle's summary: the recorded one; where a bundle lost it, one made from the records that are there.
pub(super) fn load(bundle: &Path) -> anyhow::Result<Summary> {
    match checked_summary(bundle) {
        Some(recorded) => serde_json::from_slice(&recorded)
            .context("its summary.json is not of a version this kctx reads"),
        None => Ok(read(bundle, &Wanted::default())?.summary),
    }
}

/// The recorded one of a bundle that can be read twice and is whole: by its checksums, without a look at its records.
fn checked_summary(bundle: &Path) -> Option<Vec<u8>> {
    if !std::fs::metadata(bundle).is_ok_and(|it| it.is_file()) {
        return None;
    }
    recorded::checked_summary(bundle).ok().flatten()
}

/// Reads a bundle; of a damaged one what is whole, and says what is not.
fn read(bundle: &Path, wanted: &Wanted) -> anyhow::Result<Reading> {
    let error = match reading::read(RecordedSource::open(bundle)?, wanted) {
        Err(error) if is_damage(&error) => error,
        result => return result.inspect(|reading| tell(bundle, reading)),
    };
    let Ok(Some(source)) = RecordedSource::salvage(bundle) else {
        return Err(error);
    };
    let reading = reading::read(source, wanted)?;
    tell(bundle, &reading);
    let damaged = reading.summary.damaged.as_ref();
    tell_damage(bundle, damaged.map_or(&[], |damaged| &damaged.not_whole));
    Ok(reading)
}

/// Says what of a bundle is not whole.
pub(super) fn tell_damage(bundle: &Path, not_whole: &[String]) {
    let name = bundle.display();
    eprintln!("kctx: {name} is damaged; this is what is whole. Copy it again if you can");
    for what in not_whole {
        eprintln!("kctx: damaged: {what}");
    }
}

fn is_damage(error: &anyhow::Error) -> bool {
    let error = error.downcast_ref::<ReplayError>();
    error.is_some_and(ReplayError::is_damage)
}

/// Says that the summary is not the recorded one, where it should be.
fn tell(bundle: &Path, reading: &Reading) {
    let Some(records) = reading.made_from else {
        return;
    };
    let why = match reading.truncated {
        true => "was cut short",
        false => "lost its summary",
    };
    // The kernel's counts come with the last segment, and say nothing of records that were lost since.
    let streamed = reading.summary.accounting.total.streamed;
    let of = match streamed > records {
        true => format!(" (the kernel streamed {streamed}: the accounting below is the kernel's)"),
        false => String::new(),
    };
    let name = bundle.display();
    eprintln!("kctx: {name} {why}; this is made from the {records} records in it{of}");
}
