//! What the probes remember between a start and its end.

use crate::{
    counters::Counters,
    record::{NR_SOFTIRQS, SoftirqWords},
};

/// One CPU's state. Written by that CPU's probes alone; userspace only reads the counters and the totals.
///
/// Each total is written by one family's programs only, and what nests is subtracted by who it fell into:
/// a softirq takes out the interrupts, a task takes out interrupts and softirqs. So no program can spoil
/// another's account by interrupting it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct CpuState {
    /// First raise of each vector since its last entry; 0 for none.
    pub softirq_raised_ns: [u64; NR_SOFTIRQS],
    /// What made that raise ([`origin_word`]).
    pub softirq_raised_by: [u64; NR_SOFTIRQS],
    /// The softirq that runs now.
    pub softirq: RunningSoftirq,
    /// When the last softirq ended.
    pub softirq_exit_ns: u64,
    /// Time in softirqs since the programs were loaded, without the interrupts that fell into them.
    pub softirq_total_ns: u64,
    /// Softirqs whose task was preempted in their middle and that wait in the table of parked ones
    /// (PREEMPT_RT only).
    pub softirq_parked: u64,
    /// The interrupt handler that runs now.
    pub hardirq: RunningHardirq,
    /// The handler that called it, if one did: of a device that hands on the interrupts of others (VMD, GPIO).
    pub outer_hardirq: RunningHardirq,
    /// Entry of the vector that runs now; 0 for none.
    pub vector_start_ns: u64,
    /// Which it is ([`crate::record::vector_class`]).
    pub vector_class: u64,
    /// [`CpuState::hardirq_total_ns`] when it was entered.
    pub vector_hardirq_base_ns: u64,
    /// Time in interrupt handlers and vectors since the programs were loaded.
    pub hardirq_total_ns: u64,
    /// When the last handler or vector ended.
    pub hardirq_exit_ns: u64,
    /// The shortest time seen from an interrupt's end to the softirq at its tail; 0 for none yet.
    pub tail_gap_ns: u64,
    /// The task that was looked at last, and what it is: most often it is the one that runs now.
    pub seen: SeenTask,
    /// The tasks' account.
    pub tasks: TaskTime,
    /// The kernel thread that runs now.
    pub kthread: RunningKthread,
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

/// What a task was found to be.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct SeenTask {
    /// Its `struct task_struct`; 0 for none yet.
    pub task: u64,
    /// [`role`]
    pub role: u64,
    /// Its process id.
    pub pid: u64,
    /// Its comm is in the table of comms.
    pub noted: u64,
    /// When it was looked at.
    pub seen_ns: u64,
}

/// An interrupt handler between entry and exit.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct RunningHardirq {
    /// Its entry; 0 for none runs.
    pub start_ns: u64,
    /// Its `struct irqaction`.
    pub action: u64,
    /// Its interrupt's number.
    pub irq: u64,
    /// [`CpuState::hardirq_total_ns`] when it was entered.
    pub base_ns: u64,
}

/// A softirq between entry and exit.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct RunningSoftirq {
    /// Its entry; 0 for none runs.
    pub start_ns: u64,
    /// How long it had waited; [`NO_WAIT`] where its raise was not seen.
    pub wait_ns: u64,
    /// What others had taken when it was entered.
    pub taken_ns: u64,
    /// Its vector.
    pub vector: u64,
    /// Where it runs ([`crate::record::context`]); after its end, where it ran.
    pub context: u64,
    /// What raised it ([`origin_word`]).
    pub raised_by: u64,
    /// Where the NAPI poll at hand began, as far as known; 0 for not. In a NAPI thread too.
    pub napi_mark_ns: u64,
    /// What others had taken by then.
    pub napi_taken_ns: u64,
    /// The part of its net time that is in [`CpuState::softirq_total_ns`] already (PREEMPT_RT only).
    pub flushed_ns: u64,
    /// Time that it was parked, without the interrupts in it (PREEMPT_RT only).
    pub away_ns: u64,
    /// Entry of its tasklet that runs now; 0 for none.
    pub tasklet_start_ns: u64,
    /// What others had taken by then.
    pub tasklet_taken_ns: u64,
}

/// A softirq whose task was preempted in its middle: PREEMPT_RT only.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct ParkedSoftirq {
    /// As it was.
    pub softirq: RunningSoftirq,
    /// When it was preempted.
    pub parked_ns: u64,
    /// [`CpuState::hardirq_total_ns`] then.
    pub hardirq_ns: u64,
}

/// One CPU's time by what kind of task ran, without the interrupts and softirqs that fell into it. The first
/// field is written last and the last one first: a reader that finds them equal has read what lies
/// between whole (a map look-up copies upwards).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TaskTime {
    /// Number of the last update that was finished.
    pub finished: u64,
    /// When the account was last brought up to date; 0 for never.
    pub since_ns: u64,
    /// [`CpuState::hardirq_total_ns`] then.
    pub hardirq_base_ns: u64,
    /// [`CpuState::softirq_total_ns`] then.
    pub softirq_base_ns: u64,
    /// In ksoftirqd.
    pub ksoftirqd_ns: u64,
    /// In other kernel threads.
    pub kthread_ns: u64,
    /// In user tasks and idle.
    pub rest_ns: u64,
    /// What runs since then, as far as switches told ([`role`]).
    pub role: u64,
    /// The kernel thread that does; 0 for a user task or idle.
    pub task: u64,
    /// Number of the last update that was begun.
    pub begun: u64,
}

/// A kernel thread on this CPU.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct RunningKthread {
    /// Its `struct task_struct`; 0 for none, or none whose start was seen.
    pub task: u64,
    /// When it was switched to.
    pub start_ns: u64,
    /// How long it had been runnable.
    pub wait_ns: u64,
    /// [`crate::record::flags`]
    pub flags: u64,
    /// Its thread id.
    pub pid: u64,
    /// Its comm.
    pub comm: [u64; 2],
}

/// What is known of a kernel thread, wherever it is.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Thread {
    /// Since when it could run and did not; 0 for it runs or sleeps.
    pub runnable_ns: u64,
    /// It could run because it was preempted, not woken.
    pub preempted: u64,
    /// Its net time on CPUs since it was first seen.
    pub net_ns: u64,
    /// A kworker's: the workqueue of the work it started last; 0 for none.
    pub workqueue_id: u64,
    /// A kworker's: the work that it runs; 0 for none.
    pub work: u64,
}

/// What kind of task runs, as far as the programs must know.
pub mod role {
    /// Not known yet.
    pub const UNKNOWN: u64 = 0;
    /// A user task, or idle.
    pub const REST: u64 = 1;
    /// A kernel thread that is none of the others.
    pub const KTHREAD: u64 = 2;
    /// ksoftirqd/N
    pub const KSOFTIRQD: u64 = 3;
    /// ktimers/N
    pub const KTIMERS: u64 = 4;
    /// irq/N-name
    pub const IRQ_THREAD: u64 = 5;
    /// napi/dev-id, backlog_napi/N
    pub const NAPI_THREAD: u64 = 6;
    /// The idle task; only where it matters (of a switch it is [`REST`]).
    pub const IDLE: u64 = 7;

    /// The role that a kernel thread's comm tells.
    #[inline(always)]
    #[must_use]
    pub const fn of(comm: [u64; 2]) -> u64 {
        const KSOFTIRQ: u64 = u64::from_ne_bytes(*b"ksoftirq");
        const KTIMERS_: u64 = u64::from_ne_bytes(*b"ktimers/");
        const BACKLOG: u64 = u64::from_ne_bytes(*b"backlog_");
        // The first bytes of a word are its low ones: the programs are little-endian.
        const IRQ: u64 = u32::from_ne_bytes(*b"irq/") as u64;
        const NAPI: u64 = u32::from_ne_bytes(*b"napi") as u64;
        match comm[0] {
            KSOFTIRQ => KSOFTIRQD,
            KTIMERS_ => KTIMERS,
            BACKLOG => NAPI_THREAD,
            word if word & 0xffff_ffff == IRQ => IRQ_THREAD,
            word if word & 0xffff_ffff == NAPI && (word >> 32) & 0xff == b'/' as u64 => NAPI_THREAD,
            _ => KTHREAD,
        }
    }
}

/// An origin in one word: its kind ([`crate::record::origin`]) and its number.
#[inline(always)]
#[must_use]
pub const fn origin_word(kind: u8, number: u32) -> u64 {
    (kind as u64) << 32 | number as u64
}

/// Softirq records that are put into the ring together.
pub const STAGED: usize = 8;
/// A record waits no longer than this for others, if another softirq ends on its CPU then.
pub const STAGED_NS: u64 = 20_000_000;

/// No wait was measured.
pub const NO_WAIT: u64 = u64::MAX;

/// A work item that was queued and has not started: as far as its tracepoints told. The kernel lets a work be
/// queued again from a moment before it traces the start (`process_one_work` clears the pending bit first), so
/// two queueings may be pending here.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct PendingWork {
    /// The earlier one.
    pub first: Queueing,
    /// The later one, if there are two.
    pub second: Queueing,
}

/// One queueing of a work item.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Queueing {
    /// When it was queued; 0 for none.
    pub queue_ns: u64,
    /// When it was activated; 0 for not yet.
    pub activate_ns: u64,
    /// Its workqueue's name.
    pub workqueue_id: u64,
    /// CPU that queued it.
    pub cpu: u64,
    /// What queued it ([`origin_word`]).
    pub queued_by: u64,
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
    /// What queued it ([`origin_word`]).
    pub queued_by: u64,
    /// In a kworker: the thread's net time when it started. In softirq context: what others had taken then.
    pub net_base_ns: u64,
}

#[cfg(feature = "user")]
// SAFETY: `repr(C)`, only u64, so no padding, and any bytes are a valid value.
unsafe impl aya::Pod for CpuState {}
#[cfg(feature = "user")]
// SAFETY: as for `CpuState`.
unsafe impl aya::Pod for Thread {}
#[cfg(feature = "user")]
// SAFETY: as for `CpuState`.
unsafe impl aya::Pod for PendingWork {}
#[cfg(feature = "user")]
// SAFETY: as for `CpuState`.
unsafe impl aya::Pod for RunningKey {}
#[cfg(feature = "user")]
// SAFETY: as for `CpuState`.
unsafe impl aya::Pod for RunningWork {}
