//! What the machine says of itself, before and after a window: raw text, in an order of worth, within bounds.
//!
//! Files are read and netlink is asked; no command is run. What is not there, cut, late or left out is listed with the
//! reason. [`ITEMS`] is the list.

mod bpf;
mod ethtool;
mod index;
mod item;
mod kernel;
mod list;
mod netfilter;
mod netlink;
mod own;
mod place;
mod qdisc;
mod sampler;
mod siocethtool;
mod sysctl;
mod tasks;

use std::time::Duration;

pub use self::{
    index::{INDEX, Taking},
    item::{Item, Taken},
    list::ITEMS,
    sampler::{Sampler, collect},
};
use super::bundle::{BundleError, BundleWriter, Manifest, MissingEvidence};
use crate::host::kmsg::KmsgLimits;

/// Which of the two samples; two make rates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Before the window.
    Before,
    /// After the window.
    After,
}

impl Phase {
    /// The folder in the bundle.
    #[must_use]
    pub fn folder(self) -> &'static str {
        match self {
            Self::Before => "evidence/before",
            Self::After => "evidence/after",
        }
    }
}

/// How much evidence is taken in one sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EvidenceLimits {
    /// Bytes of one file, where its item says no less.
    pub file_bytes: usize,
    /// Bytes of all files; they are held in memory.
    pub total_bytes: usize,
    /// Files.
    pub files: usize,
    /// How long one item may take; one that is not done then is left behind.
    pub item_time: Duration,
    /// How long all may take but the counters at the window's edge, which are always read.
    pub total_time: Duration,
    /// The kernel log.
    pub kmsg: KmsgLimits,
}

impl Default for EvidenceLimits {
    fn default() -> Self {
        Self {
            file_bytes: 4 << 20,
            total_bytes: 32 << 20,
            files: 1_000,
            item_time: Duration::from_millis(500),
            total_time: Duration::from_secs(3),
            kmsg: KmsgLimits::default(),
        }
    }
}

/// One file of evidence.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EvidenceFile {
    /// Path in the bundle.
    pub path: String,
    /// Content.
    pub bytes: Vec<u8>,
    /// There was more than the limit.
    pub truncated: bool,
    /// When and from what.
    pub taking: Taking,
}

/// What a sample's bounds kept out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LeftOut {
    /// Records of the kernel log.
    pub kmsg: u64,
    /// Files over the sample's bytes.
    pub for_bytes: u64,
    /// Files over the number of files.
    pub for_files: u64,
    /// Items that took too long.
    pub late: u64,
    /// Items that were not begun.
    pub for_time: u64,
}

/// One sample.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Evidence {
    /// What was read.
    pub files: Vec<EvidenceFile>,
    /// What was not, and why.
    pub missing: Vec<MissingEvidence>,
    /// What the bounds kept out.
    pub left_out: LeftOut,
}

impl Evidence {
    /// Puts the files into a bundle.
    pub fn write_to(&self, bundle: &mut BundleWriter) -> Result<(), BundleError> {
        self.files
            .iter()
            .try_for_each(|file| bundle.add_file(&file.path, &file.bytes))
    }

    /// Notes in the manifest what is missing and which limits bit; both samples add to it.
    pub fn note_in(&self, manifest: &mut Manifest, limits: &EvidenceLimits) {
        manifest.evidence_missing.extend(self.missing.clone());
        let cut = self.files.iter().filter(|file| file.truncated).count() as u64;
        let records = limits.kmsg.first.saturating_add(limits.kmsg.last) as u64;
        let ms = |time: Duration| time.as_millis() as u64;
        let left_out = self.left_out;
        for (name, limit, dropped) in [
            ("evidence_file_bytes", limits.file_bytes as u64, cut),
            (
                "evidence_bytes",
                limits.total_bytes as u64,
                left_out.for_bytes,
            ),
            ("evidence_files", limits.files as u64, left_out.for_files),
            ("evidence_item_ms", ms(limits.item_time), left_out.late),
            ("evidence_ms", ms(limits.total_time), left_out.for_time),
            ("kmsg_records", records, left_out.kmsg),
        ] {
            manifest.note_limit(name, limit, dropped);
        }
    }
}

#[cfg(test)]
#[path = "document_tests.rs"]
mod document;
#[cfg(test)]
mod tests;
