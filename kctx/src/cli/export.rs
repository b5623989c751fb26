//! `kctx export`: a bundle for other programs.

use std::{
    io::{self, BufWriter, IsTerminal as _, Write},
    path::PathBuf,
};

use anyhow::Context as _;

use super::{Usage, output};
use crate::formats::{self, Converted};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The bundle.
    bundle: PathBuf,
    /// Into which format.
    #[arg(long, value_enum)]
    format: Format,
    /// Where to; stdout without it, or by -. A trace does not go to a terminal.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// A format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// A trace for ui.perfetto.dev and trace_processor.
    Perfetto,
    /// A JSON object a record.
    Jsonl,
    /// Sampled stacks for flamegraph.pl and inferno.
    Folded,
}

impl From<Format> for formats::Format {
    fn from(format: Format) -> Self {
        match format {
            Format::Perfetto => Self::Perfetto,
            Format::Jsonl => Self::Jsonl,
            Format::Folded => Self::Folded,
        }
    }
}

pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    let cannot = || format!("cannot export {}", args.bundle.display());
    let output = output::file(args.output.as_deref());
    if output.is_none() && args.format == Format::Perfetto && io::stdout().is_terminal() {
        anyhow::bail!(Usage(
            "a Perfetto trace is binary and does not go to a terminal; give a file: -o F.pftrace"
                .to_owned()
        ));
    }
    let mut source = super::open(&args.bundle).with_context(cannot)?;
    // What is no bundle is known from its first piece: an output is not made for nothing.
    let first = source.next_item().with_context(cannot)?;
    let out: Box<dyn Write> = match output {
        Some(path) => Box::new(BufWriter::new(output::create(path, &[&args.bundle])?)),
        None => Box::new(BufWriter::new(io::stdout().lock())),
    };
    let mut writer = formats::Format::from(args.format).writer(out);
    let converted = formats::convert(first, &mut source, writer.as_mut()).with_context(cannot)?;
    for note in notes(&converted) {
        eprintln!("kctx: {}: {note}", args.bundle.display());
    }
    Ok(())
}

/// What the output lacks.
fn notes(converted: &Converted) -> Vec<String> {
    let mut notes = Vec::new();
    if converted.truncated {
        notes.push(format!(
            "it was cut short; this is made from the {} records in it",
            converted.records
        ));
    }
    if converted.spilled > 0 {
        notes.push(format!(
            "{} executions went into histograms, they have no record (kctx report has them)",
            converted.spilled
        ));
    }
    if converted.undecoded > 0 {
        notes.push(format!(
            "{} records could not be decoded; a newer kctx may have written them",
            converted.undecoded
        ));
    }
    if converted.left_out.slices > 0 {
        notes.push(format!(
            "{} slices have no place, too many overlap on one CPU; --format jsonl has them",
            converted.left_out.slices
        ));
    }
    if converted.left_out.samples > 0 {
        notes.push(format!(
            "{} samples are of too many different stacks and are called others",
            converted.left_out.samples
        ));
    }
    notes
}
