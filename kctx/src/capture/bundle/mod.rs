//! `*.kctx.tar.zst`: an ordinary tar under zstd, with a manifest as its last member.

mod frames;
mod incident;
mod manifest;
mod reader;
mod salvage;
mod survey;
mod walk;
mod writer;

use std::path::PathBuf;

pub use incident::Incident;
pub use manifest::{
    BUNDLE_SCHEMA, BundleWindow, LimitUse, Manifest, MemberDigest, MissingEvidence,
};
pub use reader::{BundleReader, Member, ReadLimits, Step};
pub use salvage::{Salvage, SalvagedMembers};
pub use survey::{Survey, survey};
pub use writer::{BundleWriter, Segment, WriteLimits, Written};

/// Path of the manifest in a bundle.
pub const MANIFEST: &str = "manifest.json";
/// Path of the summary in a bundle.
pub const SUMMARY: &str = "summary.json";
/// Folder of the records in a bundle.
pub const EVENTS: &str = "events/";
/// Folder of the evidence in a bundle.
pub const EVIDENCE: &str = "evidence/";

/// What can go wrong with a bundle; each says what and what to do.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// A file could not be opened, written or renamed.
    #[error("cannot {action} {path}: {source}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
    /// The folder for the bundle is gone; the bundle is kept elsewhere.
    #[error("cannot make {output}: its folder is gone; the bundle is in {kept}")]
    Rescued {
        /// The output asked for.
        output: PathBuf,
        /// Where the bundle is.
        kept: PathBuf,
    },
    /// The output cannot be a bundle.
    #[error("cannot write a bundle to {path}: {reason}; give the path of a file that may be made")]
    BadOutput {
        /// The output asked for.
        path: PathBuf,
        /// What is in the way.
        reason: String,
    },
    /// Another writer holds the temporary file.
    #[error("{0} is being written by another capture; wait for it or choose another output")]
    Busy(PathBuf),
    /// A member path that a bundle cannot have.
    #[error("{0:?} cannot be the path of a bundle's member")]
    BadMemberPath(String),
    /// Not a bundle at all.
    #[error("this is no kctx bundle: {0}; give a file that `kctx capture` wrote (*.kctx.tar.zst)")]
    Foreign(String),
    /// A bundle whose bytes are broken.
    #[error("the bundle is damaged {after}: {reason}; copy it again from where it was captured")]
    Damaged {
        /// Where.
        after: String,
        /// What.
        reason: String,
    },
    /// A member does not match the manifest.
    #[error(
        "the bundle is damaged: {0} does not match its checksum in the manifest; copy it again from where it was captured"
    )]
    Checksum(String),
    /// The manifest lists what is not in the bundle.
    #[error(
        "the bundle is damaged: {0} is in its manifest but not in the file; copy it again from where it was captured"
    )]
    MemberMissing(String),
    /// Larger than the reader takes.
    #[error("the bundle is larger than is safe to read: {0}; raise the limit if you trust it")]
    TooLarge(String),
    /// From another version.
    #[error("the bundle has the schema {0:?}, this kctx reads {expected:?}; use the kctx that wrote it or a newer one", expected = BUNDLE_SCHEMA)]
    Schema(String),
}

impl BundleError {
    /// Whether it is a bundle, of which something can still be whole.
    #[must_use]
    pub fn is_damage(&self) -> bool {
        matches!(
            self,
            Self::Damaged { .. }
                | Self::Checksum(_)
                | Self::MemberMissing(_)
                | Self::BadMemberPath(_)
                | Self::TooLarge(_)
        )
    }
}

/// Whether `path` may be a member: relative, without `..`, empty parts and control characters.
fn is_member_path(path: &str) -> bool {
    !path.is_empty()
        && !path.chars().any(char::is_control)
        && path.split('/').all(|part| !matches!(part, "" | "." | ".."))
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing into a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests;
