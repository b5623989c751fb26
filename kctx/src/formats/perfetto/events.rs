//! What a line is in the trace: a slice or an instant, its name, and what is known of it.

use std::sync::Arc;

use super::{
    intern::Texts,
    proto::{DebugAnnotation, Value},
    tracks::Context,
};
use crate::{
    aggregate::window::{Origin, OriginKind, SOFTIRQ_CONTEXTS},
    formats::{HardirqLine, KthreadLine, Line, ModuleLine, NapiLine, SoftirqLine, WorkLine},
    host::kmsg::LEVEL_NAMES,
    resolve::{SOFTIRQ_VECTORS, VECTOR_CLASSES},
};

/// What can raise a softirq and has a slice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Raiser {
    /// An interrupt.
    Irq(u32),
    /// A vector without a number: index into [`VECTOR_CLASSES`].
    Vector(u32),
    /// A softirq vector.
    Softirq(u32),
}

/// A raise that was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Raised {
    pub by: Raiser,
    pub at_ns: u64,
}

/// From a beginning to an end on a CPU.
#[derive(Debug)]
pub(super) struct Slice {
    pub cpu: u32,
    pub context: Context,
    pub start_ns: u64,
    pub end_ns: u64,
    pub said: Annotated,
    /// What it is as a raiser.
    pub raises: Option<Raiser>,
    /// What raised it, and when.
    pub raised: Option<Raised>,
    /// The flow that ends in it.
    pub ends_flow: Option<u64>,
    /// A softirq's wait, for its vector's counter.
    pub wait: Option<(&'static str, u64)>,
}

/// At a moment.
#[derive(Debug)]
pub(super) struct Instant {
    pub cpu: Option<u32>,
    pub context: Context,
    pub time_ns: u64,
    pub said: Annotated,
}

/// A name, and annotations by theirs.
#[derive(Debug)]
pub(super) struct Annotated {
    pub name: Arc<str>,
    notes: Vec<(&'static str, Note)>,
}

#[derive(Debug)]
enum Note {
    Ns(u64),
    Number(u64),
    Signed(i64),
    Yes,
    Text(Arc<str>),
    /// One that hardly comes again.
    Once(String),
}

impl Annotated {
    fn new(name: Arc<str>) -> Self {
        let notes = Vec::new();
        Self { name, notes }
    }

    fn with(mut self, name: &'static str, note: Note) -> Self {
        self.notes.push((name, note));
        self
    }

    fn with_some(self, name: &'static str, note: Option<Note>) -> Self {
        match note {
            Some(note) => self.with(name, note),
            None => self,
        }
    }

    /// In the trace's form.
    pub(super) fn annotations(&self, texts: &mut Texts) -> Vec<DebugAnnotation> {
        let notes = self.notes.iter();
        let notes = notes.map(|(name, note)| DebugAnnotation {
            name_iid: Some(texts.annotation(name)),
            value: Some(match note {
                Note::Ns(n) | Note::Number(n) => Value::Uint(*n),
                Note::Signed(n) => Value::Int(*n),
                Note::Yes => Value::Bool(true),
                Note::Text(text) => Value::Interned(texts.value(text)),
                Note::Once(text) => Value::Text(text.clone()),
            }),
        });
        notes.collect()
    }
}

/// The slice of a line that has a beginning and an end.
pub(super) fn slice_of(line: &Line) -> Option<Slice> {
    match line {
        Line::Softirq(line) => Some(softirq(line)),
        Line::Hardirq(line) => Some(hardirq(line)),
        Line::Work(line) => Some(work(line)),
        Line::Tasklet(line) => Some(Slice {
            said: Annotated::new(Arc::clone(&line.function)).with("net_ns", Note::Ns(line.net_ns)),
            ..slice(line.cpu, Context::Tasklets, line.start_ns, line.end_ns)
        }),
        Line::Napi(line) => napi(line),
        Line::Kthread(line) => Some(kthread(line)),
        _ => None,
    }
}

/// The instant of a line that is one moment.
pub(super) fn instant_of(line: &Line) -> Option<Instant> {
    let of_machine = |context, time_ns, said| Instant {
        cpu: None,
        context,
        time_ns,
        said,
    };
    Some(match line {
        Line::Module(line) => of_machine(Context::Modules, line.time_ns, module(line)),
        Line::Log {
            time_ns,
            level,
            seq,
            text,
            ..
        } => {
            let level = LEVEL_NAMES.get(usize::from(*level)).unwrap_or(&"?");
            let said = Annotated::new(Arc::from(*level))
                .with("text", Note::Once(text.clone()))
                .with("seq", Note::Number(*seq));
            of_machine(Context::Log, *time_ns, said)
        }
        Line::Taint {
            time_ns,
            before,
            after,
            added,
        } => {
            let said = Annotated::new(Arc::from(format!("taint {added}")))
                .with("before", Note::Number(*before))
                .with("after", Note::Number(*after));
            of_machine(Context::Taint, *time_ns, said)
        }
        Line::Governor {
            time_ns,
            family,
            limited,
            reason,
        } => {
            let what = if *limited {
                "limited"
            } else {
                "no longer limited"
            };
            let said = Annotated::new(Arc::from(format!("{} {what}", family.as_str())))
                .with("reason", Note::Once(reason.clone()));
            of_machine(Context::Governor, *time_ns, said)
        }
        // A poll whose beginning is not known.
        Line::Napi(line) if line.start_ns.is_none() => Instant {
            cpu: Some(line.cpu),
            ..of_machine(Context::Napi, line.end_ns, polled(line))
        },
        _ => return None,
    })
}

fn slice(cpu: u32, context: Context, start_ns: u64, end_ns: u64) -> Slice {
    Slice {
        cpu,
        context,
        start_ns,
        end_ns,
        said: Annotated::new(Arc::from("")),
        raises: None,
        raised: None,
        ends_flow: None,
        wait: None,
    }
}

fn softirq(line: &SoftirqLine) -> Slice {
    /// The second is ksoftirqd.
    const KSOFTIRQD: &str = SOFTIRQ_CONTEXTS[kctx_common::record::context::KSOFTIRQD as usize];
    let context = match line.context {
        KSOFTIRQD => Context::Ksoftirqd,
        _ => Context::Softirqs,
    };
    let vector = SOFTIRQ_VECTORS.iter().position(|name| *name == line.vector);
    let raised = line.wait_ns.zip(raiser(&line.origin));
    Slice {
        said: Annotated::new(Arc::from(line.vector))
            .with("net_ns", Note::Ns(line.net_ns))
            .with_some("wait_ns", line.wait_ns.map(Note::Ns))
            .with("ran_in", Note::Text(Arc::from(line.context)))
            .with("raised_by", Note::Text(origin_text(&line.origin))),
        raises: vector.map(|vector| Raiser::Softirq(vector as u32)),
        raised: raised.map(|(wait_ns, by)| Raised {
            by,
            at_ns: line.start_ns.saturating_sub(wait_ns),
        }),
        wait: line.wait_ns.map(|ns| (line.vector, ns)),
        ..slice(line.cpu, context, line.start_ns, line.end_ns)
    }
}

fn raiser(origin: &Origin) -> Option<Raiser> {
    let number = origin.number?;
    match origin.kind {
        OriginKind::Irq => Some(Raiser::Irq(number)),
        OriginKind::Vector => Some(Raiser::Vector(number)),
        OriginKind::Softirq => Some(Raiser::Softirq(number)),
        OriginKind::Task | OriginKind::Idle | OriginKind::Unknown => None,
    }
}

fn hardirq(line: &HardirqLine) -> Slice {
    let name = match line.irq {
        Some(irq) => Arc::from(format!("irq {irq} {}", line.name)),
        None => Arc::clone(&line.name),
    };
    let class = VECTOR_CLASSES.iter().position(|name| **name == *line.name);
    let raises = match line.irq {
        Some(irq) => Some(Raiser::Irq(irq)),
        None => class.map(|class| Raiser::Vector(class as u32)),
    };
    Slice {
        said: Annotated::new(name)
            .with_some("unhandled", (!line.handled).then_some(Note::Yes))
            .with_some("woke_thread", line.woke_thread.then_some(Note::Yes)),
        raises,
        ..slice(line.cpu, Context::Interrupts, line.start_ns, line.end_ns)
    }
}

fn work(line: &WorkLine) -> Slice {
    Slice {
        said: Annotated::new(Arc::clone(&line.function))
            .with("workqueue", Note::Text(Arc::clone(&line.workqueue)))
            .with_some("net_ns", line.net_ns.map(Note::Ns))
            .with_some("wait_ns", line.wait_ns.map(Note::Ns))
            .with_some("activate_ns", line.activate_ns.map(Note::Ns))
            .with_some("remote", line.remote.then_some(Note::Yes))
            .with_some("bh", line.bh.then_some(Note::Yes))
            .with("queued_by", Note::Text(origin_text(&line.origin))),
        ..slice(line.cpu, Context::Works, line.start_ns, line.end_ns)
    }
}

fn napi(line: &NapiLine) -> Option<Slice> {
    Some(Slice {
        said: polled(line),
        ..slice(line.cpu, Context::Napi, line.start_ns?, line.end_ns)
    })
}

fn polled(line: &NapiLine) -> Annotated {
    let name = match line.napi_id {
        0 => Arc::clone(&line.device),
        id => Arc::from(format!("{} {id}", line.device)),
    };
    Annotated::new(name)
        .with("packets", Note::Number(line.packets.into()))
        .with("budget", Note::Number(line.budget.into()))
        .with("ran_in", Note::Text(Arc::from(line.context)))
}

fn kthread(line: &KthreadLine) -> Slice {
    let worked_for = (!line.workqueue.is_empty()).then(|| Arc::clone(&line.workqueue));
    Slice {
        said: Annotated::new(Arc::clone(&line.comm))
            .with("pid", Note::Number(line.pid.into()))
            .with("role", Note::Text(Arc::from(line.role)))
            .with_some("workqueue", worked_for.map(Note::Text))
            .with("net_ns", Note::Ns(line.net_ns))
            .with_some("wait_ns", line.wait_ns.map(Note::Ns))
            .with_some("preempted", line.preempted.then_some(Note::Yes)),
        ..slice(line.cpu, Context::Kthreads, line.start_ns, line.end_ns)
    }
}

fn module(line: &ModuleLine) -> Annotated {
    let name = format!("{} {}", line.event.as_str(), line.name);
    let taints = (!line.taints.is_empty()).then(|| Note::Once(line.taints.clone()));
    Annotated::new(Arc::from(name))
        .with("comm", Note::Once(line.comm.clone()))
        .with("pid", Note::Number(line.pid.into()))
        .with("cpu", Note::Number(line.cpu.into()))
        .with_some("taints", taints)
        .with_some("init_ns", line.init_ns.map(Note::Ns))
        .with_some("ret", line.ret.map(|ret| Note::Signed(ret.into())))
}

/// `irq 36 eth0`, `LOC`, `softirq NET_RX`, `task iperf3[4242]`, `idle`, `unknown`.
fn origin_text(origin: &Origin) -> Arc<str> {
    let number = origin.number.unwrap_or(0);
    let text = match origin.kind {
        OriginKind::Unknown => "unknown".to_owned(),
        OriginKind::Idle => "idle".to_owned(),
        OriginKind::Irq => format!("irq {number} {}", origin.name),
        OriginKind::Vector => origin.name.to_string(),
        OriginKind::Softirq => format!("softirq {}", origin.name),
        OriginKind::Task => format!("task {}[{number}]", origin.name),
    };
    Arc::from(text.trim_end())
}
