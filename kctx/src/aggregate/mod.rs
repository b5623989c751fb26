//! The one owner of all counts: the stream in, windows out.

pub mod duration;
pub mod table;
pub mod window;

use kctx_common::record::{self, Hardirq, Module, SoftirqLong, Work, flags, kind, module_event};

use self::{
    table::{HardirqTable, RowLimits, SoftirqTable, WorkqueueTable, add_spilled},
    window::{Accounting, Family, ModuleEvent, ModuleRow, ProbeStatus, Window},
};
use crate::{
    decode::{self, Record},
    host::{HostIdentity, taint},
    resolve::Resolver,
    source::{Control, SpillDelta},
};

/// Module events kept in one window; more are counted.
const MODULE_ROWS: usize = 1000;

/// `irqreturn_t`'s bits (include/linux/irqreturn.h).
const IRQ_WAKE_THREAD: u8 = 2;

/// Turns the stream into windows.
pub struct Aggregator {
    limits: RowLimits,
    softirq: SoftirqTable,
    hardirq: HardirqTable,
    workqueue: WorkqueueTable,
    module: Vec<ModuleRow>,
    accounting: Accounting,
    probes: Vec<ProbeStatus>,
    /// Wall clock less `CLOCK_MONOTONIC`, in nanoseconds, when the stream started.
    unix_offset_ns: u64,
    window_start_ns: u64,
    received: [u64; 4],
    undecoded: u64,
    /// A window is open.
    started: bool,
    /// When the latest record seen so far ended.
    latest_ns: u64,
    host: HostIdentity,
}

impl Aggregator {
    /// With no window open: the stream's start opens the first.
    #[must_use]
    pub fn new(limits: RowLimits) -> Self {
        Self {
            limits,
            softirq: SoftirqTable::default(),
            hardirq: HardirqTable::default(),
            workqueue: WorkqueueTable::default(),
            module: Vec::new(),
            accounting: Accounting::default(),
            probes: Vec::new(),
            unix_offset_ns: 0,
            window_start_ns: 0,
            received: [0; 4],
            undecoded: 0,
            started: false,
            latest_ns: 0,
            host: HostIdentity::default(),
        }
    }

    /// Records of each family that came through the rings since the start.
    #[must_use]
    pub fn received(&self) -> [u64; 4] {
        self.received
    }

    /// Records that could not be decoded since the start.
    #[must_use]
    pub fn undecoded(&self) -> u64 {
        self.undecoded
    }

    /// Takes a batch of one CPU's records.
    pub fn records(&mut self, cpu: u32, batch: &[u8], names: &mut Resolver) {
        for record in decode::records(batch) {
            match record {
                Record::Softirq(r) => self.softirq(cpu, &r),
                Record::Hardirq(r) => self.hardirq(cpu, &r, names),
                Record::Work(r) => self.work(&r, names),
                Record::Module(r) => self.module(&r, names),
                Record::Unknown => self.undecoded += 1,
            }
        }
    }

    #[inline]
    fn softirq(&mut self, cpu: u32, r: &SoftirqLong) {
        self.received[Family::Softirq as usize] += 1;
        self.latest_ns = self.latest_ns.max(r.end_ns);
        let Some(row) = self.softirq.row(u32::from(r.vector), cpu) else {
            self.undecoded += 1;
            return;
        };
        row.count += 1;
        if r.flags & flags::WAIT != 0 {
            row.wait.record(r.wait_ns);
        } else {
            row.wait_unknown += 1;
        }
        row.service.record(r.service_ns);
        row.service_net
            .record(r.service_ns.saturating_sub(r.hardirq_ns));
    }

    #[inline]
    fn hardirq(&mut self, cpu: u32, r: &Hardirq, names: &mut Resolver) {
        self.received[Family::Hardirq as usize] += 1;
        self.latest_ns = self.latest_ns.max(r.end_ns);
        let (row, overflow) =
            self.hardirq
                .row(Some(r.irq), r.name_id, cpu, self.limits.hardirq, names);
        if r.ret == 0 {
            row.unhandled += 1;
        } else {
            row.count += 1;
            row.woke_thread += u64::from(r.ret & IRQ_WAKE_THREAD != 0);
            row.service.record(r.service_ns);
        }
        if overflow {
            self.accounting.by_family[Family::Hardirq as usize].overflowed += 1;
        }
    }

    #[inline]
    fn work(&mut self, r: &Work, names: &mut Resolver) {
        self.received[Family::Workqueue as usize] += 1;
        self.latest_ns = self.latest_ns.max(r.end_ns);
        let key = Some((r.workqueue_id, r.function));
        let (row, overflow) = self.workqueue.row(key, self.limits.workqueue, names);
        row.count += 1;
        if r.flags & flags::WAIT != 0 {
            row.wait.record(r.wait_ns);
        } else {
            row.wait_unknown += 1;
        }
        if r.flags & flags::ACTIVATE != 0 {
            row.activate.record(r.activate_ns);
        }
        row.remote += u64::from(r.flags & flags::REMOTE != 0);
        row.service.record(r.service_ns);
        if overflow {
            self.accounting.by_family[Family::Workqueue as usize].overflowed += 1;
        }
    }

    fn module(&mut self, r: &Module, names: &mut Resolver) {
        self.received[Family::Module as usize] += 1;
        self.latest_ns = self.latest_ns.max(r.time_ns);
        let event = match r.event {
            module_event::LOAD => ModuleEvent::Load,
            module_event::FREE => ModuleEvent::Free,
            module_event::REQUEST => ModuleEvent::Request,
            _ => {
                self.undecoded += 1;
                return;
            }
        };
        if event != ModuleEvent::Request {
            names.modules_changed();
            self.workqueue.forget_functions();
        }
        if self.module.len() >= MODULE_ROWS {
            self.accounting.by_family[Family::Module as usize].overflowed += 1;
            return;
        }
        self.module.push(ModuleRow {
            event,
            name: text(&r.name),
            time_unix_ns: r.time_ns.wrapping_add(self.unix_offset_ns),
            taints: taint::module_taint_letters(r.taints),
            pid: r.pid,
            comm: text(&r.comm),
            cpu: r.cpu,
        });
    }

    /// Takes a piece of the stream that is no record; a window when that closes one.
    pub fn control(&mut self, control: &Control, names: &mut Resolver) -> Option<Window> {
        match control {
            Control::Start {
                monotonic_ns,
                unix_ns,
                probes,
                host,
            } => {
                self.host.clone_from(host);
                self.started = true;
                self.unix_offset_ns = unix_ns.wrapping_sub(*monotonic_ns);
                self.window_start_ns = *monotonic_ns;
                self.probes.clone_from(probes);
            }
            Control::Name { .. } | Control::Function { .. } => names.told(control),
            Control::Spill(delta) => self.spill(delta, names),
            Control::Counted(counted) => {
                for (sum, one) in self.accounting.by_family.iter_mut().zip(counted.iter()) {
                    sum.add(one);
                }
            }
            Control::WindowEnd {
                monotonic_ns,
                taint,
            } => {
                self.host.taint = taint.or(self.host.taint);
                return Some(self.close(*monotonic_ns));
            }
        }
        None
    }

    fn spill(&mut self, delta: &SpillDelta, names: &mut Resolver) {
        let count = delta.service.count;
        match delta.family {
            kind::SOFTIRQ => {
                let Some(row) = self.softirq.row(delta.number, delta.cpu) else {
                    self.undecoded += 1;
                    return;
                };
                row.count += count;
                row.wait_unknown += count.saturating_sub(delta.wait.count);
                add_spilled(&mut row.wait, &delta.wait);
                add_spilled(&mut row.service, &delta.service);
                add_spilled(&mut row.service_net, &delta.third);
            }
            kind::HARDIRQ => {
                let irq = (!delta.overflow).then_some(delta.number);
                let (row, overflow) =
                    self.hardirq
                        .row(irq, delta.name_id, delta.cpu, self.limits.hardirq, names);
                if delta.unhandled {
                    row.unhandled += count;
                } else {
                    row.count += count;
                    row.woke_thread += delta.third.count;
                    add_spilled(&mut row.service, &delta.service);
                }
                if overflow {
                    self.accounting.by_family[Family::Hardirq as usize].overflowed += count;
                }
            }
            kind::WORK => {
                let key = (!delta.overflow).then_some((delta.name_id, delta.function));
                let (row, overflow) = self.workqueue.row(key, self.limits.workqueue, names);
                row.count += count;
                row.wait_unknown += count.saturating_sub(delta.wait.count);
                add_spilled(&mut row.wait, &delta.wait);
                add_spilled(&mut row.activate, &delta.third);
                add_spilled(&mut row.service, &delta.service);
                if overflow {
                    self.accounting.by_family[Family::Workqueue as usize].overflowed += count;
                }
            }
            _ => self.undecoded += 1,
        }
    }

    /// The machine that the stream comes from.
    #[must_use]
    pub fn host(&self) -> &HostIdentity {
        &self.host
    }

    /// Closes a window that a stream cut short left open, at its last record. What the probes counted is
    /// not known then: observed and streamed are what came.
    pub fn close_unfinished(&mut self) -> Option<Window> {
        if !self.started || self.latest_ns <= self.window_start_ns {
            return None;
        }
        let mut window = self.close(self.latest_ns);
        let by_family = &mut window.accounting.by_family;
        by_family[Family::Softirq as usize].streamed = window.softirq.iter().map(|r| r.count).sum();
        by_family[Family::Hardirq as usize].streamed =
            window.hardirq.iter().map(|r| r.count + r.unhandled).sum();
        by_family[Family::Workqueue as usize].streamed =
            window.workqueue.iter().map(|r| r.count).sum();
        by_family[Family::Module as usize].streamed = window.module.len() as u64;
        for family in by_family {
            family.observed = family.streamed;
        }
        Some(window)
    }

    fn close(&mut self, monotonic_ns: u64) -> Window {
        let start_ns = std::mem::replace(&mut self.window_start_ns, monotonic_ns);
        // The last records of a window may have ended after it did: they are no other window's.
        self.latest_ns = 0;
        Window {
            start_unix_ns: start_ns.wrapping_add(self.unix_offset_ns),
            duration_ns: monotonic_ns.saturating_sub(start_ns),
            softirq: self.softirq.take(),
            hardirq: self.hardirq.take(),
            workqueue: self.workqueue.take(),
            module: std::mem::take(&mut self.module),
            accounting: std::mem::take(&mut self.accounting),
            probes: self.probes.clone(),
        }
    }
}

/// NUL-padded bytes as text; what is no UTF-8 is replaced.
fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|&b| b == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

const _: () = {
    // `Family` indexes by the order of the record kinds.
    assert!(Family::Softirq as u8 + 1 == record::kind::SOFTIRQ);
    assert!(Family::Hardirq as u8 + 1 == record::kind::HARDIRQ);
    assert!(Family::Workqueue as u8 + 1 == record::kind::WORK);
    assert!(Family::Module as u8 + 1 == record::kind::MODULE);
};
