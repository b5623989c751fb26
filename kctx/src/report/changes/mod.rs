//! What changed between the two samples of evidence: counters, each with its rate, and settings.

mod counters;

use std::collections::BTreeMap;

use crate::capture::{evidence::Phase, evidence_set::EvidenceSet};

/// Longest text of a setting that is shown, in bytes.
const TEXT: usize = 120;

/// Words in a counter's name that say that something went wrong.
const TROUBLE: [&str; 12] = [
    "drop",
    "err",
    "squeeze",
    "overrun",
    "overflow",
    "fail",
    "prune",
    "collapse",
    "retrans",
    "missed",
    "flow_limit",
    "unhandled",
];

/// A counter that is not the same as before.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Change {
    /// The file of evidence.
    pub(super) file: String,
    /// Which of its counters.
    pub(super) name: String,
    pub(super) before: u64,
    pub(super) after: u64,
    /// A second; below 0 where it fell.
    pub(super) rate: f64,
}

impl Change {
    /// Whether its name says that something went wrong.
    pub(super) fn is_trouble(&self) -> bool {
        // Interrupts are no errors, though they have one in their name.
        let name = self.name.to_ascii_lowercase().replace("interrupt", "");
        TROUBLE.iter().any(|word| name.contains(word))
    }
}

/// A setting that is not the same as before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reset {
    pub(super) file: String,
    pub(super) before: String,
    pub(super) after: String,
}

/// The counters that changed within so long, the fastest first.
pub(super) fn counters(evidence: &EvidenceSet, window_ns: u64) -> Vec<Change> {
    let seconds = window_ns.max(1) as f64 / 1e9;
    let mut changes = Vec::new();
    for (file, before) in evidence.files(Phase::Before) {
        let Some(after) = evidence.text(Phase::After, file) else {
            continue;
        };
        let Some(parse) = counters::parser(file) else {
            continue;
        };
        let before: BTreeMap<String, u64> = parse(&String::from_utf8_lossy(before));
        for (name, after) in parse(&after) {
            // A counter that was not there before is a device's that has come: from 0.
            let before = before.get(&name).copied().unwrap_or(0);
            if after != before {
                changes.push(Change {
                    file: file.to_owned(),
                    name,
                    before,
                    after,
                    rate: (after as f64 - before as f64) / seconds,
                });
            }
        }
    }
    changes.sort_by(|a, b| {
        let by_rate = b.rate.abs().total_cmp(&a.rate.abs());
        by_rate.then_with(|| (&a.file, &a.name).cmp(&(&b.file, &b.name)))
    });
    changes
}

/// The settings that changed: files of /proc/sys.
pub(super) fn settings(evidence: &EvidenceSet) -> Vec<Reset> {
    let files = evidence.files(Phase::Before);
    let of_sysctl = files.filter(|(file, _)| file.starts_with("proc/sys/"));
    of_sysctl
        .filter_map(|(file, before)| {
            let after = evidence.bytes(Phase::After, file)?;
            (before != after).then(|| Reset {
                file: file.to_owned(),
                before: short(before),
                after: short(after),
            })
        })
        .collect()
}

fn short(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(TEXT)]);
    text.trim().to_owned()
}

#[cfg(test)]
mod tests;
