//! Tasklet rows.

use std::sync::Arc;

use rustc_hash::FxHashMap;

use super::{
    ServedTally,
    index::{Hint, Index},
};
use crate::{
    aggregate::{duration::Durations, window::TaskletRow},
    resolve::Resolver,
};

/// A function's address.
impl Hint for u64 {
    #[inline]
    fn hint(&self) -> u64 {
        *self
    }
}

/// A row of the open window.
#[derive(Debug)]
pub struct TaskletOpen {
    /// What it will be, but for durations.
    pub row: TaskletRow,
    /// Entry to exit, with and without what fell into it.
    pub service: ServedTally,
}

impl TaskletOpen {
    fn close(self) -> TaskletRow {
        let (service, service_net) = self.service.close();
        TaskletRow {
            service,
            service_net,
            ..self.row
        }
    }
}

/// Tasklet rows.
#[derive(Debug, Default)]
pub struct TaskletTable {
    index: Index<u64>,
    by_name: FxHashMap<Arc<str>, usize>,
    rows: Vec<TaskletOpen>,
}

impl TaskletTable {
    /// The row of a function, or the overflow row (which `None` asks for); whether it is the latter.
    #[inline]
    pub fn row(
        &mut self,
        function: Option<u64>,
        limit: usize,
        names: &mut Resolver,
    ) -> (&mut TaskletOpen, bool) {
        match function.and_then(|function| self.index.get(&function)) {
            Some(i) => (&mut self.rows[i], false),
            None => self.new_row(function, limit, names),
        }
    }

    #[cold]
    fn new_row(
        &mut self,
        function: Option<u64>,
        limit: usize,
        names: &mut Resolver,
    ) -> (&mut TaskletOpen, bool) {
        let named = function.map(|address| names.function(address));
        let known = named.as_ref().is_some_and(|n| self.by_name.contains_key(n));
        // The overflow row comes on top of the limit.
        let named = named.filter(|_| known || self.by_name.len() < limit);
        let overflow = named.is_none();
        let name = named.unwrap_or_else(|| Arc::from(""));
        let next = self.rows.len();
        let i = *self.by_name.entry(Arc::clone(&name)).or_insert(next);
        if i == next {
            self.rows.push(TaskletOpen {
                row: TaskletRow {
                    function: name,
                    overflow,
                    count: 0,
                    service: Durations::default(),
                    service_net: Durations::default(),
                },
                service: ServedTally::default(),
            });
        }
        // Functions that went to the overflow row are not remembered: they would be unbounded.
        if let (Some(function), false) = (function, overflow) {
            self.index.insert(function, i);
        }
        (&mut self.rows[i], overflow)
    }

    /// Forgets which row a function's address belongs to: after a module event.
    pub fn forget_functions(&mut self) {
        self.index.clear();
    }

    /// All rows; the table is empty afterwards.
    pub fn take(&mut self) -> Vec<TaskletRow> {
        self.index.clear();
        self.by_name.clear();
        self.rows.drain(..).map(TaskletOpen::close).collect()
    }
}
