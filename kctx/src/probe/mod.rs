//! The probes: which there are, and how they get into the kernel.

use crate::aggregate::window::Family;

#[cfg(kctx_live)]
pub mod attach;
#[cfg(kctx_live)]
pub mod books;
#[cfg(kctx_live)]
pub mod load;
#[cfg(kctx_live)]
mod offsets;

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
    /// Rare: a classic tracepoint.
    Rare,
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

const fn rare(group: &'static str, tracepoint: &'static str, family: Family) -> ProbeSpec {
    ProbeSpec {
        group,
        tracepoint,
        family,
        kind: ProbeKind::Rare,
    }
}

/// All probes, starts before their ends: they attach in this order and detach in the reverse, so that no
/// end is seen whose start could not be.
pub const PROBES: [ProbeSpec; 12] = [
    hot("irq", "softirq_raise", Family::Softirq),
    hot("irq", "softirq_entry", Family::Softirq),
    hot("irq", "softirq_exit", Family::Softirq),
    hot("irq", "irq_handler_entry", Family::Hardirq),
    hot("irq", "irq_handler_exit", Family::Hardirq),
    hot("workqueue", "workqueue_queue_work", Family::Workqueue),
    hot("workqueue", "workqueue_activate_work", Family::Workqueue),
    hot("workqueue", "workqueue_execute_start", Family::Workqueue),
    hot("workqueue", "workqueue_execute_end", Family::Workqueue),
    rare("module", "module_load", Family::Module),
    rare("module", "module_free", Family::Module),
    rare("module", "module_request", Family::Module),
];
