//! What kctx says that it costs, against what the kernel says.

use std::{ffi::CStr, fs, time::Duration};

use anyhow::{Context as _, Result};
use kctx_tests::{
    empty_program::EmptyProgram,
    kernel,
    left_out::left_out,
    load,
    program::{self, Ended, Running},
};
use rustix::process::Signal;
use serde_json::Value;

use crate::{Output, alone, capture, in_vm};

const IN_TIME: Duration = Duration::from_secs(60);

/// The kernel's own switch, which kctx leaves alone.
fn sysctl() -> Result<String> {
    Ok(fs::read_to_string("/proc/sys/kernel/bpf_stats_enabled")?)
}

/// The runs of all vectors on all CPUs, by the kernel's books.
fn softirqs() -> Result<u64> {
    let books = kernel::softirqs(&fs::read_to_string("/proc/softirqs")?)?;
    Ok(books.values().sum())
}

fn interrupted(estimate: Running) -> Result<Ended> {
    estimate.signal(Signal::INT)?;
    estimate.wait(IN_TIME)?.success()
}

#[test]
fn an_estimate_counts_the_runs_that_the_kernel_counts() -> Result<()> {
    let _alone = alone();
    let udp = load::udp()?;
    let mut estimate = Running::kctx(["doctor", "--estimate", "60s", "--format", "json"])?;
    estimate.wait_until_open()?;
    let before = softirqs()?;
    std::thread::sleep(Duration::from_secs(3));
    let counted = softirqs()? - before;
    let ended = interrupted(estimate)?;
    drop(udp);
    let estimate: Value = serde_json::from_str(&ended.stdout)?;
    // What the governor did, it said.
    let acted = ended.stderr.contains("governor:");
    assert_eq!(estimate["governor"]["acted"], acted, "{}", ended.stderr);
    let programs = &estimate["bpf"]["programs"];
    let programs = programs.as_array().context("a list of programs")?;
    let runs = |name: &str| -> u64 {
        let of = programs.iter().filter(|one| {
            one["program"]
                .as_str()
                .is_some_and(|is| is.starts_with(name))
        });
        of.map(|one| one["runs"].as_u64().unwrap_or(0)).sum()
    };
    let (raise, entry, exit) = (
        runs("softirq_raise"),
        runs("softirq_entry"),
        runs("softirq_exit"),
    );
    println!(
        "the kernel counts {counted} softirqs; runs: raise {raise}, entry {entry}, exit {exit}"
    );
    println!("{}", ended.stdout);
    // It was open a moment before the first look and until a moment after the second.
    let slack = if in_vm() { counted } else { counted / 5 + 1000 };
    // An emulated CPU may be stopped between the two books.
    let missing = counted / if in_vm() { 10 } else { 100 };
    for runs in [entry, exit] {
        assert!(runs + missing >= counted, "{runs} of {counted}");
        assert!(runs <= counted + slack, "{runs} of {counted}");
    }
    let slack = 64 + entry / if in_vm() { 20 } else { 100 };
    assert!(entry.abs_diff(exit) <= slack, "entry {entry}, exit {exit}");
    assert!(raise >= entry / 2 && raise <= entry * 4, "raise {raise}");
    let families = &estimate["bpf"]["families"];
    let families = families.as_array().context("a list of families")?;
    let softirq = families.iter().find(|one| one["family"] == "softirq");
    let softirq = softirq.context("softirqs")?;
    let observed = softirq["observed"].as_u64().context("a count")?;
    // What is counted and what was run are read one after the other.
    let slack = 64 + exit / if in_vm() { 4 } else { 100 };
    assert!(observed.abs_diff(exit) <= slack, "{observed} of {exit}");
    // The whole is its parts, and the busiest CPU's is a part of it.
    let sum: u64 = families
        .iter()
        .filter_map(|one| one["run_ns"].as_u64())
        .sum();
    let bpf = &estimate["bpf"];
    assert_eq!(bpf["known"], true);
    assert_eq!(bpf["total"]["run_ns"].as_u64(), Some(sum));
    let share = |value: &Value| value["cpu_share"].as_f64().unwrap_or(f64::NAN);
    let (all, busiest) = (share(&bpf["total"]), share(&bpf["busiest_cpu"]));
    assert!(all > 0.0 && busiest > 0.0 && busiest <= all, "{bpf}");
    let mean = softirq["mean_ns"].as_u64().unwrap_or(0);
    assert!((10..100_000).contains(&mean), "{mean} ns a run");
    assert!(share(&estimate["userspace"]) > 0.0);
    assert!(estimate["userspace"]["memory_bytes"].as_u64() > Some(1 << 20));
    assert!(estimate["rings"]["bytes_per_second"].as_f64() > Some(1000.0));
    assert_eq!(estimate["rings"]["lost"], 0);
    assert_eq!(estimate["interrupted"], true);
    Ok(())
}

/// Whether the kernel counts now, by whoever's wish.
fn counts_now(program: &EmptyProgram) -> Result<bool> {
    let before = program.counted()?;
    std::thread::sleep(Duration::from_millis(200));
    Ok(program.counted()? != before)
}

#[test]
fn an_estimate_leaves_nothing_behind() -> Result<()> {
    let _alone = alone();
    let witness = EmptyProgram::on(c"softirq_entry")?;
    if counts_now(&witness)? {
        left_out("somebody else has the kernel count the run time of programs");
        return Ok(());
    }
    let switch = sysctl()?;
    let mut estimate = Running::kctx(["doctor", "--estimate", "60s"])?;
    estimate.wait_until_open()?;
    let programs = kernel::programs_of(estimate.pid())?;
    assert!(programs.len() >= 9, "{programs:?}");
    assert!(kernel::holds_bpf_stats(estimate.pid())?);
    assert!(counts_now(&witness)?, "nobody counts");
    assert_eq!(sysctl()?, switch);
    let ended = interrupted(estimate)?;
    assert!(ended.stdout.contains("ended early"), "{}", ended.stdout);
    println!("{}", ended.stdout);
    for _ in 0..500 {
        if kernel::still_loaded(&programs)?.is_empty() {
            break;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    let left = kernel::still_loaded(&programs)?;
    assert!(left.is_empty(), "still loaded: {left:?}");
    assert!(!counts_now(&witness)?, "the kernel still counts");
    assert_eq!(sysctl()?, switch);
    Ok(())
}

#[test]
fn an_estimate_ends_by_itself() -> Result<()> {
    let _alone = alone();
    let ended = program::run(["doctor", "--estimate", "1s", "--format", "json"])?.success()?;
    let estimate: Value = serde_json::from_str(&ended.stdout)?;
    assert_eq!(estimate["schema"], "kctx.estimate.v1");
    assert_eq!(estimate["interrupted"], false);
    let duration = estimate["duration_ns"].as_u64().context("a duration")?;
    assert!((1_000_000_000..IN_TIME.as_nanos() as u64).contains(&duration));
    Ok(())
}

/// The share in a line's `kctx 12.34 %`, as a fraction.
fn share_in(line: &str) -> Option<f64> {
    let part = line
        .split(" | ")
        .find_map(|part| part.strip_prefix("kctx "))?;
    let percent: f64 = part.split(" %").next()?.parse().ok()?;
    Some(percent / 100.0)
}

#[test]
fn a_daemon_says_what_it_costs_and_lets_the_kernel_stop_counting() -> Result<()> {
    let _alone = alone();
    let output = Output::new()?;
    let config = output.path().with_file_name("kctx.toml");
    // Without a limit it costs something.
    fs::write(
        &config,
        "[governor]\ncpu_limit = 0\n[meter]\nsample = \"2s\"\n",
    )?;
    let udp = load::udp()?;
    let config = config.to_string_lossy();
    let mut run = Running::kctx(["run", "--config", &config, "--duration", "60s"])?;
    run.wait_until_open()?;
    assert!(kernel::holds_bpf_stats(run.pid())?);
    let started = std::time::Instant::now();
    let before = kernel::cpu_time_ns(run.pid())?;
    std::thread::sleep(Duration::from_secs(6));
    let used = kernel::cpu_time_ns(run.pid())? - before;
    let share = used as f64 / started.elapsed().as_nanos() as f64;
    assert!(!kernel::holds_bpf_stats(run.pid())?, "it still counts");
    let ended = interrupted(run)?;
    drop(udp);
    println!("{}", ended.stdout);
    let lines: Vec<&str> = ended.stdout.lines().collect();
    let said: Vec<f64> = lines.iter().filter_map(|line| share_in(line)).collect();
    assert_eq!(said.len(), lines.len(), "a line without it");
    // The last window is a short one.
    let (_, whole) = said.split_last().context("a window")?;
    let mean = whole.iter().sum::<f64>() / whole.len() as f64;
    println!("by the kernel {share:.4} of a CPU, by kctx {mean:.4}");
    assert!(
        (mean - share).abs() <= 0.01 + share * if in_vm() { 0.5 } else { 0.2 },
        "by the kernel {share}, by kctx {mean}"
    );
    // Counted at first, then scaled.
    let basis = |line: &&str| {
        line.contains(" in the kernel")
            .then(|| line.contains(" + ~"))
    };
    // An emulated machine's first window may take longer than the sample.
    let first = lines.first().and_then(basis);
    assert!(in_vm() || first == Some(false), "{}", lines[0]);
    let last = lines[lines.len() - 2];
    assert_eq!(basis(&last), Some(true), "{last}");
    Ok(())
}

/// What is scaled from a sample against what the kernel counts of the same programs meanwhile, at the same load.
#[test]
fn what_is_scaled_is_near_what_the_kernel_counts() -> Result<()> {
    let _alone = alone();
    let output = Output::new()?;
    let config = output.path().with_file_name("kctx.toml");
    fs::write(
        &config,
        "[governor]\ncpu_limit = 0\n[meter]\nsample = \"2s\"\n",
    )?;
    let udp = load::udp()?;
    let config = config.to_string_lossy();
    let mut run = Running::kctx(["run", "--config", &config, "--duration", "60s"])?;
    run.wait_until_open()?;
    std::thread::sleep(Duration::from_millis(3500));
    assert!(!kernel::holds_bpf_stats(run.pid())?);
    // From here on the test has it counted; kctx does not know.
    let held = aya::sys::enable_stats(aya::sys::Stats::RunTime)?;
    let programs = kernel::programs_of(run.pid())?;
    let before = kernel::run_time_ns(&programs)?;
    let started = std::time::Instant::now();
    std::thread::sleep(Duration::from_secs(4));
    let counted = kernel::run_time_ns(&programs)? - before;
    let share = counted as f64 / started.elapsed().as_nanos() as f64;
    drop(held);
    let ended = interrupted(run)?;
    drop(udp);
    println!("{}", ended.stdout);
    let kernel_share = |line: &str| -> Option<f64> {
        let (_, rest) = line.split_once(" + ~")?;
        let percent: f64 = rest.split(" %").next()?.parse().ok()?;
        Some(percent / 100.0)
    };
    // Whole windows that lie in the time in which the test had it counted.
    let lines: Vec<&str> = ended.stdout.lines().collect();
    let said: Vec<f64> = (lines.iter().rev().skip(1).take(3))
        .filter_map(|line| kernel_share(line))
        .collect();
    assert_eq!(said.len(), 3);
    let mean = said.iter().sum::<f64>() / said.len() as f64;
    println!("counted {share:.4} of a CPU, scaled {mean:.4}");
    if !in_vm() {
        assert!(
            (mean / share - 1.0).abs() < 0.35,
            "counted {share}, scaled {mean}"
        );
    }
    Ok(())
}

#[test]
fn a_capture_tells_its_cost_and_is_not_disturbed_by_counting() -> Result<()> {
    let _alone = alone();
    let udp = load::udp()?;
    let summary = capture("1s", &[])?.summary;
    drop(udp);
    let cost = summary.own_cost.context("its own cost")?;
    assert!(cost.cpu_ns() > 0 && cost.ring_bytes > 0, "{cost:?}");
    assert!(cost.memory_bytes > Some(1 << 20));
    assert_eq!(cost.bpf.total(), None);
    let reason = cost.bpf.reason.unwrap_or_default();
    assert!(reason.contains("capture"), "{reason}");
    let threads: Vec<&str> = cost.threads.iter().map(|one| one.thread.as_str()).collect();
    for thread in ["main", "kctx-drain", "kctx-pipeline"] {
        assert!(threads.contains(&thread), "{threads:?}");
    }
    Ok(())
}

/// Nanoseconds that a datagram to a full socket takes: the best of several windows.
fn datagram_ns() -> Result<f64> {
    const WINDOW: u32 = 20_000;
    let receiver = std::net::UdpSocket::bind("127.0.0.1:0")?;
    rustix::net::sockopt::set_socket_recv_buffer_size(&receiver, 2048)?;
    let sender = std::net::UdpSocket::bind("127.0.0.1:0")?;
    sender.connect(receiver.local_addr()?)?;
    let mut best = f64::MAX;
    for _ in 0..3 {
        let start = std::time::Instant::now();
        for _ in 0..WINDOW {
            sender.send(&[0; 32])?;
        }
        best = best.min(start.elapsed().as_nanos() as f64 / f64::from(WINDOW));
    }
    Ok(best)
}

/// What one more empty program adds to a datagram, each of which runs it once. With and without by turns, since the
/// machine's own speed drifts.
fn a_run_ns(tracepoint: &CStr) -> Result<f64> {
    const MORE: usize = 16;
    let _one = EmptyProgram::on(tracepoint)?;
    let (mut alone, mut together) = (f64::MAX, f64::MAX);
    for _ in 0..if in_vm() { 1 } else { 10 } {
        alone = alone.min(datagram_ns()?);
        let more: Vec<_> = (0..MORE)
            .map(|_| EmptyProgram::on(tracepoint))
            .collect::<Result<_>>()?;
        together = together.min(datagram_ns()?);
        drop(more);
    }
    Ok((together - alone) / MORE as f64)
}

/// The figures of docs/overhead.md: what the kernel counts of a program that does nothing, and what it costs.
#[test]
fn an_empty_program_is_counted_as_a_clock_read() -> Result<()> {
    let _alone = alone();
    load::pin(0)?;
    let plain = a_run_ns(c"softirq_entry")?;
    let held = aya::sys::enable_stats(aya::sys::Stats::RunTime)?;
    let counted_too = a_run_ns(c"softirq_entry")?;
    let empty = EmptyProgram::on(c"softirq_entry")?;
    datagram_ns()?;
    let (runs, time_ns) = empty.counted()?;
    drop(held);
    let mean = time_ns as f64 / runs as f64;
    println!(
        "an empty program costs {plain:.1} ns a run, {counted_too:.1} ns while the kernel counts; it counts {mean:.1} ns"
    );
    assert!(runs >= 20_000, "{runs} runs");
    assert!(in_vm() || (1.0..1000.0).contains(&mean), "{mean} ns");
    Ok(())
}
