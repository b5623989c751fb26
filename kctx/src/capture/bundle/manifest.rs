//! `manifest.json`: what a bundle holds, of whom, and which limits bit.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    capture::{flight::Ending, trigger::Fired},
    host::HostIdentity,
};

/// The schema of bundles that this version writes and reads.
pub const BUNDLE_SCHEMA: &str = "kctx.bundle.v1";

/// The manifest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// [`BUNDLE_SCHEMA`]
    pub schema: String,
    /// Version of the kctx that wrote it.
    pub kctx_version: String,
    /// The machine.
    pub host: HostIdentity,
    /// The time captured.
    pub window: BundleWindow,
    /// Every bound by its name, and whether it was reached.
    #[serde(default)]
    pub limits: BTreeMap<String, LimitUse>,
    /// Every member but the manifest. The writer fills this in.
    #[serde(default)]
    pub files: Vec<MemberDigest>,
    /// Evidence that could not be taken.
    #[serde(default)]
    pub evidence_missing: Vec<MissingEvidence>,
    /// The capture was ended before its window was over.
    #[serde(default)]
    pub interrupted: bool,
    /// Addresses and secrets were taken out.
    #[serde(default)]
    pub redacted: bool,
    /// How many, by kind.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub redactions: BTreeMap<String, u64>,
    /// Of a capture through a daemon: how its time lies to when it was asked for, and how it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub through_daemon: Option<Ending>,
    /// Of a capture that a trigger had taken: which, and what it saw.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trigger: Option<Fired>,
}

impl Manifest {
    /// A manifest of this version, without limits, files or missing evidence yet.
    #[must_use]
    pub fn new(host: HostIdentity, window: BundleWindow) -> Self {
        Self {
            schema: BUNDLE_SCHEMA.to_owned(),
            kctx_version: env!("CARGO_PKG_VERSION").to_owned(),
            host,
            window,
            limits: BTreeMap::new(),
            files: Vec::new(),
            evidence_missing: Vec::new(),
            interrupted: false,
            redacted: false,
            redactions: BTreeMap::new(),
            through_daemon: None,
            trigger: None,
        }
    }

    /// Notes a bound, and how much it kept out; what was kept out before is added to.
    pub fn note_limit(&mut self, name: &str, limit: u64, dropped: u64) {
        let entry = self.limits.entry(name.to_owned()).or_default();
        entry.limit = limit;
        entry.hit |= dropped > 0;
        entry.dropped = entry.dropped.saturating_add(dropped);
    }
}

/// The time a bundle covers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BundleWindow {
    /// Start, in nanoseconds since the Unix epoch.
    pub start_unix_ns: u64,
    /// Length.
    pub duration_ns: u64,
}

/// One bound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LimitUse {
    /// Its value.
    pub limit: u64,
    /// It was reached.
    pub hit: bool,
    /// How many of what it bounds were left out.
    pub dropped: u64,
}

/// One member's size and checksum.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberDigest {
    /// Path in the bundle.
    pub path: String,
    /// Size in bytes.
    pub size: u64,
    /// SHA-256 in hex.
    pub sha256: String,
}

/// One piece of evidence that could not be taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MissingEvidence {
    /// Path it would have had in the bundle.
    pub path: String,
    /// Why, in one line.
    pub reason: String,
}
