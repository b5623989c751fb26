//! A bundle but for its records: what it says of itself, its summary, its evidence.

use super::{BundleError, BundleReader, Manifest, ReadLimits, SUMMARY, Step};
use crate::{capture::evidence_set::EvidenceSet, report::summary::Summary};
use std::path::Path;

/// A bundle but for its records.
#[derive(Clone, Debug, Default)]
pub struct Incident {
    /// The manifest, where the bundle has its end.
    pub manifest: Option<Manifest>,
    /// The summary, where there is one that this version reads.
    pub summary: Option<Summary>,
    /// The evidence.
    pub evidence: EvidenceSet,
}

impl Incident {
    /// Reads a bundle through once. One that was cut short gives what is there.
    pub fn read(path: &Path, limits: ReadLimits) -> Result<Self, BundleError> {
        let mut reader = BundleReader::open(path, limits)?;
        let mut incident = Self::default();
        while let Step::Member(member) = reader.step()? {
            if member.path == SUMMARY {
                incident.summary = serde_json::from_slice(&member.bytes).ok();
            } else {
                // Records, and what later versions may add.
                let _ = incident.evidence.take(&member.path, member.bytes);
            }
        }
        incident.manifest = reader.manifest().cloned();
        Ok(incident)
    }
}
