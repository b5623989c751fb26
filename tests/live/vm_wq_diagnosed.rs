//! Causes that want more CPUs, or a kernel that can make no thread: provoked in a VM, and found by a diagnosis.

use std::{
    fs,
    sync::{Arc, Barrier},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use kctx_tests::{bundle::Bundle, left_out::left_out, load, situation};

use crate::{
    alone,
    vm::check_found,
    vm_diagnosed::check_found_if_busy,
    vm_machine::{Restore, ask_for_a_module, capture_during, only_in_a_vm, slow_helper},
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
/// Works that sleep, each on a kworker of its own until the program that it started ends.
const ASLEEP: usize = 40;
/// What is left of threads for kctx, those programs and kworkers: too few. Whether the last is taken by a kworker or by a program goes by
/// what there was before, so that one of these may leave a kworker to spare.
const LEFT: [u64; 4] = [40, 41, 42, 43];

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
    only_in_a_vm()?;
    let _modprobe = slow_helper("exec sleep 12")?;
    for left in LEFT {
        let bundle = capture_without_threads(left)?;
        let rescued: Duration = (bundle.summary.kthread.iter())
            .filter(|row| row.comm.starts_with("kworker/R-") || row.comm == row.workqueue)
            .map(|row| Duration::from_nanos(row.cpu_ns))
            .sum();
        println!("rescuers ran for {rescued:?}");
        if rescued > Duration::from_millis(11) {
            check_found(&bundle, "WQ-RESCUE");
            return Ok(());
        }
        let found = bundle.findings();
        let is_found = found.iter().any(|known| known == "WQ-RESCUE");
        assert!(!is_found || rescued > Duration::from_millis(9), "{found:?}");
    }
    bail!("there always was a kworker to spare")
}

/// Captures while that many threads could be made and more are wanted.
fn capture_without_threads(left: u64) -> Result<Bundle> {
    // These are there before no more can be made.
    let namespaces = situation::other::namespaces()?;
    let begin = Arc::new(Barrier::new(ASLEEP + 1));
    let asking: Vec<_> = (0..ASLEEP)
        .map(|_| {
            let begin = Arc::clone(&begin);
            std::thread::spawn(move || {
                begin.wait();
                ask_for_a_module();
            })
        })
        .collect();
    let restore = Restore::after(THREADS_MAX, &(threads()? + left).to_string())?;
    let bundle = capture_during(|| {
        begin.wait();
        std::thread::sleep(LASTS);
        println!("{} threads", threads()?);
        // What ends the capture may want some.
        drop(restore);
        Ok(())
    })?;
    drop(namespaces);
    for asking in asking {
        let _ = asking.join();
    }
    Ok(bundle)
}
