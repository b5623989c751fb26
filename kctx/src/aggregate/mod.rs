//! The one owner of all counts: the stream in, windows out.

pub mod accounting;
mod contexts;
pub mod duration;
mod few;
pub mod happened;
mod hdr_bucket;
mod modules;
mod observed;
pub(crate) mod origin;
mod spill;
pub mod table;
mod tally;
pub mod window;

use kctx_common::record::{
    Hardirq, Kthread, Module, Napi, SoftirqLong, Tasklet, Work, context_of, flags, module_event,
    origin_of,
};

use self::{
    modules::{ModuleTable, Taken},
    observed::Observed,
    spill::known_context,
    table::{
        HardirqTable, KthreadTable, MAX_CPUS, NapiTable, OriginTable, RowLimits, SoftirqTable,
        TaskletTable, WorkqueueTable, napi::NapiKey,
    },
    window::{Accounting, ContextTimes, FAMILIES, Family, ProbeStatus, Window},
};
use crate::{
    decode::{self, Entry},
    host::{HostIdentity, cpus::parse_cpu_list},
    resolve::Resolver,
    source::Control,
};

/// `irqreturn_t`'s bits (include/linux/irqreturn.h).
const IRQ_WAKE_THREAD: u8 = 2;

/// Turns the stream into windows.
pub struct Aggregator {
    limits: RowLimits,
    softirq: SoftirqTable,
    origins: OriginTable,
    hardirq: HardirqTable,
    tasklet: TaskletTable,
    workqueue: WorkqueueTable,
    napi: NapiTable,
    kthread: KthreadTable,
    module: ModuleTable,
    observed: Observed,
    contexts: Vec<ContextTimes>,
    accounting: Accounting,
    probes: Vec<ProbeStatus>,
    /// Wall clock less `CLOCK_MONOTONIC`, in nanoseconds, when the open window began.
    unix_offset_ns: u64,
    window_start_ns: u64,
    received: [u64; FAMILIES],
    undecoded: u64,
    /// A window is open.
    started: bool,
    /// When the latest record seen so far ended.
    latest_ns: u64,
    host: HostIdentity,
}

impl Aggregator {
    /// So many lines of the log are kept of a window from now on.
    pub fn limit_log_lines(&mut self, lines: usize) {
        self.limits.log_lines = lines;
    }

    /// With no window open: the stream's start opens the first.
    #[must_use]
    pub fn new(limits: RowLimits) -> Self {
        Self {
            limits,
            softirq: SoftirqTable::default(),
            origins: OriginTable::default(),
            hardirq: HardirqTable::default(),
            tasklet: TaskletTable::default(),
            workqueue: WorkqueueTable::default(),
            napi: NapiTable::default(),
            kthread: KthreadTable::default(),
            module: ModuleTable::default(),
            observed: Observed::default(),
            contexts: Vec::new(),
            accounting: Accounting::default(),
            probes: Vec::new(),
            unix_offset_ns: 0,
            window_start_ns: 0,
            received: [0; FAMILIES],
            undecoded: 0,
            started: false,
            latest_ns: 0,
            host: HostIdentity::default(),
        }
    }

    /// Records of each family that came through the rings since the start, and samples of stacks.
    #[must_use]
    pub fn received(&self) -> [u64; FAMILIES] {
        self.received
    }

    /// Records that could not be decoded since the start.
    #[must_use]
    pub fn undecoded(&self) -> u64 {
        self.undecoded
    }

    /// Takes a batch of one CPU's records.
    pub fn records(&mut self, cpu: u32, batch: &[u8], names: &mut Resolver) {
        if cpu >= MAX_CPUS {
            // There is no such CPU: no row may be made for it.
            self.undecoded += decode::records(batch).count() as u64;
            return;
        }
        for entry in decode::entries(batch) {
            match entry {
                Entry::Softirqs(runs) => {
                    self.softirqs(cpu, runs.iter().map(|run| run.get().widen()), names);
                }
                Entry::SoftirqLong(r) => self.softirqs(cpu, std::iter::once(r.get()), names),
                Entry::Hardirq(r) => self.hardirq(cpu, &r.get(), names),
                Entry::Work(r) => self.work(&r.get(), names),
                Entry::Module(r) => self.module(&r.get(), names),
                Entry::Tasklet(r) => self.tasklet(&r.get(), names),
                Entry::Napi(r) => self.napi(cpu, &r.get(), names),
                Entry::Kthread(r) => self.kthread(cpu, &r.get(), names),
                Entry::Unknown => self.undecoded += 1,
            }
        }
    }

    #[inline]
    fn received_one(&mut self, family: Family, end_ns: u64) {
        self.received[family as usize] += 1;
        self.latest_ns = self.latest_ns.max(end_ns);
    }

    /// Runs on one CPU.
    #[inline]
    fn softirqs(
        &mut self,
        cpu: u32,
        runs: impl ExactSizeIterator<Item = SoftirqLong>,
        names: &mut Resolver,
    ) {
        let of_cpu = (self.softirq.of_cpu(cpu)).zip(self.origins.of_cpu(cpu));
        let Some((rows, origins)) = of_cpu else {
            self.undecoded += runs.len() as u64;
            return;
        };
        self.received[Family::Softirq as usize] += runs.len() as u64;
        for r in runs {
            self.latest_ns = self.latest_ns.max(r.end_ns);
            let Some(row) = rows.row(r.vector, context_of(r.place)) else {
                self.undecoded += 1;
                continue;
            };
            let wait_ns = (r.flags & flags::WAIT != 0).then_some(r.wait_ns);
            row.add(wait_ns, r.service_ns, r.nested_ns);
            origins.add(r.vector, origin_of(r.place), r.origin, 1, names);
        }
    }

    #[inline]
    fn hardirq(&mut self, cpu: u32, r: &Hardirq, names: &mut Resolver) {
        self.received_one(Family::Hardirq, r.end_ns);
        if r.flags & flags::VECTOR != 0 {
            let Some(row) = self.hardirq.vector(r.irq, cpu) else {
                self.undecoded += 1;
                return;
            };
            row.row.count += 1;
            row.service.record(r.service_ns);
            return;
        }
        let limit = self.limits.hardirq;
        let (open, overflow) = self.hardirq.row(Some(r.irq), r.name_id, cpu, limit, names);
        let row = &mut open.row;
        if r.ret == 0 {
            row.unhandled += 1;
        } else {
            row.count += 1;
            row.woke_thread += u64::from(r.ret & IRQ_WAKE_THREAD != 0);
            open.service.record(r.service_ns);
        }
        self.overflowed(Family::Hardirq, overflow, 1);
    }

    #[inline]
    fn work(&mut self, r: &Work, names: &mut Resolver) {
        self.received_one(Family::Workqueue, r.end_ns);
        let key = Some((r.workqueue_id, r.function));
        let (open, overflow) = self.workqueue.row(key, self.limits.workqueue, names);
        let row = &mut open.row;
        row.count += 1;
        if r.flags & flags::WAIT != 0 {
            open.wait.record(r.wait_ns);
        } else {
            row.wait_unknown += 1;
        }
        if r.flags & flags::ACTIVATE != 0 {
            open.activate.record(r.activate_ns);
        }
        if r.flags & flags::NET != 0 {
            open.service_net.record(r.net_ns);
        }
        open.service.record(r.service_ns);
        row.remote += u64::from(r.flags & flags::REMOTE != 0);
        row.bh += u64::from(r.flags & flags::BH != 0);
        (open.queued_by).add(r.origin_kind, r.origin, 1, names);
        self.overflowed(Family::Workqueue, overflow, 1);
    }

    #[inline]
    fn tasklet(&mut self, r: &Tasklet, names: &mut Resolver) {
        self.received_one(Family::Tasklet, r.end_ns);
        let limit = self.limits.tasklet;
        let (row, overflow) = self.tasklet.row(Some(r.function), limit, names);
        row.row.count += 1;
        row.service
            .record(r.service_ns, r.service_ns.saturating_sub(r.nested_ns));
        self.overflowed(Family::Tasklet, overflow, 1);
    }

    #[inline]
    fn napi(&mut self, cpu: u32, r: &Napi, names: &mut Resolver) {
        self.received_one(Family::Napi, r.end_ns);
        let key = NapiKey {
            name_id: r.name_id,
            napi_id: r.napi_id,
            cpu,
            context: known_context(r.context),
        };
        let (open, overflow) = self.napi.row(key, self.limits.napi, names);
        let row = &mut open.row;
        row.count += 1;
        // netpoll's budget of 0 is not one that can be used up.
        row.exhausted += u64::from(r.budget > 0 && r.work >= r.budget);
        row.packets += u64::from(r.work);
        row.packets_max = row.packets_max.max(u64::from(r.work));
        if r.flags & flags::DURATION != 0 {
            open.service.record(r.duration_ns);
        }
        self.overflowed(Family::Napi, overflow, 1);
    }

    #[inline]
    fn kthread(&mut self, cpu: u32, r: &Kthread, names: &mut Resolver) {
        self.received_one(Family::Kthread, r.end_ns);
        let (row, overflow) = self.kthread.stretch(cpu, r, self.limits.kthread, names);
        row.row.count += 1;
        if r.flags & flags::WAIT != 0 {
            row.wait.record(r.wait_ns);
            row.row.preempted += u64::from(r.flags & flags::PREEMPTED != 0);
        }
        row.service.record(r.service_ns, r.net_ns);
        self.overflowed(Family::Kthread, overflow, 1);
    }

    fn module(&mut self, r: &Module, names: &mut Resolver) {
        self.received_one(Family::Module, r.time_ns);
        if matches!(r.event, module_event::LOAD | module_event::FREE) {
            names.modules_changed();
            self.forget_functions();
        }
        match self.module.add(r, self.unix_offset_ns) {
            Taken::Row => {}
            Taken::Overflow => self.overflowed(Family::Module, true, 1),
            Taken::Unknown => self.undecoded += 1,
        }
    }

    /// Forgets which rows functions' addresses belong to: they may be called otherwise from here on.
    pub fn forget_functions(&mut self) {
        self.workqueue.forget_functions();
        self.tasklet.forget_functions();
    }

    /// Takes a piece of the stream that is no record; a window when that closes one.
    pub fn control(&mut self, control: &Control, names: &mut Resolver) -> Option<Window> {
        let unix = |monotonic_ns: u64| monotonic_ns.wrapping_add(self.unix_offset_ns);
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
                self.kthread.start(*monotonic_ns);
                self.probes.clone_from(probes);
            }
            Control::Name { .. } | Control::Function { .. } | Control::Comm { .. } => {
                names.told(control);
            }
            Control::FunctionsRenewed => self.forget_functions(),
            Control::Spill(delta) => self.spill(delta, names),
            Control::SpilledOrigins(spilled) => {
                for one in spilled {
                    self.spilled_origin(one, names);
                }
            }
            Control::Counted(counted) => {
                for (sum, one) in self.accounting.by_family.iter_mut().zip(counted.iter()) {
                    sum.add(one);
                }
            }
            Control::Contexts(contexts) => self.contexts.clone_from(contexts),
            Control::Running(threads) => {
                self.kthread.running(threads, self.limits.kthread, names);
            }
            Control::Stacks(stacks) => {
                let samples = stacks.iter().map(|stack| stack.count);
                let received = &mut self.received[Family::Stack as usize];
                *received = samples.fold(*received, u64::saturating_add);
                self.observed.stacks(stacks);
            }
            Control::Taint {
                monotonic_ns,
                before,
                after,
            } => self.observed.taint(unix(*monotonic_ns), *before, *after),
            Control::Log(log) => {
                let limit = self.limits.log_lines;
                self.observed.log(log, self.unix_offset_ns, limit);
            }
            Control::Governor {
                family,
                limited,
                monotonic_ns,
                reason,
            } => {
                let at = unix(*monotonic_ns);
                self.observed.governor(*family, *limited, at, reason);
            }
            Control::GovernorHelpless {
                monotonic_ns,
                reason,
            } => {
                let at = unix(*monotonic_ns);
                self.observed.governor_helpless(at, reason.as_deref());
            }
            Control::OwnCost(cost) => self.observed.own_cost(cost),
            Control::WindowEnd {
                monotonic_ns,
                unix_ns,
                taint,
            } => {
                self.host.taint = taint.or(self.host.taint);
                let window = self.close(*monotonic_ns, names);
                // The clock may have been set, or the machine suspended.
                self.unix_offset_ns = unix_ns.wrapping_sub(*monotonic_ns);
                return Some(window);
            }
        }
        None
    }

    /// The machine that the stream comes from.
    #[must_use]
    pub fn host(&self) -> &HostIdentity {
        &self.host
    }

    /// Closes a window that a stream cut short left open, at its last record. What the probes counted is
    /// not known then: observed and streamed are what came.
    pub fn close_unfinished(&mut self, names: &mut Resolver) -> Option<Window> {
        if !self.started || self.latest_ns <= self.window_start_ns {
            return None;
        }
        let mut window = self.close(self.latest_ns, names);
        for family in Family::ALL {
            let came = window.records(family);
            let counts = &mut window.accounting.by_family[family as usize];
            (counts.observed, counts.streamed) = (came, came);
        }
        Some(window)
    }

    fn close(&mut self, monotonic_ns: u64, names: &mut Resolver) -> Window {
        let start_ns = std::mem::replace(&mut self.window_start_ns, monotonic_ns);
        // The last records of a window may have ended after it did: they are no other window's.
        self.latest_ns = 0;
        let (stack, stacks_dropped) = self.observed.take_stacks();
        self.overflowed(Family::Stack, stacks_dropped > 0, stacks_dropped);
        let mut window = Window {
            start_unix_ns: start_ns.wrapping_add(self.unix_offset_ns),
            duration_ns: monotonic_ns.saturating_sub(start_ns),
            cpu: std::mem::take(&mut self.contexts),
            softirq: self.softirq.take(),
            softirq_origin: self.origins.take(names),
            hardirq: self.hardirq.take(),
            tasklet: self.tasklet.take(),
            workqueue: self.workqueue.take(names),
            napi: self.napi.take(),
            kthread: self.kthread.take(),
            module: self.module.take(),
            taint: self.observed.take_taint(),
            taint_value: self.host.taint,
            log: self.observed.take_log(),
            stack,
            governor: self.observed.take_governor(),
            governor_helpless: self.observed.helpless(),
            own_cost: self.observed.take_own_cost(),
            accounting: std::mem::take(&mut self.accounting),
            probes: self.probes.clone(),
        };
        if window.cpu.is_empty() {
            window.cpu = contexts::of_rows(&window);
        }
        let online = parse_cpu_list(&self.host.cpu_list).unwrap_or_default();
        contexts::add_unseen(&mut window.cpu, &online, window.duration_ns);
        names.window_closed();
        window
    }
}

/// NUL-padded bytes as text; what is no UTF-8 is replaced.
pub(crate) fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|&b| b == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

const _: () = {
    // `Family` indexes by the order of the kernel side's counters.
    use kctx_common::counters as index;
    assert!(Family::Softirq as usize == index::SOFTIRQ);
    assert!(Family::Hardirq as usize == index::HARDIRQ);
    assert!(Family::Workqueue as usize == index::WORKQUEUE);
    assert!(Family::Module as usize == index::MODULE);
    assert!(Family::Tasklet as usize == index::TASKLET);
    assert!(Family::Napi as usize == index::NAPI);
    assert!(Family::Kthread as usize == index::KTHREAD);
    assert!(Family::Stack as usize == index::STACK);
};
