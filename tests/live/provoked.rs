//! Situations that are made on purpose: a thread that a real-time task keeps waiting, works in softirq context, stacks
//! of a known path.

use std::{
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    process::Command,
    sync::{Arc, mpsc},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use kctx_tests::{bottom_half::Holder, bundle::Bundle, kernel, left_out::left_out, load, netns};

use crate::{alone, capture, capture_during, in_vm, without_btf};

/// Each CPU runs one work for who reads this (mm/vmstat.c, `vmstat_refresh`), in a kworker that is bound to it.
const REFRESH: &str = "/proc/sys/vm/stat_refresh";

#[test]
fn a_thread_that_a_real_time_task_keeps_waiting_has_waited() -> Result<()> {
    const HELD: Duration = Duration::from_millis(300);
    let _alone = alone();
    let bundle = capture_during(|| {
        for _ in 0..3 {
            let (spinning, spins) = mpsc::channel();
            let spinner = std::thread::spawn(move || -> Result<()> {
                load::pin(0)?;
                load::real_time(load::BELOW_IRQ_THREADS)?;
                let _ = spinning.send(());
                let start = Instant::now();
                while start.elapsed() < HELD {
                    std::hint::spin_loop();
                }
                Ok(())
            });
            let _ = spins.recv();
            std::fs::read(REFRESH)?;
            (spinner.join()).map_err(|_| anyhow::anyhow!("the spinner panicked"))??;
        }
        Ok(())
    })?;
    let least = HELD.as_nanos() as u64 / 3;
    let work = (bundle.summary.workqueue.iter())
        .find(|row| row.function == "refresh_vm_stats")
        .context("no row of refresh_vm_stats")?;
    assert!(work.wait.max_ns > least, "{work:?}");
    if without_btf() {
        return Ok(());
    }
    let longest = (bundle.summary.kthread.iter())
        .filter(|row| row.role == "kworker")
        .max_by_key(|row| row.wait.max_ns)
        .context("no kworker ran")?;
    println!("{longest:?}");
    assert!(longest.wait.max_ns > least, "{longest:?}");
    // It waited, it did not run.
    assert!(longest.service.max_ns < least, "{longest:?}");
    Ok(())
}

/// TCP through a queue that lets packets out slowly: each that leaves may have the sender woken by a tasklet, or
/// since 6.18 by a work in softirq context (`tcp_wfree`, net/ipv4/tcp_output.c).
fn throttled_tcp(during: Duration) -> Result<()> {
    let (done, ended) = mpsc::channel();
    std::thread::spawn(move || {
        let result = (|| -> Result<()> {
            netns::enter()?;
            let shaped = Command::new("tc")
                .args("qdisc add dev lo root tbf rate 300mbit burst 256k latency 50ms".split(' '))
                .status()
                .context("cannot start tc")?;
            anyhow::ensure!(shaped.success(), "tc: {shaped}");
            let listener = TcpListener::bind("127.0.0.1:0")?;
            let mut sender = TcpStream::connect(listener.local_addr()?)?;
            let (mut receiver, _) = listener.accept()?;
            let reader = std::thread::spawn(move || {
                let mut buffer = vec![0; 1 << 16];
                while receiver.read(&mut buffer).is_ok_and(|n| n > 0) {}
            });
            let start = Instant::now();
            while start.elapsed() < during {
                sender.write_all(&[0; 1 << 15])?;
            }
            drop(sender);
            let _ = reader.join();
            Ok(())
        })();
        let _ = done.send(result);
    });
    ended.recv().context("the load ended without a word")?
}

#[test]
fn works_in_softirq_context_and_tasklets_are_seen() -> Result<()> {
    let _alone = alone();
    let mut load = Ok(());
    let bundle = capture_during(|| {
        load = throttled_tcp(Duration::from_secs(2));
        Ok(())
    })?;
    if let Err(error) = load {
        left_out(format!("{error:#}"));
        assert!(in_vm() || !has("tc"), "{error:#}");
        return Ok(());
    }
    let works: Vec<_> = (bundle.summary.workqueue.iter())
        .filter(|row| row.bh > 0)
        .collect();
    let tasklets = &bundle.summary.tasklet;
    println!("{works:?} {tasklets:?}");
    assert!(
        !works.is_empty() || !tasklets.is_empty(),
        "neither tasklets nor such works"
    );
    for row in works {
        assert_eq!(row.bh, row.count, "{row:?}");
        // They cannot sleep: what is not theirs are interrupts.
        assert_eq!(row.service_net.count, row.count, "{row:?}");
        assert!(row.service_net.sum_ns <= row.service.sum_ns, "{row:?}");
        assert!(row.service.max_ns < 1_000_000_000, "{row:?}");
    }
    for row in tasklets {
        assert_eq!(row.service.count, row.count, "{row:?}");
        assert!(row.service_net.sum_ns <= row.service.sum_ns, "{row:?}");
    }
    Ok(())
}

fn has(tool: &str) -> bool {
    Command::new(tool).arg("-V").output().is_ok()
}

#[test]
fn stacks_are_of_where_softirqs_and_threads_ran() -> Result<()> {
    let _alone = alone();
    let udp = load::udp()?;
    let bundle = capture("3s", &[])?;
    drop(udp);
    let stacks = &bundle.summary.stack;
    let of_net_rx: Vec<_> = (stacks.iter())
        .filter(|row| row.context == "softirq:NET_RX")
        .collect();
    println!("{} stacks, {} of NET_RX", stacks.len(), of_net_rx.len());
    for row in stacks {
        let known = ["softirq:", "kthread:", "others"];
        assert!(
            known.iter().any(|start| row.context.starts_with(start)),
            "{row:?}"
        );
    }
    if of_net_rx.is_empty() {
        assert!(
            in_vm(),
            "49 samples a second, and none of NET_RX: {stacks:?}"
        );
        return Ok(());
    }
    let in_it = [
        "net_rx_action",
        "handle_softirqs",
        "__do_softirq",
        "do_softirq",
    ];
    let named = of_net_rx.iter().any(|row| {
        row.frames
            .iter()
            .any(|frame| in_it.iter().any(|name| frame.starts_with(name)))
    });
    assert!(named, "{of_net_rx:?}");
    Ok(())
}

/// A task that has the kernel do something for it is in no kernel context: next to nothing is sampled.
#[test]
fn nothing_is_sampled_outside_of_kernel_contexts() -> Result<()> {
    let _alone = alone();
    // Emulated processors share one: kctx too needs its turn.
    let most = if in_vm() { 2 } else { usize::MAX };
    let readers: Vec<_> = kernel::online_cpus()?
        .into_iter()
        .take(most)
        .map(load::reader)
        .collect::<Result<_>>()?;
    let summary = capture("2s", &[])?.summary;
    drop(readers);
    let samples: u64 = summary.stack.iter().map(|row| row.count).sum();
    let in_contexts: u64 = (summary.cpu.iter())
        .map(|cpu| {
            let threads = [cpu.ksoftirqd_ns, cpu.kthread_ns].map(Option::unwrap_or_default);
            cpu.softirq_ns + threads.iter().sum::<u64>()
        })
        .sum();
    let expected = in_contexts * 49 / 1_000_000_000;
    println!("{samples} samples, {expected} expected");
    assert!(
        samples <= 2 * expected + 30,
        "{samples} samples, {expected} expected"
    );
    Ok(())
}

/// A softirq that has one thing to do has no limit: a filter of a socket that takes its time, say.
#[test]
fn a_long_softirq_run_is_measured_whole_or_not_at_all() -> Result<()> {
    let _alone = alone();
    let cpus = kernel::online_cpus()?;
    let cpu = *cpus.last().context("no CPU")?;
    // What an emulated CPU takes for it may be many times that, and half a minute is a lockup to the kernel.
    let wanted = Duration::from_millis(if in_vm() { 500 } else { 4000 });
    let holder = Arc::new(Holder::that_takes(wanted)?);
    let hold = move || -> Result<Duration> {
        load::pin(cpu)?;
        holder.hold_net_rx()
    };
    let again = hold.clone();
    let of_net_rx = |bundle: &Bundle| {
        let rows = bundle.summary.softirq.iter();
        rows.filter(|row| row.vector == "NET_RX" && row.cpu == cpu)
            .map(|row| row.service.max_ns)
            .max()
            .unwrap_or_default()
    };

    let mut held = Duration::ZERO;
    let bundle = capture_during(|| {
        let thread = std::thread::spawn(hold);
        held = (thread.join()).map_err(|_| anyhow::anyhow!("the sender panicked"))??;
        Ok(())
    })?;
    let longest_ns = of_net_rx(&bundle);
    let held_ns = held.as_nanos() as u64;
    println!("held for {held_ns} ns, by the sender; the longest run: {longest_ns} ns");
    if in_vm() && held < wanted / 4 {
        left_out("a thread takes what arrives on loopback");
        return Ok(());
    }
    // An emulated CPU may have to wait for its turn before.
    let before_ns = held_ns / if in_vm() { 2 } else { 10 };
    assert!(
        longest_ns <= held_ns && longest_ns >= held_ns - before_ns,
        "{longest_ns} {held_ns}"
    );

    // Now it has begun when kctx comes: attaching waits for RCU, which waits for it. Whatever was seen of it, its
    // time is nowhere.
    let thread = std::thread::spawn(again);
    std::thread::sleep(Duration::from_millis(100));
    let bundle = capture_during(|| {
        held = (thread.join()).map_err(|_| anyhow::anyhow!("the sender panicked"))??;
        Ok(())
    })?;
    let longest_ns = of_net_rx(&bundle);
    println!("held for {held:?}; the longest run: {longest_ns} ns");
    assert!(longest_ns < held.as_nanos() as u64 / 4, "{longest_ns}");
    Ok(())
}
