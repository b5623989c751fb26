//! `kctx.summary.v1`: what `report`, `diagnose` and a bundle's `summary.json` share.
//!
//! The JSON Schema is docs/summary.schema.json. A change adds fields, or raises the version.

mod build;

use std::collections::BTreeMap;

pub(super) use build::{cpu_times, vector_number};
use serde::{Deserialize, Serialize};

use crate::{
    aggregate::{
        duration::Durations,
        window::{Family, ModuleRow, ProbeStatus},
    },
    host::{HostIdentity, taint},
};

/// The schema of this version's summaries.
pub const SUMMARY_SCHEMA: &str = "kctx.summary.v1";

/// A summary of one window.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// [`SUMMARY_SCHEMA`]
    pub schema: String,
    /// Version of the kctx that wrote it.
    pub kctx_version: String,
    /// The machine.
    pub host: HostIdentity,
    /// The time measured.
    pub window: WindowSpan,
    /// Conservation: what was observed and where it went.
    pub accounting: AccountingSummary,
    /// Each probe, whether attached, how, or why not.
    pub probes: Vec<ProbeStatus>,
    /// Time in each context, by CPU.
    pub cpu: Vec<CpuTime>,
    /// By vector number, then CPU.
    pub softirq: Vec<SoftirqSummary>,
    /// By interrupt number, name, then CPU.
    pub hardirq: Vec<HardirqSummary>,
    /// By total service time, the longest first.
    pub workqueue: Vec<WorkqueueSummary>,
    /// In the order they happened.
    pub module: Vec<ModuleRow>,
    /// The kernel's taint at the end of the window.
    pub taint: TaintSummary,
}

/// The time a summary covers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WindowSpan {
    /// Start, in nanoseconds since the Unix epoch.
    pub start_unix_ns: u64,
    /// Length in nanoseconds, by `CLOCK_MONOTONIC`.
    pub duration_ns: u64,
}

/// `observed == streamed + spilled + lost`, in all and by family.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountingSummary {
    /// All families together.
    #[serde(flatten)]
    pub total: Counts,
    /// Each family on its own.
    pub by_family: BTreeMap<Family, Counts>,
}

/// What became of the executions that were seen.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Executions that the probes saw whole.
    pub observed: u64,
    /// Of those, records that went through a ring.
    pub streamed: u64,
    /// Of those, records that went into the spill histogram.
    pub spilled: u64,
    /// Of those, records that went nowhere, by reason.
    pub lost: BTreeMap<String, u64>,
    /// What was seen but is no whole execution, by reason.
    pub partial: BTreeMap<String, u64>,
    /// Records that went into an overflow row.
    pub overflowed: u64,
}

/// Time in each context on one CPU; the contexts do not overlap. `null` is not measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CpuTime {
    /// The CPU.
    pub cpu: u32,
    /// In interrupt handlers.
    pub hardirq_ns: u64,
    /// In softirqs, wherever they ran, without the interrupts that fell into them.
    pub softirq_ns: u64,
    /// ksoftirqd outside of softirqs.
    pub ksoftirqd_ns: Option<u64>,
    /// Other kernel threads.
    pub kthread_ns: Option<u64>,
}

/// One measured duration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DurationSummary {
    /// How many were measured.
    pub count: u64,
    /// Exact sum.
    pub sum_ns: u64,
    /// Sum over count; 0 of none.
    pub mean_ns: u64,
    /// Median.
    pub p50_ns: u64,
    /// 90th percentile.
    pub p90_ns: u64,
    /// 99th percentile.
    pub p99_ns: u64,
    /// 99.9th percentile.
    pub p999_ns: u64,
    /// Exact maximum.
    pub max_ns: u64,
}

impl From<&Durations> for DurationSummary {
    fn from(durations: &Durations) -> Self {
        let count = durations.count();
        Self {
            count,
            sum_ns: durations.sum_ns(),
            mean_ns: durations.sum_ns().checked_div(count).unwrap_or(0),
            p50_ns: durations.quantile_ns(0.5),
            p90_ns: durations.quantile_ns(0.9),
            p99_ns: durations.quantile_ns(0.99),
            p999_ns: durations.quantile_ns(0.999),
            max_ns: durations.max_ns(),
        }
    }
}

/// Runs of one softirq vector on one CPU.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SoftirqSummary {
    /// Vector name as in /proc/softirqs.
    pub vector: String,
    /// CPU it ran on.
    pub cpu: u32,
    /// Runs.
    pub count: u64,
    /// Runs whose raise was not seen.
    pub wait_unknown: u64,
    /// First pending raise to entry.
    pub wait: DurationSummary,
    /// Entry to exit, gross.
    pub service: DurationSummary,
    /// Entry to exit without the interrupts that fell into it.
    pub service_net: DurationSummary,
}

/// Calls of one interrupt action's handler on one CPU.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HardirqSummary {
    /// Interrupt number; `null` in the overflow row.
    pub irq: Option<u32>,
    /// Action name.
    pub name: String,
    /// CPU it ran on.
    pub cpu: u32,
    /// Calls that handled the interrupt.
    pub count: u64,
    /// Calls that returned `IRQ_NONE`.
    pub unhandled: u64,
    /// Calls that woke the action's thread.
    pub woke_thread: u64,
    /// Time in the handler.
    pub service: DurationSummary,
}

/// Executions of one work function on one workqueue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkqueueSummary {
    /// Workqueue name.
    pub workqueue: String,
    /// Function name, or its address in hex.
    pub function: String,
    /// The row that takes what the key limit kept out.
    pub overflow: bool,
    /// Executions.
    pub count: u64,
    /// Executions whose queueing was not seen.
    pub wait_unknown: u64,
    /// Executions on another CPU than the one that queued the work.
    pub remote: u64,
    /// Queueing to start.
    pub wait: DurationSummary,
    /// Queueing to activation.
    pub activate: DurationSummary,
    /// Start to end, in wall time: a work may sleep.
    pub service: DurationSummary,
}

/// The taint value and what it stands for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaintSummary {
    /// /proc/sys/kernel/tainted; `null` where it could not be read.
    pub value: Option<u64>,
    /// The flags that are set.
    pub flags: Vec<TaintFlagSummary>,
}

/// One taint flag that is set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaintFlagSummary {
    /// Bit in the value.
    pub bit: u8,
    /// Letter in oops reports; `?` of a flag newer than this program.
    pub letter: char,
    /// The kernel's name for it.
    pub name: String,
    /// One sentence.
    pub meaning: String,
}

impl TaintSummary {
    /// Decodes a taint value.
    #[must_use]
    pub fn new(value: Option<u64>) -> Self {
        let set = value.unwrap_or(0);
        let known = taint::decode(set).map(|flag| TaintFlagSummary {
            bit: flag.bit,
            letter: flag.letter,
            name: flag.name.to_owned(),
            meaning: flag.meaning.to_owned(),
        });
        let unknown = taint::unknown_bits(set)
            .into_iter()
            .map(|bit| TaintFlagSummary {
                bit,
                letter: '?',
                name: "unknown".to_owned(),
                meaning: "A flag newer than this version of kctx.".to_owned(),
            });
        Self {
            value,
            flags: known.chain(unknown).collect(),
        }
    }
}

#[cfg(test)]
mod tests;
