//! Kernel threads: rows, and which part of a stretch on a CPU lies in which window.
//!
//! A thread's record comes when it leaves the CPU, but a thread may run through many windows' ends. At each
//! end the stream lists the threads that run; what they ran by then is credited to that window, and when
//! the record comes, only what is left of the stretch is added.

use std::sync::Arc;

use kctx_common::record::Kthread;

use super::{
    MAX_CPUS, ServedTally, Tally, add_spilled,
    index::{Hint, Index},
};
use crate::{
    aggregate::{duration::Durations, text, window::KthreadRow},
    resolve::{Resolver, role::role_of},
    source::{RunningThread, SpillDelta},
};

/// Two stamps of the same switch are no further apart.
const SAME_START_NS: u64 = 1000;

/// A thread bears its maker's name until it has its own: `kthread_create_on_node` gave it one only once it ran (kernel/kthread.c;
/// before 6.4).
const MAKER: &str = "kthreadd";
const MAKERS_PID: u32 = 2;

/// Window ends after which a stretch whose record never came is forgotten.
const FORGOTTEN_AFTER: u64 = 2;

/// A stretch of which a part was credited already.
#[derive(Clone, Copy, Debug)]
struct Credit {
    pid: u32,
    start_ns: u64,
    service_ns: u64,
    net_ns: u64,
    /// Window at whose end it was last listed.
    listed: u64,
    /// Its thread had records spilled on this CPU in this window: maybe this stretch's.
    spilled: bool,
}

impl Credit {
    fn is_of(&self, pid: u32, start_ns: u64) -> bool {
        self.pid == pid && self.start_ns.abs_diff(start_ns) <= SAME_START_NS
    }
}

/// The thread's id, and the name id of the workqueue that it works for.
type Key = (u32, u64);

impl Hint for Key {
    #[inline]
    fn hint(&self) -> u64 {
        u64::from(self.0) ^ self.1
    }
}

/// A row of the open window.
#[derive(Debug)]
pub struct KthreadOpen {
    /// What it will be, but for durations.
    pub row: KthreadRow,
    /// Runnable to running.
    pub wait: Tally,
    /// Time on the CPU at a stretch, with and without interrupts and softirqs.
    pub service: ServedTally,
    /// Its name is its maker's.
    unnamed: bool,
}

impl KthreadOpen {
    /// Time on a CPU, all of it and what is left without interrupts and softirqs.
    fn add_time(&mut self, service_ns: u64, net_ns: u64) {
        self.row.cpu_ns = self.row.cpu_ns.saturating_add(service_ns);
        self.row.cpu_net_ns = self.row.cpu_net_ns.saturating_add(net_ns);
    }

    fn name(&mut self, comm: String) {
        self.unnamed = comm == MAKER && self.row.pid != MAKERS_PID;
        self.row.role = role_of(&comm).as_str();
        self.row.comm = Arc::from(comm);
    }

    fn close(self) -> KthreadRow {
        let (service, service_net) = self.service.close();
        KthreadRow {
            wait: self.wait.close(),
            service,
            service_net,
            ..self.row
        }
    }
}

impl From<KthreadRow> for KthreadOpen {
    fn from(row: KthreadRow) -> Self {
        Self {
            row,
            wait: Tally::default(),
            service: ServedTally::default(),
            unnamed: false,
        }
    }
}

/// Kernel thread rows, and what was credited of stretches that have not ended.
#[derive(Debug, Default)]
pub struct KthreadTable {
    index: Index<Key>,
    overflow: Option<usize>,
    rows: Vec<KthreadOpen>,
    /// The newest and the one before it, by CPU: when a window ends, the record of the stretch that ended
    /// last may still be on its way.
    credits: Vec<[Option<Credit>; 2]>,
    /// When the first window opened.
    stream_start_ns: u64,
    /// The threads that ran then were listed.
    has_baseline: bool,
    /// Number of the window that is open.
    window: u64,
}

impl KthreadTable {
    /// The first window opens.
    pub fn start(&mut self, monotonic_ns: u64) {
        self.stream_start_ns = monotonic_ns;
        self.has_baseline = false;
        self.credits.clear();
    }

    /// A stretch ended; whether its row is the overflow row.
    #[inline]
    pub fn stretch(
        &mut self,
        cpu: u32,
        r: &Kthread,
        limit: usize,
        names: &mut Resolver,
    ) -> (&mut KthreadOpen, bool) {
        let start_ns = r.end_ns.saturating_sub(r.service_ns);
        let (service_ns, net_ns) = match self.take_credit(cpu, r.pid, start_ns) {
            Some(credit) => (
                r.service_ns.saturating_sub(credit.service_ns),
                r.net_ns.saturating_sub(credit.net_ns),
            ),
            None => self.inside(start_ns, r.service_ns, r.net_ns),
        };
        let key = Some((r.pid, r.workqueue_id));
        let (row, overflow) = self.row(key, limit, names, || text(&r.comm));
        row.add_time(service_ns, net_ns);
        (row, overflow)
    }

    /// The part of a stretch that no list said anything of: what lies before the first window is not part
    /// of it.
    fn inside(&self, start_ns: u64, service_ns: u64, net_ns: u64) -> (u64, u64) {
        let before = self.stream_start_ns.saturating_sub(start_ns);
        if before == 0 || service_ns == 0 {
            return (service_ns, net_ns);
        }
        let inside = service_ns.saturating_sub(before);
        let net = u128::from(net_ns) * u128::from(inside) / u128::from(service_ns);
        (inside, net as u64)
    }

    fn take_credit(&mut self, cpu: u32, pid: u32, start_ns: u64) -> Option<Credit> {
        let credits = self.credits.get_mut(cpu as usize)?;
        credits
            .iter_mut()
            .find(|credit| credit.is_some_and(|credit| credit.is_of(pid, start_ns)))?
            .take()
    }

    /// The threads that are on a CPU right now: when the first window opens, and when one is about to close.
    pub fn running(&mut self, threads: &[RunningThread], limit: usize, names: &mut Resolver) {
        let is_baseline = !std::mem::replace(&mut self.has_baseline, true);
        for thread in threads.iter().filter(|thread| thread.cpu < MAX_CPUS) {
            let credited = self.take_credit(thread.cpu, thread.pid, thread.start_ns);
            let credit = Credit {
                pid: thread.pid,
                start_ns: thread.start_ns,
                service_ns: thread.service_ns,
                net_ns: thread.net_ns,
                listed: self.window,
                spilled: credited.is_some_and(|credit| credit.spilled),
            };
            let at = thread.cpu as usize;
            if at >= self.credits.len() {
                self.credits.resize(at + 1, [None; 2]);
            }
            let places = &mut self.credits[at];
            if places[0].is_some() {
                places[1] = places[0];
            }
            places[0] = Some(credit);
            if is_baseline {
                continue;
            }
            let (service_ns, net_ns) = match credited {
                Some(credit) => (
                    thread.service_ns.saturating_sub(credit.service_ns),
                    thread.net_ns.saturating_sub(credit.net_ns),
                ),
                None => self.inside(thread.start_ns, thread.service_ns, thread.net_ns),
            };
            let key = Some((thread.pid, thread.workqueue_id));
            let (row, _) = self.row(key, limit, names, || thread.comm.clone());
            row.add_time(service_ns, net_ns);
        }
    }

    /// Stretches that were spilled; whether their row is the overflow row.
    pub fn spilled(&mut self, delta: &SpillDelta, limit: usize, names: &mut Resolver) -> bool {
        let pid = delta.number;
        let key = (!delta.overflow).then_some((pid, 0));
        let (row, overflow) = self.row(key, limit, names, || {
            let mut comm = [0; 16];
            comm[..8].copy_from_slice(&delta.name_id.to_le_bytes());
            comm[8..].copy_from_slice(&delta.function.to_le_bytes());
            text(&comm)
        });
        row.row.count = row.row.count.saturating_add(delta.service.count);
        add_spilled(&mut row.wait, &delta.wait);
        add_spilled(row.service.gross(), &delta.service);
        add_spilled(row.service.net(), &delta.third);
        row.add_time(delta.service.sum_ns, delta.third.sum_ns);
        if let Some(credits) = self.credits.get_mut(delta.cpu as usize) {
            for credit in credits.iter_mut().flatten().filter(|c| c.pid == pid) {
                credit.spilled = true;
            }
        }
        overflow
    }

    fn row(
        &mut self,
        key: Option<Key>,
        limit: usize,
        names: &mut Resolver,
        comm: impl FnOnce() -> String,
    ) -> (&mut KthreadOpen, bool) {
        let Some(key) = key else {
            return (self.overflow_row(), true);
        };
        match self.index.get(&key) {
            Some(i) => {
                let row = &mut self.rows[i];
                if row.unnamed {
                    row.name(comm());
                }
                (row, false)
            }
            None => self.new_row(key, limit, names, comm),
        }
    }

    #[cold]
    fn new_row(
        &mut self,
        key: Key,
        limit: usize,
        names: &mut Resolver,
        comm: impl FnOnce() -> String,
    ) -> (&mut KthreadOpen, bool) {
        if self.index.len() >= limit {
            return (self.overflow_row(), true);
        }
        let i = self.rows.len();
        self.index.insert(key, i);
        let (pid, workqueue_id) = key;
        let row = KthreadRow {
            pid,
            workqueue: match workqueue_id {
                0 => Arc::from(""),
                id => names.name(id),
            },
            ..empty()
        };
        self.rows.push(row.into());
        self.rows[i].name(comm());
        (&mut self.rows[i], false)
    }

    fn overflow_row(&mut self) -> &mut KthreadOpen {
        let i = *self.overflow.get_or_insert_with(|| {
            let row = KthreadRow {
                overflow: true,
                ..empty()
            };
            self.rows.push(row.into());
            self.rows.len() - 1
        });
        &mut self.rows[i]
    }

    /// All rows; the table is empty afterwards, but for what was credited.
    pub fn take(&mut self) -> Vec<KthreadRow> {
        for cpu in 0..self.credits.len() {
            for place in 0..2 {
                self.settle(cpu, place);
            }
        }
        self.window += 1;
        self.index.clear();
        self.overflow = None;
        self.rows.drain(..).map(KthreadOpen::close).collect()
    }

    /// At a window's end: a stretch whose record was spilled was added whole, so what had been credited of
    /// it is taken back.
    fn settle(&mut self, cpu: usize, place: usize) {
        let Some(credit) = &mut self.credits[cpu][place] else {
            return;
        };
        if credit.listed == self.window {
            // Still running: what was spilled were other stretches.
            credit.spilled = false;
            return;
        }
        let credit = *credit;
        if credit.spilled {
            if let Some(i) = self.index.get(&(credit.pid, 0)) {
                let row = &mut self.rows[i].row;
                row.cpu_ns = row.cpu_ns.saturating_sub(credit.service_ns);
                row.cpu_net_ns = row.cpu_net_ns.saturating_sub(credit.net_ns);
            }
            self.credits[cpu][place] = None;
        } else if self.window - credit.listed >= FORGOTTEN_AFTER {
            self.credits[cpu][place] = None;
        }
    }
}

fn empty() -> KthreadRow {
    KthreadRow {
        role: "other",
        comm: Arc::from(""),
        pid: 0,
        workqueue: Arc::from(""),
        overflow: false,
        count: 0,
        preempted: 0,
        wait: Durations::default(),
        service: Durations::default(),
        service_net: Durations::default(),
        cpu_ns: 0,
        cpu_net_ns: 0,
    }
}
