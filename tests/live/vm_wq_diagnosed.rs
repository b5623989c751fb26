//! Causes that want more CPUs, or a kernel that can make no thread: provoked in a VM, and found by a diagnosis.

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use kctx_tests::{left_out::left_out, load, situation};

use crate::{
    alone, in_vm,
    vm::check_found,
    vm_diagnosed::check_found_if_busy,
    vm_machine::{Restore, ask_for_a_module, capture_during, slow_helper},
};

/// How long each lasts.
const LASTS: Duration = Duration::from_secs(4);

/// CPUs of which one has to look after many others.
const MANY: u32 = 32;

/// Two tasks that may run on one CPU only, where many others idle: one of those looks for tasks to move on behalf of all.
#[test]
#[ignore = "for a machine of many CPUs: in a VM only, by cargo xtask vm --cpus 64"]
fn vm_balancing_between_many_cpus_is_found() -> Result<()> {
    let _alone = alone();
    let cpus = std::thread::available_parallelism()?.get() as u32;
    if cpus < MANY {
        left_out(format!("{cpus} CPUs are few"));
        return Ok(());
    }
    let bundle = capture_during(|| {
        let loads = [load::spinner(0)?, load::spinner(0)?, load::hopper(2..cpus)?];
        std::thread::sleep(LASTS);
        drop(loads);
        Ok(())
    })?;
    check_found_if_busy(&bundle, "SCHED", "SCHED-LB");
    Ok(())
}

const THREADS_MAX: &str = "/proc/sys/kernel/threads-max";
/// What is left of it for kctx and others.
const LEFT: u64 = 40;
/// Works that sleep, each on a kworker of its own, while a helper that each started sleeps: more than there are threads left.
const ASLEEP: usize = 40;

/// How many threads there are.
fn threads() -> Result<u64> {
    let load = fs::read_to_string("/proc/loadavg")?;
    let all = load
        .split(['/', ' '])
        .nth(4)
        .context("/proc/loadavg has no number of threads")?;
    Ok(all.parse()?)
}

/// Works that a kworker has to be made for, and there are as many threads as there may be: queues that memory is freed by have one
/// in reserve.
#[test]
#[ignore = "keeps the machine from making threads: in a VM only, by cargo xtask vm"]
fn vm_rescuers_that_work_are_found() -> Result<()> {
    let _alone = alone();
    if !in_vm() {
        bail!("for a VM only: cargo xtask vm");
    }
    let held = Arc::new(AtomicBool::new(true));
    let wait = |held: &AtomicBool| {
        while held.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(1));
        }
    };
    // These threads are there before no more can be made.
    let asleep: Vec<_> = (0..ASLEEP)
        .map(|_| {
            let held = Arc::clone(&held);
            std::thread::spawn(move || {
                wait(&held);
                ask_for_a_module();
            })
        })
        .collect();
    let _modprobe = slow_helper("exec sleep 30")?;
    let most = threads()? + LEFT;
    let restore = Restore::after(THREADS_MAX, &most.to_string())?;
    let bundle = capture_during(|| {
        let namespaces = Arc::new(AtomicBool::new(true));
        let load = situation::other::namespaces_once(&namespaces)?;
        held.store(false, Ordering::Relaxed);
        let begun = Instant::now();
        while threads()? < most && begun.elapsed() < Duration::from_secs(6) {
            std::thread::sleep(Duration::from_millis(10));
        }
        println!(
            "{} of {most} threads after {:?}",
            threads()?,
            begun.elapsed()
        );
        namespaces.store(false, Ordering::Relaxed);
        std::thread::sleep(LASTS);
        drop(load);
        // What ends the capture may want some.
        drop(restore);
        Ok(())
    })?;
    for asking in asleep {
        let _ = asking.join();
    }
    check_found(&bundle, "WQ-RESCUE");
    assert_eq!(
        bundle.findings().first().map(String::as_str),
        Some("WQ-RESCUE")
    );
    Ok(())
}
