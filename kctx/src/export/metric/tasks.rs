//! Deferred work, packets, and the threads that do it.

use super::{Attribute, CPU, Group, Kind, Metric};

static FUNCTION: Attribute = Attribute {
    key: "code.function.name",
    values: "the work's or the tasklet's function, or its address in hex where kallsyms has none",
};

static QUEUE_NAME: Attribute = Attribute {
    key: "kctx.workqueue.name",
    values: "its name, `?` where the queueing was not seen; of kernel threads only on kworkers: that of the work it \
             started last",
};

pub(super) const TASKLET: Group = Group {
    family: "tasklet",
    title: "Tasklets",
    metrics: &[Metric {
        name: "kctx.tasklet.duration",
        kind: Kind::Histogram,
        unit: "s",
        description: "Time a tasklet's function ran, with the interrupt handlers that fell into it.",
        meaning: "",
        attributes: &[&FUNCTION],
        sources: &["irq:tasklet_entry", "irq:tasklet_exit"],
        cardinality: "functions, `[limits] tasklet_rows` in a window",
        place: durations!(tasklet),
    }],
};

pub(super) const WORKQUEUE: Group = Group {
    family: "workqueue",
    title: "Works",
    metrics: &[
        Metric {
            name: "kctx.workqueue.wait.duration",
            kind: Kind::Histogram,
            unit: "s",
            description: "Time from the queueing of a work item to its start.",
            meaning: "A flush's barrier starts without having been queued: workqueue `?`, no wait.",
            attributes: &[&QUEUE_NAME, &FUNCTION],
            sources: &[
                "workqueue:workqueue_queue_work",
                "workqueue:workqueue_execute_start",
            ],
            cardinality: "(workqueue, function), `[limits] workqueue_rows` in a window",
            place: durations!(workqueue_wait),
        },
        Metric {
            name: "kctx.workqueue.activate.duration",
            kind: Kind::Histogram,
            unit: "s",
            description: "Time from the queueing of a work item to its activation: the wait that max_active caused.",
            meaning: "Part of the wait.",
            attributes: &[&QUEUE_NAME, &FUNCTION],
            sources: &[
                "workqueue:workqueue_queue_work",
                "workqueue:workqueue_activate_work",
            ],
            cardinality: "(workqueue, function), `[limits] workqueue_rows` in a window",
            place: durations!(workqueue_activate),
        },
        Metric {
            name: "kctx.workqueue.duration",
            kind: Kind::Histogram,
            unit: "s",
            description: "Wall time from the start to the end of a work item; it may sleep.",
            meaning: "",
            attributes: &[&QUEUE_NAME, &FUNCTION],
            sources: &[
                "workqueue:workqueue_execute_start",
                "workqueue:workqueue_execute_end",
            ],
            cardinality: "(workqueue, function), `[limits] workqueue_rows` in a window",
            place: durations!(workqueue),
        },
        Metric {
            name: "kctx.workqueue.exclusive.duration",
            kind: Kind::Histogram,
            unit: "s",
            description: "Time a work item was on the CPU, without interrupts and softirqs.",
            meaning: "Net of interrupts, of softirqs, and of the time it slept.",
            attributes: &[&QUEUE_NAME, &FUNCTION],
            sources: &[
                "workqueue:workqueue_execute_start",
                "workqueue:workqueue_execute_end",
                "sched:sched_switch",
            ],
            cardinality: "(workqueue, function), `[limits] workqueue_rows` in a window",
            place: durations!(workqueue_net),
        },
    ],
};

static INTERFACE: Attribute = Attribute {
    key: "network.interface.name",
    values: "the device; `backlog` of a CPU's backlog queue, which has none",
};

pub(super) const NAPI: Group = Group {
    family: "napi",
    title: "NAPI",
    metrics: &[
        Metric {
            name: "kctx.napi.poll.duration",
            kind: Kind::Histogram,
            unit: "s",
            description: "Time of a NAPI poll, without interrupts.",
            meaning: "Of polls whose beginning is known.",
            attributes: &[&INTERFACE, &CPU],
            sources: &["napi:napi_poll", "irq:softirq_entry"],
            cardinality: "devices × CPUs, `[limits] napi_rows` in a window",
            place: durations!(napi),
        },
        Metric {
            name: "kctx.napi.poll.packets",
            kind: Kind::Counter,
            unit: "{packet}",
            description: "Packets that NAPI polls received.",
            meaning: "",
            attributes: &[&INTERFACE, &CPU],
            sources: &["napi:napi_poll"],
            cardinality: "devices × CPUs",
            place: count!(napi_packets),
        },
        Metric {
            name: "kctx.napi.poll.exhausted",
            kind: Kind::Counter,
            unit: "{poll}",
            description: "NAPI polls that used their whole budget: there was more to do.",
            meaning: "Polls that received as much as they were allowed.",
            attributes: &[&INTERFACE, &CPU],
            sources: &["napi:napi_poll"],
            cardinality: "devices × CPUs",
            place: count!(napi_exhausted),
        },
    ],
};

static ROLE: Attribute = Attribute {
    key: "kctx.kthread.role",
    values: "`ksoftirqd`, `kworker`, `irq`, `rcu`, `migration`, `napi`, `jbd2`, `watchdog`, `ktimers`, `kswapd`, \
             `kcompactd`, `khugepaged`, `cpuhp`, `idle_inject`, `kthreadd`, `other`; single threads are in the summary",
};

pub(super) const KTHREAD: Group = Group {
    family: "kthread",
    title: "Kernel threads",
    metrics: &[
        Metric {
            name: "kctx.kthread.wait.duration",
            kind: Kind::Histogram,
            unit: "s",
            description: "Time a kernel thread was runnable before it ran.",
            meaning: "From wake-up (or preemption) to the switch to the thread.",
            attributes: &[&ROLE, &QUEUE_NAME],
            sources: &[
                "sched:sched_wakeup",
                "sched:sched_wakeup_new",
                "sched:sched_switch",
            ],
            cardinality: "16 roles, and workqueues",
            place: durations!(kthread_wait),
        },
        Metric {
            name: "kctx.kthread.cpu.time",
            kind: Kind::Counter,
            unit: "s",
            description: "CPU time of kernel threads, without interrupts and softirqs.",
            meaning: "",
            attributes: &[&ROLE, &QUEUE_NAME],
            sources: &["sched:sched_switch"],
            cardinality: "16 roles, and workqueues",
            place: seconds!(kthread_cpu_ns),
        },
    ],
};
