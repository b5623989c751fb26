//! Kernel settings, from `sysctl.txt` (`name = value` lines) or from files of their own.

use std::collections::BTreeMap;

use super::either;
use crate::capture::{evidence::Phase, evidence_set::EvidenceSet};

/// Values by name: `net.core.netdev_budget`.
#[derive(Clone, Debug, Default)]
pub(in crate::diagnose) struct Sysctls(BTreeMap<String, String>);

impl Sysctls {
    pub(super) fn of(evidence: &EvidenceSet) -> Self {
        let mut values = BTreeMap::new();
        let text = either(evidence, "sysctl.txt").unwrap_or_default();
        for line in text.lines() {
            if let Some((name, value)) = line.split_once('=') {
                values.insert(name.trim().replace('/', "."), value.trim().to_owned());
            }
        }
        for phase in [Phase::Before, Phase::After] {
            for (path, bytes) in evidence.files(phase) {
                if let Some(name) = path.strip_prefix("proc/sys/") {
                    let value = String::from_utf8_lossy(bytes).trim().to_owned();
                    values.insert(name.replace('/', "."), value);
                }
            }
        }
        Self(values)
    }

    /// A setting that is a number.
    pub(in crate::diagnose) fn number(&self, name: &str) -> Option<u64> {
        self.0.get(name)?.split_whitespace().next()?.parse().ok()
    }
}
