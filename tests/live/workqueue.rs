//! Works of known number: a pseudoterminal's, one for each byte that it carries; and the kernel's own, one
//! for each CPU.

use std::time::Duration;

use anyhow::{Context as _, Result};
use kctx::report::summary::WorkqueueSummary;
use kctx_tests::{
    bundle::Bundle,
    kernel,
    load::{self, Pty},
    netns,
    trace::{self, Trace},
};

use crate::{alone, capture_during, in_vm, without_btf, witness};

fn row<'a>(bundle: &'a Bundle, function: &str) -> Result<&'a WorkqueueSummary> {
    let mut rows = (bundle.summary.workqueue.iter()).filter(|row| row.function == function);
    let row = rows
        .next()
        .with_context(|| format!("no row of {function}"))?;
    assert!(rows.next().is_none(), "two rows of {function}");
    Ok(row)
}

/// The workqueue's name is read from its struct, which without BTF nobody knows.
fn named(name: &str) -> &str {
    if without_btf() { "?" } else { name }
}

#[test]
fn known_works_are_counted_by_name() -> Result<()> {
    const BYTES: u32 = 1500;
    let _alone = alone();
    let mut pty = Pty::open()?;
    let bundle = capture_during(|| pty.carry(BYTES))?;
    let row = row(&bundle, "flush_to_ldisc")?;
    assert_eq!(row.workqueue, named("events_unbound"));
    let bytes = u64::from(BYTES);
    // A work that still runs may carry the next byte too; and other terminals may be in use.
    let least = bytes * 3 / 4;
    assert!((least..bytes + 300).contains(&row.count), "{row:?}");
    assert_eq!(row.service.count, row.count);
    assert_eq!(row.wait.count + row.wait_unknown, row.count);
    assert!(
        row.wait.count >= least && row.activate.count >= least,
        "{row:?}"
    );
    assert!(row.service.p50_ns > 0 && row.wait.p50_ns > 0, "{row:?}");
    assert!(row.activate.sum_ns <= row.wait.sum_ns, "{row:?}");
    // The threads that worked for it say so.
    let workers: u64 = (bundle.summary.kthread.iter())
        .filter(|thread| thread.role == "kworker" && thread.workqueue == "events_unbound")
        .map(|thread| thread.count)
        .sum();
    assert!(without_btf() || workers > 0, "{:?}", bundle.summary.kthread);
    // One byte after the other: together they cannot take longer than the window.
    let window = bundle.summary.window.duration_ns;
    assert!(row.wait.sum_ns + row.service.sum_ns < 2 * window, "{row:?}");
    Ok(())
}

/// Reading this has each CPU run one work, queued by the reader (mm/vmstat.c, `vmstat_refresh`).
const REFRESH: &str = "/proc/sys/vm/stat_refresh";

#[test]
fn a_work_that_runs_on_another_cpu_is_paired_with_its_queueing() -> Result<()> {
    const READS: u64 = 100;
    let _alone = alone();
    let cpus = kernel::online_cpus()?;
    let bundle = capture_during(|| {
        let (first, last) = (cpus[0], cpus[cpus.len() - 1]);
        for cpu in [first, last] {
            let reader = std::thread::spawn(move || -> Result<()> {
                load::pin(cpu)?;
                for _ in 0..READS {
                    std::fs::read(REFRESH)?;
                }
                Ok(())
            });
            (reader.join()).map_err(|_| anyhow::anyhow!("the reader panicked"))??;
        }
        Ok(())
    })?;
    let row = row(&bundle, "refresh_vm_stats")?;
    assert_eq!(row.workqueue, named("events"));
    // Exactly: nobody else reads it.
    let others = cpus.len() as u64 - 1;
    assert_eq!(row.count, 2 * READS * (others + 1), "{row:?}");
    assert_eq!(row.remote, 2 * READS * others, "{row:?}");
    assert_eq!(
        (row.wait_unknown, row.wait.count),
        (0, row.count),
        "{row:?}"
    );
    Ok(())
}

/// A network namespace is taken apart by a work that waits for RCU several times (net/core/net_namespace.c,
/// `cleanup_net`): it takes long, and is on a CPU for next to nothing of it.
#[test]
fn what_a_work_sleeps_is_not_its_time_on_cpu() -> Result<()> {
    let _alone = alone();
    let trace = Trace::start(&[
        "workqueue/workqueue_execute_end",
        "sched/sched_switch",
        "workqueue/workqueue_execute_start",
    ])?;
    let bundle = capture_during(|| {
        for _ in 0..5 {
            let inside = std::thread::spawn(netns::enter);
            (inside.join()).map_err(|_| anyhow::anyhow!("the thread panicked"))??;
        }
        std::thread::sleep(Duration::from_secs(if in_vm() { 5 } else { 1 }));
        Ok(())
    })?;
    let theirs = trace::works(&trace.stop()?, &witness::window(&bundle));
    let theirs = theirs
        .get("cleanup_net")
        .context("the trace has no cleanup_net")?;
    let row = row(&bundle, "cleanup_net")?;
    println!("{row:?} {theirs:?}");
    assert_eq!(row.count, theirs.runs, "{row:?} {theirs:?}");
    assert!(
        witness::is_near(row.service.sum_ns, theirs.service_ns, theirs.runs),
        "{row:?} {theirs:?}"
    );
    assert!(
        theirs.on_cpu_ns < theirs.service_ns / 2,
        "it hardly slept: {theirs:?}"
    );
    if without_btf() {
        return Ok(());
    }
    assert_eq!(row.service_net.count, row.count, "{row:?}");
    // Interrupts and softirqs that fell into it are taken out; and the trace leaves out a stretch whose beginning it
    // was not told of (from idle, on this 6.18: up to a fifth of the whole). What it slept is thirty times as much.
    let net_ns = row.service_net.sum_ns;
    assert!(
        net_ns >= theirs.on_cpu_ns / 2 && net_ns <= 2 * theirs.on_cpu_ns,
        "{row:?} {theirs:?}"
    );
    Ok(())
}
