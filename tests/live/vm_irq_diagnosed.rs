//! Causes in interrupts and in what keeps their threads waiting: provoked in a VM, whose devices are ours.

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use kctx_tests::{bundle::Bundle, edu::Edu, left_out::left_out, load};

use crate::{
    alone,
    vm::check_found,
    vm_machine::{Restore, capture_during},
    vm_network::Cards,
};

/// How long each lasts.
const LASTS: Duration = Duration::from_secs(4);

/// Whether handlers are threads, by `threadirqs` or since it is PREEMPT_RT.
fn handlers_are_threads() -> bool {
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    read("/proc/cmdline").contains("threadirqs") || read("/sys/kernel/realtime").trim() == "1"
}

/// The line of the second serial port (`SERIAL_PORT_DFNS`, arch/x86/include/asm/serial.h).
const SERIAL: &str = "3";
const SERIAL_AFFINITY: &str = "/proc/irq/3/smp_affinity_list";
/// That of the network cards.
const CARDS: &str = "11";
const CARDS_AFFINITY: &str = "/proc/irq/11/smp_affinity_list";

/// A device without a driver raises the line that it shares with the cards, whose handlers say that it was not theirs.
#[test]
#[ignore = "has the kernel turn an interrupt line off: in a VM only, by cargo xtask vm"]
fn vm_interrupts_that_nobody_claims_are_found() -> Result<()> {
    let _alone = alone();
    if handlers_are_threads() {
        left_out("the line is off until its threads have run: they keep no CPU busy");
        return Ok(());
    }
    let Some(edu) = Edu::find()? else {
        left_out("this machine has no such device");
        return Ok(());
    };
    let Some(cards) = Cards::bring_up_if_any()? else {
        return Ok(());
    };
    let bundle = capture_during(|| {
        let _restore = Restore::after(CARDS_AFFINITY, "0")?;
        load::pin(1)?;
        edu.raise();
        std::thread::sleep(LASTS);
        edu.acknowledge();
        Ok(())
    })?;
    drop(cards);
    let lines = (bundle.summary.hardirq.iter())
        .filter(|row| row.irq.is_some_and(|irq| irq.to_string() == CARDS));
    let unclaimed: u64 = lines.map(|row| row.unhandled).sum();
    println!("{unclaimed} calls of handlers for nothing");
    assert!(unclaimed > 10_000, "{unclaimed}");
    check_found(&bundle, "IRQ-SPURIOUS");
    assert_eq!(
        bundle.findings().first().map(String::as_str),
        Some("IRQ-SPURIOUS")
    );
    Ok(())
}

/// The serial line kept busy, its interrupts on one CPU and who writes to it on another.
fn capture_busy_line(interrupts: &str, writer: u32) -> Result<Bundle> {
    capture_during(|| {
        let _restore = Restore::after(SERIAL_AFFINITY, interrupts)?;
        let line = load::serial_line(writer)?;
        std::thread::sleep(LASTS);
        drop(line);
        Ok(())
    })
}

/// A serial line whose handler sends as long as there is something to send.
#[test]
#[ignore = "writes to a serial line: in a VM only, by cargo xtask vm"]
fn vm_handlers_that_are_long_and_take_the_cpu_are_found() -> Result<()> {
    let _alone = alone();
    let bundle = capture_busy_line("0", 1)?;
    let rows = bundle.summary.hardirq.iter();
    let rows: Vec<_> = rows
        .filter(|row| row.irq.is_some_and(|irq| irq.to_string() == SERIAL))
        .collect();
    println!("{rows:?}");
    let threads = bundle.summary.kthread.iter();
    let thread = threads
        .filter(|row| row.comm.starts_with("irq/3-"))
        .map(|row| row.cpu_net_ns);
    let handlers = rows.iter().map(|row| row.service.sum_ns);
    let threaded = handlers_are_threads();
    let taken_ns = if threaded {
        thread.max()
    } else {
        handlers.max()
    };
    let share = taken_ns.unwrap_or_default() as f64 / bundle.summary.window.duration_ns as f64;
    // How fast an emulated CPU writes to an emulated port, nobody knows.
    assert!(share > 0.1, "a line that is always busy takes {share}");
    check_if(&bundle, "IRQ-STORM", share >= 0.5);
    if !threaded {
        let mut rows = rows.iter();
        let long = rows.any(|row| row.service.count >= 20 && row.service.p99_ns >= 1_000_000);
        check_if(&bundle, "IRQ-LONG", long);
    }
    Ok(())
}

/// Found where the rule's threshold is reached, and not elsewhere.
pub(crate) fn check_if(bundle: &Bundle, id: &str, reached: bool) {
    if reached {
        check_found(bundle, id);
    } else {
        let found = bundle.findings();
        assert!(found.iter().all(|known| known != id), "{found:?}");
    }
}

/// The kernel's own lines, a hundred and more of them a second.
#[test]
#[ignore = "floods the kernel's log: in a VM only, by cargo xtask vm"]
fn vm_a_log_without_end_is_found() -> Result<()> {
    let _alone = alone();
    let bundle = capture_during(|| {
        let begun = Instant::now();
        while begun.elapsed() < LASTS {
            // What memory there is (drivers/tty/sysrq.c): some fifty lines.
            fs::write("/proc/sysrq-trigger", "m")?;
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    })?;
    check_found(&bundle, "LOG");
    Ok(())
}

/// Where the kernel thread of that comm ran last.
fn last_cpu_of(comm: &str) -> Result<u32> {
    for process in fs::read_dir("/proc")? {
        let folder = process?.path();
        let is_it = fs::read_to_string(folder.join("comm")).is_ok_and(|own| own.trim() == comm);
        if is_it {
            // What follows the comm begins with the third field; `processor` is the 39th.
            let stat = fs::read_to_string(folder.join("stat"))?;
            let (_, fields) = stat.rsplit_once(')').context("no comm in stat")?;
            let cpu = fields
                .split_whitespace()
                .nth(36)
                .context("no CPU in stat")?;
            return Ok(cpu.parse()?);
        }
    }
    anyhow::bail!("there is no {comm}")
}

/// A task of a higher priority than the thread of an interrupt.
#[test]
#[ignore = "takes a CPU from its interrupts' threads: in a VM only, by cargo xtask vm"]
fn vm_threads_of_interrupts_that_have_to_wait_are_found() -> Result<()> {
    let _alone = alone();
    if !handlers_are_threads() {
        left_out("handlers are no threads here: cargo xtask vm --append threadirqs");
        return Ok(());
    }
    let bundle = capture_during(|| {
        let _restore = Restore::after(SERIAL_AFFINITY, "0")?;
        let line = load::serial_line(1)?;
        std::thread::sleep(LASTS / 8);
        // It goes where its interrupt does, but not at once on each kernel.
        let cpu = last_cpu_of("irq/3-ttyS1")?;
        println!("its thread is on CPU {cpu}");
        let hog = load::real_time_turns(cpu, Duration::from_millis(30))?;
        std::thread::sleep(LASTS);
        drop(hog);
        drop(line);
        Ok(())
    })?;
    let threads = bundle.summary.kthread.iter();
    let threads: Vec<_> = threads.filter(|row| row.role == "irq").collect();
    println!("{threads:?}");
    check_found(&bundle, "IRQ-THREAD");
    Ok(())
}

/// Interrupts of a CPU that was set apart.
#[test]
#[ignore = "wants a CPU that was set apart: in a VM only, by cargo xtask vm"]
fn vm_cpus_that_are_set_apart_and_not_left_alone_are_found() -> Result<()> {
    let _alone = alone();
    let isolated = Path::new("/sys/devices/system/cpu/isolated");
    if fs::read_to_string(isolated).unwrap_or_default().trim() != "1" {
        left_out("no CPU is set apart here: cargo xtask vm --append isolcpus=1");
        return Ok(());
    }
    let bundle = capture_busy_line("1", 0)?;
    check_found(&bundle, "ISO");
    Ok(())
}
