//! Ten hours of a busy host whose processes, threads, works and devices come and go: memory stays flat.

use std::process::Command;

use anyhow::{Context as _, Result};
use kctx::{aggregate::table::RowLimits, pipeline::Pipeline, resolve::Resolver};
use kctx_common::record::{context, origin};
use kctx_tests::stream::{
    Names, START_NS, batch, counted, hardirq, kthread, napi, raised_by, softirq, start, tasklet,
    window_end, work,
};

use crate::SECOND;

/// A second each.
const WINDOWS: u64 = 36_000;
/// By then everything that is kept has its size.
const WARM: u64 = 12_000;
const CPUS: u32 = 4;

/// Pages of this process that are in memory (/proc/self/statm).
fn resident_bytes() -> Result<u64> {
    let text = std::fs::read_to_string("/proc/self/statm")?;
    let pages = text.split_whitespace().nth(1).context("a second number")?;
    Ok(pages.parse::<u64>()? * 4096)
}

/// What one second brings: each has raisers, threads, functions and devices that the one before had not.
fn second(pipeline: &mut Pipeline, n: u64) -> bool {
    let new = |i: u64| (n * 7 + i) as u32;
    for cpu in 0..CPUS {
        let at = START_NS + n * SECOND + u64::from(cpu);
        let runs: Vec<_> = (0..8)
            .map(|i| {
                raised_by(
                    softirq(3, at, Some(i), 1000 + i),
                    context::TASK,
                    (origin::TASK, new(i)),
                )
            })
            .collect();
        pipeline.take(&batch(cpu, &runs));
        let works: Vec<_> = (0..8)
            .map(|i| {
                work(
                    n * 3 + i,
                    0xffff_8000_0000_0000 + (n * 5 + i) * 16,
                    at,
                    10,
                    20 + i,
                )
            })
            .collect();
        pipeline.take(&batch(cpu, &works));
        let threads: Vec<_> = (0..4)
            .map(|i| kthread(new(i), &format!("kworker/{:x}", new(i)), at, 5, 100))
            .collect();
        pipeline.take(&batch(cpu, &threads));
        pipeline.take(&batch(cpu, &[hardirq(new(0) % 4096, n, 1, at, 50)]));
        pipeline.take(&batch(cpu, &[napi(n, new(0), at, 64, 900)]));
        pipeline.take(&batch(
            cpu,
            &[tasklet(0xffff_9000_0000_0000 + n * 16, at, 10, 0)],
        ));
    }
    pipeline.take(&counted([0; 4]));
    let window = pipeline.take(&window_end((n + 1) * SECOND));
    drop(pipeline.take_learnt());
    window.is_some_and(|window| !window.softirq.is_empty() && !window.kthread.is_empty())
}

#[test]
#[ignore = "a process of its own: ten_hours_of_a_busy_host_leave_memory_flat runs it"]
fn alone() -> Result<()> {
    let names = Names::new(&[], &[&[]]);
    let mut pipeline = Pipeline::new(RowLimits::default(), Resolver::new(Box::new(names)));
    pipeline.take(&start());
    let mut warm = 0;
    for n in 0..WINDOWS {
        assert!(second(&mut pipeline, n), "no window");
        if n % 6_000 == 0 {
            println!("{n}: {} KiB", resident_bytes()? >> 10);
        }
        if n == WARM {
            warm = resident_bytes()?;
        }
    }
    let end = resident_bytes()?;
    println!(
        "{} KiB after {WARM} windows, {} KiB after {WINDOWS}",
        warm >> 10,
        end >> 10
    );
    assert!(end <= warm + (4 << 20), "{warm} bytes grew to {end}");
    Ok(())
}

#[test]
fn ten_hours_of_a_busy_host_leave_memory_flat() -> Result<()> {
    let ended = Command::new(std::env::current_exe()?)
        .args(["--exact", "endurance::alone", "--ignored", "--nocapture"])
        .output()?;
    let text = String::from_utf8_lossy(&ended.stdout);
    println!("{text}{}", String::from_utf8_lossy(&ended.stderr));
    assert!(
        ended.status.success() && text.contains("1 passed"),
        "{text}"
    );
    Ok(())
}
