//! `kctx report`: a bundle's summary, for people, for a browser, or as JSON.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use anyhow::Context as _;

use crate::{
    capture::evidence_set::EvidenceSet,
    diagnose::{Case, diagnose},
    report::{
        html,
        narrow::{Moment, Narrowing, parse_cpus, parse_vectors},
        reading::{self, Reading, Wanted},
        summary::Summary,
        text,
    },
    source::recorded::{self, Checked, RecordedSource, ReplayError},
};

use super::output;

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
        return write(args, &printed);
    }
    if args.format == Format::Text
        && wanted.narrowing.is_all()
        && let Some(checked) = checked(&args.bundle)
    {
        let summary = checked.summary().with_context(cannot)?;
        super::note_evidence(&args.bundle, &checked.evidence);
        return write(args, &whole(args, &summary, &checked.evidence, &[]));
    }
    let mut reading = read(&args.bundle, &wanted).with_context(cannot)?;
    let printed = match args.format {
        Format::Json => serde_json::to_string_pretty(&reading.summary)? + "\n",
        Format::Text => whole(args, &reading.summary, &reading.evidence, &reading.notes()),
        Format::Html => html::render(&mut reading)?,
    };
    write(args, &printed)
}

fn write(args: &Args, printed: &str) -> anyhow::Result<()> {
    output::write(printed, args.output.as_deref(), &[&args.bundle])
}

/// The text, with what has to be known of the bundle.
fn whole(args: &Args, summary: &Summary, evidence: &EvidenceSet, notes: &[String]) -> String {
    let width = super::width::of_output(output::file(args.output.as_deref()));
    let diagnosis = diagnose(&Case { summary, evidence });
    text::render_whole(summary, &diagnosis, notes, width)
}

/// A bundle's summary: the recorded one; where a bundle lost it, one made from the records that are there.
pub(super) fn load(bundle: &Path) -> anyhow::Result<Summary> {
    match checked(bundle) {
        Some(checked) => checked.summary(),
        None => Ok(read(bundle, &Wanted::default())?.summary),
    }
}

/// What a bundle that can be read twice and is whole recorded beside its records: by its checksums, without a look at those.
fn checked(bundle: &Path) -> Option<Checked> {
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
    Ok(reading)
}

fn is_damage(error: &anyhow::Error) -> bool {
    let error = error.downcast_ref::<ReplayError>();
    error.is_some_and(ReplayError::is_damage)
}

/// Says what is not as it should be.
fn tell(bundle: &Path, reading: &Reading) {
    super::note_evidence(bundle, &reading.evidence);
    if let Some(note) = reading.made() {
        eprintln!("kctx: {} {note}", bundle.display());
    }
    super::tell_damage(bundle, reading.not_whole());
}
