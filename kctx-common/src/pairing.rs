//! What the probes remember between a start and its end.

use crate::{
    counters::Counters,
    record::{NR_SOFTIRQS, SoftirqWords},
};

/// One CPU's state. Written by that CPU's probes alone; userspace only reads the counters.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct CpuState {
    /// First raise of each vector since its last entry; 0 for none.
    pub softirq_raised_ns: [u64; NR_SOFTIRQS],
    /// Entry of the softirq that runs now; 0 for none.
    pub softirq_start_ns: u64,
    /// How long that one had waited; [`NO_WAIT`] where its raise was not seen.
    pub softirq_wait_ns: u64,
    /// [`CpuState::hardirq_total_ns`] when it was entered.
    pub softirq_hardirq_base_ns: u64,
    /// Its vector.
    pub softirq_vector: u64,
    /// Entry of the interrupt handler that runs now; 0 for none.
    pub hardirq_start_ns: u64,
    /// Its `struct irqaction`.
    pub hardirq_action: u64,
    /// Time in interrupt handlers since the programs were loaded.
    pub hardirq_total_ns: u64,
    /// What this CPU's probes counted.
    pub counters: Counters,
    /// Softirq records on their way to the ring: one reservation there for [`STAGED`] of them costs little
    /// more than for one.
    pub stage: [SoftirqWords; STAGED],
    /// How many of them there are.
    pub staged: u64,
    /// When the first of them was put there.
    pub staged_ns: u64,
}

/// Softirq records that are put into the ring together.
pub const STAGED: usize = 8;
/// A record waits no longer than this for others, if another softirq ends on its CPU then.
pub const STAGED_NS: u64 = 20_000_000;

/// No wait was measured.
pub const NO_WAIT: u64 = u64::MAX;

/// A work item that was queued and has not started.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct PendingWork {
    /// When it was queued.
    pub queue_ns: u64,
    /// When it was activated; 0 for not yet.
    pub activate_ns: u64,
    /// Its workqueue's name.
    pub workqueue_id: u64,
    /// CPU that queued it.
    pub cpu: u64,
}

/// Which execution a running work is: a kworker nests nothing, but a BH work may run on top of a
/// kworker's own, so the task alone does not tell; and a work that frees itself may be queued anew at
/// the same address by another, so the work alone does not either.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RunningKey {
    /// `current`
    pub task: u64,
    /// The `work_struct`'s address.
    pub work: u64,
}

/// A work item that runs.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct RunningWork {
    /// When it started.
    pub start_ns: u64,
    /// Queueing to start.
    pub wait_ns: u64,
    /// Queueing to activation.
    pub activate_ns: u64,
    /// Its workqueue's name; 0 for unknown.
    pub workqueue_id: u64,
    /// Its function; 0 where the start could not read it.
    pub function: u64,
    /// [`crate::record::flags`]
    pub flags: u64,
}

#[cfg(feature = "user")]
// SAFETY: `repr(C)`, only u64, so no padding, and any bytes are a valid value.
unsafe impl aya::Pod for CpuState {}
#[cfg(feature = "user")]
// SAFETY: as for `CpuState`.
unsafe impl aya::Pod for PendingWork {}
#[cfg(feature = "user")]
// SAFETY: as for `CpuState`.
unsafe impl aya::Pod for RunningKey {}
#[cfg(feature = "user")]
// SAFETY: as for `CpuState`.
unsafe impl aya::Pod for RunningWork {}
