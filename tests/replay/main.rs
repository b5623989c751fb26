//! Recorded and hand-made streams through the pipeline: exact expectations, no privileges.

mod boundaries;
mod contexts;
mod damaged;
mod endurance;
mod families;
mod names;
mod sample;
mod spill;
mod streams;
mod threads;

use std::path::PathBuf;

/// The bundle that kctx captured under a load of datagrams on loopback and of writes to a disk.
fn sample_path() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("data/sample.kctx.tar.zst")
}
