//! `kctx.summary.v1`: what `report`, `diagnose` and a bundle's `summary.json` share.
//!
//! The JSON Schema is docs/summary.schema.json. A change adds fields, or raises the version.

mod build;
mod damaged;
mod narrowed;
mod rows;

use std::collections::BTreeMap;

pub(super) use build::{cpu_times, vector_number};
pub use damaged::Damaged;
pub use narrowed::{ContextsFrom, Narrowed, SpanSummary};
pub use rows::{
    HardirqSummary, KthreadSummary, NapiSummary, OriginSummary, QueuedBySummary,
    SoftirqOriginSummary, SoftirqSummary, TaskletSummary, WorkqueueSummary,
};
use serde::{Deserialize, Serialize};

use crate::{
    aggregate::{
        duration::Durations,
        window::{
            ContextTimes, Family, GovernorRow, LogRows, ModuleRow, ProbeStatus, StackRow, TaintRow,
        },
    },
    host::{HostIdentity, taint},
    meter::OwnCost,
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
    pub cpu: Vec<ContextTimes>,
    /// By vector number, then CPU, then the number of the context.
    pub softirq: Vec<SoftirqSummary>,
    /// By vector number, then CPU, the most frequent first.
    pub softirq_origin: Vec<SoftirqOriginSummary>,
    /// By interrupt number, name, then CPU; vectors without a number after the others.
    pub hardirq: Vec<HardirqSummary>,
    /// By total service time, the longest first.
    pub tasklet: Vec<TaskletSummary>,
    /// By total service time, the longest first.
    pub workqueue: Vec<WorkqueueSummary>,
    /// By device, NAPI, CPU and context.
    pub napi: Vec<NapiSummary>,
    /// By time on CPUs, the longest first.
    pub kthread: Vec<KthreadSummary>,
    /// In the order they happened.
    pub module: Vec<ModuleRow>,
    /// The kernel's log in the window.
    pub log: LogRows,
    /// Sampled kernel stacks, the most frequent first.
    pub stack: Vec<StackRow>,
    /// Times in which the governor kept a family from the rings.
    pub governor: Vec<GovernorRow>,
    /// The kernel's taint at the end of the window.
    pub taint: TaintSummary,
    /// What kctx itself used; `None` where nobody measured that (a bundle of an earlier version).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub own_cost: Option<OwnCost>,
    /// Which part of a bundle this is; `None` of all of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub narrowed: Option<Narrowed>,
    /// What of the bundle is whole and what is not; `None` of one that is whole or was only cut short.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub damaged: Option<Damaged>,
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
    /// Of the spilled, those that the governor kept from the rings.
    pub governed: u64,
    /// Of those, records that went nowhere, by reason.
    pub lost: BTreeMap<String, u64>,
    /// What was seen but is no whole execution, by reason.
    pub partial: BTreeMap<String, u64>,
    /// Records that went into an overflow row.
    pub overflowed: u64,
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

/// The taint value and what it stands for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaintSummary {
    /// /proc/sys/kernel/tainted; `null` where it could not be read.
    pub value: Option<u64>,
    /// The flags that are set.
    pub flags: Vec<TaintFlagSummary>,
    /// What changed in the window, in order.
    pub changes: Vec<TaintRow>,
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
    pub fn new(value: Option<u64>, changes: Vec<TaintRow>) -> Self {
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
            changes,
        }
    }
}

#[cfg(test)]
mod tests;
