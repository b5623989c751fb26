//! A bundle for other programs: a Perfetto trace, a line of JSON for each record, folded stacks.
//!
//! One walk: the stream of a bundle is named piece by piece ([`Naming`]) and handed on ([`Writer`]). Nothing of it is kept
//! but names and what a writer needs to know of the last few records, so that memory does not grow with the bundle.

mod folded;
mod jsonl;
mod line;
mod naming;
pub mod perfetto;

use std::io::{self, Write};

pub use folded::Folded;
pub use jsonl::Jsonl;
pub use line::{
    HardirqLine, KthreadLine, Line, ModuleLine, NapiLine, SoftirqLine, StackLine, TaskletLine,
    WorkLine,
};
pub use naming::Naming;

use crate::source::{
    Item,
    recorded::{RecordedSource, ReplayError},
};

/// Takes the stream's lines and writes them in its format.
pub trait Writer {
    /// Takes the next line.
    fn line(&mut self, line: &Line) -> io::Result<()>;
    /// The stream is over: writes what is left. What had no place in the output by then.
    fn finish(&mut self) -> io::Result<LeftOut>;
}

/// Into which format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Perfetto's protobuf trace.
    Perfetto,
    /// A JSON object a line.
    Jsonl,
    /// `context;frame;frame count` a line.
    Folded,
}

impl Format {
    /// The format's writer onto `out`.
    pub fn writer<'a>(self, out: Box<dyn Write + 'a>) -> Box<dyn Writer + 'a> {
        match self {
            Self::Perfetto => Box::new(perfetto::Perfetto::new(out)),
            Self::Jsonl => Box::new(Jsonl::new(out)),
            Self::Folded => Box::new(Folded::new(out)),
        }
    }
}

/// Why a bundle could not be converted.
#[derive(Debug, thiserror::Error)]
pub enum ConvertError {
    /// The bundle.
    #[error(transparent)]
    Read(#[from] ReplayError),
    /// The output.
    #[error("cannot write the output: {0}")]
    Write(#[source] io::Error),
}

/// What a conversion did, and what it had to leave out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Converted {
    /// Records that the bundle held.
    pub records: u64,
    /// Executions that went into histograms in the kernel: there is no record of them.
    pub spilled: u64,
    /// Records that could not be decoded.
    pub undecoded: u64,
    /// What the writer had no place for.
    pub left_out: LeftOut,
    /// The bundle ends too early.
    pub truncated: bool,
}

/// What a format's bounds kept out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LeftOut {
    /// Slices for which there was no track left that they did not overlap.
    pub slices: u64,
    /// Samples of stacks beyond those that are kept apart: they are one row, `others`.
    pub samples: u64,
}

/// Writes a bundle: its first piece, and what the source still has.
pub fn convert(
    first: Option<Item>,
    source: &mut RecordedSource,
    writer: &mut dyn Writer,
) -> Result<Converted, ConvertError> {
    let mut naming = Naming::default();
    let mut next = first;
    while let Some(item) = next {
        naming
            .take(&item, &mut |line| writer.line(line))
            .map_err(ConvertError::Write)?;
        next = source.next_item()?;
    }
    Ok(Converted {
        records: naming.records(),
        spilled: naming.spilled(),
        undecoded: naming.undecoded(),
        left_out: writer.finish().map_err(ConvertError::Write)?,
        truncated: source.truncated(),
    })
}
