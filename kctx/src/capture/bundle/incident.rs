//! A bundle but for its records: what it says of itself, its summary, its evidence.

use super::{BundleError, BundleReader, Manifest, Member, ReadLimits, SUMMARY, Salvage, Step};
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
    /// What of it is damaged, and therefore not here.
    pub damage: Vec<String>,
}

impl Incident {
    /// Reads a bundle through once. One that was cut short gives what is there, a damaged one what is whole.
    pub fn read(path: &Path, limits: ReadLimits) -> Result<Self, BundleError> {
        let error = match Self::read_whole(path, limits) {
            Err(error) if error.is_damage() => error,
            result => return result,
        };
        match Self::salvage(path, limits) {
            Ok(Some(incident)) => Ok(incident),
            Ok(None) | Err(_) => Err(error),
        }
    }

    fn read_whole(path: &Path, limits: ReadLimits) -> Result<Self, BundleError> {
        let mut reader = BundleReader::open(path, limits)?;
        let mut incident = Self::default();
        while let Step::Member(member) = reader.step()? {
            incident.take(member);
        }
        incident.manifest = reader.manifest().cloned();
        Ok(incident)
    }

    fn salvage(path: &Path, limits: ReadLimits) -> std::io::Result<Option<Self>> {
        let Some(salvage) = Salvage::survey(path, limits)? else {
            return Ok(None);
        };
        let mut incident = Self {
            manifest: salvage.manifest().cloned(),
            damage: salvage.damage(),
            ..Self::default()
        };
        let mut members = salvage.members(path, limits)?;
        while let Some(member) = members.next_member()? {
            incident.take(member);
        }
        Ok(Some(incident))
    }

    fn take(&mut self, member: Member) {
        if member.path == SUMMARY {
            self.summary = serde_json::from_slice(&member.bytes).ok();
        } else {
            // Records, and what later versions may add.
            let _ = self.evidence.take(&member.path, member.bytes);
        }
    }
}
