//! What a record costs in userspace, by stage: `cargo bench -p kctx`. What criterion calls the throughput is the
//! nanoseconds a record, or a row where the stage is one of windows. docs/overhead.md has what came out.

mod clock;
mod cpu_time;
mod load;
mod network;
mod rings;
mod stage;

use std::{path::Path, time::Duration};

use criterion::{BenchmarkId, Criterion, Throughput};

use self::{cpu_time::CpuTime, load::Load, stage::Stage};

/// A ring of the default size.
const RING_BYTES: usize = 1 << 20;
/// As full as the drain wants to find the fullest.
const MANY_RINGS_BYTES: usize = RING_BYTES / 4;
const MANY_CPUS: u32 = 256;

fn main() -> anyhow::Result<()> {
    let mut criterion = Criterion::default()
        .with_measurement(CpuTime)
        .sample_size(20)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(2))
        .configure_from_args();
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data/sample.kctx.tar.zst");
    let loads = [
        ("sample_2_cpus", Load::of_bundle(&sample, 2, RING_BYTES)?),
        ("network_2_cpus", Load::network(2, RING_BYTES)),
        (
            "network_256_cpus",
            Load::network(MANY_CPUS, MANY_RINGS_BYTES),
        ),
    ];
    for stage in Stage::ALL {
        let mut group = criterion.benchmark_group(stage.name());
        for (name, load) in &loads {
            let mut round = stage.prepare(load)?;
            group.throughput(Throughput::Elements(round.units));
            group.bench_function(BenchmarkId::new(*name, round.unit), |bencher| {
                bencher.iter_custom(|times| {
                    let mut took = Duration::ZERO;
                    for _ in 0..times {
                        if let Some(before) = &mut round.before {
                            before();
                        }
                        let start = clock::now();
                        (round.once)();
                        took += clock::now() - start;
                    }
                    took
                });
            });
        }
        group.finish();
    }
    criterion.final_summary();
    Ok(())
}
