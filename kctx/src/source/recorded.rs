//! A bundle as a source: the same stream that the live run had.

use std::path::Path;

use bytes::Bytes;

use anyhow::Context as _;

use super::Item;
use crate::capture::{
    bundle::{
        BundleError, BundleReader, EVENTS, Manifest, ReadLimits, SUMMARY, Salvage, SalvagedMembers,
        Step,
    },
    events::{Decoder, EventsError},
    evidence_set::EvidenceSet,
};
use crate::report::summary::Summary;

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

impl ReplayError {
    /// Whether something can still be whole.
    #[must_use]
    pub fn is_damage(&self) -> bool {
        match self {
            Self::Bundle(error) => error.is_damage(),
            Self::Version(_) => false,
            Self::Events { .. } => true,
        }
    }
}

/// Where the members come from.
enum Members {
    /// A bundle that is whole, as far as it goes; anything else is an error.
    Whole(Box<BundleReader<'static>>),
    /// What is whole of a damaged one.
    Salvaged(Box<Salvage>, Box<SalvagedMembers>),
}

impl Members {
    fn step(&mut self) -> Result<Step, BundleError> {
        match self {
            Self::Whole(reader) => reader.step(),
            Self::Salvaged(_, members) => match members.next_member() {
                Ok(Some(member)) => Ok(Step::Member(member)),
                Ok(None) => Ok(Step::End),
                Err(error) => Err(BundleError::Damaged {
                    after: "somewhere".to_owned(),
                    reason: error.to_string(),
                }),
            },
        }
    }
}

/// The stream of a bundle.
pub struct RecordedSource {
    members: Members,
    segment: Option<(String, Decoder)>,
    summary: Option<Vec<u8>>,
    evidence: EvidenceSet,
    truncated: bool,
}

impl RecordedSource {
    /// Opens a bundle. What is no bundle is refused here or at the first step.
    pub fn open(path: &Path) -> Result<Self, BundleError> {
        Ok(Self {
            members: Members::Whole(Box::new(BundleReader::open(path, ReadLimits::default())?)),
            segment: None,
            summary: None,
            evidence: EvidenceSet::default(),
            truncated: false,
        })
    }

    /// Opens a bundle; of a damaged file what is whole, which [`Self::damage`] tells before the first item is taken: by a look at
    /// all checksums. Of a pipe, which can be read once, damage is met on the way.
    pub fn open_what_is_whole(path: &Path) -> Result<Self, ReplayError> {
        if std::fs::metadata(path).is_ok_and(|it| it.is_file())
            && let Err(error) = checked_summary(path)
            && error.is_damage()
        {
            return match Self::salvage(path) {
                Ok(Some(salvaged)) => Ok(salvaged),
                _ => Err(error),
            };
        }
        Ok(Self::open(path)?)
    }

    /// Opens a damaged bundle: whole segments before and after what is not are read. `None` where nothing is whole.
    pub fn salvage(path: &Path) -> std::io::Result<Option<Self>> {
        let limits = ReadLimits::default();
        let Some(salvage) = Salvage::survey(path, limits)? else {
            return Ok(None);
        };
        let members = salvage.members(path, limits)?;
        Ok(Some(Self {
            members: Members::Salvaged(Box::new(salvage), Box::new(members)),
            segment: None,
            summary: None,
            evidence: EvidenceSet::default(),
            truncated: false,
        }))
    }

    /// What of the bundle is damaged and passed over; empty for one that is read as a whole.
    #[must_use]
    pub fn damage(&self) -> Vec<String> {
        match &self.members {
            Members::Whole(_) => Vec::new(),
            Members::Salvaged(salvage, _) => salvage.damage(),
        }
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
            match self.members.step()? {
                Step::Member(member) if member.path.starts_with(EVENTS) => {
                    let decoder = Decoder::new(Bytes::from(member.bytes));
                    let path = member.path;
                    let decoder = decoder.map_err(|error| at_segment(path.clone(), error))?;
                    self.segment = Some((path, decoder));
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

    /// The evidence that came by, once: it may be large.
    #[must_use]
    pub fn take_evidence(&mut self) -> EvidenceSet {
        std::mem::take(&mut self.evidence)
    }

    /// The manifest, where it came by.
    #[must_use]
    pub fn manifest(&self) -> Option<&Manifest> {
        match &self.members {
            Members::Whole(reader) => reader.manifest(),
            Members::Salvaged(salvage, _) => salvage.manifest(),
        }
    }
}

/// What a whole bundle has beside its records.
pub struct Checked {
    json: Vec<u8>,
    /// Its evidence.
    pub evidence: EvidenceSet,
}

impl Checked {
    /// Its summary; an error where another version wrote it.
    pub fn summary(&self) -> anyhow::Result<Summary> {
        serde_json::from_slice(&self.json)
            .context("its summary.json is not of a version this kctx reads")
    }
}

/// Of a bundle that has its end and its manifest, so that every file in it matched its checksum. Segments are not decoded, but
/// their version is looked at. `None` of a bundle whose records have to vouch for themselves.
pub fn checked_summary(path: &Path) -> Result<Option<Checked>, ReplayError> {
    let mut reader = BundleReader::open(path, ReadLimits::default())?;
    let (mut summary, mut evidence) = (None, EvidenceSet::default());
    loop {
        match reader.step()? {
            Step::Member(member) if member.path.starts_with(EVENTS) => {
                Decoder::new(Bytes::from(member.bytes))
                    .map_err(|error| at_segment(member.path, error))?;
            }
            Step::Member(member) if member.path == SUMMARY => summary = Some(member.bytes),
            Step::Member(member) => {
                let _ = evidence.take(&member.path, member.bytes);
            }
            Step::Truncated => return Ok(None),
            Step::End => {
                let json = reader.manifest().and(summary);
                return Ok(json.map(|json| Checked { json, evidence }));
            }
        }
    }
}

fn at_segment(path: String, error: EventsError) -> ReplayError {
    match error.is_version() {
        true => ReplayError::Version(error),
        false => ReplayError::Events {
            path,
            source: error,
        },
    }
}
