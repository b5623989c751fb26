//! What the probes are, and what they counted.

use serde::{Deserialize, Serialize};

/// Whether a probe is attached, and how, or why not.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub struct ProbeStatus {
    /// `group:tracepoint`, for example `irq:softirq_raise`.
    pub name: String,
    /// Family it serves.
    pub family: Family,
    /// Attached.
    pub attached: bool,
    /// `tp_btf`, `raw_tp` or `tracepoint`, where attached.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub mechanism: Option<String>,
    /// Why it is not attached, in one line.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub reason: Option<String>,
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
