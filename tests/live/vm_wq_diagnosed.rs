//! Causes that want more CPUs, or a kernel that can make no thread: provoked in a VM, and found by a diagnosis.

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use kctx_tests::{
    left_out::left_out,
    load::{self, Load},
    situation,
};

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
/// What is left of it for kctx to begin with.
const LEFT: u64 = 40;
/// Modules may be asked for so many at a time (`MAX_KMOD_CONCURRENT`, kernel/module/kmod.c).
const MOST_ASLEEP: usize = 50;

/// How many threads there are.
fn threads() -> Result<u64> {
    let load = fs::read_to_string("/proc/loadavg")?;
    let all = load
        .split(['/', ' '])
        .nth(4)
        .context("/proc/loadavg has no number of threads")?;
    Ok(all.parse()?)
}

/// How many processes, and kernel threads, have a name that begins so.
fn named(start: &str) -> Result<usize> {
    let mut count = 0;
    for process in fs::read_dir("/proc")? {
        // One that ended meanwhile has none.
        let comm = fs::read_to_string(process?.path().join("comm"));
        count += usize::from(comm.is_ok_and(|comm| comm.starts_with(start)));
    }
    Ok(count)
}

/// Threads that do nothing until they are dropped: as many as can be made.
struct Threads {
    done: Arc<AtomicBool>,
    all: Vec<JoinHandle<()>>,
}

impl Threads {
    fn as_many_as_can_be() -> Self {
        let done = Arc::new(AtomicBool::new(false));
        let spawn = || {
            let done = Arc::clone(&done);
            let wait = move || {
                while !done.load(Ordering::Relaxed) {
                    std::thread::park();
                }
            };
            std::thread::Builder::new().spawn(wait).ok()
        };
        let all = std::iter::from_fn(spawn).take(1000).collect();
        Self { done, all }
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.done.store(true, Ordering::Relaxed);
        for thread in self.all.drain(..) {
            thread.thread().unpark();
            let _ = thread.join();
        }
    }
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
    // More works that sleep than there are kworkers to spare: each waits for the end of a program that it started.
    let _modprobe = slow_helper("exec sleep 40")?;
    let asleep = (named("kworker/u")? + 8).min(MOST_ASLEEP);
    let asking: Vec<_> = (0..asleep)
        .map(|_| std::thread::spawn(ask_for_a_module))
        .collect();
    let begun = Instant::now();
    while named("sleep")? < asleep {
        ensure!(
            begun.elapsed() < Duration::from_secs(20),
            "modprobe is not asked for"
        );
        std::thread::sleep(Duration::from_millis(50));
    }
    let restore = Restore::after(THREADS_MAX, &(threads()? + LEFT).to_string())?;
    let mut threads = None;
    let bundle = capture_during(|| {
        let held = Arc::new(AtomicBool::new(true));
        let loads = situation::other::works_once(&held)?;
        threads = Some(Threads::as_many_as_can_be());
        held.store(false, Ordering::Relaxed);
        std::thread::sleep(LASTS);
        loads.iter().for_each(Load::end_soon);
        // What ends the capture may want some.
        drop(restore);
        drop(loads);
        Ok(())
    })?;
    drop(threads);
    for asking in asking {
        let _ = asking.join();
    }
    // Which kworkers a queue shares with others, and so whether there was one left for it, is the kernel's to say.
    let rescued: Duration = (bundle.summary.kthread.iter())
        .filter(|row| row.comm.starts_with("kworker/R-") || row.comm == row.workqueue)
        .map(|row| Duration::from_nanos(row.cpu_ns))
        .sum();
    println!("rescuers ran for {rescued:?}");
    if rescued > Duration::from_millis(11) {
        check_found(&bundle, "WQ-RESCUE");
    } else if rescued < Duration::from_millis(9) {
        let found = bundle.findings();
        assert!(found.iter().all(|known| known != "WQ-RESCUE"), "{found:?}");
    }
    Ok(())
}
