//! The rows of the window that is open, by family.

pub mod hardirq;
mod index;
pub mod kthread;
pub mod napi;
pub mod origins;
pub mod softirq;
pub mod tasklet;
pub mod workqueue;

pub use self::{
    hardirq::HardirqTable,
    kthread::KthreadTable,
    napi::NapiTable,
    softirq::{OriginTable, SoftirqTable},
    tasklet::TaskletTable,
    workqueue::WorkqueueTable,
};
use kctx_common::bucket;

use super::tally::{ServedTally, Tally};
use crate::source::SpilledDurations;

/// Most CPUs that a row's number may name: `CONFIG_NR_CPUS` goes up to 8192 on x86.
pub const MAX_CPUS: u32 = 8192;

/// How many rows a family may have in one window; what is over goes into an overflow row, counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowLimits {
    /// Rows of (interrupt, action, CPU).
    pub hardirq: usize,
    /// Rows of (workqueue, function).
    pub workqueue: usize,
    /// Rows of tasklet functions.
    pub tasklet: usize,
    /// Rows of (device, NAPI, CPU, place).
    pub napi: usize,
    /// Rows of (kernel thread, workqueue).
    pub kthread: usize,
    /// Lines of the kernel's log that are kept; all are counted.
    pub log_lines: usize,
}

impl Default for RowLimits {
    fn default() -> Self {
        Self {
            hardirq: 8192,
            workqueue: 2000,
            tasklet: 1000,
            napi: 4096,
            kthread: 4096,
            log_lines: 200,
        }
    }
}

/// Adds spilled durations: each bucket at its midpoint, count, sum and maximum exact.
pub fn add_spilled(durations: &mut Tally, spilled: &SpilledDurations) {
    for &(index, count) in &spilled.buckets {
        let ns = bucket::midpoint_ns(usize::from(index).min(bucket::BUCKETS - 1));
        durations.record_bucket(ns.min(spilled.max_ns), u64::from(count));
    }
    durations.add_exact(spilled.sum_ns, spilled.max_ns);
}
