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
        text,
    },
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
    let mut reading = read(&args.bundle, &wanted)
        .with_context(|| format!("cannot report {}", args.bundle.display()))?;
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

fn read(bundle: &Path, wanted: &Wanted) -> anyhow::Result<Reading> {
    let reading = reading::read(bundle, wanted)?;
    if let Some(records) = reading.cut_short {
        eprintln!(
            "kctx: {} was cut short; this is made from the {records} records in it",
            bundle.display()
        );
    }
    Ok(reading)
}
