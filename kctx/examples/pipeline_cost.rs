//! What the stages after the drain cost for each record, over a bundle's records held in memory:
//! decode alone; decode and aggregate; recording. Medians over rounds.
//!
//! `cargo run --release --example pipeline_cost -- tests/data/sample.kctx.tar.zst`

use std::{path::Path, time::Instant};

use kctx::{
    aggregate::table::RowLimits,
    capture::events::Encoder,
    decode,
    pipeline::Pipeline,
    resolve::{Recorded, Resolver},
    source::{Item, recorded::RecordedSource},
};

fn main() -> anyhow::Result<()> {
    let Some(bundle) = std::env::args().nth(1) else {
        anyhow::bail!("give a bundle");
    };
    let mut source = RecordedSource::open(Path::new(&bundle))?;
    let mut items = Vec::new();
    while let Some(item) = source.next_item()? {
        items.push(item);
    }
    let batches = || {
        items.iter().filter_map(|item| match item {
            Item::Records { cpu, batch } => Some((*cpu, batch)),
            Item::Control(_) => None,
        })
    };
    let records: usize = batches().map(|(_, b)| decode::records(b).count()).sum();
    let median = |what: &str, mut once: Box<dyn FnMut() + '_>| {
        let mut ns: Vec<f64> = (0..15)
            .map(|_| {
                let start = Instant::now();
                once();
                start.elapsed().as_nanos() as f64 / records as f64
            })
            .collect();
        ns.sort_by(f64::total_cmp);
        println!(
            "{what:<22} {:6.1} ns a record (median of 15 over {records} records)",
            ns[7]
        );
    };
    median(
        "decode",
        Box::new(|| {
            for (_, batch) in batches() {
                std::hint::black_box(decode::records(batch).map(std::hint::black_box).count());
            }
        }),
    );
    median(
        "decode and aggregate",
        Box::new(|| {
            let resolver = Resolver::new(Box::new(Recorded));
            let mut pipeline = Pipeline::new(RowLimits::default(), resolver);
            for item in &items {
                std::hint::black_box(pipeline.take(item));
            }
        }),
    );
    median(
        "encode for a bundle",
        Box::new(|| {
            let mut encoder = Encoder::default();
            for (cpu, batch) in batches() {
                encoder.records(cpu, batch);
                if encoder.len() > 1 << 20 {
                    std::hint::black_box(encoder.finish());
                }
            }
        }),
    );
    Ok(())
}
