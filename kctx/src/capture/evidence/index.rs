//! `index.json` of a sample: when each file was read, and from what.

use serde::{Deserialize, Serialize};

use super::{EvidenceFile, Phase};

/// Path of the index in a sample's folder.
pub const INDEX: &str = "index.json";

/// When and from what a file was taken.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Taking {
    /// What it was read from.
    pub source: String,
    /// `CLOCK_MONOTONIC` when its reading began.
    pub monotonic_ns: u64,
    /// The wall clock then.
    pub unix_ns: u64,
    /// How long that took; members of one item share it.
    pub took_ns: u64,
}

/// One line of the index.
#[derive(Serialize)]
struct Entry<'a> {
    /// Path in the sample's folder.
    path: &'a str,
    #[serde(flatten)]
    taking: &'a Taking,
    /// Size as it was read, before anything was redacted.
    bytes: usize,
    truncated: bool,
}

/// The index of a sample's files, as JSON: one entry a line, so that it can be read with grep.
pub(super) fn render(phase: Phase, files: &[EvidenceFile]) -> Vec<u8> {
    let folder = format!("{}/", phase.folder());
    let lines: Vec<String> = files
        .iter()
        .filter_map(|file| {
            let entry = Entry {
                path: file.path.strip_prefix(&folder).unwrap_or(&file.path),
                taking: &file.taking,
                bytes: file.bytes.len(),
                truncated: file.truncated,
            };
            serde_json::to_string(&entry).ok()
        })
        .collect();
    format!("[\n{}\n]\n", lines.join(",\n")).into_bytes()
}
