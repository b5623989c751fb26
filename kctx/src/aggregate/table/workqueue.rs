//! Workqueue rows.

use std::sync::Arc;

use rustc_hash::FxHashMap;

use super::{
    Tally,
    index::{Hint, Index},
    origins::Origins,
};
use crate::{
    aggregate::{
        duration::Durations,
        origin::unseen,
        window::{Origin, OriginKind, UNKNOWN, WORK_ORIGINS, WorkqueueRow},
    },
    resolve::Resolver,
};

/// The workqueue's name id, and the function's address.
type Key = (u64, u64);

impl Hint for Key {
    #[inline]
    fn hint(&self) -> u64 {
        self.0 ^ self.1
    }
}

/// A row of the open window.
#[derive(Debug)]
pub struct WorkqueueOpen {
    /// What it will be, but for origins and durations.
    pub row: WorkqueueRow,
    /// [`WorkqueueRow::queued_by`]
    pub queued_by: Origins,
    /// Queueing to start.
    pub wait: Tally,
    /// Queueing to activation.
    pub activate: Tally,
    /// Start to end.
    pub service: Tally,
    /// Of that, the time on the CPU.
    pub service_net: Tally,
}

impl WorkqueueOpen {
    fn close(mut self, names: &mut Resolver) -> WorkqueueRow {
        WorkqueueRow {
            queued_by: few(self.queued_by.take(names).collect()),
            wait: self.wait.close(),
            activate: self.activate.close(),
            service: self.service.close(),
            service_net: self.service_net.close(),
            ..self.row
        }
    }
}

/// Workqueue rows.
#[derive(Debug, Default)]
pub struct WorkqueueTable {
    index: Index<Key>,
    by_name: FxHashMap<(Arc<str>, Arc<str>), usize>,
    rows: Vec<WorkqueueOpen>,
}

impl WorkqueueTable {
    /// The row of a workqueue and a function, or the overflow row; whether it is the latter. Two keys of
    /// the same names share a row: kernels from 7.0 on have two workqueues called "events".
    #[inline]
    pub fn row(
        &mut self,
        key: Option<Key>,
        limit: usize,
        names: &mut Resolver,
    ) -> (&mut WorkqueueOpen, bool) {
        match key.and_then(|key| self.index.get(&key)) {
            Some(i) => {
                let row = &mut self.rows[i];
                let overflow = row.row.overflow;
                (row, overflow)
            }
            None => self.new_row(key, limit, names),
        }
    }

    #[cold]
    fn new_row(
        &mut self,
        key: Option<Key>,
        limit: usize,
        names: &mut Resolver,
    ) -> (&mut WorkqueueOpen, bool) {
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
            self.rows.push(WorkqueueOpen {
                row: WorkqueueRow {
                    workqueue,
                    function,
                    overflow,
                    count: 0,
                    wait_unknown: 0,
                    remote: 0,
                    wait: Durations::default(),
                    activate: Durations::default(),
                    service: Durations::default(),
                    service_net: Durations::default(),
                    bh: 0,
                    queued_by: Vec::new(),
                },
                queued_by: Origins::default(),
                wait: Tally::default(),
                activate: Tally::default(),
                service: Tally::default(),
                service_net: Tally::default(),
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
    pub fn take(&mut self, names: &mut Resolver) -> Vec<WorkqueueRow> {
        self.index.clear();
        self.by_name.clear();
        let rows = self.rows.drain(..);
        rows.map(|row| row.close(names)).collect()
    }
}

/// The most frequent first, and no more than [`WORK_ORIGINS`]: tasks of one comm become one before anything is counted as unknown.
fn few(mut origins: Vec<(Origin, u64)>) -> Vec<(Origin, u64)> {
    if origins.len() > WORK_ORIGINS {
        origins = with_tasks_by_comm(origins);
    }
    let by_count = |a: &(Origin, u64), b: &(Origin, u64)| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0));
    if origins.len() > WORK_ORIGINS {
        let is_known = |(origin, _): &(Origin, u64)| origin.kind != OriginKind::Unknown;
        // What is unknown comes last here, and takes the others' counts in.
        origins.sort_by(|a, b| is_known(b).cmp(&is_known(a)).then_with(|| by_count(a, b)));
        let rest = origins.split_off(WORK_ORIGINS - 1);
        let count = rest
            .iter()
            .fold(0, |sum: u64, (_, n)| sum.saturating_add(*n));
        origins.push((unseen(), count));
    }
    origins.sort_by(by_count);
    origins
}

/// Makes one origin of tasks that have the same comm.
fn with_tasks_by_comm(origins: Vec<(Origin, u64)>) -> Vec<(Origin, u64)> {
    let mut joined: Vec<(Origin, u64)> = Vec::new();
    for (origin, n) in origins {
        let is_task = origin.kind == OriginKind::Task && *origin.name != *UNKNOWN;
        let is_same =
            |other: &Origin| is_task && other.kind == origin.kind && other.name == origin.name;
        match joined.iter_mut().find(|(other, _)| is_same(other)) {
            Some((other, count)) => {
                other.number = None;
                *count = count.saturating_add(n);
            }
            None => joined.push((origin, n)),
        }
    }
    joined
}
