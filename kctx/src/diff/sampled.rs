//! A bundle cut into slots: what each row did in each.

use std::{collections::BTreeMap, path::Path};

use kctx_common::bucket;
use rustc_hash::FxHashMap;

use super::{
    About, Figure, Incomplete,
    key::{Execution, Key, Kind, rows_of},
};
use crate::{
    aggregate::window::Family,
    capture::{
        bundle::{BundleError, Incident, ReadLimits},
        evidence_set::EvidenceSet,
    },
    formats::{Line, Naming},
    report::summary::Summary,
    source::recorded::{RecordedSource, ReplayError},
};

/// Slots of a window: enough for a rank test to survive thousands of looks.
pub const SLOTS: usize = 20;

/// Rows of a bundle, but for raisers; more are counted.
const ROWS: usize = 1024;

/// Raisers of a bundle that are told apart: they are many, and must not cost the others their place.
const RAISERS: usize = 512;

/// A quantile of fewer values in a slot is mostly chance.
const LEAST_IN_SLOT: u64 = 20;

/// A slot shorter than this says more of the scheduler's ticks than of the load.
const SHORTEST_SLOT_NS: u64 = 25_000_000;

/// Of each family so much must be in records.
const LEAST_SHARE: f64 = 0.99;

/// Why a bundle cannot be compared.
#[derive(Debug, thiserror::Error)]
pub enum SideError {
    /// The bundle.
    #[error(transparent)]
    Bundle(#[from] BundleError),
    /// Its records.
    #[error(transparent)]
    Replay(#[from] ReplayError),
    /// A pipe can be read once.
    #[error("it is no file that can be read twice; write it to one first")]
    NoFile,
    /// Without it nobody knows what is missing.
    #[error(
        "it has no summary that this kctx reads, so how long it measured is not known; capture again, or see kctx report"
    )]
    NoSummary,
}

/// What a row did in a slot, or in all.
#[derive(Clone, Debug, Default)]
struct Slot {
    count: u64,
    busy_ns: u64,
    waited_ns: u64,
    wait: Buckets,
    service: Buckets,
}

/// A histogram in the buckets of the kernel's spill: 4 %.
#[derive(Clone, Debug, Default)]
struct Buckets {
    counts: Vec<u32>,
    total: u64,
}

impl Buckets {
    fn add(&mut self, ns: u64) {
        let index = bucket::index(ns);
        if self.counts.len() <= index {
            self.counts.resize(index + 1, 0);
        }
        self.counts[index] = self.counts[index].saturating_add(1);
        self.total += 1;
    }

    fn merge(&mut self, other: &Self) {
        if self.counts.len() < other.counts.len() {
            self.counts.resize(other.counts.len(), 0);
        }
        for (sum, n) in self.counts.iter_mut().zip(&other.counts) {
            *sum = sum.saturating_add(*n);
        }
        self.total += other.total;
    }

    fn quantile(&self, quantile: f64) -> Option<f64> {
        let rank = (self.total as f64 * quantile).ceil().max(1.0) as u64;
        let mut seen = 0;
        for (index, &count) in self.counts.iter().enumerate() {
            seen += u64::from(count);
            if seen >= rank {
                return Some(bucket::midpoint_ns(index) as f64);
            }
        }
        None
    }
}

/// A row by slots.
#[derive(Clone, Debug, Default)]
pub(super) struct Row {
    slots: Vec<Slot>,
}

impl Row {
    fn add(&mut self, slot: usize, execution: Execution) {
        if self.slots.is_empty() {
            self.slots.resize_with(SLOTS, Slot::default);
        }
        let slot = &mut self.slots[slot];
        slot.count += 1;
        slot.busy_ns = slot.busy_ns.saturating_add(execution.busy_ns);
        if let Some(ns) = execution.wait_ns {
            slot.waited_ns = slot.waited_ns.saturating_add(ns);
            slot.wait.add(ns);
        }
        if let Some(ns) = execution.service_ns {
            slot.service.add(ns);
        }
    }

    pub(super) fn count(&self) -> u64 {
        self.slots.iter().map(|slot| slot.count).sum()
    }

    fn whole(&self) -> Slot {
        let mut whole = Slot::default();
        for slot in &self.slots {
            whole.count += slot.count;
            whole.busy_ns = whole.busy_ns.saturating_add(slot.busy_ns);
            whole.waited_ns = whole.waited_ns.saturating_add(slot.waited_ns);
            whole.wait.merge(&slot.wait);
            whole.service.merge(&slot.service);
        }
        whole
    }
}

/// One of two bundles.
pub struct Side {
    pub(super) incident: Incident,
    pub(super) summary: Summary,
    start_ns: u64,
    rows: FxHashMap<Key, Row>,
    /// How many of them are raisers.
    raisers: usize,
    records: u64,
    of_family: BTreeMap<Family, u64>,
    rows_left_out: u64,
}

impl Side {
    /// Reads a bundle twice: for its summary and evidence, then for its records.
    pub fn read(path: &Path) -> Result<Self, SideError> {
        if std::fs::metadata(path).is_ok_and(|it| !it.is_file() && !it.is_dir()) {
            return Err(SideError::NoFile);
        }
        let incident = Incident::read(path, ReadLimits::default())?;
        let summary = incident.summary.clone().ok_or(SideError::NoSummary)?;
        let mut side = Self::new(incident, summary);
        let mut source = RecordedSource::open(path)?;
        let mut naming = Naming::default();
        while let Some(item) = source.next_item()? {
            // Nothing is written: no error can come of it.
            let _ = naming.take(&item, &mut |line| {
                side.line(line);
                Ok(())
            });
        }
        Ok(side)
    }

    /// The evidence in it.
    #[must_use]
    pub fn evidence(&self) -> &EvidenceSet {
        &self.incident.evidence
    }

    /// One without records yet.
    pub(super) fn new(incident: Incident, summary: Summary) -> Self {
        Self {
            incident,
            summary,
            start_ns: 0,
            rows: FxHashMap::default(),
            raisers: 0,
            records: 0,
            of_family: BTreeMap::new(),
            rows_left_out: 0,
        }
    }

    /// Takes a piece of the stream.
    pub(super) fn line(&mut self, line: &Line) {
        if let Line::Start { monotonic_ns, .. } = line {
            self.start_ns = *monotonic_ns;
        }
        let mut counted = false;
        rows_of(line, &mut |key, execution| {
            if !counted {
                counted = true;
                self.records += 1;
                *self.of_family.entry(key.kind.family()).or_default() += 1;
            }
            let slot = self.slot_of(execution.end_ns);
            if let Some(row) = self.rows.get_mut(&key) {
                return row.add(slot, execution);
            }
            let is_raiser = key.kind == Kind::Raiser;
            let key = match is_raiser && self.raisers >= RAISERS {
                true => key.of_other_raisers(),
                false => key,
            };
            if !is_raiser && self.rows.len() - self.raisers >= ROWS {
                self.rows_left_out += 1;
                return;
            }
            let known = self.rows.len();
            self.rows.entry(key).or_default().add(slot, execution);
            if is_raiser {
                self.raisers += self.rows.len() - known;
            }
        });
    }

    fn duration_ns(&self) -> u64 {
        self.summary.window.duration_ns.max(1)
    }

    fn slot_of(&self, end_ns: u64) -> usize {
        let after_ns = u128::from(end_ns.saturating_sub(self.start_ns));
        let slot = after_ns * SLOTS as u128 / u128::from(self.duration_ns());
        // The last records end just after the window does.
        (slot as usize).min(SLOTS - 1)
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = &Key> {
        self.rows.keys()
    }

    pub(super) fn row(&self, key: &Key) -> Option<&Row> {
        self.rows.get(key)
    }

    /// Why a kind's records are not all there.
    pub(super) fn incomplete(&self, kind: Kind) -> Option<String> {
        self.family_incomplete(kind.family())
    }

    fn family_incomplete(&self, family: Family) -> Option<String> {
        let counts = self.summary.accounting.by_family.get(&family)?;
        let read = self.of_family.get(&family).copied().unwrap_or(0);
        let enough = read as f64 >= counts.observed as f64 * LEAST_SHARE;
        (!enough).then(|| {
            format!(
                "only {read} of {} {} executions have a record",
                counts.observed,
                family.as_str()
            )
        })
    }

    /// A row that is not there may have been one too many.
    pub(super) fn may_lack(&self, key: &Key) -> bool {
        self.row(key).is_none() && self.rows_left_out > 0
    }

    pub(super) fn too_short(&self) -> Option<String> {
        let slot_ns = self.duration_ns() / SLOTS as u64;
        (slot_ns < SHORTEST_SLOT_NS).then(|| {
            format!(
                "a window is too short; capture {} ms or more",
                SHORTEST_SLOT_NS * SLOTS as u64 / 1_000_000
            )
        })
    }

    pub(super) fn about(&self) -> About {
        let incomplete = Family::ALL
            .into_iter()
            .filter(|family| !matches!(family, Family::Module | Family::Stack));
        let incomplete = incomplete.filter_map(|family| {
            let reason = self.family_incomplete(family)?;
            Some(Incomplete { family, reason })
        });
        About {
            hostname: self.summary.host.hostname.clone(),
            kernel_release: self.summary.host.kernel_release.clone(),
            window: self.summary.window,
            records: self.records,
            rows_left_out: self.rows_left_out,
            incomplete: incomplete.collect(),
        }
    }

    /// A figure over the whole window.
    pub(super) fn whole(&self, row: &Row, figure: Figure) -> Option<f64> {
        value(&row.whole(), figure, self.duration_ns() as f64, 1)
    }

    /// A figure by slots: those in which it has a value.
    pub(super) fn slots(&self, row: &Row, figure: Figure) -> Vec<f64> {
        let slot_ns = self.duration_ns() as f64 / SLOTS as f64;
        let empty = Slot::default();
        let slots = (0..SLOTS).map(|nth| row.slots.get(nth).unwrap_or(&empty));
        let values = slots.filter_map(|slot| value(slot, figure, slot_ns, LEAST_IN_SLOT));
        values.collect()
    }

    /// Time on the CPU, in CPUs.
    pub(super) fn busy_share(&self, row: &Row) -> f64 {
        row.whole().busy_ns as f64 / self.duration_ns() as f64
    }

    /// Time waited by all of them, per time.
    pub(super) fn waited_share(&self, row: &Row) -> f64 {
        row.whole().waited_ns as f64 / self.duration_ns() as f64
    }
}

fn value(slot: &Slot, figure: Figure, slot_ns: f64, least: u64) -> Option<f64> {
    let quantile = |of: &Buckets, quantile| (of.total >= least).then(|| of.quantile(quantile))?;
    match figure {
        Figure::Rate => Some(slot.count as f64 * 1e9 / slot_ns),
        Figure::Cpu => Some(slot.busy_ns as f64 / slot_ns),
        Figure::WaitP50 => quantile(&slot.wait, 0.5),
        Figure::WaitP99 => quantile(&slot.wait, 0.99),
        Figure::ServiceP50 => quantile(&slot.service, 0.5),
        Figure::ServiceP99 => quantile(&slot.service, 0.99),
    }
}
