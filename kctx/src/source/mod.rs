//! Where records come from: this kernel's rings, or a recorded bundle. Both give the same stream.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::{
    aggregate::window::{
        ContextTimes, FAMILIES, Family, FamilyAccounting, LogRows, ProbeStatus, StackRow,
    },
    host::HostIdentity,
    meter::OwnCost,
};

pub mod batches;
#[cfg(kctx_live)]
pub mod drain;
#[cfg(kctx_live)]
pub mod live;
#[cfg(kctx_live)]
pub mod metering;
#[cfg(kctx_live)]
pub mod outlet;
#[cfg(kctx_live)]
mod pace;
pub mod recorded;
pub mod rings;
#[cfg(kctx_live)]
pub mod warden;
#[cfg(kctx_live)]
pub mod watch;

/// One piece of the stream.
#[derive(Clone, Debug, PartialEq)]
pub enum Item {
    /// Records of one CPU, in the ring's own layout (see [`crate::decode`]).
    Records {
        /// CPU they ran on; for module events, which carry their own, 0.
        cpu: u32,
        /// The batch. Shared, never copied record by record.
        batch: Bytes,
    },
    /// Everything else that a summary needs.
    Control(Box<Control>),
}

/// What travels beside the records, so that a recorded stream yields the summary of the live one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Control {
    /// The first window opens.
    Start {
        /// `CLOCK_MONOTONIC` then.
        monotonic_ns: u64,
        /// The wall clock then.
        unix_ns: u64,
        /// Which probes there are.
        probes: Vec<ProbeStatus>,
        /// The machine.
        host: Box<HostIdentity>,
    },
    /// An interned name.
    Name {
        /// Its id.
        id: u64,
        /// Its text; bytes that are no UTF-8 are replaced.
        text: String,
    },
    /// A function's name. Holds for all records after it, until the same address comes again.
    Function {
        /// Its address.
        address: u64,
        /// Its name.
        name: String,
    },
    /// Functions that had no name, since modules had come or gone, may have one from here on.
    FunctionsRenewed,
    /// What went into a spill row since it was last read.
    Spill(Box<SpillDelta>),
    /// What the probes counted since they were last read, by family.
    Counted(Box<[FamilyAccounting; FAMILIES]>),
    /// The comm of a process that raised or queued something. Holds until the same process id comes again.
    Comm {
        /// Its process id.
        pid: u32,
        /// Its comm.
        comm: String,
    },
    /// Time in each context by CPU, since the window began; comes before its end.
    Contexts(Vec<ContextTimes>),
    /// Kernel threads that are on a CPU right now: at the first window's start and at each one's end.
    Running(Vec<RunningThread>),
    /// What had raised the softirqs that were spilled since this was last read.
    SpilledOrigins(Vec<SpilledOrigin>),
    /// Samples of kernel stacks since they were last read.
    Stacks(Vec<StackRow>),
    /// The kernel's taint changed.
    Taint {
        /// `CLOCK_MONOTONIC` when that was seen.
        monotonic_ns: u64,
        /// The value before.
        before: u64,
        /// The value after.
        after: u64,
    },
    /// The kernel's log since it was last read; its times are `CLOCK_MONOTONIC`, as near as printk's are.
    Log(Box<LogRows>),
    /// The governor limits a family, or no longer does.
    Governor {
        /// The family.
        family: Family,
        /// It is limited from now on.
        limited: bool,
        /// `CLOCK_MONOTONIC` then.
        monotonic_ns: u64,
        /// Why.
        reason: String,
    },
    /// kctx is over its CPU limit and the governor has nothing left to limit, or that is over.
    GovernorHelpless {
        /// `CLOCK_MONOTONIC` then.
        monotonic_ns: u64,
        /// Why; `None`: no longer.
        reason: Option<String>,
    },
    /// What kctx itself used since the window began; comes before its end.
    OwnCost(Box<OwnCost>),
    /// A window closes, and the next opens.
    WindowEnd {
        /// `CLOCK_MONOTONIC` then.
        monotonic_ns: u64,
        /// The wall clock then: it may be set, and it goes on while the machine is suspended.
        unix_ns: u64,
        /// The kernel's taint then, where it can be read.
        #[serde(default)]
        taint: Option<u64>,
    },
}

/// A kernel thread that is on a CPU.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunningThread {
    /// The CPU.
    pub cpu: u32,
    /// Its thread id.
    pub pid: u32,
    /// Its comm.
    pub comm: String,
    /// A kworker's: name id of the workqueue it works for; 0 for none.
    pub workqueue_id: u64,
    /// Since when, by `CLOCK_MONOTONIC`.
    pub start_ns: u64,
    /// For how long.
    pub service_ns: u64,
    /// The same without interrupts and softirqs.
    pub net_ns: u64,
}

/// Growth of one spilled origin's count on one CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpilledOrigin {
    /// CPU.
    pub cpu: u32,
    /// Softirq vector.
    pub vector: u8,
    /// [`kctx_common::record::origin`]'s kind.
    pub kind: u8,
    /// Its number.
    pub number: u32,
    /// How many.
    pub count: u64,
}

/// Growth of one spill row on one CPU.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpillDelta {
    /// CPU.
    pub cpu: u32,
    /// Record kind ([`kctx_common::record::kind`]).
    pub family: u8,
    /// `IRQ_NONE` (hardirq).
    #[serde(default)]
    pub unhandled: bool,
    /// The family's overflow row.
    #[serde(default)]
    pub overflow: bool,
    /// As in [`kctx_common::spill::SpillKey::context`].
    #[serde(default)]
    pub context: u8,
    /// Vector, interrupt number, NAPI id or thread id.
    pub number: u32,
    /// Name id.
    pub name_id: u64,
    /// Work function.
    pub function: u64,
    /// Wait.
    pub wait: SpilledDurations,
    /// Service time.
    pub service: SpilledDurations,
    /// As in [`kctx_common::spill::SpillRow::third`].
    pub third: SpilledDurations,
    /// As in [`kctx_common::spill::SpillRow::fourth`].
    #[serde(default)]
    pub fourth: SpilledDurations,
}

/// Growth of one spill histogram.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpilledDurations {
    /// How many.
    pub count: u64,
    /// Their exact sum.
    pub sum_ns: u64,
    /// The longest: exact where it grew, else the top of the highest bucket that grew, at most the
    /// longest since the programs were loaded.
    pub max_ns: u64,
    /// Bucket index and growth, for the buckets that grew.
    pub buckets: Vec<(u16, u32)>,
}
