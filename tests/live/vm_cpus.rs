//! CPUs that go and come back, in a VM only.

use std::{fs, path::Path, time::Duration};

use anyhow::{Context as _, Result};
use kctx_tests::{bundle::Bundle, kernel, left_out::left_out, load, program::Running};
use rustix::process::Signal;

use crate::{
    Output, alone,
    conservation::check_conservation,
    in_vm,
    vm_machine::{capture_during, check_sums, check_waits},
};

const ONLINE: &str = "/sys/devices/system/cpu/cpu1/online";

/// Whether CPU 1 of this VM can be taken away.
fn can_go() -> bool {
    assert!(in_vm(), "for a VM only: cargo xtask vm");
    let can = Path::new(ONLINE).exists();
    if !can {
        left_out("this kernel cannot take CPU 1 away");
    }
    can
}

/// CPU 1 is away, until this is dropped.
struct Gone;

impl Gone {
    fn take() -> Result<Self> {
        fs::write(ONLINE, "0").context("CPU 1 cannot be taken away")?;
        let gone = Self;
        let state = fs::read_to_string(ONLINE)?;
        anyhow::ensure!(state.trim() == "0", "CPU 1 is still there");
        Ok(gone)
    }
}

impl Drop for Gone {
    fn drop(&mut self) {
        let _ = fs::write(ONLINE, "1");
    }
}

#[test]
#[ignore = "takes a CPU away: in a VM only, by cargo xtask vm"]
fn vm_a_cpu_goes_and_comes_back() -> Result<()> {
    const AWAY: Duration = Duration::from_secs(3);
    let _alone = alone();
    if !can_go() {
        return Ok(());
    }
    let bundle = capture_during(|| {
        let udp = load::udp_on(0)?;
        for _ in 0..2 {
            let gone = Gone::take()?;
            std::thread::sleep(AWAY);
            drop(gone);
            std::thread::sleep(Duration::from_millis(500));
        }
        assert!(udp.rounds() > 10, "the load did not run");
        drop(udp);
        // What is received on CPU 1 from now on was sent after it came back.
        let back = load::udp_on(1)?;
        std::thread::sleep(Duration::from_secs(1));
        assert!(back.rounds() > 10, "the load did not run");
        Ok(())
    })?;
    check_waits(&bundle.summary, AWAY);
    check_sums(&bundle.summary);
    let back: u64 = (bundle.summary.softirq.iter())
        .filter(|row| row.cpu == 1 && row.vector == "NET_RX")
        .map(|row| row.count)
        .sum();
    assert!(back > 10, "next to nothing of CPU 1 after it came back");
    Ok(())
}

/// The last thing that ran on a CPU that is offline was the thread that took it down. It does not run on.
#[test]
#[ignore = "takes a CPU away: in a VM only, by cargo xtask vm"]
fn vm_a_cpu_that_is_away_is_not_busy() -> Result<()> {
    let _alone = alone();
    if !can_go() {
        return Ok(());
    }
    let output = Output::new()?;
    let path = output.path();
    let path_text = path.to_string_lossy();
    let mut capture = Running::kctx(["capture", "--window", "100s", "-o", &path_text])?;
    capture.wait_until_open()?;
    let gone = Gone::take()?;
    std::thread::sleep(Duration::from_secs(3));
    // The window closes while the CPU is away.
    capture.signal(Signal::INT)?;
    capture.wait(Duration::from_secs(60))?.cut_short()?;
    drop(gone);
    let summary = Bundle::read(&path)?.summary;
    check_conservation(&summary);
    check_sums(&summary);
    let cpu = (summary.cpu.iter().find(|row| row.cpu == 1)).context("no row of CPU 1")?;
    println!("{cpu:?} of {}", summary.window.duration_ns);
    if let Some(kthread_ns) = cpu.kthread_ns {
        assert!(kthread_ns < 1_000_000_000, "{cpu:?}");
        assert!(
            cpu.rest_ns > Some(summary.window.duration_ns / 2),
            "{cpu:?}"
        );
    }
    let stopper = (summary.kthread.iter()).filter(|row| row.comm == "migration/1");
    let ran_ns: u64 = stopper.map(|row| row.cpu_ns).sum();
    assert!(ran_ns < 1_000_000_000, "migration/1 ran for {ran_ns} ns");
    Ok(())
}

/// A perf event ends with its CPU, and does not come back with it.
#[test]
#[ignore = "takes a CPU away: in a VM only, by cargo xtask vm"]
fn vm_a_cpu_that_came_back_is_sampled_again() -> Result<()> {
    let _alone = alone();
    if !can_go() {
        return Ok(());
    }
    // Debian's 3 is for CAP_SYS_ADMIN alone, which kctx has given up when the CPU comes back. This VM is our own.
    fs::write("/proc/sys/kernel/perf_event_paranoid", "2")?;
    let all = kernel::online_cpus()?.len();
    let mut run = Running::kctx(["run", "--duration", "80s"])?;
    run.wait_until_open()?;
    let sampled = || kernel::perf_events_of(run.pid());
    // The classic tracepoints hang on such events too.
    let before = sampled()?;
    let others = before
        .checked_sub(all)
        .with_context(|| format!("{before} perf events"))?;
    let until = |cpus: usize| -> Result<()> {
        for _ in 0..300 {
            if sampled()? == others + cpus {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        let now = sampled()?.saturating_sub(others);
        panic!("{now} CPUs are sampled, not {cpus}: {}", run.read_stderr()?)
    };
    let gone = Gone::take()?;
    until(all - 1)?;
    drop(gone);
    until(all)?;
    run.signal(Signal::INT)?;
    run.wait(Duration::from_secs(30))?.success()?;
    Ok(())
}
