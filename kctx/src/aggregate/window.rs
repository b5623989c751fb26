//! A closed window: what every sink is given.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::duration::Durations;

/// The text that stands for a name that could not be resolved.
pub const UNKNOWN: &str = "?";

/// What happened between two moments, by family and key.
#[derive(Clone, Debug, Default)]
pub struct Window {
    /// Start, in nanoseconds since the Unix epoch.
    pub start_unix_ns: u64,
    /// Length in nanoseconds, by `CLOCK_MONOTONIC`.
    pub duration_ns: u64,
    /// One row a vector and CPU that ran it.
    pub softirq: Vec<SoftirqRow>,
    /// One row an interrupt number, action and CPU.
    pub hardirq: Vec<HardirqRow>,
    /// One row a workqueue and work function.
    pub workqueue: Vec<WorkqueueRow>,
    /// Module events, in order.
    pub module: Vec<ModuleRow>,
    /// What the probes counted in this window.
    pub accounting: Accounting,
    /// Each probe, whether attached, how, or why not.
    pub probes: Vec<ProbeStatus>,
}

/// Runs of one softirq vector on one CPU.
#[derive(Clone, Debug)]
pub struct SoftirqRow {
    /// Vector name as in /proc/softirqs.
    pub vector: &'static str,
    /// CPU it ran on.
    pub cpu: u32,
    /// Runs.
    pub count: u64,
    /// Runs whose raise was not seen.
    pub wait_unknown: u64,
    /// First pending raise to entry.
    pub wait: Durations,
    /// Entry to exit, gross.
    pub service: Durations,
    /// The same without the interrupt handlers that fell into it.
    pub service_net: Durations,
}

/// Calls of one interrupt action's handler on one CPU.
#[derive(Clone, Debug)]
pub struct HardirqRow {
    /// Interrupt number; `None` in the overflow row.
    pub irq: Option<u32>,
    /// Action name; [`UNKNOWN`] where it could not be read.
    pub name: Arc<str>,
    /// CPU it ran on.
    pub cpu: u32,
    /// Calls that handled the interrupt.
    pub count: u64,
    /// Calls that returned `IRQ_NONE`: a shared line's other device, or a spurious interrupt.
    pub unhandled: u64,
    /// Calls that woke the action's thread (part of `count`).
    pub woke_thread: u64,
    /// Time in the handler, of `count` calls.
    pub service: Durations,
}

/// Executions of one work function on one workqueue.
#[derive(Clone, Debug)]
pub struct WorkqueueRow {
    /// Workqueue name; [`UNKNOWN`] where the queueing was not seen.
    pub workqueue: Arc<str>,
    /// Function name, or its address in hex where kallsyms has none.
    pub function: Arc<str>,
    /// The row that takes what the key limit kept out.
    pub overflow: bool,
    /// Executions.
    pub count: u64,
    /// Executions whose queueing was not seen.
    pub wait_unknown: u64,
    /// Executions on another CPU than the one that queued the work.
    pub remote: u64,
    /// Queueing to start.
    pub wait: Durations,
    /// Queueing to activation: the part of the wait that `max_active` caused.
    pub activate: Durations,
    /// Start to end, in wall time: a work may sleep.
    pub service: Durations,
}

/// One module event.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub struct ModuleRow {
    /// `load`, `free` or `request`.
    pub event: ModuleEvent,
    /// Module name; of a request, what was asked for.
    pub name: String,
    /// When, in nanoseconds since the Unix epoch.
    pub time_unix_ns: u64,
    /// Taint letters that the module brought, as in /proc/modules; empty for none.
    #[serde(default)]
    pub taints: String,
    /// Process that did it.
    pub pid: u32,
    /// That process's comm.
    pub comm: String,
    /// CPU it happened on.
    pub cpu: u32,
}

/// What happened to a module.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, PartialEq, Eq, Hash)]
#[serde(rename_all = "snake_case")]
pub enum ModuleEvent {
    /// Linked in, init not yet called.
    Load,
    /// Gone.
    Free,
    /// The kernel asked modprobe for it.
    Request,
}

impl ModuleEvent {
    /// The name used in JSON and as an attribute.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Load => "load",
            Self::Free => "free",
            Self::Request => "request",
        }
    }
}

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
}

impl Family {
    /// All of them, in the order of their record kinds.
    pub const ALL: [Self; 4] = [Self::Softirq, Self::Hardirq, Self::Workqueue, Self::Module];

    /// The name used in JSON and as an attribute.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Softirq => "softirq",
            Self::Hardirq => "hardirq",
            Self::Workqueue => "workqueue",
            Self::Module => "module",
        }
    }
}

/// Conservation, in all and by family: `observed == streamed + spilled + lost`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Accounting {
    /// By family, in [`Family::ALL`]'s order.
    pub by_family: [FamilyAccounting; 4],
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
        self.observed += other.observed;
        self.streamed += other.streamed;
        self.spilled += other.spilled;
        for (sums, ones) in [
            (&mut self.lost, &other.lost),
            (&mut self.partial, &other.partial),
        ] {
            for (reason, n) in ones {
                *sums.entry(reason.clone()).or_default() += n;
            }
        }
        self.overflowed += other.overflowed;
    }
}
