//! The probes: which there are, and how they get into the kernel.

use crate::aggregate::window::Family;

#[cfg(kctx_live)]
pub mod attach;
#[cfg(kctx_live)]
pub mod books;
#[cfg(kctx_live)]
pub mod clock;
pub mod contexts;
#[cfg(kctx_live)]
pub mod load;
#[cfg(kctx_live)]
mod offsets;
#[cfg(kctx_live)]
pub mod programs;
#[cfg(kctx_live)]
pub mod spill;
#[cfg(kctx_live)]
pub mod stacks;

/// What a kctx that was built without the programs says.
pub const NO_OBJECT: &str =
    "this kctx was built without its BPF programs: build it with cargo xtask build";

/// A probe: one tracepoint and the program for it.
#[derive(Clone, Copy, Debug)]
pub struct ProbeSpec {
    /// The tracepoint's group in tracefs.
    pub group: &'static str,
    /// The tracepoint.
    pub tracepoint: &'static str,
    /// What it serves.
    pub family: Family,
    /// How it may be attached, best first.
    pub kind: ProbeKind,
}

/// How a probe may be attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProbeKind {
    /// Hot: `tp_btf` by the tracepoint's name, else its `raw_tp` twin (`<name>_raw`).
    Hot,
    /// Hot, and of no use without the kernel's BTF: as `tp_btf` or not at all.
    HotTyped,
    /// Rare: a classic tracepoint.
    Rare,
    /// A software clock on each CPU, at this many samples a second.
    Clock,
}

impl ProbeSpec {
    /// `group:tracepoint`
    #[must_use]
    pub fn name(&self) -> String {
        format!("{}:{}", self.group, self.tracepoint)
    }
}

const fn hot(group: &'static str, tracepoint: &'static str, family: Family) -> ProbeSpec {
    ProbeSpec {
        group,
        tracepoint,
        family,
        kind: ProbeKind::Hot,
    }
}

const fn hot_typed(group: &'static str, tracepoint: &'static str, family: Family) -> ProbeSpec {
    ProbeSpec {
        group,
        tracepoint,
        family,
        kind: ProbeKind::HotTyped,
    }
}

const fn rare(group: &'static str, tracepoint: &'static str, family: Family) -> ProbeSpec {
    ProbeSpec {
        group,
        tracepoint,
        family,
        kind: ProbeKind::Rare,
    }
}

/// All probes, in the order that they attach and detach in: switches first, so that what runs on a CPU is known
/// to the others; ends before their starts. So no start is seen while its end would not be, which would
/// look as if it went on; of an end whose start was not seen nothing comes but a count.
pub const PROBES: [ProbeSpec; 32] = [
    hot_typed("sched", "sched_switch", Family::Kthread),
    hot_typed("sched", "sched_wakeup", Family::Kthread),
    hot_typed("sched", "sched_wakeup_new", Family::Kthread),
    hot("cpuhp", "cpuhp_enter", Family::Softirq),
    hot("irq", "irq_handler_exit", Family::Hardirq),
    hot("irq", "irq_handler_entry", Family::Hardirq),
    hot("irq_vectors", "local_timer_exit", Family::Hardirq),
    hot("irq_vectors", "local_timer_entry", Family::Hardirq),
    hot("irq_vectors", "reschedule_exit", Family::Hardirq),
    hot("irq_vectors", "reschedule_entry", Family::Hardirq),
    hot("irq_vectors", "call_function_exit", Family::Hardirq),
    hot("irq_vectors", "call_function_entry", Family::Hardirq),
    hot("irq_vectors", "call_function_single_exit", Family::Hardirq),
    hot("irq_vectors", "call_function_single_entry", Family::Hardirq),
    hot("irq_vectors", "irq_work_exit", Family::Hardirq),
    hot("irq_vectors", "irq_work_entry", Family::Hardirq),
    hot("irq", "softirq_exit", Family::Softirq),
    hot("irq", "softirq_entry", Family::Softirq),
    hot("irq", "softirq_raise", Family::Softirq),
    hot("irq", "tasklet_exit", Family::Tasklet),
    hot("irq", "tasklet_entry", Family::Tasklet),
    hot("napi", "napi_poll", Family::Napi),
    hot("workqueue", "workqueue_execute_end", Family::Workqueue),
    hot("workqueue", "workqueue_execute_start", Family::Workqueue),
    hot("workqueue", "workqueue_activate_work", Family::Workqueue),
    hot("workqueue", "workqueue_queue_work", Family::Workqueue),
    rare("module", "module_load", Family::Module),
    rare("module", "module_free", Family::Module),
    rare("module", "module_request", Family::Module),
    rare("initcall", "initcall_finish", Family::Module),
    rare("initcall", "initcall_start", Family::Module),
    ProbeSpec {
        group: "perf",
        tracepoint: "cpu_clock",
        family: Family::Stack,
        kind: ProbeKind::Clock,
    },
];

/// Starts and their ends.
pub const PAIRS: [(&str, &str); 9] = [
    ("softirq_entry", "softirq_exit"),
    ("irq_handler_entry", "irq_handler_exit"),
    ("local_timer_entry", "local_timer_exit"),
    ("reschedule_entry", "reschedule_exit"),
    ("call_function_entry", "call_function_exit"),
    ("call_function_single_entry", "call_function_single_exit"),
    ("irq_work_entry", "irq_work_exit"),
    ("tasklet_entry", "tasklet_exit"),
    ("workqueue_execute_start", "workqueue_execute_end"),
];
