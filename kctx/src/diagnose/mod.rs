//! From "ksoftirqd is hot" to the cause.
//!
//! ```text
//!  summary + evidence -> facts/ (figures, parsed once) -> rule/ (one file a cause) -> engine (causes before effects,
//!  the worst first) -> Diagnosis -> text, markdown, JSON, metric
//! ```
//!
//! All of it is pure. A rule's file holds its page of the documentation too: docs/diagnose/ is made from it.

mod document;
mod draft;
mod engine;
mod facts;
mod figures;
mod finding;
mod harm;
pub mod markdown;
mod page;
mod rule;
mod takers;
pub mod text;
mod trust;
mod wrap;

pub use document::Document;
pub use finding::*;
pub use page::{Advice, LookAlike, Page, Threshold};

use crate::{capture::evidence_set::EvidenceSet, report::summary::Summary};

/// What is known of a window.
#[derive(Clone, Copy, Debug)]
pub struct Case<'a> {
    /// What was measured.
    pub summary: &'a Summary,
    /// Evidence of its edges; in a live view there may be none.
    pub evidence: &'a EvidenceSet,
}

/// Says what is hot and why. Never fails: what is missing or makes no sense lowers the confidence.
#[must_use]
pub fn diagnose(case: &Case<'_>) -> Diagnosis {
    engine::run(case)
}

/// The pages of all causes, in the order in which they are asked.
pub fn pages() -> impl Iterator<Item = &'static Page> {
    rule::pages().map(|(page, _)| page)
}

#[cfg(test)]
mod fixture;
#[cfg(test)]
mod fixture_bundle;
