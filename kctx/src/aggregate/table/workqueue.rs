//! Workqueue rows.

use std::sync::Arc;

use rustc_hash::FxHashMap;

use super::{
    Tally,
    index::{Hint, Index},
};
use crate::{
    aggregate::{
        duration::Durations,
        origin::{KEY_UNKNOWN, key, kind_of, of_comm, of_key},
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
    /// What it will be, but for durations.
    pub row: WorkqueueRow,
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
    fn close(self) -> WorkqueueRow {
        let mut row = self.row;
        row.queued_by
            .sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        WorkqueueRow {
            wait: self.wait.close(),
            activate: self.activate.close(),
            service: self.service.close(),
            service_net: self.service_net.close(),
            ..row
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
    pub fn take(&mut self) -> Vec<WorkqueueRow> {
        self.index.clear();
        self.by_name.clear();
        self.rows.drain(..).map(WorkqueueOpen::close).collect()
    }
}

/// Counts `n` queueings. A row has few origins, so the list is gone through. Where it is full, tasks of one comm become
/// one; its last place is kept for what found none.
#[inline]
pub fn add_queued_by(row: &mut WorkqueueRow, kind: u8, number: u32, n: u64, names: &mut Resolver) {
    if n == 0 {
        return;
    }
    let wanted = match kind_of(kind) {
        kind @ (OriginKind::Unknown | OriginKind::Idle) => (kind, None),
        kind => (kind, Some(number)),
    };
    let mut origins = row.queued_by.iter_mut();
    // Tasks of one comm have no number, and are never what is wanted here.
    match origins.find(|(o, _)| (o.kind, o.number) == wanted) {
        Some((_, count)) => *count = count.saturating_add(n),
        None => add_new_queued_by(&mut row.queued_by, kind, number, n, names),
    }
}

/// Whether an origin is all tasks of a comm.
fn is_of_comm(origin: &Origin) -> bool {
    origin.kind == OriginKind::Task && origin.number.is_none()
}

#[cold]
#[inline(never)]
fn add_new_queued_by(
    origins: &mut Vec<(Origin, u64)>,
    kind: u8,
    number: u32,
    n: u64,
    names: &mut Resolver,
) {
    let origin = of_key(key(kind, number), names);
    if origin.kind == OriginKind::Unknown || !is_full(origins) {
        // Of a comm whose tasks are one already it is one more.
        match origins
            .iter_mut()
            .find(|(o, _)| is_of_comm(o) && is_one_of(&origin, o))
        {
            Some((_, count)) => *count = count.saturating_add(n),
            None => origins.push((origin, n)),
        }
        return;
    }
    join(origins, &origin);
    let of_comm = (origins.iter_mut()).find(|(o, _)| is_of_comm(o) && is_one_of(&origin, o));
    if let Some((_, count)) = of_comm {
        *count = count.saturating_add(n);
    } else if !is_full(origins) {
        origins.push((origin, n));
    } else if let Some((_, count)) =
        (origins.iter_mut()).find(|(o, _)| o.kind == OriginKind::Unknown)
    {
        *count = count.saturating_add(n);
    } else {
        origins.push((of_key(KEY_UNKNOWN, names), n));
    }
}

/// Whether only what is unknown has a place yet.
fn is_full(origins: &[(Origin, u64)]) -> bool {
    let has_unknown = (origins.iter()).any(|(o, _)| o.kind == OriginKind::Unknown);
    origins.len() >= WORK_ORIGINS - usize::from(!has_unknown)
}

/// Whether a task has the comm of another, or of others.
fn is_one_of(task: &Origin, others: &Origin) -> bool {
    let is_task = |origin: &Origin| origin.kind == OriginKind::Task;
    is_task(task) && is_task(others) && *task.name != *UNKNOWN && task.name == others.name
}

/// Makes one origin of those that have a task's comm; where there are none, of the first two or more that share one.
fn join(origins: &mut Vec<(Origin, u64)>, task: &Origin) {
    let with = |origin: &Origin| {
        (origins.iter())
            .filter(|(o, _)| is_one_of(origin, o))
            .count()
    };
    let shared = match with(task) {
        0 => origins
            .iter()
            .find(|(o, _)| with(o) > 1)
            .map(|(o, _)| o.clone()),
        _ => Some(task.clone()),
    };
    let Some(shared) = shared else {
        return;
    };
    let mut sum = 0_u64;
    origins.retain(|(o, n)| {
        let joins = is_one_of(&shared, o);
        sum = sum.saturating_add(if joins { *n } else { 0 });
        !joins
    });
    origins.push((of_comm(shared.name), sum));
}
