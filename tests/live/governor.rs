//! What kctx may cost: over it, the busiest families go into the kernel's histograms only.

use std::{fs, time::Duration};

use anyhow::{Context as _, Result};
use kctx_common::{
    bucket,
    counters::{FamilyCounters, SOFTIRQ},
    spill::SpillHistogram,
};
use kctx_tests::{
    bottom_half::Holder,
    kernel,
    load::{self, Load},
    program::Running,
    trace::{self, Trace},
};
use rustix::process::Signal;

use crate::{Output, alone, in_vm};

/// A daemon under a limit that it is over at once, and what keeps it there.
fn limited(output: &Output, more: &str) -> Result<(Running, Load)> {
    let config = output.path().with_file_name("kctx.toml");
    fs::write(&config, format!("[governor]\ncpu_limit = \"0.1%\"\n{more}"))?;
    let config = config.to_string_lossy().into_owned();
    let udp = load::udp()?;
    let mut run = Running::kctx(["run", "--config", &config, "--duration", "80s"])?;
    run.wait_until_open()?;
    Ok((run, udp))
}

fn softirqs(run: &Running) -> Result<FamilyCounters> {
    kernel::counters(run.pid(), SOFTIRQ)
}

/// Waits until softirqs are limited.
fn until_governed(run: &Running) -> Result<()> {
    for _ in 0..if in_vm() { 300 } else { 100 } {
        if softirqs(run)?.governed > 0 {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(200));
    }
    anyhow::bail!("softirqs are not limited: {:?}", softirqs(run)?)
}

/// The runs of all vectors on all CPUs, by the kernel's books.
fn by_the_kernel() -> Result<u64> {
    let books = kernel::softirqs(&fs::read_to_string("/proc/softirqs")?)?;
    Ok(books.values().sum())
}

/// Holds bottom halves off for several milliseconds, some times: whatever is raised meanwhile waits so long. How long
/// the longest was, in nanoseconds.
fn hold_off() -> Result<u64> {
    const HELD: u64 = 20;
    std::thread::spawn(|| -> Result<u64> {
        let mut longest = 0;
        load::pin(0)?;
        let holder = Holder::load(if in_vm() { 100 } else { 1000 })?;
        for _ in 0..HELD {
            longest = holder.hold()?.max(longest);
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(longest)
    })
    .join()
    .map_err(|_| anyhow::anyhow!("the holder panicked"))?
    .context("bottom halves could not be held off")
}

#[test]
fn over_its_limit_the_busiest_family_is_no_longer_streamed() -> Result<()> {
    let _alone = alone();
    let output = Output::new()?;
    let (run, udp) = limited(&output, "")?;
    until_governed(&run)?;
    // What was staged before goes first.
    std::thread::sleep(Duration::from_millis(300));
    let (before, books_before) = (softirqs(&run)?, by_the_kernel()?);
    std::thread::sleep(Duration::from_secs(2));
    let (books_after, after) = (by_the_kernel()?, softirqs(&run)?);
    drop(udp);
    println!("{before:?} {after:?}");
    let observed = after.observed - before.observed;
    let (governed, streamed) = (
        after.governed - before.governed,
        after.streamed - before.streamed,
    );
    let counted = books_after - books_before;
    let slack = if in_vm() { 600 } else { 100 } + counted / 50;
    assert!(
        observed.abs_diff(counted) <= slack,
        "the kernel counts {counted} softirqs, kctx {observed}"
    );
    // But for the outliers: an emulated CPU is away for longer than a millisecond now and then.
    assert!(
        governed + streamed + 64 >= observed && streamed <= observed / if in_vm() { 2 } else { 50 },
        "{observed} softirqs: {streamed} streamed, {governed} kept from the rings"
    );
    // None of them is gone: each is in the kernel's histograms.
    let spilled = after.spilled - before.spilled;
    assert!(
        spilled + 8 >= governed && after.lost_no_spill_row == 0,
        "{governed} kept from the rings, {spilled} spilled: {after:?}"
    );
    run.signal(Signal::INT)?;
    let ended = run.wait(Duration::from_secs(30))?.success()?;
    println!("{}{}", ended.stdout, ended.stderr);
    assert!(
        ended.stderr.contains("governor:"),
        "the governor said nothing"
    );
    let told = ended.stdout.lines().any(|line| line.contains("limited"));
    assert!(told, "no window tells");
    let lines = ended.stdout.lines();
    assert!(
        lines.clone().count() > 1 && lines.clone().all(|line| line.contains("lost 0")),
        "{}",
        ended.stdout
    );
    Ok(())
}

/// What takes long is of interest however many there are.
#[test]
fn outliers_of_a_limited_family_are_streamed() -> Result<()> {
    /// `[governor] outlier` as it is by default.
    const OUTLIER_NS: u64 = 1_000_000;
    let _alone = alone();
    let output = Output::new()?;
    let (run, udp) = limited(&output, "")?;
    until_governed(&run)?;
    // It stays limited for a while.
    drop(udp);
    std::thread::sleep(Duration::from_millis(300));
    let trace = Trace::start(&["irq/softirq_exit", "irq/softirq_entry", "irq/softirq_raise"])?;
    let before = softirqs(&run)?;
    let longest = hold_off()?;
    let after = softirqs(&run)?;
    let long = trace::long_softirqs(&trace.stop()?, OUTLIER_NS);
    let streamed = after.streamed - before.streamed;
    println!("held for {longest} ns at most; {long} took long, {streamed} were streamed");
    assert!(after.governed > before.governed, "no longer limited");
    assert!(in_vm() || long >= 3, "next to nothing had to wait");
    // Between the one witness and the other an emulated CPU may have to wait for its turn, a millisecond too.
    let slack = if in_vm() { 8 } else { 2 };
    assert!(
        streamed.abs_diff(long) <= slack + long / 10,
        "{streamed} softirqs streamed, {long} took long"
    );
    run.signal(Signal::INT)?;
    run.wait(Duration::from_secs(30))?.success()?;
    Ok(())
}

/// Whether the buckets are those of durations with this count, sum and maximum.
fn is_consistent(histogram: &SpillHistogram) -> bool {
    let filled = || (histogram.buckets.iter().enumerate()).filter(|(_, count)| **count > 0);
    let sum = |edge: fn(usize) -> u64| -> u64 {
        filled().map(|(i, count)| edge(i) * u64::from(*count)).sum()
    };
    let count: u64 = histogram.buckets.iter().map(|n| u64::from(*n)).sum();
    let highest = filled().next_back().map_or(0, |(i, _)| i);
    count == histogram.count
        && sum(bucket::lower_ns) <= histogram.sum_ns
        && histogram.sum_ns <= sum(|i| bucket::lower_ns(i + 1))
        && highest == bucket::index(histogram.max_ns)
}

/// The durations that are not streamed are each in the bucket of its size: the short, and those of milliseconds.
#[test]
fn what_is_not_streamed_is_in_the_bucket_of_its_duration() -> Result<()> {
    let _alone = alone();
    let output = Output::new()?;
    let (run, udp) = limited(&output, "outlier = \"1h\"\n")?;
    until_governed(&run)?;
    let longest = hold_off()?;
    drop(udp);
    let mut histograms = 0;
    for attempt in 0.. {
        let rows = kernel::spill_rows(run.pid())?;
        let all = (rows.iter()).flat_map(|(key, row)| {
            [&row.wait, &row.service, &row.third, &row.fourth].map(|one| (key, one))
        });
        let filled = || all.clone().filter(|(_, one)| one.count > 0);
        let long = filled().filter(|(_, one)| one.max_ns > 2_500_000).count();
        let wrong: Vec<_> = filled()
            .filter(|(_, one)| !is_consistent(one))
            .map(|(key, one)| (key, one.count, one.sum_ns, one.max_ns))
            .collect();
        // A row may be read while something is added to it.
        if wrong.is_empty() {
            println!("held for {longest} ns; {long} histograms with so long durations");
            assert!(in_vm() || long > 0, "nothing waited for milliseconds");
            histograms = filled().count();
            break;
        }
        assert!(attempt < 20, "{wrong:?}");
    }
    assert!(histograms > 2, "{histograms} histograms");
    run.signal(Signal::INT)?;
    run.wait(Duration::from_secs(30))?.success()?;
    Ok(())
}

/// A small ring has no room for so many outliers: what does not go there is in the histograms, and counted once.
#[test]
fn outliers_that_find_no_room_are_not_lost() -> Result<()> {
    let _alone = alone();
    let output = Output::new()?;
    let rings = "outlier = \"1us\"\n[kernel]\nring_size = \"4KiB\"\n";
    let (run, udp) = limited(&output, rings)?;
    // Where each softirq takes longer than that, none is kept from the rings: the log tells of the limit.
    for _ in 0..100 {
        if run.read_stderr()?.contains("governor: softirq goes") {
            break;
        }
        std::thread::sleep(Duration::from_millis(200));
    }
    assert!(run.read_stderr()?.contains("governor: softirq goes"));
    let before = softirqs(&run)?;
    std::thread::sleep(Duration::from_secs(1));
    drop(udp);
    std::thread::sleep(Duration::from_millis(300));
    let after = softirqs(&run)?;
    println!("{before:?} {after:?}");
    assert!(
        in_vm() || (after.spilled > before.spilled && after.streamed > before.streamed),
        "neither too many nor none: {after:?}"
    );
    let staged = (kctx_common::pairing::STAGED * kernel::online_cpus()?.len()) as u64;
    let kept = after.streamed + after.spilled;
    assert!(
        kept <= after.observed && kept + staged >= after.observed,
        "{after:?}"
    );
    run.signal(Signal::INT)?;
    run.wait(Duration::from_secs(30))?.success()?;
    Ok(())
}
