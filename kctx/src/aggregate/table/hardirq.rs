//! Hardirq rows: interrupt handlers, and vectors that have no interrupt number.

use std::sync::Arc;

use kctx_common::record::vector_class;

use super::{
    MAX_CPUS, Tally,
    index::{Hint, Index},
};
use crate::{
    aggregate::{duration::Durations, window::HardirqRow},
    resolve::{Resolver, VECTOR_CLASSES},
};

/// No interrupt has this number: NR_IRQS is far below.
const OVERFLOW: u32 = u32::MAX;

/// Interrupt, CPU and the action's name id.
type Key = (u32, u32, u64);

impl Hint for Key {
    #[inline]
    fn hint(&self) -> u64 {
        u64::from(self.0) ^ self.2
    }
}

/// A row of the open window.
#[derive(Debug)]
pub struct HardirqOpen {
    /// What it will be, but for durations.
    pub row: HardirqRow,
    /// Time in the handler.
    pub service: Tally,
}

impl HardirqOpen {
    fn close(self) -> HardirqRow {
        HardirqRow {
            service: self.service.close(),
            ..self.row
        }
    }
}

/// Hardirq rows.
#[derive(Debug, Default)]
pub struct HardirqTable {
    index: Index<Key>,
    rows: Vec<HardirqOpen>,
    /// Vectors, found by CPU and class without hashing: the local timer's is the most frequent of all.
    vectors: Vec<Option<Box<HardirqOpen>>>,
}

fn row(irq: Option<u32>, name: Arc<str>, overflow: bool, cpu: u32) -> HardirqOpen {
    HardirqOpen {
        row: HardirqRow {
            irq,
            name,
            overflow,
            cpu,
            count: 0,
            unhandled: 0,
            woke_thread: 0,
            service: Durations::default(),
        },
        service: Tally::default(),
    }
}

#[cold]
fn new_vector(name: &str, cpu: u32) -> Option<Box<HardirqOpen>> {
    Some(Box::new(row(None, Arc::from(name), false, cpu)))
}

impl HardirqTable {
    /// The row of an interrupt's action on a CPU, or that CPU's overflow row (which `None` asks for);
    /// whether it is the latter.
    #[inline]
    pub fn row(
        &mut self,
        irq: Option<u32>,
        name_id: u64,
        cpu: u32,
        limit: usize,
        names: &mut Resolver,
    ) -> (&mut HardirqOpen, bool) {
        let key = match irq {
            Some(irq) if irq != OVERFLOW => (irq, cpu, name_id),
            _ => (OVERFLOW, cpu, 0),
        };
        match self.index.get(&key) {
            Some(i) => {
                let row = &mut self.rows[i];
                let overflow = row.row.overflow;
                (row, overflow)
            }
            None => self.new_row(key, limit, names),
        }
    }

    /// A row for a key that has none; for one that is over the limit, its CPU's overflow row.
    #[cold]
    fn new_row(
        &mut self,
        key: Key,
        limit: usize,
        names: &mut Resolver,
    ) -> (&mut HardirqOpen, bool) {
        let (irq, cpu, name_id) = key;
        let key = if key.0 != OVERFLOW && self.rows.len() < limit {
            key
        } else {
            (OVERFLOW, cpu, 0)
        };
        let overflow = key.0 == OVERFLOW;
        let i = self.index.get(&key).unwrap_or(self.rows.len());
        if i == self.rows.len() {
            self.index.insert(key, i);
            self.rows.push(if overflow {
                row(None, Arc::from(""), true, cpu)
            } else {
                row(Some(irq), names.name(name_id), false, cpu)
            });
        }
        (&mut self.rows[i], overflow)
    }

    /// The row of a vector on a CPU; `None` where there can be no such class or CPU.
    #[inline]
    pub fn vector(&mut self, class: u32, cpu: u32) -> Option<&mut HardirqOpen> {
        let name = VECTOR_CLASSES.get(class as usize)?;
        if cpu >= MAX_CPUS {
            return None;
        }
        let index = cpu as usize * vector_class::COUNT + class as usize;
        if index >= self.vectors.len() {
            self.vectors.resize_with(index + 1, || None);
        }
        let place = &mut self.vectors[index];
        if place.is_none() {
            *place = new_vector(name, cpu);
        }
        place.as_deref_mut()
    }

    /// All rows, by interrupt, name and CPU; vectors and then the overflow rows last. The table is empty
    /// afterwards.
    pub fn take(&mut self) -> Vec<HardirqRow> {
        self.index.clear();
        let vectors = self.vectors.iter_mut().filter_map(Option::take);
        let open = self.rows.drain(..).chain(vectors.map(|row| *row));
        let mut rows: Vec<_> = open.map(HardirqOpen::close).collect();
        rows.sort_by(|a, b| {
            let numbered = |row: &HardirqRow| (row.overflow, row.irq.is_none(), row.irq);
            (numbered(a), &a.name, a.cpu).cmp(&(numbered(b), &b.name, b.cpu))
        });
        rows
    }
}
