//! The stream's pieces with their names: a line of `jsonl` each. docs/export.md says what each field means; fields are
//! added, never renamed.

use std::{collections::BTreeMap, sync::Arc};

use serde::Serialize;

use crate::{
    aggregate::window::{ContextTimes, Family, FamilyAccounting, ModuleEvent, Origin},
    host::HostIdentity,
};

/// A piece of the stream. All times are `CLOCK_MONOTONIC` in nanoseconds; the wall clock is in [`Line::Start`] and
/// [`Line::WindowEnd`].
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Line {
    /// The stream begins.
    Start {
        /// `CLOCK_MONOTONIC` then.
        monotonic_ns: u64,
        /// Nanoseconds since the Unix epoch then.
        unix_ns: u64,
        /// The machine.
        host: Box<HostIdentity>,
    },
    /// A softirq run.
    Softirq(SoftirqLine),
    /// An interrupt handler's call.
    Hardirq(HardirqLine),
    /// A work item's execution.
    Work(WorkLine),
    /// A tasklet's run.
    Tasklet(TaskletLine),
    /// A NAPI's poll.
    Napi(NapiLine),
    /// A kernel thread's time on a CPU.
    Kthread(KthreadLine),
    /// A module event.
    Module(ModuleLine),
    /// A line of the kernel's log.
    Log {
        /// When, as near as printk's clock is.
        time_ns: u64,
        /// Level, 0 (emergency) to 7 (debug).
        level: u8,
        /// Sequence number.
        seq: u64,
        /// The text.
        text: String,
        /// Part of a line that came apart.
        fragment: bool,
    },
    /// Lines of the kernel's log that are not in the bundle.
    LogMissed {
        /// Left out by the bound on lines.
        dropped: u64,
        /// Times that the kernel's buffer had gone around.
        overruns: u64,
    },
    /// The kernel's taint changed.
    Taint {
        /// When that was seen.
        time_ns: u64,
        /// The value before.
        before: u64,
        /// The value after.
        after: u64,
        /// Letters of the flags that are new.
        added: String,
    },
    /// Samples of one kernel stack.
    Stack(StackLine),
    /// The governor limits a family, or no longer does.
    Governor {
        /// When.
        time_ns: u64,
        /// The family.
        family: Family,
        /// From now on it is.
        limited: bool,
        /// Why.
        reason: String,
    },
    /// Time in each context by CPU, since the window began.
    Contexts {
        /// A row a CPU.
        cpus: Vec<ContextTimes>,
    },
    /// What the probes counted since they were last asked: what was spilled has no lines.
    Counted {
        /// By family; families with nothing are left out.
        families: BTreeMap<Family, FamilyAccounting>,
    },
    /// A window closes.
    WindowEnd {
        /// `CLOCK_MONOTONIC` then.
        monotonic_ns: u64,
        /// Nanoseconds since the Unix epoch then.
        unix_ns: u64,
        /// The kernel's taint, where it can be read.
        taint: Option<u64>,
    },
}

/// A softirq run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SoftirqLine {
    /// CPU.
    pub cpu: u32,
    /// Vector name as in /proc/softirqs.
    pub vector: &'static str,
    /// Where it ran: one of [`crate::aggregate::window::SOFTIRQ_CONTEXTS`].
    pub context: &'static str,
    /// Entry.
    pub start_ns: u64,
    /// Exit.
    pub end_ns: u64,
    /// First pending raise to entry; `null` where the raise was not seen.
    pub wait_ns: Option<u64>,
    /// Entry to exit.
    pub service_ns: u64,
    /// The same without the interrupts that fell into it.
    pub net_ns: u64,
    /// What raised it first.
    pub origin: Origin,
}

/// An interrupt handler's call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HardirqLine {
    /// CPU.
    pub cpu: u32,
    /// Interrupt number; `null` of a vector that has none.
    pub irq: Option<u32>,
    /// Action name; of a vector its row in /proc/interrupts.
    pub name: Arc<str>,
    /// Entry.
    pub start_ns: u64,
    /// Return.
    pub end_ns: u64,
    /// Time in the handler.
    pub service_ns: u64,
    /// It was its device's: not `IRQ_NONE`.
    pub handled: bool,
    /// It woke the action's thread.
    pub woke_thread: bool,
}

/// A work item's execution.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct WorkLine {
    /// CPU on which it ended.
    pub cpu: u32,
    /// Workqueue name.
    pub workqueue: Arc<str>,
    /// Function name, or its address in hex.
    pub function: Arc<str>,
    /// Start.
    pub start_ns: u64,
    /// End.
    pub end_ns: u64,
    /// Queueing to start; `null` where the queueing was not seen.
    pub wait_ns: Option<u64>,
    /// Queueing to activation; `null` where that was not seen.
    pub activate_ns: Option<u64>,
    /// Start to end, in wall time.
    pub service_ns: u64,
    /// Time on the CPU, without interrupts and softirqs; `null` where not measured.
    pub net_ns: Option<u64>,
    /// Queued by another CPU.
    pub remote: bool,
    /// Ran in softirq context.
    pub bh: bool,
    /// What queued it.
    pub origin: Origin,
}

/// A tasklet's run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TaskletLine {
    /// CPU.
    pub cpu: u32,
    /// Function name, or its address in hex.
    pub function: Arc<str>,
    /// Entry.
    pub start_ns: u64,
    /// Exit.
    pub end_ns: u64,
    /// Entry to exit.
    pub service_ns: u64,
    /// The same without the interrupts that fell into it.
    pub net_ns: u64,
}

/// A NAPI's poll.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NapiLine {
    /// CPU.
    pub cpu: u32,
    /// Device name; `backlog` of a CPU's backlog queue.
    pub device: Arc<str>,
    /// `napi_struct::napi_id`; 0 for none.
    pub napi_id: u32,
    /// Where: as [`SoftirqLine::context`].
    pub context: &'static str,
    /// `end_ns` less the time it took; `null` where its beginning is not known.
    pub start_ns: Option<u64>,
    /// Return.
    pub end_ns: u64,
    /// Its time without interrupts.
    pub service_ns: Option<u64>,
    /// Packets it received.
    pub packets: u32,
    /// Packets it was allowed.
    pub budget: u32,
}

/// A kernel thread's time on a CPU.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct KthreadLine {
    /// CPU.
    pub cpu: u32,
    /// Thread id.
    pub pid: u32,
    /// Its comm.
    pub comm: Arc<str>,
    /// What it is for.
    pub role: &'static str,
    /// A kworker's: the workqueue of the work it started last; empty for none.
    pub workqueue: Arc<str>,
    /// Switch to it.
    pub start_ns: u64,
    /// Switch from it.
    pub end_ns: u64,
    /// Runnable to running; `null` where that was not seen.
    pub wait_ns: Option<u64>,
    /// It had been preempted, not woken.
    pub preempted: bool,
    /// Time on the CPU, interrupts and softirqs included.
    pub service_ns: u64,
    /// The same without them.
    pub net_ns: u64,
}

/// A module event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ModuleLine {
    /// When.
    pub time_ns: u64,
    /// `load`, `init`, `free` or `request`.
    pub event: ModuleEvent,
    /// Module name; of a request, what was asked for.
    pub name: String,
    /// Taint letters that it brought.
    pub taints: String,
    /// Process that did it.
    pub pid: u32,
    /// Its comm.
    pub comm: String,
    /// CPU.
    pub cpu: u32,
    /// Init only: how long it took.
    pub init_ns: Option<u64>,
    /// Init only: what it returned.
    pub ret: Option<i32>,
}

/// Samples of one kernel stack.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StackLine {
    /// `softirq:NET_RX`, `kthread:ksoftirqd` and so on.
    pub context: String,
    /// Functions, the outermost first.
    pub frames: Vec<String>,
    /// Samples.
    pub count: u64,
}
