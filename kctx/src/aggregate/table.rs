//! The rows of the window that is open.

use std::sync::Arc;

use rustc_hash::FxHashMap;

use super::{
    duration::Durations,
    window::{HardirqRow, SoftirqRow, WorkqueueRow},
};
use crate::{
    resolve::{Resolver, SOFTIRQ_VECTORS},
    source::SpilledDurations,
};

/// Most CPUs that a row's number may name: `CONFIG_NR_CPUS` goes up to 8192 on x86.
pub const MAX_CPUS: u32 = 8192;

/// How many rows a family may have in one window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowLimits {
    /// Rows of (interrupt, action, CPU).
    pub hardirq: usize,
    /// Rows of (workqueue, function).
    pub workqueue: usize,
}

impl Default for RowLimits {
    fn default() -> Self {
        Self {
            hardirq: 8192,
            workqueue: 2000,
        }
    }
}

/// Softirq rows, found by CPU and vector without hashing.
#[derive(Debug, Default)]
pub struct SoftirqTable(Vec<Option<Box<SoftirqRow>>>);

impl SoftirqTable {
    /// The row of a vector on a CPU; `None` where there can be no such vector or CPU.
    #[inline]
    pub fn row(&mut self, vector: u32, cpu: u32) -> Option<&mut SoftirqRow> {
        let name = *SOFTIRQ_VECTORS.get(vector as usize)?;
        if cpu >= MAX_CPUS {
            return None;
        }
        let index = cpu as usize * SOFTIRQ_VECTORS.len() + vector as usize;
        if index >= self.0.len() {
            self.0.resize_with(index + 1, || None);
        }
        Some(self.0[index].get_or_insert_with(|| {
            Box::new(SoftirqRow {
                vector: name,
                cpu,
                count: 0,
                wait_unknown: 0,
                wait: Durations::default(),
                service: Durations::default(),
                service_net: Durations::default(),
            })
        }))
    }

    /// All rows, by vector and then CPU; the table is empty afterwards.
    pub fn take(&mut self) -> Vec<SoftirqRow> {
        let mut rows: Vec<SoftirqRow> = self
            .0
            .iter_mut()
            .filter_map(Option::take)
            .map(|r| *r)
            .collect();
        let number = |name: &str| SOFTIRQ_VECTORS.iter().position(|v| *v == name);
        rows.sort_by_key(|row| (number(row.vector), row.cpu));
        rows
    }
}

/// Hardirq rows.
#[derive(Debug, Default)]
pub struct HardirqTable {
    index: FxHashMap<(u32, u32, u64), usize>,
    rows: Vec<HardirqRow>,
}

impl HardirqTable {
    /// The row of an interrupt's action on a CPU, or that CPU's overflow row; whether it is the latter.
    #[inline]
    pub fn row(
        &mut self,
        irq: Option<u32>,
        name_id: u64,
        cpu: u32,
        limit: usize,
        names: &mut Resolver,
    ) -> (&mut HardirqRow, bool) {
        // No interrupt has this number: NR_IRQS is far below.
        const OVERFLOW: u32 = u32::MAX;
        let key = (irq.unwrap_or(OVERFLOW), cpu, name_id);
        if let Some(&i) = self.index.get(&key) {
            return (&mut self.rows[i], irq.is_none());
        }
        let (key, irq) = if self.rows.len() < limit {
            (key, irq)
        } else {
            ((OVERFLOW, cpu, 0), None)
        };
        let next = self.rows.len();
        let i = *self.index.entry(key).or_insert(next);
        if i == next {
            self.rows.push(HardirqRow {
                irq,
                name: if irq.is_some() {
                    names.name(name_id)
                } else {
                    Arc::from("")
                },
                cpu,
                count: 0,
                unhandled: 0,
                woke_thread: 0,
                service: Durations::default(),
            });
        }
        (&mut self.rows[i], irq.is_none())
    }

    /// All rows, by interrupt, name and CPU; the table is empty afterwards.
    pub fn take(&mut self) -> Vec<HardirqRow> {
        self.index.clear();
        let mut rows = std::mem::take(&mut self.rows);
        rows.sort_by(|a, b| (a.irq, &a.name, a.cpu).cmp(&(b.irq, &b.name, b.cpu)));
        rows
    }
}

/// Workqueue rows.
#[derive(Debug, Default)]
pub struct WorkqueueTable {
    index: FxHashMap<(u64, u64), usize>,
    by_name: FxHashMap<(Arc<str>, Arc<str>), usize>,
    rows: Vec<WorkqueueRow>,
}

impl WorkqueueTable {
    /// The row of a workqueue and a function, or the overflow row; whether it is the latter. Two keys of
    /// the same names share a row: kernels from 7.0 on have two workqueues called "events".
    #[inline]
    pub fn row(
        &mut self,
        key: Option<(u64, u64)>,
        limit: usize,
        names: &mut Resolver,
    ) -> (&mut WorkqueueRow, bool) {
        if let Some(key) = key
            && let Some(&i) = self.index.get(&key)
        {
            let row = &mut self.rows[i];
            let overflow = row.overflow;
            return (row, overflow);
        }
        let named = key.map(|(id, function)| (names.name(id), names.function(function)));
        let known = named.as_ref().is_some_and(|n| self.by_name.contains_key(n));
        // One more than the limit: the overflow row itself.
        let named = if known || self.by_name.len() < limit {
            named
        } else {
            None
        };
        let overflow = named.is_none();
        let (workqueue, function) = named.unwrap_or_else(|| (Arc::from(""), Arc::from("")));
        let next = self.rows.len();
        let i = *self
            .by_name
            .entry((Arc::clone(&workqueue), Arc::clone(&function)))
            .or_insert(next);
        if i == next {
            self.rows.push(WorkqueueRow {
                workqueue,
                function,
                overflow,
                count: 0,
                wait_unknown: 0,
                remote: 0,
                wait: Durations::default(),
                activate: Durations::default(),
                service: Durations::default(),
            });
        }
        // Keys that went to the overflow row are not remembered: they would be unbounded.
        if let (Some(key), false) = (key, overflow) {
            self.index.insert(key, i);
        }
        (&mut self.rows[i], overflow)
    }

    /// Forgets which row a function's address belongs to: after a module event.
    pub fn forget_functions(&mut self) {
        self.index.clear();
    }

    /// All rows; the table is empty afterwards.
    pub fn take(&mut self) -> Vec<WorkqueueRow> {
        self.index.clear();
        self.by_name.clear();
        std::mem::take(&mut self.rows)
    }
}

/// Adds spilled durations: each bucket at its midpoint, count, sum and maximum exact.
pub fn add_spilled(durations: &mut Durations, spilled: &SpilledDurations) {
    for &(bucket, count) in &spilled.buckets {
        let ns = kctx_common::bucket::midpoint_ns(usize::from(bucket));
        durations.record_bucket(ns.min(spilled.max_ns), u64::from(count));
    }
    durations.add_exact(spilled.sum_ns, spilled.max_ns);
}
