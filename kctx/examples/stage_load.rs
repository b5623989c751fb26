//! One stage of the records' way through userspace, so often, and what a record costs there: the median of the
//! rounds, in this thread's time on the CPU. The stages are those of `cargo bench -p kctx`.
//!
//! `cargo run --release --example stage_load -- STAGE [BUNDLE|network] [CPUS] [ROUNDS] [RING_KIB]`
//!
//! What it does is in one function that is never inlined, for callgrind's eyes: docs/overhead.md has the command.

#[path = "../benches/stages/clock.rs"]
mod clock;
#[path = "../benches/stages/load.rs"]
mod load;
#[path = "../benches/stages/network.rs"]
mod network;
#[path = "../benches/stages/rings.rs"]
mod rings;
#[path = "../benches/stages/stage.rs"]
mod stage;

use std::path::Path;

use anyhow::Context as _;

use self::{
    load::Load,
    stage::{Round, Stage},
};

/// As the drain wants to find the fullest ring.
const RING_KIB: usize = 256;

fn main() -> anyhow::Result<()> {
    let mut args = std::env::args().skip(1);
    let names = || Stage::ALL.map(Stage::name).join(", ");
    let name = args
        .next()
        .with_context(|| format!("which stage? {}", names()))?;
    let input = args.next().unwrap_or_else(|| "network".to_owned());
    let cpus: u32 = args.next().map_or(Ok(2), |n| n.parse())?;
    let rounds: usize = args.next().map_or(Ok(100), |n| n.parse())?;
    let ring_bytes = args.next().map_or(Ok(RING_KIB), |n| n.parse())? << 10;
    let stages = (Stage::ALL.into_iter()).filter(|s| name == "all" || s.name() == name);
    let stages: Vec<_> = stages.collect();
    if stages.is_empty() {
        anyhow::bail!("there is no stage {name}; there are {}", names());
    }
    let load = match input.as_str() {
        "network" => Load::network(cpus, ring_bytes),
        bundle => Load::of_bundle(Path::new(bundle), cpus, ring_bytes)?,
    };
    for stage in stages {
        let mut round = stage.prepare(&load)?;
        let mut ns: Vec<f64> = (0..rounds.max(1)).map(|_| timed(&mut round)).collect();
        ns.sort_by(f64::total_cmp);
        println!(
            "{:<19} {:8.2} ns a {} (median of {} rounds of {})",
            stage.name(),
            ns[ns.len() / 2],
            round.unit,
            ns.len(),
            round.units
        );
    }
    Ok(())
}

fn timed(round: &mut Round) -> f64 {
    if let Some(before) = &mut round.before {
        before();
    }
    let start = clock::now();
    stage_round(&mut round.once);
    (clock::now() - start).as_nanos() as f64 / round.units as f64
}

/// What callgrind is to count.
#[inline(never)]
fn stage_round(once: &mut dyn FnMut()) {
    once();
    // So that it is no jump into what it calls.
    std::hint::black_box(());
}
