//! What the export did: for the command line, and for the export's own metrics.

use std::collections::{BTreeMap, BTreeSet};

/// Counts since the start of the exporter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExporterStats {
    /// Exports of which every request was accepted.
    pub exports_ok: u64,
    /// Exports of which at least one request failed.
    pub exports_failed: u64,
    /// Requests sent again after a failure that allows it.
    pub retries: u64,
    /// Data points or log records that the endpoint took.
    pub points_exported: u64,
    /// Those that it refused in an otherwise accepted request.
    pub points_rejected: u64,
    /// Those of requests that failed and are not sent again, by `error.type`.
    pub points_failed: BTreeMap<String, u64>,
    /// Of those, data points of deltas that were given up: no later one has their counts.
    pub points_lost: u64,
    /// Collections whose resolution was lost because a later one replaced them while a request was
    /// under way. Their counts are in the later one.
    pub collections_merged: u64,
    /// Windows that did not end after the one before them: the clock was set back.
    pub clock_steps: u64,
    /// The failure of the last export, if it failed.
    pub last_error: Option<String>,
}

/// Says each distinct failure once, and when exports work again.
#[derive(Debug, Default)]
pub struct Reporter {
    failing: BTreeSet<String>,
    notes: BTreeSet<String>,
}

/// Most distinct remarks kept, so that an endpoint that words each answer anew cannot fill the log.
const MAX_NOTES: usize = 16;

impl Reporter {
    /// Whether a failure of this kind is to be told: not since the last success.
    pub fn failed(&mut self, kind: &str) -> bool {
        self.failing.insert(kind.to_owned())
    }

    /// Whether a success is to be told: exports failed before.
    pub fn recovered(&mut self) -> bool {
        let was_failing = !self.failing.is_empty();
        self.failing.clear();
        was_failing
    }

    /// Whether a remark of the endpoint is to be told: never before, and not one too many.
    pub fn remarked(&mut self, text: &str) -> bool {
        self.notes.len() < MAX_NOTES && self.notes.insert(text.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_failure_is_told_once_until_recovery() {
        let mut reporter = Reporter::default();
        assert!(!reporter.recovered());
        assert!(reporter.failed("connect"));
        assert!(!reporter.failed("connect"));
        assert!(reporter.failed("503"));
        assert!(!reporter.failed("connect"));
        assert!(reporter.recovered());
        assert!(!reporter.recovered());
        assert!(reporter.failed("connect"));
    }

    #[test]
    fn remarks_are_told_once_and_bounded() {
        let mut reporter = Reporter::default();
        assert!(reporter.remarked("a"));
        assert!(!reporter.remarked("a"));
        let told = (0..100)
            .filter(|n| reporter.remarked(&n.to_string()))
            .count();
        assert_eq!(told, MAX_NOTES - 1);
    }
}
