//! The spill: where a record goes when its CPU's ring is full.
//!
//! A per-CPU hash from a row's key to three log-linear histograms. What is lost is a record's time and
//! its exact durations (kept within [`crate::bucket`]'s error); its count, sums and maxima are not.

use crate::bucket::BUCKETS;

/// Which row of which family a spilled record belongs to.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[cfg_attr(
    feature = "user",
    derive(
        zerocopy::FromBytes,
        zerocopy::IntoBytes,
        zerocopy::Immutable,
        zerocopy::KnownLayout
    )
)]
pub struct SpillKey {
    /// One of [`crate::record::kind`].
    pub family: u8,
    /// `irqreturn_t` was `IRQ_NONE` (hardirq).
    pub unhandled: u8,
    /// 1: the row for whatever found no room in the table.
    pub overflow: u8,
    /// Zero.
    pub reserved: u8,
    /// Softirq vector, interrupt number, or 0.
    pub number: u32,
    /// `name_id` (hardirq), `workqueue_id` (work), or 0.
    pub name_id: u64,
    /// Work function, or 0.
    pub function: u64,
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
    /// Softirq and work: the wait.
    pub wait: SpillHistogram,
    /// Every family: the service time.
    pub service: SpillHistogram,
    /// Softirq: hardirq time inside; work: queueing to activation.
    pub third: SpillHistogram,
}

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
unsafe impl aya::Pod for SpillRow {}
