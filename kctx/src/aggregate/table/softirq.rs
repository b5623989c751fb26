//! Softirq rows, and what raised the softirqs.

use std::sync::Arc;

use kctx_common::record::{NR_SOFTIRQS, context, origin};

use super::{MAX_CPUS, ServedTally, Tally};
use crate::{
    aggregate::{
        duration::Durations,
        origin::{KEY_UNKNOWN, key, of_comm, of_key},
        window::{SOFTIRQ_CONTEXTS, SoftirqOriginRow, SoftirqRow, UNKNOWN},
    },
    resolve::{Resolver, SOFTIRQ_VECTORS},
};

/// Origins that are told apart for each vector on each CPU; of the rest, tasks are told apart by comm, and all else
/// counts as unknown.
pub const ORIGINS: usize = 64;

/// Comms by which the tasks that found no place among them are told apart; the rest count as unknown.
pub const COMMS: usize = 16;

/// The name of a [`context`]; that of an unknown one where there is no such context.
#[inline]
#[must_use]
pub fn context_name(number: u8) -> &'static str {
    SOFTIRQ_CONTEXTS
        .get(usize::from(number))
        .unwrap_or(&SOFTIRQ_CONTEXTS[context::UNKNOWN as usize])
}

/// A row of the open window.
#[derive(Debug)]
pub struct SoftirqOpen {
    row: SoftirqRow,
    /// [`SoftirqRow::count`]
    pub count: u64,
    /// [`SoftirqRow::wait_unknown`]
    pub wait_unknown: u64,
    /// First pending raise to entry.
    pub wait: Tally,
    /// Entry to exit, with and without what fell into it.
    pub service: ServedTally,
}

impl SoftirqOpen {
    #[cold]
    fn new(vector: &'static str, cpu: u32, context: &'static str) -> Option<Box<Self>> {
        Some(Box::new(Self {
            row: SoftirqRow {
                vector,
                cpu,
                context,
                count: 0,
                wait_unknown: 0,
                wait: Durations::default(),
                service: Durations::default(),
                service_net: Durations::default(),
            },
            count: 0,
            wait_unknown: 0,
            wait: Tally::default(),
            service: ServedTally::default(),
        }))
    }

    /// Adds one run; no wait where its raise was not seen.
    #[inline]
    pub fn add(&mut self, wait_ns: Option<u64>, service_ns: u64, nested_ns: u64) {
        self.count += 1;
        match wait_ns {
            Some(ns) => self.wait.record(ns),
            None => self.wait_unknown += 1,
        }
        self.service
            .record(service_ns, service_ns.saturating_sub(nested_ns));
    }

    fn close(self) -> SoftirqRow {
        let (service, service_net) = self.service.close();
        SoftirqRow {
            count: self.count,
            wait_unknown: self.wait_unknown,
            wait: self.wait.close(),
            service,
            service_net,
            ..self.row
        }
    }
}

/// The rows of one CPU, found by vector and context without hashing.
#[derive(Debug)]
pub struct SoftirqsOfCpu {
    cpu: u32,
    rows: [[Option<Box<SoftirqOpen>>; SOFTIRQ_CONTEXTS.len()]; NR_SOFTIRQS],
}

impl SoftirqsOfCpu {
    fn new(cpu: u32) -> Self {
        let rows = [const { [const { None }; SOFTIRQ_CONTEXTS.len()] }; NR_SOFTIRQS];
        Self { cpu, rows }
    }

    /// The row of a vector in a context; `None` where there can be no such vector.
    #[inline]
    pub fn row(&mut self, vector: u8, context: u8) -> Option<&mut SoftirqOpen> {
        let rows = self.rows.get_mut(usize::from(vector))?;
        let place = match usize::from(context) {
            place if place < SOFTIRQ_CONTEXTS.len() => place,
            _ => usize::from(context::UNKNOWN),
        };
        let row = &mut rows[place];
        if row.is_none() {
            let vector = SOFTIRQ_VECTORS[usize::from(vector)];
            *row = SoftirqOpen::new(vector, self.cpu, SOFTIRQ_CONTEXTS[place]);
        }
        row.as_deref_mut()
    }
}

/// Softirq rows.
#[derive(Debug, Default)]
pub struct SoftirqTable(Vec<SoftirqsOfCpu>);

impl SoftirqTable {
    /// The rows of a CPU; `None` where there can be no such CPU.
    #[inline]
    pub fn of_cpu(&mut self, cpu: u32) -> Option<&mut SoftirqsOfCpu> {
        let index = cpu as usize;
        if index >= self.0.len() {
            if cpu >= MAX_CPUS {
                return None;
            }
            let first = self.0.len() as u32;
            self.0.extend((first..=cpu).map(SoftirqsOfCpu::new));
        }
        self.0.get_mut(index)
    }

    /// All rows, by vector, CPU and context; the table is empty afterwards.
    pub fn take(&mut self) -> Vec<SoftirqRow> {
        let mut rows = Vec::new();
        for vector in 0..NR_SOFTIRQS {
            for cpu in &mut self.0 {
                let open = cpu.rows[vector].iter_mut().filter_map(Option::take);
                rows.extend(open.map(|row| row.close()));
            }
        }
        rows
    }
}

/// Places that remember where a key is.
const REMEMBERED: usize = 8;

/// What raised one vector on one CPU.
#[derive(Debug, Default)]
struct Raisers {
    /// Where keys were found last, each in the place that its low bits give it: raisers take turns.
    found: [u8; REMEMBERED],
    /// Keys and how often each.
    seen: Vec<(u64, u64)>,
    /// Tasks that had no place among them, by comm: processes that come and go.
    comms: Vec<(Arc<str>, u64)>,
    /// What had no place in either, and what was not seen.
    unknown: u64,
}

/// What became of a raise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Added {
    /// Its key was there.
    Known,
    /// It is there now.
    New,
    /// There was no place for it: it is not counted yet.
    NoPlace,
}

impl Raisers {
    /// Adds `n` raises of a key that is where it was last; false where it is not.
    #[inline]
    fn add(&mut self, key: u64, n: u64) -> bool {
        let found = self.found[key as usize % REMEMBERED];
        match self.seen.get_mut(usize::from(found)) {
            Some((last, count)) if *last == key => {
                *count = count.saturating_add(n);
                true
            }
            _ => false,
        }
    }

    /// Adds those of another.
    #[cold]
    #[inline(never)]
    fn add_elsewhere(&mut self, kind: u8, number: u32, n: u64, names: &mut Resolver) {
        // Asked for now: when the window closes the process may be long gone.
        let mut comm = || (kind == origin::TASK).then(|| names.comm(number));
        match self.add_other(key(kind, number), n) {
            Added::Known => {}
            Added::New => drop(comm()),
            Added::NoPlace => self.add_by_comm(comm().filter(|comm| **comm != *UNKNOWN), n),
        }
    }

    /// If there is a place for them.
    fn add_other(&mut self, key: u64, n: u64) -> Added {
        if key == KEY_UNKNOWN {
            self.unknown = self.unknown.saturating_add(n);
            return Added::Known;
        }
        let found = self.seen.iter().position(|(k, _)| *k == key);
        let at = match found {
            Some(at) => at,
            None if self.seen.len() >= ORIGINS => return Added::NoPlace,
            None => {
                self.seen.push((key, 0));
                self.seen.len() - 1
            }
        };
        const { assert!(ORIGINS <= u8::MAX as usize) };
        self.found[key as usize % REMEMBERED] = at as u8;
        self.seen[at].1 = self.seen[at].1.saturating_add(n);
        match found {
            Some(_) => Added::Known,
            None => Added::New,
        }
    }

    /// Adds `n` raises for which there was no place: by a task's comm, else as unknown.
    fn add_by_comm(&mut self, comm: Option<Arc<str>>, n: u64) {
        let at = (comm.as_ref()).and_then(|comm| self.comms.iter().position(|(c, _)| c == comm));
        let count = match (at, comm) {
            (Some(at), _) => &mut self.comms[at].1,
            (None, Some(comm)) if self.comms.len() < COMMS => {
                self.comms.push((comm, n));
                return;
            }
            _ => &mut self.unknown,
        };
        *count = count.saturating_add(n);
    }
}

/// What raised the softirqs of one CPU: the origins of each vector in a short list.
#[derive(Debug, Default)]
pub struct OriginsOfCpu([Raisers; NR_SOFTIRQS]);

impl OriginsOfCpu {
    /// Counts `n` runs that an origin's first raise led to; false where there can be no such vector.
    #[inline]
    pub fn add(&mut self, vector: u8, kind: u8, number: u32, n: u64, names: &mut Resolver) -> bool {
        let Some(raisers) = self.0.get_mut(usize::from(vector)) else {
            return false;
        };
        if !raisers.add(key(kind, number), n) {
            raisers.add_elsewhere(kind, number, n, names);
        }
        true
    }
}

/// What raised softirqs, by CPU.
#[derive(Debug, Default)]
pub struct OriginTable(Vec<OriginsOfCpu>);

impl OriginTable {
    /// The origins of a CPU; `None` where there can be no such CPU.
    #[inline]
    pub fn of_cpu(&mut self, cpu: u32) -> Option<&mut OriginsOfCpu> {
        let index = cpu as usize;
        if index >= self.0.len() {
            if cpu >= MAX_CPUS {
                return None;
            }
            self.0.resize_with(index + 1, OriginsOfCpu::default);
        }
        self.0.get_mut(index)
    }

    /// All rows, by vector, CPU and origin; the table is empty afterwards.
    pub fn take(&mut self, names: &mut Resolver) -> Vec<SoftirqOriginRow> {
        let mut rows = Vec::new();
        let of_cpus = (0..).zip(&mut self.0);
        let all = of_cpus.flat_map(|(cpu, origins)| {
            let vectors = SOFTIRQ_VECTORS.into_iter().zip(&mut origins.0);
            vectors.map(move |(vector, raisers)| (cpu, vector, raisers))
        });
        for (cpu, vector, raisers) in all {
            let mut push = |origin, count| {
                rows.push(SoftirqOriginRow {
                    vector,
                    cpu,
                    origin,
                    count,
                });
            };
            for (key, count) in raisers.seen.drain(..) {
                push(of_key(key, names), count);
            }
            for (comm, count) in raisers.comms.drain(..) {
                push(of_comm(comm), count);
            }
            if raisers.unknown > 0 {
                let unknown = of_key(KEY_UNKNOWN, names);
                push(unknown, std::mem::take(&mut raisers.unknown));
            }
        }
        let number = |name: &str| SOFTIRQ_VECTORS.iter().position(|v| *v == name);
        rows.sort_by(|a, b| {
            (number(a.vector), a.cpu, &a.origin).cmp(&(number(b.vector), b.cpu, &b.origin))
        });
        rows
    }
}
