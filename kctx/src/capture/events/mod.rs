//! The recorded form of the stream: segments of delta-encoded records and of controls.
//!
//! A segment stands alone: its dictionary and deltas start afresh, so that a bundle cut short loses no
//! more than the segment it was cut in. It is a magic word, then frames:
//!
//! - `0`, length, that many bytes of JSON: a [`Control`](crate::source::Control);
//! - CPU + 1, number of records, the records: each a tag byte and varints (LEB128), as `records.rs` has it.
//!
//! A record comes back as it was, but for reserved bytes and what its flags say was not measured, and a
//! softirq always in its long form.

mod decoder;
mod dictionary;
mod encoder;
mod input;
mod records;

pub use self::{decoder::Decoder, encoder::Encoder};

/// First bytes of a segment, before the format's version.
const MAGIC: &[u8; 7] = b"KCTXEVT";

/// The version that this kctx writes. 1 had no origins, contexts, tasklets, NAPIs or threads; 2 says nothing of what kctx
/// itself cost.
const VERSION: u8 = 3;

/// The oldest version that it reads.
const OLDEST: u8 = 2;

/// A frame holds no more records than this, so that a reader can bound what it makes of one.
const FRAME_RECORDS: usize = 4096;

/// Why a segment could not be read.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum EventsError {
    /// Not a segment.
    #[error("not an event segment")]
    Magic,
    /// Of an earlier version.
    #[error(
        "written by an older kctx (events of version {0}, this one reads {OLDEST} to {VERSION}): read it with that one"
    )]
    Older(u8),
    /// Of a later version.
    #[error(
        "written by a newer kctx (events of version {0}, this one reads {OLDEST} to {VERSION}): update kctx"
    )]
    Newer(u8),
    /// Ends in the middle of something.
    #[error("event segment is cut short")]
    Short,
    /// Holds what no writer writes.
    #[error("event segment is damaged: {0}")]
    Damaged(&'static str),
}

impl EventsError {
    /// Whether the segment is whole, but of another version.
    #[must_use]
    pub fn is_version(&self) -> bool {
        matches!(self, Self::Older(_) | Self::Newer(_))
    }
}

fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Small differences of either sign to small numbers.
fn zigzag(difference: u64) -> u64 {
    (difference << 1) ^ (((difference as i64) >> 63) as u64)
}

fn unzigzag(coded: u64) -> u64 {
    (coded >> 1) ^ (coded & 1).wrapping_neg()
}

#[cfg(test)]
#[path = "document_tests.rs"]
mod document;
#[cfg(test)]
mod tests;
