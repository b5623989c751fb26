//! One pass over a whole bundle: is it sound, and what does it hold?

use std::path::Path;

use super::{BundleError, BundleReader, Manifest, ReadLimits, SUMMARY, Step};

/// What a pass over a bundle finds, without its records and evidence.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Survey {
    /// The manifest, where the bundle has its end.
    pub manifest: Option<Manifest>,
    /// `summary.json`, where there is one.
    pub summary: Option<Vec<u8>>,
    /// Paths and sizes of all members, in order.
    pub members: Vec<(String, u64)>,
    /// The file ends in the middle.
    pub truncated: bool,
}

/// Reads a bundle through once and checks it.
pub fn survey(path: &Path, limits: ReadLimits) -> Result<Survey, BundleError> {
    let mut reader = BundleReader::open(path, limits)?;
    let mut survey = Survey::default();
    loop {
        match reader.step()? {
            Step::Member(member) => {
                survey
                    .members
                    .push((member.path.clone(), member.bytes.len() as u64));
                if member.path == SUMMARY {
                    survey.summary = Some(member.bytes);
                }
            }
            Step::End => break,
            Step::Truncated => {
                survey.truncated = true;
                break;
            }
        }
    }
    survey.manifest = reader.manifest().cloned();
    Ok(survey)
}
