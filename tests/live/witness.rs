//! Against the kernel's own trace of the same events, by the rules: the first of several raises, works that are
//! queued again while they run, works that move.

use std::{ops::Range, time::Duration};

use anyhow::{Context as _, Result};
use kctx::aggregate::window::Family;
use kctx_tests::{
    bottom_half::Holder,
    bundle::Bundle,
    left_out::left_out,
    load::{self, Pty},
    trace::{self, Trace},
};

use crate::{
    Output, alone, capture, capture_during, counts::until_close, in_vm, two_cpus, without_btf,
};

/// The bundle's window by `CLOCK_MONOTONIC`, which the trace has.
pub(crate) fn window(bundle: &Bundle) -> Range<u64> {
    let offset = kctx::host::clock::unix_ns() - kctx::host::clock::monotonic_ns();
    let start = bundle.summary.window.start_unix_ns - offset;
    start..start + bundle.summary.window.duration_ns
}

/// Two witnesses of one moment: the trace has whole microseconds, and each takes its time at its own place in
/// the tracepoint, between which lies what the other does there.
pub(crate) fn is_near(ours: u64, theirs: u64, runs: u64) -> bool {
    let each = if in_vm() { 200_000 } else { 500 };
    ours.abs_diff(theirs) <= runs * each + theirs / 20
}

/// For [`until_close`]: nothing, or what is not alike. A window's stamp and its gate are two steps, between which a busy
/// machine may give the CPU to others.
fn apart(alike: bool, what: &dyn std::fmt::Debug) -> Vec<String> {
    if alike {
        Vec::new()
    } else {
        vec![format!("{what:?}")]
    }
}

/// Bottom halves are held off for many ticks: each raises the timer's softirq again. The wait counts from
/// the first.
#[test]
fn the_first_of_several_raises_counts() -> Result<()> {
    let _alone = alone();
    let trace = Trace::start(&["irq/softirq_exit", "irq/softirq_entry", "irq/softirq_raise"])?;
    let mut longest = 0;
    let bundle = capture_during(|| {
        load::pin(0)?;
        let holder = Holder::load(if in_vm() { 300 } else { 3000 })?;
        for _ in 0..10 {
            longest = holder.hold()?.max(longest);
        }
        Ok(())
    })?;
    let theirs = trace::softirqs(&trace.stop()?, &window(&bundle));
    let mut raised_again = 0;
    let partial = &bundle.summary.accounting.by_family[&Family::Softirq].partial;
    for ((vector, cpu), runs) in &theirs {
        let rows = bundle.summary.softirq.iter();
        let mut ours = (0, 0, 0);
        for row in rows.filter(|row| row.vector == *vector && row.cpu == *cpu) {
            ours.0 += row.count;
            ours.1 += row.wait.sum_ns;
            ours.2 = row.wait.max_ns.max(ours.2);
        }
        assert!(
            ours.0.abs_diff(runs.runs) <= 3 + runs.runs / 100,
            "{vector} on CPU {cpu}: {ours:?} {runs:?}"
        );
        raised_again += runs.raised_again;
        if runs.raised_again > 0 {
            println!("{vector} on CPU {cpu}: kctx {ours:?}, the trace {runs:?}; {partial:?}");
            // A raise that comes while the program for raises runs on that CPU is refused, and counted (accuracy.md).
            if partial.get("program_recursion").is_some_and(|n| *n > 0) {
                left_out("a raise may not have been seen");
                continue;
            }
            // Between the one witness and the other an emulated CPU may have to wait for its turn, each time.
            let from_first = ours.1.abs_diff(runs.wait_ns);
            let from_last = ours.1.abs_diff(runs.wait_from_last_ns);
            assert!(
                is_near(ours.1, runs.wait_ns, runs.runs) || (in_vm() && from_first < from_last),
                "{vector}: {ours:?} {runs:?}"
            );
            let turn_ns = if in_vm() {
                20_000_000 + runs.wait_max_ns / 4
            } else {
                0
            };
            assert!(
                ours.2.abs_diff(runs.wait_max_ns) <= turn_ns
                    || is_near(ours.2, runs.wait_max_ns, 1),
                "{vector}: {ours:?} {runs:?}"
            );
        }
    }
    println!("held for {longest} ns at most; {raised_again} runs were raised more than once");
    let apart = theirs.values().any(|runs| {
        runs.wait_ns > 2 * runs.wait_from_last_ns
            && !is_near(runs.wait_from_last_ns, runs.wait_ns, runs.runs)
    });
    if in_vm() && !apart {
        left_out("this kernel runs programs for a test with bottom halves enabled");
        return Ok(());
    }
    assert!(
        raised_again > 0,
        "nothing was raised twice: the load does not provoke it here"
    );
    assert!(
        apart,
        "first and last raise are not apart: the load does not provoke it here"
    );
    Ok(())
}

/// Interrupts that fall into softirqs: a CPU is flooded with packets by another, while a clock interrupts it a
/// thousand times a second. What is taken out of the softirqs' time is what the trace says of those interrupts.
#[test]
fn interrupts_are_taken_out_of_the_softirqs_that_they_fall_into() -> Result<()> {
    let _alone = alone();
    let Some((to, from)) = two_cpus()? else {
        return Ok(());
    };
    let output = Output::new()?;
    let config = output.path().with_file_name("kctx.toml");
    std::fs::write(&config, "[stacks]\nfrequency = 999\n")?;
    let trace = Trace::start(&trace::NESTED)?;
    let flood = load::steered_udp(from, to, Duration::ZERO)?;
    let bundle = capture("500ms", &["--config", &config.to_string_lossy()])?;
    drop(flood);
    let theirs = trace::nested(&trace.stop()?, &window(&bundle));
    let (mut ours, mut all) = ((0, 0), trace::Nested::default());
    for ((vector, cpu), nested) in &theirs {
        let rows = bundle.summary.softirq.iter();
        for row in rows.filter(|row| row.vector == *vector && row.cpu == *cpu) {
            ours.0 += row.service.sum_ns;
            ours.1 += row.service.sum_ns - row.service_net.sum_ns;
        }
        all.runs += nested.runs;
        all.service_ns += nested.service_ns;
        all.interrupts_ns += nested.interrupts_ns;
        all.interrupts += nested.interrupts;
    }
    println!(
        "kctx: {} ns, {} of them in interrupts; the trace: {all:?}",
        ours.0, ours.1
    );
    assert!(
        is_near(ours.0, all.service_ns, all.runs),
        "{ours:?} {all:?}"
    );
    if in_vm() && all.interrupts < 50 {
        left_out("emulated CPUs take turns");
        return Ok(());
    }
    // Each witness has its own place in the tracepoints, and what the other does in between counts there.
    let each = if in_vm() { 100_000 } else { 1_500 };
    let slack = all.interrupts * each + all.interrupts_ns / 10;
    assert!(
        ours.1.abs_diff(all.interrupts_ns) <= slack,
        "{ours:?} {all:?}"
    );
    assert!(
        in_vm() || (all.interrupts > 50 && slack < all.interrupts_ns / 2),
        "too few interrupts to tell: {all:?}"
    );
    Ok(())
}

/// Which runs were ksoftirqd's, the trace knows: it has the task that each fell into.
#[test]
fn runs_in_ksoftirqd_are_those_that_the_trace_saw_there() -> Result<()> {
    let _alone = alone();
    let Some((to, from)) = two_cpus()? else {
        return Ok(());
    };
    until_close(|| {
        let trace = Trace::start(&["irq/softirq_exit"])?;
        // What piled up, while tasks want the CPU too, is moved to ksoftirqd.
        let busy = (load::spinner(to)?, load::held_off(to)?);
        let flood = load::steered_udp(from, to, Duration::ZERO)?;
        let bundle = capture("1s", &[])?;
        drop(flood);
        drop(busy);
        let span = window(&bundle);
        let events = trace.stop()?;
        let theirs = events
            .iter()
            .filter(|event| span.contains(&event.time_ns) && event.task.starts_with("ksoftirqd/"));
        let theirs = theirs.count() as u64;
        let rows = bundle.summary.softirq.iter();
        let ours: u64 = rows
            .filter(|row| row.context == "ksoftirqd")
            .map(|row| row.count)
            .sum();
        println!("kctx: {ours}; the trace: {theirs}");
        let of_time: u64 = (bundle.summary.cpu.iter())
            .filter_map(|cpu| cpu.ksoftirqd_ns)
            .sum();
        if theirs > 100 && !without_btf() {
            assert!(of_time > 0, "ksoftirqd has no time of its own");
        }
        let alike = ours.abs_diff(theirs) <= 3 + theirs / 100;
        let provoked = in_vm() || theirs > 100;
        Ok(apart(alike && provoked, &(ours, theirs)))
    })
}

/// Polls, their packets, and those that left something undone.
#[test]
fn polls_that_used_their_budget_up_are_those_that_the_trace_saw() -> Result<()> {
    let _alone = alone();
    let Some((to, from)) = two_cpus()? else {
        return Ok(());
    };
    until_close(|| {
        let trace = Trace::start(&["napi/napi_poll"])?;
        // So that there is a backlog.
        let busy = load::held_off(to)?;
        let flood = load::steered_udp(from, to, Duration::ZERO)?;
        let bundle = capture("1s", &[])?;
        drop(flood);
        drop(busy);
        let theirs = trace::polls(&trace.stop()?, &window(&bundle));
        let mut ours = trace::Polls::default();
        for row in &bundle.summary.napi {
            ours.polls += row.count;
            ours.packets += row.packets;
            ours.exhausted += row.exhausted;
        }
        println!("kctx: {ours:?}; the trace: {theirs:?}");
        assert!(
            in_vm() || (theirs.exhausted > 20 && theirs.exhausted < theirs.polls),
            "no such polls, or all: {theirs:?}"
        );
        let is_alike = |ours: u64, theirs: u64| ours.abs_diff(theirs) <= 3 + theirs / 100;
        let alike = is_alike(ours.polls, theirs.polls)
            && ours.packets.abs_diff(theirs.packets) <= 3 * 64 + theirs.packets / 100
            && is_alike(ours.exhausted, theirs.exhausted);
        Ok(apart(alike, &(ours, theirs)))
    })
}

/// One comparison; how often a work was queued while it ran, by the trace.
fn compare_works() -> Result<u64> {
    let trace = Trace::start(&[
        "workqueue/workqueue_execute_end",
        "workqueue/workqueue_execute_start",
        "workqueue/workqueue_queue_work",
    ])?;
    let mut pty = Pty::open()?;
    let bundle = capture_during(|| pty.flood(if in_vm() { 2_000 } else { 20_000 }))?;
    let theirs = trace::works(&trace.stop()?, &window(&bundle));
    let theirs = (theirs.get("flush_to_ldisc")).context("the trace has no flush_to_ldisc")?;
    let rows = bundle.summary.workqueue.iter();
    let rows: Vec<_> = rows
        .filter(|row| row.function == "flush_to_ldisc")
        .collect();
    let [ours, unpaired @ ..] = &rows[..] else {
        panic!("no row of flush_to_ldisc");
    };
    // Sorted by time: what follows is a start that came in the moment in which its work was queued again.
    let unpaired: u64 = unpaired.iter().map(|row| row.count).sum();
    assert!(unpaired <= 3 + theirs.runs / 1000, "{rows:?}");
    println!("{theirs:?} {ours:?}");
    // Naive pairing lost four of ten here.
    let is_alike = |ours: u64, theirs: u64| ours.abs_diff(theirs) <= 3 + theirs / 1000;
    assert!(
        is_alike(ours.count + unpaired, theirs.runs),
        "{ours:?} {theirs:?}"
    );
    assert!(
        is_alike(ours.wait.count, theirs.queued),
        "{ours:?} {theirs:?}"
    );
    assert!(is_alike(ours.remote, theirs.remote), "{ours:?} {theirs:?}");
    assert!(
        is_near(ours.wait.sum_ns, theirs.wait_ns, theirs.runs),
        "{ours:?} {theirs:?}"
    );
    assert!(
        is_near(ours.service.sum_ns, theirs.service_ns, theirs.runs),
        "{ours:?} {theirs:?}"
    );
    // Each queueing was taken by its start: none was left behind as if it had been cancelled.
    let counts = &bundle.summary.accounting.by_family[&Family::Workqueue];
    let cancelled = counts.partial.get("cancelled").copied().unwrap_or(0);
    assert!(cancelled <= 3 + theirs.runs / 100, "{counts:?}");
    Ok(theirs.requeued_while_running)
}

#[test]
fn works_queued_again_while_they_run_are_their_own_successors() -> Result<()> {
    const ATTEMPTS: u32 = 12;
    let _alone = alone();
    for _ in 0..ATTEMPTS {
        // Whether writer and work meet depends on which CPUs they got.
        if compare_works()? > 20 {
            return Ok(());
        }
        if in_vm() {
            left_out("emulated CPUs take turns");
            return Ok(());
        }
    }
    panic!("in {ATTEMPTS} attempts next to nothing was queued while it ran")
}
