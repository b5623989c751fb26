//! Who started what: loads whose raisers and queuers are known.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use kctx::{
    aggregate::window::OriginKind,
    report::summary::{OriginSummary, Summary},
};
use kctx_tests::{kernel, left_out::left_out, load};

use crate::{Output, alone, capture, capture_during, in_vm, two_cpus, without_btf};

/// Runs of a vector on a CPU by what raised them.
fn raised(summary: &Summary, vector: &str, cpu: Option<u32>) -> Vec<(OriginSummary, u64)> {
    (summary.softirq_origin.iter())
        .filter(|row| row.vector == vector && cpu.is_none_or(|cpu| row.cpu == cpu))
        .map(|row| (row.origin.clone(), row.count))
        .collect()
}

fn share(rows: &[(OriginSummary, u64)], of: impl Fn(&OriginSummary) -> bool) -> f64 {
    let all: u64 = rows.iter().map(|(_, count)| count).sum();
    let those: u64 = rows
        .iter()
        .filter(|(origin, _)| of(origin))
        .map(|(_, count)| count)
        .sum();
    those as f64 / (all.max(1)) as f64
}

/// Runs by where they ran.
fn contexts(summary: &Summary, vector: &str, cpu: Option<u32>) -> BTreeMap<String, u64> {
    let mut contexts = BTreeMap::new();
    for row in &summary.softirq {
        if row.vector == vector && cpu.is_none_or(|cpu| row.cpu == cpu) {
            *contexts.entry(row.context.clone()).or_default() += row.count;
        }
    }
    contexts
}

#[test]
fn every_run_has_one_raiser_and_one_place() -> Result<()> {
    let _alone = alone();
    let udp = load::udp()?;
    for rings in ["4KiB", "16MiB"] {
        let summary = capture("1s", &["--ring-size", rings])?.summary;
        let mut by_vector: BTreeMap<(String, u32), (u64, u64)> = BTreeMap::new();
        for row in &summary.softirq {
            by_vector
                .entry((row.vector.clone(), row.cpu))
                .or_default()
                .0 += row.count;
        }
        for row in &summary.softirq_origin {
            by_vector
                .entry((row.vector.clone(), row.cpu))
                .or_default()
                .1 += row.count;
        }
        for (key, (runs, raised)) in by_vector {
            assert_eq!(runs, raised, "{key:?} with rings of {rings}");
        }
    }
    drop(udp);
    Ok(())
}

#[test]
fn loopback_is_raised_and_run_by_the_sender() -> Result<()> {
    let _alone = alone();
    let udp = load::udp()?;
    let summary = capture("1s", &[])?.summary;
    drop(udp);
    let raised = raised(&summary, "NET_RX", None);
    println!("{raised:?} {:?}", contexts(&summary, "NET_RX", None));
    let me = |origin: &OriginSummary| {
        origin.kind == OriginKind::Task
            && origin.number == Some(std::process::id())
            && origin.name == "load"
    };
    assert!(share(&raised, me) > 0.9, "{raised:?}");
    let contexts = contexts(&summary, "NET_RX", None);
    let all: u64 = contexts.values().sum();
    let task = contexts.get("task").copied().unwrap_or(0);
    // On PREEMPT_RT too: the task that raised it runs it when it enables bottom halves.
    assert!(task as f64 > 0.9 * all as f64, "{contexts:?}");
    Ok(())
}

#[test]
fn timers_are_raised_by_the_timer_interrupt() -> Result<()> {
    let _alone = alone();
    if !cfg!(target_arch = "x86_64") {
        left_out("the local timer has no vector of its own here");
        return Ok(());
    }
    let summary = capture("2s", &[])?.summary;
    let raised = raised(&summary, "TIMER", None);
    let timer = |origin: &OriginSummary| origin.kind == OriginKind::Vector && origin.name == "LOC";
    assert!(
        raised.iter().map(|(_, count)| count).sum::<u64>() > 5,
        "{raised:?}"
    );
    // The others: a virtual machine's first CPU may have a timer with a number.
    let any = |origin: &OriginSummary| timer(origin) || origin.kind == OriginKind::Irq;
    assert!(share(&raised, any) > 0.9, "{raised:?}");
    // What a timer does is done by its softirq: to queue a delayed work (mm/vmstat.c has one every second).
    let by_timer = (summary.workqueue.iter())
        .flat_map(|row| &row.queued_by)
        .any(|by| by.origin.kind == OriginKind::Softirq && by.origin.name == "TIMER");
    assert!(
        by_timer || in_vm(),
        "no work was queued by TIMER: {:?}",
        summary.workqueue
    );
    let contexts = contexts(&summary, "TIMER", None);
    let all: u64 = contexts.values().sum();
    let of = |context: &str| contexts.get(context).copied().unwrap_or(0);
    assert!(of("unknown") * 20 <= all, "{contexts:?}");
    // At that interrupt's tail, or where the kernel has such threads in ktimers. An emulated interrupt, or one that wakes a
    // CPU whose caches are cold, may take longer on its way out than is taken for a tail: then it is in what it interrupted.
    assert!(of("irq_tail") + of("ktimers") > 0, "{contexts:?}");
    let expected = of("irq_tail") + of("ktimers") + of("ksoftirqd") + of("idle");
    assert!(in_vm() || expected * 10 >= all * 7, "{contexts:?}");
    Ok(())
}

/// Receive packet steering: one CPU sends, another receives, and what raises there is the interrupt that the
/// sender caused. (A CPU that idles would look for such work itself; this one is busy.)
#[test]
fn steered_packets_are_raised_by_the_call_of_another_cpu() -> Result<()> {
    let _alone = alone();
    let Some((to, from)) = two_cpus()? else {
        return Ok(());
    };
    if !std::path::Path::new("/sys/class/net/lo/queues/rx-0/rps_cpus").exists() {
        left_out("this kernel has no CONFIG_RPS");
        return Ok(());
    }
    let busy = load::spinner(to)?;
    let udp = load::steered_udp(from, to, std::time::Duration::from_micros(50))?;
    let summary = capture("2s", &[])?.summary;
    assert!(udp.rounds() > 50, "the load did not run");
    drop(udp);
    drop(busy);
    let in_thread: u64 = (summary.napi.iter())
        .filter(|row| row.cpu == to && row.context == "napi_thread")
        .map(|row| row.count)
        .sum();
    if in_thread > 50 {
        println!("polled {in_thread} times by a thread of its own, as on PREEMPT_RT: no softirq");
        return Ok(());
    }
    let raised = raised(&summary, "NET_RX", Some(to));
    println!("{raised:?} {:?}", contexts(&summary, "NET_RX", Some(to)));
    assert!(
        raised.iter().map(|(_, count)| count).sum::<u64>() > 50,
        "{raised:?}"
    );
    let called = |origin: &OriginSummary| origin.kind == OriginKind::Vector && origin.name == "CAL";
    assert!(share(&raised, called) > 0.8, "{raised:?}");
    Ok(())
}

#[test]
fn block_completions_are_raised_by_the_disks_interrupt() -> Result<()> {
    let _alone = alone();
    let folder = std::env::temp_dir();
    if in_vm() || !load::has_block_device(&folder)? {
        left_out(format!("{} is on no block device", folder.display()));
        return Ok(());
    }
    let disk = load::disk(&folder)?;
    let summary = capture("2s", &[])?.summary;
    assert!(disk.rounds() > 10, "the disk is too slow for a load");
    let raised = raised(&summary, "BLOCK", None);
    println!("{raised:?}");
    if raised.is_empty() {
        println!("this disk completes in its interrupt, without a softirq");
        return Ok(());
    }
    // A completion on the wrong CPU is sent on, to be raised by the call there.
    let interrupt = |origin: &OriginSummary| {
        matches!(
            origin.kind,
            OriginKind::Irq | OriginKind::Vector | OriginKind::Idle
        )
    };
    assert!(share(&raised, interrupt) > 0.9, "{raised:?}");
    let named = raised.iter().any(|(origin, _)| {
        origin.kind == OriginKind::Irq && !origin.name.is_empty() && origin.name != "?"
    });
    assert!(
        share(&raised, |origin| origin.kind == OriginKind::Irq) > 0.2,
        "next to none by the disk's own interrupt: {raised:?}"
    );
    assert!(
        named || without_btf(),
        "no interrupt has a name: {raised:?}"
    );
    Ok(())
}

#[test]
fn works_say_who_queued_them() -> Result<()> {
    const READS: u64 = 50;
    let _alone = alone();
    let bundle = capture_during(|| {
        for _ in 0..READS {
            // Each CPU runs one work, queued by the reader (mm/vmstat.c, `vmstat_refresh`).
            std::fs::read("/proc/sys/vm/stat_refresh")?;
        }
        Ok(())
    })?;
    let row = (bundle.summary.workqueue.iter())
        .find(|row| row.function == "refresh_vm_stats")
        .context("no row of refresh_vm_stats")?;
    println!("{row:?}");
    let mine: u64 = (row.queued_by.iter())
        .filter(|by| by.origin.kind == OriginKind::Task)
        .filter(|by| by.origin.number == Some(std::process::id()))
        .map(|by| by.count)
        .sum();
    assert_eq!(mine, row.count, "{row:?}");
    if !without_btf() {
        // A worker whose switch was not seen has none, as may be the first on each CPU.
        let cpus = kernel::online_cpus()?.len() as u64;
        assert!(row.service_net.count + cpus / 2 >= row.count, "{row:?}");
        assert!(row.service_net.sum_ns <= row.service.sum_ns, "{row:?}");
    }
    Ok(())
}

/// Packets by CPU, summed: the first column of /proc/net/softnet_stat, in hexadecimal.
fn processed(text: &str) -> u64 {
    text.lines()
        .filter_map(|line| u64::from_str_radix(line.split_whitespace().next()?, 16).ok())
        .sum()
}

#[test]
fn napi_polls_have_the_packets_that_the_kernel_counts() -> Result<()> {
    let _alone = alone();
    let udp = load::udp()?;
    let bundle = capture("2s", &[])?;
    drop(udp);
    let read = |phase: &str| -> Result<u64> {
        Ok(processed(bundle.text(&format!(
            "evidence/{phase}/proc/net/softnet_stat"
        ))?))
    };
    let counted = read("after")? - read("before")?;
    let rows = bundle.summary.napi.iter();
    let backlog: u64 = rows
        .filter(|row| row.device == "backlog" || without_btf())
        .map(|row| row.packets)
        .sum();
    println!(
        "the kernel processed {counted}, kctx saw {backlog} in {:?}",
        bundle.summary.napi.len()
    );
    assert!(backlog > 100, "the load is not there");
    let slack = if in_vm() { 600 } else { 12 };
    assert!(
        backlog.abs_diff(counted) <= slack + counted / 200 * if in_vm() { 4 } else { 1 },
        "the kernel processed {counted}, kctx saw {backlog}"
    );
    let net_rx: u64 = (bundle.summary.softirq.iter())
        .filter(|row| row.vector == "NET_RX")
        .map(|row| row.service_net.sum_ns)
        .sum();
    let polls: u64 = bundle
        .summary
        .napi
        .iter()
        .map(|row| row.service.sum_ns)
        .sum();
    assert!(
        polls > 0 && polls <= net_rx + net_rx / 50,
        "polls {polls} of NET_RX {net_rx}"
    );
    Ok(())
}

/// A tracepoint that is left out is: softirqs are counted and timed, and nobody knows what they waited for.
#[test]
fn without_the_raise_softirqs_have_no_wait_and_no_raiser() -> Result<()> {
    let _alone = alone();
    let output = Output::new()?;
    let config = output.path().with_file_name("kctx.toml");
    std::fs::write(
        &config,
        "[probes]\nfamilies = [\"softirq\"]\nwithout = [\"irq:softirq_raise\"]\n",
    )?;
    let udp = load::udp()?;
    let bundle = capture("1s", &["--config", &config.to_string_lossy()])?;
    drop(udp);
    let summary = bundle.summary;
    let raise = (summary.probes.iter()).find(|probe| probe.name == "irq:softirq_raise");
    let raise = raise.context("no softirq_raise among the probes")?;
    assert!(!raise.attached, "{raise:?}");
    let net_rx: Vec<_> = (summary.softirq.iter())
        .filter(|row| row.vector == "NET_RX")
        .collect();
    let count: u64 = net_rx.iter().map(|row| row.count).sum();
    assert!(count > 100, "{net_rx:?}");
    for row in &summary.softirq {
        assert_eq!(
            (row.wait_unknown, row.wait.count),
            (row.count, 0),
            "{row:?}"
        );
        assert_eq!(row.service.count, row.count, "{row:?}");
    }
    for row in &summary.softirq_origin {
        assert_eq!(row.origin.kind, OriginKind::Unknown, "{row:?}");
    }
    Ok(())
}
