//! What a record costs that is read from a bundle, by stage: this thread's time on the CPU, and the memory that it took.
//!
//! `cargo run --release --example bundle_read -- FILE [read|decode|aggregate]...`: unpacked and checked; decoded too;
//! aggregated too. Without a stage, all three. `bundle_load` makes a file.

#[path = "../benches/stages/clock.rs"]
mod clock;

use std::path::Path;

use anyhow::{Context as _, bail};
use kctx::{
    aggregate::table::RowLimits,
    capture::bundle::{BundleReader, EVENTS, ReadLimits, Step},
    decode,
    pipeline::Pipeline,
    resolve::{Recorded, Resolver},
    source::{Item, recorded::RecordedSource},
};

fn main() -> anyhow::Result<()> {
    let mut args = std::env::args().skip(1);
    let path = args.next().context("which bundle?")?;
    let path = Path::new(&path);
    let mut stages: Vec<String> = args.collect();
    if stages.is_empty() {
        stages = ["read", "decode", "aggregate"].map(str::to_owned).to_vec();
    }
    for stage in stages {
        let start = clock::now();
        let (units, unit) = match stage.as_str() {
            "read" => (read(path)?, "byte"),
            "decode" => (decoded(path)?, "record"),
            "aggregate" => (aggregated(path)?, "record"),
            other => bail!("there is no stage {other}; there are read, decode, aggregate"),
        };
        let took = clock::now() - start;
        println!(
            "{stage:<10} {:7.3} ns a {unit} ({units} in {:.2} s of CPU), {} KiB at most",
            took.as_nanos() as f64 / units as f64,
            took.as_secs_f64(),
            peak_kib()?
        );
    }
    Ok(())
}

/// Bytes of segments.
fn read(path: &Path) -> anyhow::Result<u64> {
    let mut reader = BundleReader::open(path, ReadLimits::default())?;
    let mut bytes = 0;
    while let Step::Member(member) = reader.step()? {
        if member.path.starts_with(EVENTS) {
            bytes += member.bytes.len() as u64;
        }
    }
    Ok(bytes)
}

fn decoded(path: &Path) -> anyhow::Result<u64> {
    let mut source = RecordedSource::open(path)?;
    let mut records = 0;
    while let Some(item) = source.next_item()? {
        if let Item::Records { batch, .. } = item {
            records += decode::entries(&batch).count() as u64;
        }
    }
    Ok(records)
}

fn aggregated(path: &Path) -> anyhow::Result<u64> {
    let mut source = RecordedSource::open(path)?;
    let resolver = Resolver::new(Box::new(Recorded));
    let mut pipeline = Pipeline::new(RowLimits::default(), resolver);
    while let Some(item) = source.next_item()? {
        std::hint::black_box(pipeline.take(&item));
    }
    Ok(pipeline.aggregator().received().iter().sum())
}

/// `VmHWM` of /proc/self/status.
fn peak_kib() -> anyhow::Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let number = line.and_then(|rest| rest.split_whitespace().next());
    Ok(number.context("no VmHWM in /proc/self/status")?.parse()?)
}
