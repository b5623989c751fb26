//! Where records come from: this kernel's rings, or a recorded bundle. Both give the same stream.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::{
    aggregate::window::{FamilyAccounting, ProbeStatus},
    host::HostIdentity,
};

#[cfg(kctx_live)]
pub mod drain;
#[cfg(kctx_live)]
pub mod live;
pub mod recorded;
#[cfg(kctx_live)]
pub mod rings;

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
    /// What went into a spill row since it was last read.
    Spill(Box<SpillDelta>),
    /// What the probes counted since they were last read, by family.
    Counted(Box<[FamilyAccounting; 4]>),
    /// A window closes, and the next opens.
    WindowEnd {
        /// `CLOCK_MONOTONIC` then.
        monotonic_ns: u64,
        /// The kernel's taint then, where it can be read.
        #[serde(default)]
        taint: Option<u64>,
    },
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
    /// Vector or interrupt number.
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
