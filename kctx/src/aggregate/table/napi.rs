//! NAPI rows.

use std::sync::Arc;

use kctx_common::record::context;
use rustc_hash::FxHashMap;

use super::{
    Tally,
    index::{Hint, Index},
    softirq::context_name,
};
use crate::{
    aggregate::{duration::Durations, window::NapiRow},
    resolve::Resolver,
};

/// The device of a NAPI that has none: a CPU's backlog queue.
pub const BACKLOG: &str = "backlog";

/// Which NAPI, polled where.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct NapiKey {
    /// The device's name id; 0 for none.
    pub name_id: u64,
    /// `napi_struct::napi_id`
    pub napi_id: u32,
    /// CPU that polled.
    pub cpu: u32,
    /// [`context`]
    pub context: u8,
}

impl Hint for NapiKey {
    #[inline]
    fn hint(&self) -> u64 {
        self.name_id ^ u64::from(self.napi_id) << 8 ^ u64::from(self.context)
    }
}

/// A row of the open window.
#[derive(Debug)]
pub struct NapiOpen {
    /// What it will be, but for durations.
    pub row: NapiRow,
    /// Time of a poll.
    pub service: Tally,
}

impl NapiOpen {
    fn close(self) -> NapiRow {
        NapiRow {
            service: self.service.close(),
            ..self.row
        }
    }
}

impl From<NapiRow> for NapiOpen {
    fn from(row: NapiRow) -> Self {
        let service = Tally::default();
        Self { row, service }
    }
}

/// NAPI rows.
#[derive(Debug, Default)]
pub struct NapiTable {
    index: Index<NapiKey>,
    overflow: FxHashMap<u32, usize>,
    rows: Vec<NapiOpen>,
}

impl NapiTable {
    /// The row of a NAPI, or its CPU's overflow row; whether it is the latter.
    #[inline]
    pub fn row(
        &mut self,
        key: NapiKey,
        limit: usize,
        names: &mut Resolver,
    ) -> (&mut NapiOpen, bool) {
        match self.index.get(&key) {
            Some(i) => (&mut self.rows[i], false),
            None => self.new_row(key, limit, names),
        }
    }

    #[cold]
    fn new_row(
        &mut self,
        key: NapiKey,
        limit: usize,
        names: &mut Resolver,
    ) -> (&mut NapiOpen, bool) {
        if self.index.len() >= limit {
            return (self.overflow(key.cpu), true);
        }
        let device = match key.name_id {
            0 => Arc::from(BACKLOG),
            id => names.name(id),
        };
        let row = NapiRow {
            napi_id: key.napi_id,
            context: context_name(key.context),
            ..empty(device, key.cpu)
        };
        let i = self.rows.len();
        self.index.insert(key, i);
        self.rows.push(row.into());
        (&mut self.rows[i], false)
    }

    /// The row of what a CPU polled beyond the limit.
    pub fn overflow(&mut self, cpu: u32) -> &mut NapiOpen {
        let next = self.rows.len();
        let i = *self.overflow.entry(cpu).or_insert(next);
        if i == next {
            let row = NapiRow {
                overflow: true,
                ..empty(Arc::from(""), cpu)
            };
            self.rows.push(row.into());
        }
        &mut self.rows[i]
    }

    /// All rows; the table is empty afterwards.
    pub fn take(&mut self) -> Vec<NapiRow> {
        self.index.clear();
        self.overflow.clear();
        self.rows.drain(..).map(NapiOpen::close).collect()
    }
}

fn empty(device: Arc<str>, cpu: u32) -> NapiRow {
    NapiRow {
        device,
        napi_id: 0,
        cpu,
        context: context_name(context::UNKNOWN),
        overflow: false,
        count: 0,
        exhausted: 0,
        packets: 0,
        packets_max: 0,
        service: Durations::default(),
    }
}
