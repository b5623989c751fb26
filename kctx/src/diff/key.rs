//! Which row a record belongs to. CPUs are not kept apart: where a load runs is the scheduler's choice, another each time.

use std::sync::Arc;

use serde::Serialize;

use crate::{
    aggregate::window::{Family, Origin, OriginKind},
    formats::{Line, SoftirqLine},
};

/// What kind of row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A softirq vector.
    Softirq,
    /// A softirq vector in ksoftirqd.
    Ksoftirqd,
    /// What raised a vector.
    Raiser,
    /// An interrupt's action, or a vector without a number.
    Hardirq,
    /// A tasklet function.
    Tasklet,
    /// A workqueue's function.
    Work,
    /// A NAPI device.
    Napi,
    /// A kernel thread; kworkers by the workqueue that they work for.
    Kthread,
}

impl Kind {
    /// The family whose records it is made from.
    #[must_use]
    pub fn family(self) -> Family {
        match self {
            Self::Softirq | Self::Ksoftirqd | Self::Raiser => Family::Softirq,
            Self::Hardirq => Family::Hardirq,
            Self::Tasklet => Family::Tasklet,
            Self::Work => Family::Workqueue,
            Self::Napi => Family::Napi,
            Self::Kthread => Family::Kthread,
        }
    }

    /// As the text says it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Softirq => "softirq",
            Self::Ksoftirqd => "in ksoftirqd",
            Self::Raiser => "raised",
            Self::Hardirq => "irq",
            Self::Tasklet => "tasklet",
            Self::Work => "work",
            Self::Napi => "napi",
            Self::Kthread => "kthread",
        }
    }
}

/// A row.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// Its kind.
    pub kind: Kind,
    first: Arc<str>,
    second: Option<Arc<str>>,
}

impl Key {
    /// All raisers of its vector that are not kept apart.
    pub(super) fn of_other_raisers(&self) -> Self {
        Self::of_both(Kind::Raiser, &self.first, &Arc::from("others"))
    }

    fn of(kind: Kind, first: &Arc<str>) -> Self {
        Self {
            kind,
            first: Arc::clone(first),
            second: None,
        }
    }

    fn of_both(kind: Kind, first: &Arc<str>, second: &Arc<str>) -> Self {
        Self {
            second: Some(Arc::clone(second)),
            ..Self::of(kind, first)
        }
    }

    /// What it is called.
    #[must_use]
    pub fn name(&self) -> String {
        match &self.second {
            None => self.first.to_string(),
            Some(second) if self.kind == Kind::Raiser => format!("{} by {second}", self.first),
            Some(second) => format!("{}: {second}", self.first),
        }
    }
}

/// What a record adds to its row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Execution {
    pub end_ns: u64,
    pub wait_ns: Option<u64>,
    pub service_ns: Option<u64>,
    /// Time on the CPU.
    pub busy_ns: u64,
}

/// The rows of a line, and what it adds to each.
pub(super) fn rows_of(line: &Line, add: &mut dyn FnMut(Key, Execution)) {
    match line {
        Line::Softirq(line) => softirq(line, add),
        Line::Hardirq(line) => add(
            Key::of(Kind::Hardirq, &line.name),
            Execution {
                end_ns: line.end_ns,
                wait_ns: None,
                service_ns: Some(line.service_ns),
                busy_ns: line.service_ns,
            },
        ),
        Line::Work(line) => add(
            Key::of_both(Kind::Work, &line.workqueue, &line.function),
            Execution {
                end_ns: line.end_ns,
                wait_ns: line.wait_ns,
                service_ns: Some(line.service_ns),
                busy_ns: line.net_ns.unwrap_or(0),
            },
        ),
        Line::Tasklet(line) => add(
            Key::of(Kind::Tasklet, &line.function),
            Execution {
                end_ns: line.end_ns,
                wait_ns: None,
                service_ns: Some(line.service_ns),
                busy_ns: line.net_ns,
            },
        ),
        Line::Napi(line) => add(
            Key::of(Kind::Napi, &line.device),
            Execution {
                end_ns: line.end_ns,
                wait_ns: None,
                service_ns: line.service_ns,
                busy_ns: line.service_ns.unwrap_or(0),
            },
        ),
        Line::Kthread(line) => {
            // A kworker's own name says which CPU and which of the pool's threads, not what it does.
            let key = match line.role {
                "kworker" => Key::of_both(Kind::Kthread, &Arc::from(line.role), &line.workqueue),
                _ => Key::of(Kind::Kthread, &Arc::from(without_cpu(&line.comm))),
            };
            add(
                key,
                Execution {
                    end_ns: line.end_ns,
                    wait_ns: line.wait_ns,
                    service_ns: Some(line.service_ns),
                    busy_ns: line.net_ns,
                },
            );
        }
        _ => {}
    }
}

fn softirq(line: &SoftirqLine, add: &mut dyn FnMut(Key, Execution)) {
    let run = Execution {
        end_ns: line.end_ns,
        wait_ns: line.wait_ns,
        service_ns: Some(line.service_ns),
        busy_ns: line.net_ns,
    };
    let vector = Arc::from(line.vector);
    add(Key::of(Kind::Softirq, &vector), run);
    if line.context == "ksoftirqd" {
        add(Key::of(Kind::Ksoftirqd, &vector), run);
    }
    add(
        Key::of_both(Kind::Raiser, &vector, &raiser(&line.origin)),
        run,
    );
}

/// Without its number: processes have another in each window, and so have a pool's kworkers.
fn raiser(origin: &Origin) -> Arc<str> {
    let kind = match origin.kind {
        OriginKind::Irq => "irq",
        OriginKind::Softirq => "softirq",
        OriginKind::Task if origin.name.starts_with("kworker/") => {
            return Arc::from("task kworker");
        }
        OriginKind::Task => return Arc::from(format!("task {}", without_cpu(&origin.name))),
        OriginKind::Vector => return Arc::clone(&origin.name),
        OriginKind::Idle => return Arc::from("idle"),
        OriginKind::Unknown => return Arc::from("unknown"),
    };
    Arc::from(format!("{kind} {}", origin.name))
}

/// `ksoftirqd/3` and the like are one row.
fn without_cpu(comm: &str) -> &str {
    match comm.rsplit_once('/') {
        Some((name, cpu)) if !cpu.is_empty() && cpu.bytes().all(|byte| byte.is_ascii_digit()) => {
            name
        }
        _ => comm,
    }
}
