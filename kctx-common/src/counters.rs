//! What the probes count beside their records, for each CPU and family.
//!
//! Each counter is written by one program only, and a program does not nest in itself on one CPU
//! (`__bpf_trace_run` refuses and counts that in `recursion_misses`, kernel/trace/bpf_trace.c), so
//! plain additions are exact.

shared! {
    /// Counters of one family on one CPU. All but the first three are reasons, named.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct FamilyCounters {
        /// Executions whose start and end were both seen while recording.
        pub observed: u64,
        /// Of those, put into the ring.
        pub streamed: u64,
        /// Of those, put into the spill because the ring was full.
        pub spilled: u64,
        /// Of those, put into neither: the spill took no key, its overflow row neither.
        pub lost_no_spill_row: u64,
        /// Ends whose start was not seen: they had begun before the probes were attached.
        pub end_without_start: u64,
        /// Starts that found an earlier start still open: its end was not seen.
        pub start_without_end: u64,
        /// Work: the table of pending works was full, so the wait is unknown.
        pub pending_table_full: u64,
        /// Work: the table of running works was full, so the execution was not observed.
        pub running_table_full: u64,
        /// Work: queued anew while an earlier queueing was still pending: that one was cancelled.
        pub cancelled: u64,
        /// Stack: a sample whose stack had no place in the table of stacks.
        pub stack_collision: u64,
        /// Of the spilled, those that the governor kept from the ring.
        pub governed: u64,
    }
}

shared! {
    /// Everything one CPU's probes count.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct Counters {
        /// By [`SOFTIRQ`] and so on.
        pub family: [FamilyCounters; FAMILIES],
    }
}

/// Number of record families.
pub const FAMILIES: usize = 8;
/// Index of the softirq family.
pub const SOFTIRQ: usize = 0;
/// Index of the hardirq family.
pub const HARDIRQ: usize = 1;
/// Index of the workqueue family.
pub const WORKQUEUE: usize = 2;
/// Index of the module family.
pub const MODULE: usize = 3;
/// Index of the tasklet family.
pub const TASKLET: usize = 4;
/// Index of the NAPI family.
pub const NAPI: usize = 5;
/// Index of the kernel thread family.
pub const KTHREAD: usize = 6;
/// Index of the sampled stacks.
pub const STACK: usize = 7;
