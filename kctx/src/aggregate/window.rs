//! A closed window: what every sink is given.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub use super::accounting::{
    Accounting, FAMILIES, Family, FamilyAccounting, ProbeStatus, Served, Source,
};
use super::duration::Durations;
pub use super::happened::{LogRow, LogRows, ModuleEvent, ModuleRequester, ModuleRow, TaintRow};

use crate::meter::OwnCost;

/// The text that stands for a name that could not be resolved.
pub const UNKNOWN: &str = "?";

/// What happened between two moments, by family and key.
#[derive(Clone, Debug, Default)]
pub struct Window {
    /// Start, in nanoseconds since the Unix epoch.
    pub start_unix_ns: u64,
    /// Length in nanoseconds, by `CLOCK_MONOTONIC`.
    pub duration_ns: u64,
    /// Time in each context, by CPU.
    pub cpu: Vec<ContextTimes>,
    /// One row a vector, CPU and place that ran it.
    pub softirq: Vec<SoftirqRow>,
    /// One row a vector, CPU and what raised it there.
    pub softirq_origin: Vec<SoftirqOriginRow>,
    /// One row an interrupt number, action and CPU; one a vector without a number and CPU.
    pub hardirq: Vec<HardirqRow>,
    /// One row a tasklet function.
    pub tasklet: Vec<TaskletRow>,
    /// One row a workqueue and work function.
    pub workqueue: Vec<WorkqueueRow>,
    /// One row a NAPI, CPU and place that polled it.
    pub napi: Vec<NapiRow>,
    /// One row a kernel thread and workqueue.
    pub kthread: Vec<KthreadRow>,
    /// Module events, in order.
    pub module: Vec<ModuleRow>,
    /// Changes of the kernel's taint, in order.
    pub taint: Vec<TaintRow>,
    /// The kernel's taint when it was last looked at; `None` where it can't be read.
    pub taint_value: Option<u64>,
    /// The kernel's log.
    pub log: LogRows,
    /// Kernel stacks, the most frequent first.
    pub stack: Vec<StackRow>,
    /// Families that the governor kept from the rings for some or all of the window.
    pub governor: Vec<GovernorRow>,
    /// At the window's end kctx is over its CPU limit, and the governor has nothing left to limit.
    pub governor_helpless: Option<GovernorHelpless>,
    /// What kctx itself used; `None` in a stream that does not tell.
    pub own_cost: Option<OwnCost>,
    /// What the probes counted in this window.
    pub accounting: Accounting,
    /// Each probe, whether attached, how, or why not.
    pub probes: Vec<ProbeStatus>,
}

impl Window {
    /// Records of a family that are in the window's rows, spilled ones too.
    #[must_use]
    pub fn records(&self, family: Family) -> u64 {
        fn sum(counts: impl Iterator<Item = u64>) -> u64 {
            counts.fold(0, u64::saturating_add)
        }
        match family {
            Family::Softirq => sum(self.softirq.iter().map(|r| r.count)),
            Family::Hardirq => sum(self.hardirq.iter().map(|r| r.count + r.unhandled)),
            Family::Workqueue => sum(self.workqueue.iter().map(|r| r.count)),
            Family::Module => self.module.len() as u64,
            Family::Tasklet => sum(self.tasklet.iter().map(|r| r.count)),
            Family::Napi => sum(self.napi.iter().map(|r| r.count)),
            Family::Kthread => sum(self.kthread.iter().map(|r| r.count)),
            Family::Stack => sum(self.stack.iter().map(|r| r.count)),
        }
    }
}

/// Time on one CPU, by context; the contexts do not overlap, and together they are the window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContextTimes {
    /// The CPU.
    pub cpu: u32,
    /// In interrupt handlers and vectors.
    pub hardirq_ns: u64,
    /// In softirqs, wherever they ran, without the interrupts that fell into them.
    pub softirq_ns: u64,
    /// In ksoftirqd, outside of softirqs and interrupts. `None` where switches are not followed.
    pub ksoftirqd_ns: Option<u64>,
    /// In other kernel threads, likewise.
    pub kthread_ns: Option<u64>,
    /// In user tasks and idle, likewise.
    pub rest_ns: Option<u64>,
}

/// Names of [`kctx_common::record::context`], in the order of their numbers.
pub const SOFTIRQ_CONTEXTS: [&str; 8] = [
    "unknown",
    "ksoftirqd",
    "irq_tail",
    "idle",
    "task",
    "ktimers",
    "irq_thread",
    "napi_thread",
];

/// What raised a softirq or queued a work.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Origin {
    /// Its kind.
    pub kind: OriginKind,
    /// Interrupt number, softirq vector or process id; `None` where the kind has none, and of tasks of one comm that
    /// are counted together.
    pub number: Option<u32>,
    /// `LOC`, `RES`, `CAL` or `IWI` of a vector, the softirq vector's name, the process's comm; [`UNKNOWN`]
    /// where that is not known; empty of an interrupt (its row has the name) and of what has no name.
    pub name: Arc<str>,
}

/// Kind of an [`Origin`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OriginKind {
    /// Not seen, or one of more than there is room for.
    Unknown,
    /// An interrupt's handler.
    Irq,
    /// An interrupt vector without a number.
    Vector,
    /// A softirq.
    Softirq,
    /// A task, a kernel thread too.
    Task,
    /// The idle task.
    Idle,
}

/// How often a softirq vector was raised by what, of the runs that were seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SoftirqOriginRow {
    /// Vector name as in /proc/softirqs.
    pub vector: &'static str,
    /// CPU it was raised on, and ran on.
    pub cpu: u32,
    /// What made the first raise of a run.
    pub origin: Origin,
    /// Runs.
    pub count: u64,
}

/// Runs of one softirq vector on one CPU.
#[derive(Clone, Debug)]
pub struct SoftirqRow {
    /// Vector name as in /proc/softirqs.
    pub vector: &'static str,
    /// CPU it ran on.
    pub cpu: u32,
    /// Where it ran: one of [`SOFTIRQ_CONTEXTS`].
    pub context: &'static str,
    /// Runs.
    pub count: u64,
    /// Runs whose raise was not seen.
    pub wait_unknown: u64,
    /// First pending raise to entry.
    pub wait: Durations,
    /// Entry to exit, gross.
    pub service: Durations,
    /// The same without the interrupt handlers that fell into it.
    pub service_net: Durations,
}

/// Calls of one interrupt action's handler on one CPU.
#[derive(Clone, Debug)]
pub struct HardirqRow {
    /// Interrupt number; `None` of a vector that has none, and in the overflow row.
    pub irq: Option<u32>,
    /// Action name; [`UNKNOWN`] where it could not be read. Of a vector, its row in /proc/interrupts.
    pub name: Arc<str>,
    /// The row that takes what the key limit kept out.
    pub overflow: bool,
    /// CPU it ran on.
    pub cpu: u32,
    /// Calls that handled the interrupt.
    pub count: u64,
    /// Calls that returned `IRQ_NONE`: a shared line's other device, or a spurious interrupt.
    pub unhandled: u64,
    /// Calls that woke the action's thread (part of `count`).
    pub woke_thread: u64,
    /// Time in the handler, of `count` calls.
    pub service: Durations,
}

/// Executions of one work function on one workqueue.
#[derive(Clone, Debug)]
pub struct WorkqueueRow {
    /// Workqueue name; [`UNKNOWN`] where the queueing was not seen.
    pub workqueue: Arc<str>,
    /// Function name, or its address in hex where kallsyms has none.
    pub function: Arc<str>,
    /// The row that takes what the key limit kept out.
    pub overflow: bool,
    /// Executions.
    pub count: u64,
    /// Executions whose queueing was not seen.
    pub wait_unknown: u64,
    /// Executions on another CPU than the one that queued the work.
    pub remote: u64,
    /// Queueing to start.
    pub wait: Durations,
    /// Queueing to activation: the part of the wait that `max_active` caused.
    pub activate: Durations,
    /// Start to end, in wall time: a work may sleep.
    pub service: Durations,
    /// Of that, the time on the CPU without the interrupts and softirqs that fell into it.
    pub service_net: Durations,
    /// Executions in softirq context (BH workqueues).
    pub bh: u64,
    /// What queued it, the most frequent first, and how often; at most [`WORK_ORIGINS`].
    pub queued_by: Vec<(Origin, u64)>,
}

/// Origins that a work's row tells apart; the others count as unknown.
pub const WORK_ORIGINS: usize = 8;

/// Calls of one tasklet function.
#[derive(Clone, Debug)]
pub struct TaskletRow {
    /// Function name, or its address in hex where kallsyms has none.
    pub function: Arc<str>,
    /// The row that takes what the key limit kept out.
    pub overflow: bool,
    /// Calls.
    pub count: u64,
    /// Entry to exit.
    pub service: Durations,
    /// The same without the interrupts that fell into it.
    pub service_net: Durations,
}

/// Polls of one NAPI on one CPU.
#[derive(Clone, Debug)]
pub struct NapiRow {
    /// Device name; `backlog` of a CPU's backlog queue, which has no device.
    pub device: Arc<str>,
    /// `napi_struct::napi_id`; 0 for none.
    pub napi_id: u32,
    /// CPU that polled.
    pub cpu: u32,
    /// Where: one of [`SOFTIRQ_CONTEXTS`]; `task` of a task that polled by itself.
    pub context: &'static str,
    /// The row that takes what the key limit kept out.
    pub overflow: bool,
    /// Polls.
    pub count: u64,
    /// Polls that used their whole budget: there was more to do.
    pub exhausted: u64,
    /// Packets received.
    pub packets: u64,
    /// Most packets in one poll.
    pub packets_max: u64,
    /// Time of a poll, without interrupts, where its beginning is known.
    pub service: Durations,
}

/// One kernel thread's time on CPUs.
#[derive(Clone, Debug)]
pub struct KthreadRow {
    /// What it is for: `ksoftirqd`, `kworker`, `irq`, `rcu` and so on.
    pub role: &'static str,
    /// Its comm.
    pub comm: Arc<str>,
    /// Its thread id.
    pub pid: u32,
    /// A kworker's: the workqueue of the work it started last; empty for none.
    pub workqueue: Arc<str>,
    /// The row that takes what the key limit kept out.
    pub overflow: bool,
    /// Times that it left a CPU.
    pub count: u64,
    /// Of those with a known wait, how many had been preempted rather than woken.
    pub preempted: u64,
    /// Runnable to running.
    pub wait: Durations,
    /// Time on the CPU at a stretch, interrupts and softirqs included.
    pub service: Durations,
    /// The same without them.
    pub service_net: Durations,
    /// Time on CPUs inside the window, interrupts and softirqs included; of stretches that reach over the
    /// window's edges, the part inside.
    pub cpu_ns: u64,
    /// The same without them.
    pub cpu_net_ns: u64,
}

/// A kernel stack, and how often the sampling clock found it.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub struct StackRow {
    /// `softirq:NET_RX`, `kthread:ksoftirqd` and so on.
    pub context: String,
    /// Functions, the outermost first.
    pub frames: Vec<String>,
    /// Samples.
    pub count: u64,
}

/// A time in which the governor kept a family from the rings.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub struct GovernorRow {
    /// The family.
    pub family: Family,
    /// Since when, in nanoseconds since the Unix epoch.
    pub since_unix_ns: u64,
    /// Until when; `None`: still.
    pub until_unix_ns: Option<u64>,
    /// Why.
    pub reason: String,
}

/// The governor has nothing left to limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GovernorHelpless {
    /// Since when, in nanoseconds since the Unix epoch.
    pub since_unix_ns: u64,
    /// Why.
    pub reason: String,
}
