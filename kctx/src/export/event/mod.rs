//! What happened at a time: the one list of events that are exported as log records.
//!
//! Records and the reference in docs/logs.md are both made from [`EVENTS`]. `KCTX_WRITE_DOCS=1 cargo test -p kctx --lib
//! event::reference` writes the reference.

mod record;
#[cfg(test)]
mod reference;
mod severity;

pub use record::{Bounds, LeftOut, Level, Record, Told, told};
pub use severity::Severity;

use super::metric::Attribute;

/// A kind of event.
#[derive(Debug)]
pub struct Event {
    /// Its name in OTLP.
    pub name: &'static str,
    /// Severities that its records have, in words.
    pub severity: &'static str,
    /// What happened, in one sentence.
    pub description: &'static str,
    /// What the body says, with what stands for the varying parts between angle brackets.
    pub body: &'static str,
    /// What its records may have.
    pub attributes: &'static [&'static Attribute],
    /// Where it comes from: probes by their names, files by their paths.
    pub sources: &'static [&'static str],
}

static MODULE_NAME: Attribute = Attribute {
    key: "kctx.module.name",
    values: "the module's",
};

static MODULE_TAINTS: Attribute = Attribute {
    key: "kctx.module.taints",
    values: "letters of the taints that the module brought, as in /proc/modules: `OE`; where it brought any",
};

static PID: Attribute = Attribute {
    key: "process.pid",
    values: "the process that did it",
};

static THREAD: Attribute = Attribute {
    key: "thread.name",
    values: "the comm of the thread that did it",
};

static CPU: Attribute = Attribute {
    key: "cpu.logical_number",
    values: "the CPU it happened on",
};

static INIT_NS: Attribute = Attribute {
    key: "kctx.module.init.duration_ns",
    values: "how long the init function took, in nanoseconds",
};

static INIT_RESULT: Attribute = Attribute {
    key: "kctx.module.init.result",
    values: "what the init function returned; below 0 the module is freed again",
};

/// A module was linked into the kernel.
pub static MODULE_LOADED: Event = Event {
    name: "kctx.module.loaded",
    severity: "INFO",
    description: "A module was linked into the kernel; its init function was not called yet.",
    body: "module <name> was loaded",
    attributes: &[
        &MODULE_NAME,
        &MODULE_TAINTS,
        &PID,
        &THREAD,
        &CPU,
        &Attribute {
            key: "kctx.module.request.name",
            values: "what the kernel was asked for when it had this module loaded; may be an alias",
        },
        &Attribute {
            key: "kctx.module.request.pid",
            values: "the process that needed it",
        },
        &Attribute {
            key: "kctx.module.request.comm",
            values: "that one's comm",
        },
        &Attribute {
            key: "kctx.module.request.guess",
            values: "`true` where another name was asked for: the latest request that may have led to this load",
        },
    ],
    sources: &["module:module_load", "module:module_request"],
};

/// A module's init function returned, and the module is there.
pub static MODULE_INITIALIZED: Event = Event {
    name: "kctx.module.initialized",
    severity: "INFO",
    description: "A module's init function returned, and the module is there.",
    body: "module <name> was initialized",
    attributes: &[&MODULE_NAME, &PID, &THREAD, &CPU, &INIT_NS, &INIT_RESULT],
    sources: &["initcall:initcall_start", "initcall:initcall_finish"],
};

/// A module's init function failed.
pub static MODULE_INIT_FAILED: Event = Event {
    name: "kctx.module.init_failed",
    severity: "ERROR",
    description: "A module's init function failed, and the module is freed again.",
    body: "module <name> could not be initialized: its init function returned <result>",
    attributes: &[&MODULE_NAME, &PID, &THREAD, &CPU, &INIT_NS, &INIT_RESULT],
    sources: &["initcall:initcall_start", "initcall:initcall_finish"],
};

/// A module is gone.
pub static MODULE_UNLOADED: Event = Event {
    name: "kctx.module.unloaded",
    severity: "INFO",
    description: "A module is gone.",
    body: "module <name> was unloaded",
    attributes: &[&MODULE_NAME, &MODULE_TAINTS, &PID, &THREAD, &CPU],
    sources: &["module:module_free"],
};

/// A flag of the kernel's taint is new.
pub static TAINT_CHANGED: Event = Event {
    name: "kctx.kernel.taint.changed",
    severity: "WARN; ERROR of `machine_check`, `bad_page`, `die`, `softlockup`",
    description: "A flag of the kernel's taint is new; its time is when that was seen, up to half a second later.",
    body: "the kernel is tainted: <flag> (<letter>): <what the flag means>",
    attributes: &[
        &Attribute {
            key: "kctx.kernel.taint.flag",
            values: "the kernel's name of the flag without `TAINT_` in lower case (`warn`, `oot_module`); a newer kernel's \
                     flag is `bit_20` and so on",
        },
        &Attribute {
            key: "kctx.kernel.taint.before",
            values: "/proc/sys/kernel/tainted before",
        },
        &Attribute {
            key: "kctx.kernel.taint.after",
            values: "and after; flags that came at one time have the same",
        },
    ],
    sources: &["/proc/sys/kernel/tainted"],
};

/// The kernel logged a line.
pub static KERNEL_LOG: Event = Event {
    name: "kctx.kernel.log",
    severity: "by the line's level, below",
    description: "The kernel logged a line at `[otlp.logs] level` or worse; not what userspace wrote into /dev/kmsg, and no \
                  parts of lines that came apart.",
    body: "<the line>",
    attributes: &[
        &Attribute {
            key: "kctx.kernel.log.level",
            values: "`emerg`, `alert`, `crit`, `err`, `warning`, `notice`, `info`, `debug`",
        },
        &Attribute {
            key: "kctx.kernel.log.sequence",
            values: "the line's sequence number, as in /dev/kmsg",
        },
    ],
    sources: &["/dev/kmsg"],
};

/// All events.
pub static EVENTS: [&Event; 6] = [
    &MODULE_LOADED,
    &MODULE_INITIALIZED,
    &MODULE_INIT_FAILED,
    &MODULE_UNLOADED,
    &TAINT_CHANGED,
    &KERNEL_LOG,
];
