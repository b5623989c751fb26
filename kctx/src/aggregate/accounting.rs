//! What the probes are, and what they counted.

use serde::{Deserialize, Serialize};

/// Whether a probe is attached, and how, or why not.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub struct ProbeStatus {
    /// `group:tracepoint`, for example `irq:softirq_raise`; of a file `log:/dev/kmsg` and the like.
    pub name: String,
    /// What it serves.
    pub family: Served,
    /// Attached.
    pub attached: bool,
    /// `tp_btf`, `raw_tp`, `tracepoint` or `perf_event`, where attached; `read` of a file.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub mechanism: Option<String>,
    /// Why it is not attached, in one line.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub reason: Option<String>,
}

impl ProbeStatus {
    /// Of a file that is read beside the probes, or the reason why it can't be.
    #[must_use]
    pub fn of_file(source: Source, path: &str, readable: Result<(), String>) -> Self {
        Self {
            name: format!("{}:{path}", source.as_str()),
            family: Served::File(source),
            attached: readable.is_ok(),
            mechanism: readable.is_ok().then(|| "read".to_owned()),
            reason: readable.err(),
        }
    }
}

/// What a probe serves: a family of records, or what is read from a file beside them. Both are one name in JSON.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, PartialEq, Eq)]
#[serde(untagged)]
pub enum Served {
    /// A tracepoint's, or the stacks' clock's.
    Records(Family),
    /// A file's.
    File(Source),
}

impl Served {
    /// The name used in JSON and as an attribute.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Records(family) => family.as_str(),
            Self::File(source) => source.as_str(),
        }
    }
}

impl From<Family> for Served {
    fn from(family: Family) -> Self {
        Self::Records(family)
    }
}

/// What is read from files while the probes count.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// The kernel's log.
    Log,
    /// The kernel's taint.
    Taint,
    /// The kernel's symbols, for names of functions.
    Symbols,
}

impl Source {
    fn as_str(self) -> &'static str {
        match self {
            Self::Log => "log",
            Self::Taint => "taint",
            Self::Symbols => "symbols",
        }
    }
}

/// A family of records.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[serde(rename_all = "snake_case")]
pub enum Family {
    /// Softirq vectors.
    Softirq,
    /// Interrupt handlers.
    Hardirq,
    /// Work items.
    Workqueue,
    /// Modules.
    Module,
    /// Tasklets.
    Tasklet,
    /// NAPI polls.
    Napi,
    /// Kernel threads.
    Kthread,
    /// Sampled kernel stacks.
    Stack,
}

/// How many families there are.
pub const FAMILIES: usize = kctx_common::counters::FAMILIES;

impl Family {
    /// All of them, in the order of [`kctx_common::counters`].
    pub const ALL: [Self; FAMILIES] = [
        Self::Softirq,
        Self::Hardirq,
        Self::Workqueue,
        Self::Module,
        Self::Tasklet,
        Self::Napi,
        Self::Kthread,
        Self::Stack,
    ];

    /// The name used in JSON and as an attribute.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Softirq => "softirq",
            Self::Hardirq => "hardirq",
            Self::Workqueue => "workqueue",
            Self::Module => "module",
            Self::Tasklet => "tasklet",
            Self::Napi => "napi",
            Self::Kthread => "kthread",
            Self::Stack => "stack",
        }
    }
}

/// Conservation, in all and by family: `observed == streamed + spilled + lost`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Accounting {
    /// By family, in [`Family::ALL`]'s order.
    pub by_family: [FamilyAccounting; FAMILIES],
}

/// One family's conservation, over all CPUs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FamilyAccounting {
    /// Executions that the probes saw whole.
    pub observed: u64,
    /// Records that went through a ring.
    pub streamed: u64,
    /// Records that went into the spill histogram.
    pub spilled: u64,
    /// Of those, the ones that the governor kept from the ring.
    #[serde(default)]
    pub governed: u64,
    /// Records that went nowhere, by reason; only reasons that occurred.
    pub lost: std::collections::BTreeMap<String, u64>,
    /// What was seen but is no whole execution, by reason; only those that occurred.
    pub partial: std::collections::BTreeMap<String, u64>,
    /// Records that went into an overflow row because the key limit was reached.
    pub overflowed: u64,
}

impl FamilyAccounting {
    /// Adds all of `other`.
    pub fn add(&mut self, other: &Self) {
        for (sum, one) in [
            (&mut self.observed, other.observed),
            (&mut self.streamed, other.streamed),
            (&mut self.spilled, other.spilled),
            (&mut self.governed, other.governed),
            (&mut self.overflowed, other.overflowed),
        ] {
            *sum = sum.saturating_add(one);
        }
        for (sums, ones) in [
            (&mut self.lost, &other.lost),
            (&mut self.partial, &other.partial),
        ] {
            for (reason, n) in ones {
                let sum = sums.entry(reason.clone()).or_default();
                *sum = sum.saturating_add(*n);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_a_probe_with_a_name_of_its_own() {
        let read = ProbeStatus::of_file(Source::Log, "/dev/kmsg", Ok(()));
        let json = serde_json::to_string(&read).unwrap();
        assert_eq!(
            json,
            r#"{"name":"log:/dev/kmsg","family":"log","attached":true,"mechanism":"read"}"#
        );
        let reason = Err("Permission denied".to_owned());
        let refused = ProbeStatus::of_file(Source::Symbols, "/proc/kallsyms", reason);
        assert_eq!((refused.attached, &refused.mechanism), (false, &None));
        for status in [read, refused] {
            let json = serde_json::to_string(&status).unwrap();
            assert_eq!(serde_json::from_str::<ProbeStatus>(&json).unwrap(), status);
        }
        for family in Family::ALL {
            let served = serde_json::to_string(&Served::from(family)).unwrap();
            assert_eq!(served, format!("{:?}", family.as_str()));
            let back: Served = serde_json::from_str(&served).unwrap();
            assert_eq!(back, family.into());
        }
    }
}
