//! How a record is written: what both directions share.
//!
//! A record is a tag byte, of which the low half is its kind and the high half four bits of the kind's own,
//! and then varints. What repeats is left out:
//!
//! - A time is a difference (zigzag) to where the CPU's record before it ended: of what others fall into (works,
//!   threads) the end, of the rest the beginning, since gaps are smaller than distances. Softirqs, which
//!   wait in a stage of their own before they go into the ring, have an account of their own.
//! - A NET_RX softirq begins with its first NAPI poll, to the nanosecond, and ends shortly after its last: where
//!   that holds, only the rest is written.
//! - What says *which* rather than how long (interrupt and action, work function and workqueue, device,
//!   thread) is one index into a dictionary that grows as they first appear, and left out where it is the
//!   one of the CPU's previous record of that kind.
//! - A softirq's place and origin are left out where they are those of the vector's last run on the CPU.

use kctx_common::record::{NR_SOFTIRQS, TASK_COMM_LEN, flags};

/// A softirq that began with a poll: a tag's kind beside the records' own. Its high half says how many polled
/// runs, the oldest first, have to be passed over to come to its own.
pub(super) const SOFTIRQ_POLLED: u8 = 9;

/// `NET_RX_SOFTIRQ` (include/linux/interrupt.h)
pub(super) const NET_RX: u8 = 3;

/// Bits of a tag's high half, by kind. Softirqs have two kinds for their two forms here: the vector takes
/// all of the high half.
pub(super) mod tag {
    /// Hardirq: low two bits of the high half.
    pub(crate) const HARDIRQ_RET: u8 = 3;
    /// Hardirq, tasklet, NAPI, work: which is the same as before.
    pub(crate) const SAME: u8 = 1 << 2;
    /// Hardirq: the whole return value follows.
    pub(crate) const HARDIRQ_RET_FOLLOWS: u8 = 1 << 3;
    /// Work: the flags are those of the work before.
    pub(crate) const WORK_FLAGS: u8 = 1 << 0;
    /// Work: so is the origin.
    pub(crate) const WORK_ORIGIN: u8 = 1 << 1;
    /// Tasklet: something fell into it.
    pub(crate) const TASKLET_NESTED: u8 = 1 << 0;
    /// Kthread: the whole flags follow; else the low two bits of the high half are they.
    pub(crate) const KTHREAD_FLAGS_FOLLOW: u8 = 1 << 3;
    /// Kthread: nothing fell into it.
    pub(crate) const KTHREAD_NET: u8 = 1 << 2;
}

/// The byte after the tag of a softirq's second form.
pub(super) mod softirq {
    /// Something fell into it: `nested_ns` follows.
    pub(crate) const NESTED: u8 = 1 << 0;
    /// Flags, place and origin follow.
    pub(crate) const HEAD: u8 = 1 << 1;
}

/// Flags of a thread's record that fit its tag.
pub(super) const KTHREAD_FLAGS: u8 = flags::WAIT | flags::PREEMPTED;

/// Flags, place and origin of a softirq.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct SoftirqHead {
    pub flags: u8,
    pub place: u8,
    pub origin: u32,
}

/// Which interrupt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Line {
    pub flags: u8,
    pub irq: u32,
    pub name_id: u64,
}

/// Which work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Job {
    pub function: u64,
    pub workqueue_id: u64,
}

/// Who queued a work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Queuer {
    pub kind: u8,
    pub number: u32,
}

/// Which NAPI.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Device {
    pub flags: u8,
    pub context: u8,
    pub napi_id: u32,
    pub budget: u32,
    pub name_id: u64,
}

/// Which thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Thread {
    pub pid: u32,
    pub workqueue_id: u64,
    pub comm: [u8; TASK_COMM_LEN],
}

/// What the previous records of a CPU leave behind. The first record has nothing to be the same as.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct CpuState {
    /// When the last softirq ended.
    pub softirq_end_ns: u64,
    /// When the last of all others did.
    pub end_ns: u64,
    pub polled: PolledRuns,
    pub softirq: [SoftirqHead; NR_VECTORS],
    pub line: Option<Line>,
    pub job: Option<Job>,
    pub work_flags: u8,
    pub queuer: Option<Queuer>,
    pub function: Option<u64>,
    pub device: Option<Device>,
}

/// Polls that followed each other without a gap, of which the softirq has not come yet: the oldest first.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct PolledRuns {
    runs: [PolledRun; POLLED_RUNS],
    len: usize,
}

/// From the first poll's beginning to the last one's end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct PolledRun {
    pub start_ns: u64,
    pub end_ns: u64,
}

/// As many as the high half of a tag can tell apart.
const POLLED_RUNS: usize = 16;

impl PolledRuns {
    /// A poll whose beginning is known.
    pub(super) fn poll(&mut self, start_ns: u64, end_ns: u64) {
        let last = self.runs[..self.len].last_mut();
        if let Some(last) = last
            && last.end_ns == start_ns
        {
            last.end_ns = end_ns;
            return;
        }
        if self.len == POLLED_RUNS {
            self.pass(0);
        }
        self.runs[self.len] = PolledRun { start_ns, end_ns };
        self.len += 1;
    }

    /// Where the run that began then stands.
    pub(super) fn position(&self, start_ns: u64) -> Option<usize> {
        let runs = self.runs[..self.len].iter();
        runs.clone().position(|run| run.start_ns == start_ns)
    }

    /// Takes a run out, and those that are older.
    pub(super) fn take(&mut self, position: usize) -> Option<PolledRun> {
        let run = *self.runs[..self.len].get(position)?;
        self.pass(position);
        Some(run)
    }

    fn pass(&mut self, position: usize) {
        self.runs.copy_within(position + 1..self.len, 0);
        self.len -= position + 1;
    }
}

/// Vectors that a tag can name: more than there are.
pub(super) const NR_VECTORS: usize = 16;

const _: () = assert!(NR_SOFTIRQS <= NR_VECTORS);
