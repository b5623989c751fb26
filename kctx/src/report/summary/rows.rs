//! The rows of each family.

use serde::{Deserialize, Serialize};

use super::DurationSummary;
use crate::aggregate::window::OriginKind;

/// What raised a softirq or queued a work.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OriginSummary {
    /// Its kind.
    pub kind: OriginKind,
    /// Interrupt number, softirq vector or process id; `null` where the kind has none, and of tasks of one comm that
    /// are counted together.
    pub number: Option<u32>,
    /// Names of the interrupt's actions, `LOC`, `RES`, `CAL` or `IWI` of a vector, the softirq vector's name,
    /// the process's comm; empty where there is none.
    pub name: String,
}

/// How often a vector was raised by what, on one CPU.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SoftirqOriginSummary {
    /// Vector name as in /proc/softirqs.
    pub vector: String,
    /// CPU it was raised on, and ran on.
    pub cpu: u32,
    /// What made the first raise of a run.
    pub origin: OriginSummary,
    /// Runs.
    pub count: u64,
}

/// How often a work was queued by what.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueuedBySummary {
    /// What queued it.
    pub origin: OriginSummary,
    /// Executions.
    pub count: u64,
}

/// Runs of one softirq vector on one CPU.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SoftirqSummary {
    /// Vector name as in /proc/softirqs.
    pub vector: String,
    /// CPU it ran on.
    pub cpu: u32,
    /// Where it ran: `ksoftirqd`, `irq_tail`, `idle`, `task`, `ktimers`, `irq_thread`, `napi_thread` or
    /// `unknown`.
    pub context: String,
    /// Runs.
    pub count: u64,
    /// Runs whose raise was not seen.
    pub wait_unknown: u64,
    /// First pending raise to entry.
    pub wait: DurationSummary,
    /// Entry to exit, gross.
    pub service: DurationSummary,
    /// Entry to exit without the interrupts that fell into it.
    pub service_net: DurationSummary,
}

/// Calls of one interrupt action's handler on one CPU.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HardirqSummary {
    /// Interrupt number; `null` of a vector that has none, and in the overflow row.
    pub irq: Option<u32>,
    /// Action name. Of a vector, its row in /proc/interrupts: `LOC`, `RES`, `CAL` or `IWI`.
    pub name: String,
    /// The row that takes what the key limit kept out.
    pub overflow: bool,
    /// CPU it ran on.
    pub cpu: u32,
    /// Calls that handled the interrupt.
    pub count: u64,
    /// Calls that returned `IRQ_NONE`.
    pub unhandled: u64,
    /// Calls that woke the action's thread.
    pub woke_thread: u64,
    /// Time in the handler.
    pub service: DurationSummary,
}

/// Executions of one work function on one workqueue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkqueueSummary {
    /// Workqueue name.
    pub workqueue: String,
    /// Function name, or its address in hex.
    pub function: String,
    /// The row that takes what the key limit kept out.
    pub overflow: bool,
    /// Executions.
    pub count: u64,
    /// Executions whose queueing was not seen.
    pub wait_unknown: u64,
    /// Executions on another CPU than the one that queued the work.
    pub remote: u64,
    /// Queueing to start.
    pub wait: DurationSummary,
    /// Queueing to activation.
    pub activate: DurationSummary,
    /// Start to end, in wall time: a work may sleep.
    pub service: DurationSummary,
    /// Of that, the time on the CPU without the interrupts and softirqs that fell into it.
    pub service_net: DurationSummary,
    /// Executions in softirq context.
    pub bh: u64,
    /// What queued it, the most frequent first.
    pub queued_by: Vec<QueuedBySummary>,
}

/// Calls of one tasklet function.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskletSummary {
    /// Function name, or its address in hex.
    pub function: String,
    /// The row that takes what the key limit kept out.
    pub overflow: bool,
    /// Calls.
    pub count: u64,
    /// Entry to exit.
    pub service: DurationSummary,
    /// The same without the interrupts that fell into it.
    pub service_net: DurationSummary,
}

/// Polls of one NAPI on one CPU.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NapiSummary {
    /// Device name; `backlog` of a CPU's backlog queue.
    pub device: String,
    /// `napi_struct::napi_id`; 0 for none.
    pub napi_id: u32,
    /// CPU that polled.
    pub cpu: u32,
    /// Where: as [`SoftirqSummary::context`]; `task` of a task that polled by itself.
    pub context: String,
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
    pub service: DurationSummary,
}

/// One kernel thread's time on CPUs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KthreadSummary {
    /// What it is for: `ksoftirqd`, `kworker`, `irq`, `rcu` and so on.
    pub role: String,
    /// Its comm.
    pub comm: String,
    /// Its thread id.
    pub pid: u32,
    /// A kworker's: the workqueue of the work it started last; empty for none.
    pub workqueue: String,
    /// The row that takes what the key limit kept out.
    pub overflow: bool,
    /// Times that it left a CPU.
    pub count: u64,
    /// Of those with a known wait, how many had been preempted rather than woken.
    pub preempted: u64,
    /// Runnable to running.
    pub wait: DurationSummary,
    /// Time on the CPU at a stretch, interrupts and softirqs included.
    pub service: DurationSummary,
    /// The same without them.
    pub service_net: DurationSummary,
    /// Time on CPUs inside the window, interrupts and softirqs included.
    pub cpu_ns: u64,
    /// The same without them.
    pub cpu_net_ns: u64,
}
