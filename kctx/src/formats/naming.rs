//! From the stream's items to lines with names.

use std::{io, sync::Arc};

use kctx_common::record::{
    Hardirq, Kthread, Module, Napi, SoftirqLong, Work, context_of, flags, module_event, origin_of,
};
use rustc_hash::FxHashMap;

use super::line::{
    HardirqLine, KthreadLine, Line, ModuleLine, NapiLine, SoftirqLine, StackLine, TaskletLine,
    WorkLine,
};
use crate::{
    aggregate::{
        origin,
        table::{napi::BACKLOG, softirq::context_name},
        text,
        window::{Family, ModuleEvent, Origin, OriginKind},
    },
    decode::{self, Record},
    host::taint,
    resolve::{Recorded, Resolver, SOFTIRQ_VECTORS, VECTOR_CLASSES, role::role_of},
    source::{Control, Item},
};

/// `IRQ_WAKE_THREAD` (include/linux/irqreturn.h)
const IRQ_WAKE_THREAD: u8 = 2;

/// Interrupts whose action's name is remembered, for what they raise.
const IRQS: usize = 1 << 14;

/// Names the stream's pieces, in its order: a name holds from where the stream tells it.
pub struct Naming {
    names: Resolver,
    irqs: FxHashMap<u32, Arc<str>>,
    records: u64,
    spilled: u64,
    undecoded: u64,
}

impl Default for Naming {
    fn default() -> Self {
        Self {
            names: Resolver::new(Box::new(Recorded)),
            irqs: FxHashMap::default(),
            records: 0,
            spilled: 0,
            undecoded: 0,
        }
    }
}

impl Naming {
    /// Hands on the lines of an item.
    pub fn take(
        &mut self,
        item: &Item,
        hand_on: &mut dyn FnMut(&Line) -> io::Result<()>,
    ) -> io::Result<()> {
        match item {
            Item::Records { cpu, batch } => {
                for record in decode::records(batch) {
                    match self.record(*cpu, record) {
                        Some(line) => {
                            self.records += 1;
                            hand_on(&line)?;
                        }
                        None => self.undecoded += 1,
                    }
                }
                Ok(())
            }
            Item::Control(control) => self.control(control, hand_on),
        }
    }

    /// Records so far.
    #[must_use]
    pub fn records(&self) -> u64 {
        self.records
    }

    /// Executions that were spilled so far, of which there is no record.
    #[must_use]
    pub fn spilled(&self) -> u64 {
        self.spilled
    }

    /// Records so far that are none.
    #[must_use]
    pub fn undecoded(&self) -> u64 {
        self.undecoded
    }

    fn record(&mut self, cpu: u32, record: Record) -> Option<Line> {
        Some(match record {
            Record::Softirq(r) => Line::Softirq(self.softirq(cpu, &r)?),
            Record::Hardirq(r) => Line::Hardirq(self.hardirq(cpu, &r)?),
            Record::Work(r) => Line::Work(self.work(cpu, &r)),
            Record::Tasklet(r) => Line::Tasklet(TaskletLine {
                cpu,
                function: self.names.function(r.function),
                start_ns: start(r.end_ns, r.service_ns),
                end_ns: r.end_ns,
                service_ns: r.service_ns,
                net_ns: r.service_ns.saturating_sub(r.nested_ns),
            }),
            Record::Napi(r) => Line::Napi(self.napi(cpu, &r)),
            Record::Kthread(r) => Line::Kthread(self.kthread(cpu, &r)),
            Record::Module(r) => Line::Module(self.module(&r)?),
            Record::Unknown => return None,
        })
    }

    fn origin(&mut self, kind: u8, number: u32) -> Origin {
        let mut origin = origin::named(kind, number, &mut self.names);
        if origin.kind == OriginKind::Irq
            && let Some(name) = self.irqs.get(&number)
        {
            origin.name = Arc::clone(name);
        }
        origin
    }

    fn softirq(&mut self, cpu: u32, r: &SoftirqLong) -> Option<SoftirqLine> {
        Some(SoftirqLine {
            cpu,
            vector: SOFTIRQ_VECTORS.get(usize::from(r.vector))?,
            context: context_name(context_of(r.place)),
            start_ns: start(r.end_ns, r.service_ns),
            end_ns: r.end_ns,
            wait_ns: (r.flags & flags::WAIT != 0).then_some(r.wait_ns),
            service_ns: r.service_ns,
            net_ns: r.service_ns.saturating_sub(r.nested_ns),
            origin: self.origin(origin_of(r.place), r.origin),
        })
    }

    fn hardirq(&mut self, cpu: u32, r: &Hardirq) -> Option<HardirqLine> {
        let (irq, name) = if r.flags & flags::VECTOR != 0 {
            (None, Arc::from(*VECTOR_CLASSES.get(r.irq as usize)?))
        } else {
            (Some(r.irq), self.names.name(r.name_id))
        };
        if let Some(irq) = irq
            && (self.irqs.len() < IRQS || self.irqs.contains_key(&irq))
        {
            self.irqs.insert(irq, Arc::clone(&name));
        }
        Some(HardirqLine {
            cpu,
            irq,
            name,
            start_ns: start(r.end_ns, r.service_ns),
            end_ns: r.end_ns,
            service_ns: r.service_ns,
            // A vector's handlers return nothing.
            handled: irq.is_none() || r.ret != 0,
            woke_thread: irq.is_some() && r.ret & IRQ_WAKE_THREAD != 0,
        })
    }

    fn work(&mut self, cpu: u32, r: &Work) -> WorkLine {
        let measured = |flag: u8, ns: u64| (r.flags & flag != 0).then_some(ns);
        WorkLine {
            cpu,
            workqueue: self.names.name(r.workqueue_id),
            function: self.names.function(r.function),
            start_ns: start(r.end_ns, r.service_ns),
            end_ns: r.end_ns,
            wait_ns: measured(flags::WAIT, r.wait_ns),
            activate_ns: measured(flags::ACTIVATE, r.activate_ns),
            service_ns: r.service_ns,
            net_ns: measured(flags::NET, r.net_ns),
            remote: r.flags & flags::REMOTE != 0,
            bh: r.flags & flags::BH != 0,
            origin: self.origin(r.origin_kind, r.origin),
        }
    }

    fn napi(&mut self, cpu: u32, r: &Napi) -> NapiLine {
        let took_ns = (r.flags & flags::DURATION != 0).then_some(r.duration_ns);
        NapiLine {
            cpu,
            device: match r.name_id {
                0 => Arc::from(BACKLOG),
                id => self.names.name(id),
            },
            napi_id: r.napi_id,
            context: context_name(r.context),
            start_ns: took_ns.map(|ns| start(r.end_ns, ns)),
            end_ns: r.end_ns,
            service_ns: took_ns,
            packets: r.work,
            budget: r.budget,
        }
    }

    fn kthread(&mut self, cpu: u32, r: &Kthread) -> KthreadLine {
        let comm = text(&r.comm);
        KthreadLine {
            cpu,
            pid: r.pid,
            role: role_of(&comm).as_str(),
            comm: Arc::from(comm),
            workqueue: match r.workqueue_id {
                0 => Arc::from(""),
                id => self.names.name(id),
            },
            start_ns: start(r.end_ns, r.service_ns),
            end_ns: r.end_ns,
            wait_ns: (r.flags & flags::WAIT != 0).then_some(r.wait_ns),
            preempted: r.flags & flags::PREEMPTED != 0,
            service_ns: r.service_ns,
            net_ns: r.net_ns,
        }
    }

    fn module(&mut self, r: &Module) -> Option<ModuleLine> {
        let event = match r.event {
            module_event::LOAD => ModuleEvent::Load,
            module_event::FREE => ModuleEvent::Free,
            module_event::REQUEST => ModuleEvent::Request,
            module_event::INIT => ModuleEvent::Init,
            _ => return None,
        };
        if matches!(event, ModuleEvent::Load | ModuleEvent::Free) {
            // As the pipeline does: addresses may mean other functions from here on.
            self.names.modules_changed();
        }
        let is_init = event == ModuleEvent::Init;
        Some(ModuleLine {
            time_ns: r.time_ns,
            event,
            name: text(&r.name),
            taints: taint::module_taint_letters(r.taints),
            pid: r.pid,
            comm: text(&r.comm),
            cpu: r.cpu,
            init_ns: is_init.then_some(r.init_ns),
            ret: is_init.then_some(r.ret),
        })
    }

    fn control(
        &mut self,
        control: &Control,
        hand_on: &mut dyn FnMut(&Line) -> io::Result<()>,
    ) -> io::Result<()> {
        match control {
            Control::Start {
                monotonic_ns,
                unix_ns,
                host,
                ..
            } => hand_on(&Line::Start {
                monotonic_ns: *monotonic_ns,
                unix_ns: *unix_ns,
                host: host.clone(),
            }),
            Control::Name { .. } | Control::Function { .. } | Control::Comm { .. } => {
                self.names.told(control);
                Ok(())
            }
            Control::Counted(counted) => {
                let seen = Family::ALL.into_iter().zip(counted.iter());
                let seen = seen.filter(|(_, one)| one.observed > 0);
                let families = seen.map(|(family, one)| (family, one.clone()));
                let families: std::collections::BTreeMap<_, _> = families.collect();
                let spilled = families.values().map(|one| one.spilled);
                self.spilled = spilled.fold(self.spilled, u64::saturating_add);
                hand_on(&Line::Counted { families })
            }
            Control::Contexts(cpus) => hand_on(&Line::Contexts { cpus: cpus.clone() }),
            Control::Stacks(stacks) => stacks.iter().try_for_each(|stack| {
                hand_on(&Line::Stack(StackLine {
                    context: stack.context.clone(),
                    frames: stack.frames.clone(),
                    count: stack.count,
                }))
            }),
            Control::Taint {
                monotonic_ns,
                before,
                after,
            } => hand_on(&Line::Taint {
                time_ns: *monotonic_ns,
                before: *before,
                after: *after,
                added: taint::decode(*after & !*before)
                    .map(|flag| flag.letter)
                    .collect(),
            }),
            Control::Log(log) => {
                for line in &log.lines {
                    hand_on(&Line::Log {
                        time_ns: line.time_unix_ns,
                        level: line.level,
                        seq: line.seq,
                        text: line.text.clone(),
                        fragment: line.fragment,
                    })?;
                }
                if log.dropped > 0 || log.overruns > 0 {
                    hand_on(&Line::LogMissed {
                        dropped: log.dropped,
                        overruns: log.overruns,
                    })?;
                }
                Ok(())
            }
            Control::Governor {
                family,
                limited,
                monotonic_ns,
                reason,
            } => hand_on(&Line::Governor {
                time_ns: *monotonic_ns,
                family: *family,
                limited: *limited,
                reason: reason.clone(),
            }),
            Control::WindowEnd {
                monotonic_ns,
                unix_ns,
                taint,
            } => {
                self.names.window_closed();
                hand_on(&Line::WindowEnd {
                    monotonic_ns: *monotonic_ns,
                    unix_ns: *unix_ns,
                    taint: *taint,
                })
            }
            // Histograms of what has no record, and what kctx says of itself: in the summary.
            Control::FunctionsRenewed
            | Control::Spill(_)
            | Control::Running(_)
            | Control::SpilledOrigins(_)
            | Control::GovernorHelpless { .. }
            | Control::OwnCost(_) => Ok(()),
        }
    }
}

fn start(end_ns: u64, took_ns: u64) -> u64 {
    end_ns.saturating_sub(took_ns)
}
