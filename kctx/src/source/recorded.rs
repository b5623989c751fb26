//! A bundle as a source: the same stream that the live run had.

use std::path::Path;

use bytes::Bytes;

use super::Item;
use crate::capture::{
    bundle::{BundleError, BundleReader, EVENTS, Manifest, ReadLimits, SUMMARY, Step},
    events::{Decoder, EventsError},
    evidence_set::EvidenceSet,
};

/// Why a bundle could not be replayed.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The bundle itself.
    #[error(transparent)]
    Bundle(#[from] BundleError),
    /// It was written by a kctx of another version.
    #[error("{0}")]
    Version(EventsError),
    /// A segment of it.
    #[error("{path}: {source}; the bundle is damaged, fetch it again from where it was captured")]
    Events {
        /// The segment's path in the bundle.
        path: String,
        /// What is wrong.
        source: EventsError,
    },
}

/// The stream of a bundle.
pub struct RecordedSource {
    reader: BundleReader<'static>,
    segment: Option<(String, Decoder)>,
    summary: Option<Vec<u8>>,
    evidence: EvidenceSet,
    truncated: bool,
}

impl RecordedSource {
    /// Opens a bundle. What is no bundle is refused here or at the first step.
    pub fn open(path: &Path) -> Result<Self, BundleError> {
        Ok(Self {
            reader: BundleReader::open(path, ReadLimits::default())?,
            segment: None,
            summary: None,
            evidence: EvidenceSet::default(),
            truncated: false,
        })
    }

    /// The next piece of the stream; `None` at its end.
    pub fn next_item(&mut self) -> Result<Option<Item>, ReplayError> {
        loop {
            if let Some((path, decoder)) = &mut self.segment {
                match decoder.next_item() {
                    Ok(Some(item)) => return Ok(Some(item)),
                    Ok(None) => self.segment = None,
                    Err(source) => {
                        return Err(ReplayError::Events {
                            path: path.clone(),
                            source,
                        });
                    }
                }
            }
            match self.reader.step()? {
                Step::Member(member) if member.path.starts_with(EVENTS) => {
                    let decoder = match Decoder::new(Bytes::from(member.bytes)) {
                        Ok(decoder) => decoder,
                        Err(error) if error.is_version() => {
                            return Err(ReplayError::Version(error));
                        }
                        Err(source) => {
                            return Err(ReplayError::Events {
                                path: member.path,
                                source,
                            });
                        }
                    };
                    self.segment = Some((member.path, decoder));
                }
                Step::Member(member) if member.path == SUMMARY => self.summary = Some(member.bytes),
                Step::Member(member) => {
                    // What else there is, later versions may have added.
                    let _ = self.evidence.take(&member.path, member.bytes);
                }
                Step::Truncated => {
                    self.truncated = true;
                    return Ok(None);
                }
                Step::End => return Ok(None),
            }
        }
    }

    /// Whether the bundle ends too early; known at the stream's end.
    #[must_use]
    pub fn truncated(&self) -> bool {
        self.truncated
    }

    /// The recorded `summary.json`, where it came by.
    #[must_use]
    pub fn summary(&self) -> Option<&[u8]> {
        self.summary.as_deref()
    }

    /// The evidence that came by.
    #[must_use]
    pub fn evidence(&self) -> &EvidenceSet {
        &self.evidence
    }

    /// The manifest, where it came by.
    #[must_use]
    pub fn manifest(&self) -> Option<&Manifest> {
        self.reader.manifest()
    }
}
