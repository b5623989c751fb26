//! Softirq rows, and what raised the softirqs.

use kctx_common::record::{NR_SOFTIRQS, context, origin};

use super::{MAX_CPUS, ServedTally, Tally};
use crate::{
    aggregate::{
        duration::Durations,
        origin::{KEY_UNKNOWN, key, of_key},
        window::{SOFTIRQ_CONTEXTS, SoftirqOriginRow, SoftirqRow},
    },
    resolve::{Resolver, SOFTIRQ_VECTORS},
};

/// Origins that are told apart for each vector on each CPU; the rest count as unknown.
pub const ORIGINS: usize = 64;

/// The name of a [`context`]; that of an unknown one where there is no such context.
#[inline]
#[must_use]
pub fn context_name(number: u8) -> &'static str {
    SOFTIRQ_CONTEXTS
        .get(usize::from(number))
        .unwrap_or(&SOFTIRQ_CONTEXTS[context::UNKNOWN as usize])
}

/// Position of a vector on a CPU in a table without gaps; `None` where there can be no such vector or CPU.
#[inline]
fn slot(vector: u32, cpu: u32) -> Option<usize> {
    (vector < NR_SOFTIRQS as u32 && cpu < MAX_CPUS)
        .then(|| cpu as usize * NR_SOFTIRQS + vector as usize)
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
    fn new(vector: &'static str, cpu: u32, context: &'static str) -> Self {
        Self {
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
        }
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

/// Softirq rows, found by CPU, vector and context without hashing.
#[derive(Debug, Default)]
pub struct SoftirqTable(Vec<Option<Box<SoftirqOpen>>>);

impl SoftirqTable {
    /// The row of a vector on a CPU in a context; `None` where there can be no such vector or CPU.
    #[inline]
    pub fn row(&mut self, vector: u32, cpu: u32, context: u8) -> Option<&mut SoftirqOpen> {
        let place = match usize::from(context) {
            place if place < SOFTIRQ_CONTEXTS.len() => place,
            _ => usize::from(context::UNKNOWN),
        };
        let index = slot(vector, cpu)? * SOFTIRQ_CONTEXTS.len() + place;
        if index >= self.0.len() {
            self.0.resize_with(index + 1, || None);
        }
        Some(self.0[index].get_or_insert_with(|| {
            let (vector, context) = (SOFTIRQ_VECTORS[vector as usize], SOFTIRQ_CONTEXTS[place]);
            Box::new(SoftirqOpen::new(vector, cpu, context))
        }))
    }

    /// All rows, by vector, CPU and context; the table is empty afterwards.
    pub fn take(&mut self) -> Vec<SoftirqRow> {
        let mut rows: Vec<SoftirqRow> = self
            .0
            .iter_mut()
            .filter_map(Option::take)
            .map(|row| row.close())
            .collect();
        let number = |name: &str| SOFTIRQ_VECTORS.iter().position(|v| *v == name);
        // Stable: the contexts of a vector on a CPU stay in the order of their numbers.
        rows.sort_by_key(|row| (number(row.vector), row.cpu));
        rows
    }
}

/// What raised one vector on one CPU.
#[derive(Debug, Default)]
struct Raisers {
    /// Where the last one was found: most often the next is the same.
    last: usize,
    keys: Vec<u64>,
    counts: Vec<u64>,
    /// What had no place among `keys`, and what was not seen.
    unknown: u64,
}

impl Raisers {
    /// Adds `n` raises; whether the key is a new one.
    #[inline]
    fn add(&mut self, key: u64, n: u64) -> bool {
        if self.keys.get(self.last) == Some(&key) {
            self.counts[self.last] = self.counts[self.last].saturating_add(n);
            return false;
        }
        self.add_other(key, n)
    }

    fn add_other(&mut self, key: u64, n: u64) -> bool {
        if key == KEY_UNKNOWN {
            self.unknown = self.unknown.saturating_add(n);
            return false;
        }
        if let Some(found) = self.keys.iter().position(|k| *k == key) {
            self.last = found;
            self.counts[found] = self.counts[found].saturating_add(n);
            return false;
        }
        if self.keys.len() >= ORIGINS {
            self.unknown = self.unknown.saturating_add(n);
            return false;
        }
        self.last = self.keys.len();
        self.keys.push(key);
        self.counts.push(n);
        true
    }
}

/// What raised softirqs: by CPU and vector without hashing, the origins of each in a short list.
#[derive(Debug, Default)]
pub struct OriginTable(Vec<Raisers>);

impl OriginTable {
    /// Counts `n` runs that an origin's first raise led to; false where there can be no such vector or CPU.
    #[inline]
    pub fn add(
        &mut self,
        vector: u32,
        cpu: u32,
        kind: u8,
        number: u32,
        n: u64,
        names: &mut Resolver,
    ) -> bool {
        let Some(index) = slot(vector, cpu) else {
            return false;
        };
        if index >= self.0.len() {
            self.0.resize_with(index + 1, Raisers::default);
        }
        if self.0[index].add(key(kind, number), n) && kind == origin::TASK {
            // Asked for now: when the window closes the process may be long gone.
            let _ = names.comm(number);
        }
        true
    }

    /// All rows, by vector, CPU and origin; the table is empty afterwards.
    pub fn take(&mut self, names: &mut Resolver) -> Vec<SoftirqOriginRow> {
        let mut rows = Vec::new();
        for (index, raisers) in self.0.iter_mut().enumerate() {
            let vector = SOFTIRQ_VECTORS[index % NR_SOFTIRQS];
            let cpu = (index / NR_SOFTIRQS) as u32;
            let mut push = |key, count, names: &mut Resolver| {
                rows.push(SoftirqOriginRow {
                    vector,
                    cpu,
                    origin: of_key(key, names),
                    count,
                });
            };
            for (key, count) in raisers.keys.drain(..).zip(raisers.counts.drain(..)) {
                push(key, count, names);
            }
            if raisers.unknown > 0 {
                push(KEY_UNKNOWN, std::mem::take(&mut raisers.unknown), names);
            }
        }
        let number = |name: &str| SOFTIRQ_VECTORS.iter().position(|v| *v == name);
        rows.sort_by(|a, b| {
            (number(a.vector), a.cpu, &a.origin).cmp(&(number(b.vector), b.cpu, &b.origin))
        });
        rows
    }
}
