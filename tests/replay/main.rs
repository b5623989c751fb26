//! Recorded and hand-made streams through the pipeline: exact expectations, no privileges.

mod boundaries;
mod contexts;
mod damaged;
mod diagnosed;
mod diff;
mod endurance;
mod exported;
mod families;
mod formats;
mod governor;
mod names;
mod narrowed;
mod own_cost;
mod page;
mod sample;
mod spill;
mod streams;
mod threads;

use std::path::PathBuf;

use anyhow::Result;
use kctx::{
    aggregate::{table::RowLimits, window::OriginKind},
    report::summary::{OriginSummary, Summary},
    source::Item,
};
use kctx_tests::stream::{self, Names, counted, start, window_end};

/// Nanoseconds.
pub(crate) const SECOND: u64 = 1_000_000_000;

/// The summaries of a stream, which must not depend on whether it was recorded.
pub(crate) fn summaries(items: &[Item], names: &Names) -> Result<Vec<Summary>> {
    let live = stream::live(items, names, RowLimits::default());
    let recorded = stream::recorded(items, names, RowLimits::default())?;
    assert_eq!(live, recorded);
    Ok(live)
}

/// The summary of one window with these items in it.
pub(crate) fn one_window(mut items: Vec<Item>, names: &Names) -> Result<Summary> {
    items.insert(0, start());
    items.extend([counted([0; 4]), window_end(SECOND)]);
    let mut all = summaries(&items, names)?;
    assert_eq!(all.len(), 1);
    Ok(all.remove(0))
}

/// An origin, to compare with.
pub(crate) fn origin_of(origin: &OriginSummary) -> (OriginKind, Option<u32>, &str) {
    (origin.kind, origin.number, origin.name.as_str())
}

/// The bundle that kctx captured under a load of datagrams on loopback and of writes to a disk.
fn sample_path() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("data/sample.kctx.tar.zst")
}
