//! The spill: where a record goes when its CPU's ring is full.
//!
//! A per-CPU hash from a row's key to three log-linear histograms. What is lost is a record's time and
//! its exact durations (kept within [`crate::bucket`]'s error); its count, sums and maxima are not.

use crate::bucket::BUCKETS;

shared! {
    /// Which row of which family a spilled record belongs to.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
    pub struct SpillKey {
        /// One of [`crate::record::kind`].
        pub family: u8,
        /// `irqreturn_t` was `IRQ_NONE` (hardirq).
        pub unhandled: u8,
        /// 1: the row for whatever found no room in the table.
        pub overflow: u8,
        /// [`crate::record::context`] (softirq); 1 where `number` is a vector's class (hardirq).
        pub context: u8,
        /// Softirq vector, interrupt number, NAPI id, thread id, or 0.
        pub number: u32,
        /// `name_id` (hardirq, NAPI), `workqueue_id` (work), first half of the comm (kernel thread), or 0.
        pub name_id: u64,
        /// Function (work, tasklet), second half of the comm (kernel thread), or 0.
        pub function: u64,
    }
}

/// Which raiser of which softirq a spilled record had: its count is kept beside the histograms.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct OriginKey {
    /// Softirq vector.
    pub vector: u8,
    /// [`crate::record::origin`]'s kind.
    pub kind: u8,
    /// Zero.
    pub reserved: [u8; 2],
    /// Its number.
    pub number: u32,
}

/// One duration's share of a spilled row.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct SpillHistogram {
    /// Durations seen.
    pub count: u64,
    /// Their exact sum.
    pub sum_ns: u64,
    /// The longest since the programs were loaded.
    pub max_ns: u64,
    /// Count by [`crate::bucket::index`]. Wraps; userspace takes wrapping differences.
    pub buckets: [u32; BUCKETS],
}

/// A spilled row on one CPU.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct SpillRow {
    /// Softirq, work and kernel thread: the wait. NAPI: duration of the polls that used their budget up.
    pub wait: SpillHistogram,
    /// Every family: the service time. NAPI: the polls' duration.
    pub service: SpillHistogram,
    /// Softirq, tasklet, kernel thread: net time; hardirq: service of calls that woke the thread; work: queueing
    /// to activation; NAPI: packets, [`PACKET_NS`] for each.
    pub third: SpillHistogram,
    /// Work: net time.
    pub fourth: SpillHistogram,
}

/// What a packet counts in a histogram of nanoseconds, so that few packets are told apart.
pub const PACKET_NS: u64 = 64;

const _: () = {
    assert!(size_of::<SpillKey>() == 24);
    // PCPU_MIN_UNIT_SIZE bounds a per-CPU map's value (kernel/bpf/hashtab.c, htab_map_alloc_check).
    assert!(size_of::<SpillRow>() <= 32 << 10);
};

#[cfg(feature = "user")]
// SAFETY: `repr(C)`, only integers, no padding (asserted by the sums of sizes above and 8-byte members
// first), so any bytes are a valid value.
unsafe impl aya::Pod for SpillKey {}
#[cfg(feature = "user")]
// SAFETY: as for `SpillKey`.
unsafe impl aya::Pod for OriginKey {}
#[cfg(feature = "user")]
// SAFETY: as for `SpillKey`.
unsafe impl aya::Pod for SpillRow {}
