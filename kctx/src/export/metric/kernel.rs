//! Softirqs, interrupts, and what happens to the kernel.

use super::{Attribute, CPU, Group, Kind, Metric};

static VECTOR: Attribute = Attribute {
    key: "kctx.softirq.vector",
    values: "`HI`, `TIMER`, `NET_TX`, `NET_RX`, `BLOCK`, `IRQ_POLL`, `TASKLET`, `SCHED`, `HRTIMER`, `RCU`",
};

static SOFTIRQ_CONTEXT: Attribute = Attribute {
    key: "kctx.softirq.context",
    values: "where it ran: at an interrupt's tail (`irq_tail`), in `ksoftirqd`, in a task that enabled bottom halves \
             (`task`), in `idle`, in a thread (`ktimers`, `irq_thread`, `napi_thread`), or `unknown`",
};

static ORIGIN_KIND: Attribute = Attribute {
    key: "kctx.origin.kind",
    values: "`irq`, `vector`, `softirq`, `task`, `idle`, `unknown`",
};

pub(super) const SOFTIRQ: Group = Group {
    family: "softirq",
    title: "Softirqs",
    metrics: &[
        Metric {
            name: "kctx.softirq.wait.duration",
            kind: Kind::Histogram,
            unit: "s",
            description: "Time from the first pending raise of a softirq vector to its run.",
            meaning: "From the first raise since the vector's last entry to its entry. A raise during a run belongs to the \
                      next. Runs whose raise was not seen have no wait.",
            attributes: &[&VECTOR, &SOFTIRQ_CONTEXT, &CPU],
            sources: &["irq:softirq_raise", "irq:softirq_entry"],
            cardinality: "10 vectors × 8 contexts × CPUs",
            place: durations!(softirq_wait),
        },
        Metric {
            name: "kctx.softirq.duration",
            kind: Kind::Histogram,
            unit: "s",
            description: "Time a softirq vector ran, with the interrupt handlers that fell into it.",
            meaning: "Entry to exit, gross: an interrupt that fell into it counts.",
            attributes: &[&VECTOR, &SOFTIRQ_CONTEXT, &CPU],
            sources: &["irq:softirq_entry", "irq:softirq_exit"],
            cardinality: "10 vectors × 8 contexts × CPUs",
            place: durations!(softirq_gross),
        },
        Metric {
            name: "kctx.softirq.exclusive.duration",
            kind: Kind::Histogram,
            unit: "s",
            description: "Time a softirq vector ran, without the interrupt handlers that fell into it.",
            meaning: "Net of interrupt handlers and of the vectors without a number (local timer, IPIs).",
            attributes: &[&VECTOR, &SOFTIRQ_CONTEXT, &CPU],
            sources: &["irq:softirq_entry", "irq:softirq_exit"],
            cardinality: "10 vectors × 8 contexts × CPUs",
            place: durations!(softirq_net),
        },
        Metric {
            name: "kctx.softirq.raised",
            kind: Kind::Counter,
            unit: "{run}",
            description: "Runs of a softirq vector, by the kind of context that raised them.",
            meaning: "By what made the first raise since the vector's last entry; which interrupt or task it was is in the \
                      summary.",
            attributes: &[&VECTOR, &ORIGIN_KIND, &CPU],
            sources: &["irq:softirq_raise", "irq:softirq_exit"],
            cardinality: "10 vectors × 6 kinds × CPUs",
            place: count!(softirq_raised),
        },
    ],
};

pub(super) const CPU_TIME: Group = Group {
    family: "cpu",
    title: "CPU time",
    metrics: &[Metric {
        name: "kctx.cpu.context.time",
        kind: Kind::ObservedCounter,
        unit: "s",
        description: "CPU time by kernel context; the contexts are disjoint.",
        meaning: "Contexts do not overlap, and together they are the whole of the time; `ksoftirqd`, `kthread` and \
                      `rest` are there where switches between tasks are followed.",
        attributes: &[
            &Attribute {
                key: "kctx.context",
                values: "`hardirq`, `softirq`, `ksoftirqd`, `kthread` (the others), `rest` (user tasks and idle)",
            },
            &CPU,
        ],
        sources: &["irq", "irq_vectors", "sched:sched_switch"],
        cardinality: "5 contexts × CPUs",
        place: seconds!(context_time_ns),
    }],
};

static IRQ_NUMBER: Attribute = Attribute {
    key: "kctx.irq.number",
    values: "the line's number; not of vectors",
};

static IRQ_NAME: Attribute = Attribute {
    key: "kctx.irq.name",
    values: "the action's name, `?` where it could not be read; of a vector without a number its row in \
             /proc/interrupts: `LOC`, `RES`, `CAL`, `IWI`",
};

pub(super) const HARDIRQ: Group = Group {
    family: "hardirq",
    title: "Interrupts",
    metrics: &[
        Metric {
            name: "kctx.hardirq.duration",
            kind: Kind::Histogram,
            unit: "s",
            description: "Time in an interrupt action's handler or in a vector, of calls that handled the interrupt.",
            meaning: "One call of an action's handler. A shared line calls each of its actions.",
            attributes: &[&IRQ_NUMBER, &IRQ_NAME, &CPU],
            sources: &[
                "irq:irq_handler_entry",
                "irq:irq_handler_exit",
                "irq_vectors",
            ],
            cardinality: "actions and vectors × CPUs, `[limits] hardirq_rows` in a window",
            place: durations!(hardirq),
        },
        Metric {
            name: "kctx.hardirq.unhandled",
            kind: Kind::Counter,
            unit: "{interrupt}",
            description: "Calls of an interrupt action's handler that were not for its device.",
            meaning: "Calls that returned `IRQ_NONE`; never part of the duration.",
            attributes: &[&IRQ_NUMBER, &IRQ_NAME, &CPU],
            sources: &["irq:irq_handler_exit"],
            cardinality: "actions × CPUs",
            place: count!(hardirq_unhandled),
        },
    ],
};

pub(super) const MODULE: Group = Group {
    family: "module",
    title: "Modules",
    metrics: &[Metric {
        name: "kctx.module.events",
        kind: Kind::Counter,
        unit: "{event}",
        description: "Kernel modules loaded, initialized, freed and asked for.",
        meaning: "",
        attributes: &[
            &Attribute {
                key: "kctx.module.event",
                values: "`load`, `init`, `free`, `request`",
            },
            &Attribute {
                key: "kctx.module.name",
                values: "the module's; not of requests",
            },
        ],
        sources: &[
            "module:module_load",
            "module:module_free",
            "module:module_request",
            "initcall:initcall_start",
            "initcall:initcall_finish",
        ],
        cardinality: "4 events × modules",
        place: count!(module_events),
    }],
};

pub(super) const TAINT: Group = Group {
    family: "taint",
    title: "Taint",
    metrics: &[Metric {
        name: "kctx.kernel.taint",
        kind: Kind::Gauge,
        unit: "{flag}",
        description: "Whether a flag of the kernel's taint is set: 1 or 0.",
        meaning: "Every flag that kctx knows, so that a flag that comes is seen to change; a newer kernel's flag once \
                      it is set. No flag at all: the taint can't be read.",
        attributes: &[&Attribute {
            key: "kctx.kernel.taint.flag",
            values: "the kernel's name without `TAINT_` in lower case (`warn`, `oot_module`, `die`); a newer \
                         kernel's flag is `bit_20` and so on",
        }],
        sources: &["/proc/sys/kernel/tainted"],
        cardinality: "flags (20)",
        place: count!(taint),
    }],
};

pub(super) const LOG: Group = Group {
    family: "log",
    title: "Kernel log",
    metrics: &[Metric {
        name: "kctx.kernel.log.lines",
        kind: Kind::Counter,
        unit: "{line}",
        description: "Lines of the kernel's log, by level.",
        meaning: "What the kernel logged, not what userspace wrote into /dev/kmsg, and no fragments of lines that came \
                      apart. Their text is in the summary.",
        attributes: &[&Attribute {
            key: "kctx.kernel.log.level",
            values: "`emerg`, `alert`, `crit`, `err`, `warning`, `notice`, `info`, `debug`",
        }],
        sources: &["/dev/kmsg"],
        cardinality: "8 levels",
        place: count!(log_lines),
    }],
};
