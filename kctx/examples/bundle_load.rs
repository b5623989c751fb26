//! A bundle as large as one likes, of a hand-made network load: what `bundle_read` reads.
//!
//! `cargo run --release --example bundle_load -- FILE [RECORDS] [CPUS]`

#[allow(dead_code)] // the stages' load, of which this needs the half
#[path = "../benches/stages/load.rs"]
mod load;
#[allow(dead_code)] // likewise
#[path = "../benches/stages/network.rs"]
mod network;

use std::path::Path;

use anyhow::Context as _;
use bytes::Bytes;
use kctx::{
    aggregate::window::{FAMILIES, FamilyAccounting},
    capture::{bundle::WriteLimits, recorder::Recorder},
    host::HostIdentity,
    report::summary::Summary,
    source::{Control, Item},
};

use self::{load::Lane, network::Host};

/// A batch, as the drain takes it out of a ring under load.
const BATCH_BYTES: usize = 256 << 10;

/// When the stream begins, by `CLOCK_MONOTONIC`.
const START_NS: u64 = 1_000_000_000;

/// The wall clock then.
const START_UNIX_NS: u64 = 1_700_000_000_000_000_000;

/// More than any bundle that one makes here.
const LIMITS: WriteLimits = WriteLimits {
    max_bytes: 64 << 30,
};

fn main() -> anyhow::Result<()> {
    let mut args = std::env::args().skip(1);
    let output = args.next().context("which file?")?;
    let records: u64 = args.next().map_or(Ok(100_000_000), |n| n.parse())?;
    let cpus: u32 = args.next().map_or(Ok(2), |n| n.parse())?;
    anyhow::ensure!(cpus > 0, "a machine has a CPU");
    let mut recorder = Recorder::create(Path::new(&output), LIMITS)?;
    let start = Control::Start {
        monotonic_ns: START_NS,
        unix_ns: START_UNIX_NS,
        probes: Vec::new(),
        host: Box::new(HostIdentity {
            cpus_online: cpus,
            ..HostIdentity::default()
        }),
    };
    recorder.item(&[], &Item::Control(Box::new(start)))?;
    let names = network::names(cpus);
    let mut hosts: Vec<Host> = (0..cpus).map(Host::new).collect();
    let (mut written, mut learnt) = (0, names.as_slice());
    while written < records {
        for (cpu, host) in (0..).zip(&mut hosts) {
            let mut lane = Lane::new(BATCH_BYTES);
            while !lane.is_full() {
                host.happens(&mut lane);
            }
            let (batch, in_batch) = lane.finish();
            let batch = Bytes::from(batch);
            recorder.item(learnt, &Item::Records { cpu, batch })?;
            learnt = &[];
            written += in_batch;
        }
    }
    let took_ns = hosts.iter().map(Host::now_ns).max().unwrap_or(START_NS) - START_NS;
    let families: [FamilyAccounting; FAMILIES] = std::array::from_fn(|_| Default::default());
    for control in [
        Control::Counted(Box::new(families)),
        Control::WindowEnd {
            monotonic_ns: START_NS + took_ns,
            unix_ns: START_UNIX_NS + took_ns,
            taint: None,
        },
    ] {
        recorder.item(&[], &Item::Control(Box::new(control)))?;
    }
    let bundle = recorder.finish(
        &Summary::from_window(
            &kctx::aggregate::window::Window::default(),
            HostIdentity::default(),
            None,
        ),
        false,
    )?;
    println!(
        "{written} records, {} bytes, {:.2} a record",
        bundle.bytes,
        bundle.bytes as f64 / written as f64
    );
    Ok(())
}
