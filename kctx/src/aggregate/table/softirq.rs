//! Softirq rows, and what raised the softirqs.

use kctx_common::record::{NR_SOFTIRQS, context};

use super::{MAX_CPUS, ServedTally, Tally, origins::Origins};
use crate::{
    aggregate::{
        duration::Durations,
        window::{SOFTIRQ_CONTEXTS, SoftirqOriginRow, SoftirqRow},
    },
    resolve::{Resolver, SOFTIRQ_VECTORS},
};

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

/// What raised the softirqs of one CPU, by vector.
#[derive(Debug, Default)]
pub struct OriginsOfCpu([Origins; NR_SOFTIRQS]);

impl OriginsOfCpu {
    /// Counts `n` runs that an origin's first raise led to; false where there can be no such vector.
    #[inline]
    pub fn add(&mut self, vector: u8, kind: u8, number: u32, n: u64, names: &mut Resolver) -> bool {
        let Some(raisers) = self.0.get_mut(usize::from(vector)) else {
            return false;
        };
        raisers.add(kind, number, n, names);
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
            rows.extend(raisers.take(names).map(|(origin, count)| SoftirqOriginRow {
                vector,
                cpu,
                origin,
                count,
            }));
        }
        let number = |name: &str| SOFTIRQ_VECTORS.iter().position(|v| *v == name);
        rows.sort_by(|a, b| {
            (number(a.vector), a.cpu, &a.origin).cmp(&(number(b.vector), b.cpu, &b.origin))
        });
        rows
    }
}
