//! The kernel's log in the window.

use crate::{
    capture::{evidence::Phase, evidence_set::EvidenceSet},
    host::kmsg,
    report::summary::Summary,
};

const FILE: &str = "kmsg";

/// Texts of the window's lines; where the window has none, of those that the second sample has and the first has not.
pub(super) fn of(summary: &Summary, evidence: &EvidenceSet) -> Vec<String> {
    if !summary.log.lines.is_empty() {
        return summary
            .log
            .lines
            .iter()
            .map(|line| line.text.clone())
            .collect();
    }
    let (Some(before), Some(after)) = (
        evidence.text(Phase::Before, FILE),
        evidence.text(Phase::After, FILE),
    ) else {
        return Vec::new();
    };
    let last = kmsg::parse(&before).map(|record| record.sequence).max();
    kmsg::parse(&after)
        .filter(|record| last.is_none_or(|last| record.sequence > last))
        .map(|record| record.text)
        .collect()
}

impl super::Facts<'_> {
    /// The first line of the log that has all of these words.
    pub(in crate::diagnose) fn logged(&self, words: &[&str]) -> Option<&str> {
        let has = |line: &&String| words.iter().all(|word| line.contains(word));
        self.log.iter().find(has).map(String::as_str)
    }

    /// Lines of all levels, kept or not.
    pub(in crate::diagnose) fn log_lines(&self) -> u64 {
        let levels = &self.summary.log.by_level;
        let counted = levels
            .iter()
            .fold(self.summary.log.fragments, |sum, n| sum.saturating_add(*n));
        counted.saturating_add(self.summary.log.overwritten)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnose::{Case, fixture};

    #[test]
    fn without_lines_in_the_window_what_is_new_in_the_second_sample_is_its_log() {
        let summary = fixture::summary();
        let evidence = fixture::evidence(&[
            ("before/kmsg", "4,1,10,-;old\n"),
            ("after/kmsg", "4,1,10,-;old\n4,2,20,-;new one\n"),
        ]);
        let case = Case {
            summary: &summary,
            evidence: &evidence,
        };
        assert_eq!(of(case.summary, case.evidence), ["new one"]);
    }
}
