//! From "ksoftirqd is hot" to the cause.

mod finding;

pub use finding::*;

use crate::{capture::evidence_set::EvidenceSet, report::summary::Summary};

/// What is known of a window.
#[derive(Clone, Copy, Debug)]
pub struct Case<'a> {
    /// What was measured.
    pub summary: &'a Summary,
    /// Evidence of its edges; in a live view there may be none.
    pub evidence: &'a EvidenceSet,
}

/// Says what is hot and why.
#[must_use]
pub fn diagnose(case: &Case<'_>) -> Diagnosis {
    let _ = case;
    Diagnosis {
        schema: DIAGNOSIS_SCHEMA.to_owned(),
        verdict: Verdict::NothingHot,
        first_line: String::new(),
        findings: Vec::new(),
        ruled_out: Vec::new(),
        caveats: Vec::new(),
    }
}
