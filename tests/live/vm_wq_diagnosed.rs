//! Causes that want more CPUs, or a kernel that can make no thread: provoked in a VM, and found by a diagnosis.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::Result;
use kctx_tests::{left_out::left_out, load, situation};

use crate::{
    alone,
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
/// Works that sleep all the time, more than a pool has kworkers to spare.
const ASLEEP: usize = 12;

/// Works that a kworker has to be made for, and no thread can be made: queues that memory is freed by have one in reserve.
#[test]
#[ignore = "keeps the machine from making threads: in a VM only, by cargo xtask vm"]
fn vm_rescuers_that_work_are_found() -> Result<()> {
    let _alone = alone();
    let _modprobe = slow_helper("sleep 6")?;
    let bundle = capture_during(|| {
        let asleep: Vec<_> = (0..ASLEEP)
            .map(|_| std::thread::spawn(ask_for_a_module))
            .collect();
        let held = Arc::new(AtomicBool::new(true));
        let loads = [
            situation::other::namespaces_once(&held)?,
            situation::other::namespaces_once(&held)?,
        ];
        std::thread::sleep(Duration::from_secs(1));
        let restore = Restore::after(THREADS_MAX, "20")?;
        held.store(false, Ordering::Relaxed);
        std::thread::sleep(LASTS);
        drop(restore);
        drop(loads);
        for asking in asleep {
            let _ = asking.join();
        }
        Ok(())
    })?;
    check_found(&bundle, "WQ-RESCUE");
    Ok(())
}
