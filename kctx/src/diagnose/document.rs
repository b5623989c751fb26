//! A diagnosis for machines: docs/diagnosis.schema.json.

use serde::{Deserialize, Serialize};

use super::Diagnosis;
use crate::report::summary::Summary;

/// A diagnosis and what it was made from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Document {
    /// The diagnosis, with its `schema`.
    #[serde(flatten)]
    pub diagnosis: Diagnosis,
    /// What was measured.
    pub summary: Summary,
}
