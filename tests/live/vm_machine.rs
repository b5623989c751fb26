//! What happens to a machine, in a VM only: a work of five seconds, suspend to memory, a wall clock that is set, taint
//! and log.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use kctx::{aggregate::window::Family, report::summary::Summary};
use kctx_tests::{
    bottom_half::Holder,
    bundle::Bundle,
    left_out::left_out,
    load,
    program::run_command,
    trace::{self, Trace},
};

use crate::{alone, conservation::check_conservation, in_vm, without_btf};

/// For what nobody would want done to their machine.
pub(crate) fn only_in_a_vm() -> Result<()> {
    ensure!(in_vm(), "for a VM only: cargo xtask vm");
    Ok(())
}

pub(crate) fn capture_during(during: impl FnOnce() -> Result<()>) -> Result<Bundle> {
    only_in_a_vm()?;
    let bundle = crate::capture_during(during)?;
    check_conservation(&bundle.summary);
    Ok(bundle)
}

pub(crate) fn tool(words: &[&str]) -> Result<()> {
    let mut command = Command::new(words[0]);
    command.args(&words[1..]);
    run_command(command)?
        .success()
        .with_context(|| words.join(" "))?;
    Ok(())
}

/// No wait is as long as the time that the CPU, or the machine, was away.
pub(crate) fn check_waits(summary: &Summary, away: Duration) {
    let away = away.as_nanos() as u64;
    for row in &summary.softirq {
        assert!(row.wait.max_ns < away, "{row:?}");
        assert!(row.service.max_ns < away, "{row:?}");
    }
}

pub(crate) fn check_sums(summary: &Summary) {
    if without_btf() {
        return;
    }
    let window = summary.window.duration_ns;
    // An emulated CPU may have to wait for its turn between a window's stamp and the reading of the times.
    let turn_ns = if in_vm() { 20_000_000 } else { 0 };
    for cpu in &summary.cpu {
        let parts = [cpu.ksoftirqd_ns, cpu.kthread_ns, cpu.rest_ns];
        let tasks: u64 = parts.iter().map(|part| part.unwrap_or_default()).sum();
        let sum = cpu.hardirq_ns + cpu.softirq_ns + tasks;
        assert!(
            sum.abs_diff(window) <= window / 100 + turn_ns,
            "{sum} of {window}: {cpu:?}"
        );
    }
}

#[test]
#[ignore = "suspends the machine: in a VM only, by cargo xtask vm"]
fn vm_a_suspended_machine_goes_on_measuring() -> Result<()> {
    const ASLEEP: Duration = Duration::from_secs(4);
    let _alone = alone();
    let states = fs::read_to_string("/sys/power/state").unwrap_or_default();
    let alarm = Path::new("/sys/class/rtc/rtc0/wakealarm");
    if in_vm() && (!states.contains("mem") || !alarm.exists()) {
        left_out("no suspend to memory here, or no clock to wake up by");
        return Ok(());
    }
    // `CLOCK_MONOTONIC`, which stands still while the machine sleeps.
    let started = Instant::now();
    let mut asleep = Duration::ZERO;
    let bundle = capture_during(|| {
        fs::write(alarm, "0")?;
        fs::write(alarm, format!("+{}", ASLEEP.as_secs()))?;
        let (unix_ns, awake) = (kctx::host::clock::unix_ns(), Instant::now());
        fs::write("/sys/power/state", "mem").context("the machine did not suspend")?;
        let passed = kctx::host::clock::unix_ns().saturating_sub(unix_ns);
        asleep = Duration::from_nanos(passed).saturating_sub(awake.elapsed());
        std::thread::sleep(Duration::from_secs(1));
        Ok(())
    })?;
    let window = Duration::from_nanos(bundle.summary.window.duration_ns);
    println!("it slept for {asleep:?}; window {window:?}");
    assert!(asleep >= ASLEEP / 2, "it did not sleep: {asleep:?}");
    assert!(
        window >= Duration::from_secs(1) && window <= started.elapsed(),
        "suspended time is none: {window:?}"
    );
    // Emulated processors, many of them above all, take seconds to come back, and for the machine to fall asleep.
    check_waits(&bundle.summary, Duration::from_secs(3).max(asleep / 2));
    check_sums(&bundle.summary);
    Ok(())
}

#[test]
#[ignore = "sets the clock: in a VM only, by cargo xtask vm"]
fn vm_the_wall_clock_may_be_set() -> Result<()> {
    let _alone = alone();
    let started = Instant::now();
    let bundle = capture_during(|| {
        // Two hours back, then to where it was.
        for hours in [-2_i64, 2] {
            let now = (kctx::host::clock::unix_ns() / 1_000_000_000).cast_signed();
            tool(&["date", "-s", &format!("@{}", now + hours * 3600)])?;
            std::thread::sleep(Duration::from_millis(500));
        }
        Ok(())
    })?;
    let window = Duration::from_nanos(bundle.summary.window.duration_ns);
    assert!(
        window >= Duration::from_secs(1) && window <= started.elapsed(),
        "{window:?}"
    );
    check_waits(&bundle.summary, Duration::from_secs(3600));
    check_sums(&bundle.summary);
    Ok(())
}

/// A protocol family that no kernel here has built in, so that it asks for a module (net/socket.c).
/// `AF_IEEE802154`
const FAMILY: u16 = 36;

pub(crate) fn ask_for_a_module() {
    let family = rustix::net::AddressFamily::from_raw(FAMILY);
    let _ = rustix::net::socket(family, rustix::net::SocketType::DGRAM, None);
}

/// Asking for a module runs a program, and the work that starts it waits for its end
/// (`call_usermodehelper_exec_work`, kernel/umh.c).
pub(crate) fn slow_helper(script: &str) -> Result<Restore> {
    let path = "/tmp/slow-modprobe";
    fs::write(path, format!("#!/bin/sh\n{script}\n"))?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755))?;
    Restore::after("/proc/sys/kernel/modprobe", path)
}

/// A setting as it was before.
pub(crate) struct Restore(&'static str, String);

impl Restore {
    /// Sets it until this is dropped.
    pub(crate) fn after(setting: &'static str, value: &str) -> Result<Self> {
        let before = fs::read_to_string(setting).context(setting)?;
        fs::write(setting, value).context(setting)?;
        Ok(Self(setting, before))
    }
}

impl Drop for Restore {
    fn drop(&mut self) {
        let _ = fs::write(self.0, self.1.trim_end());
    }
}

const HELPER: &str = "call_usermodehelper_exec_work";

/// More than 32 bits of nanoseconds hold.
#[test]
#[ignore = "keeps a CPU in one softirq for five seconds: in a VM only, by cargo xtask vm"]
fn vm_a_softirq_that_waits_five_seconds_has_waited_them() -> Result<()> {
    let _alone = alone();
    let mut held = Duration::ZERO;
    let trace = Trace::start(&["irq/softirq_exit", "irq/softirq_entry", "irq/softirq_raise"])?;
    let bundle = capture_during(|| {
        load::pin(0)?;
        // Emulated, it may take half as long as was measured beforehand.
        for seconds in [7, 14] {
            held = Holder::that_takes(Duration::from_secs(seconds))?.hold_net_rx()?;
            if held > Duration::from_secs(5) {
                break;
            }
        }
        Ok(())
    })?;
    let longest = (bundle.summary.softirq.iter())
        .max_by_key(|row| row.wait.max_ns)
        .context("no softirqs")?;
    // Whatever the timer's interrupt raises has to wait for NET_RX, from its first tick on.
    let theirs = trace::softirqs(&trace.stop()?, &(0..u64::MAX));
    let theirs = theirs.values().map(|runs| runs.wait_max_ns).max();
    let theirs_ns = theirs.unwrap_or_default();
    println!("held for {held:?}; the trace: {theirs_ns} ns; {longest:?}");
    assert!(
        theirs_ns > 4_400_000_000,
        "held for {held:?}, but the longest wait in the trace is {theirs_ns} ns"
    );
    assert!(
        longest.wait.max_ns.abs_diff(theirs_ns) < theirs_ns / 20,
        "{longest:?}"
    );
    check_sums(&bundle.summary);
    Ok(())
}

#[test]
#[ignore = "replaces modprobe: in a VM only, by cargo xtask vm"]
fn vm_a_work_of_five_seconds_is_measured_whole() -> Result<()> {
    let _alone = alone();
    only_in_a_vm()?;
    let _restore = slow_helper("sleep 5")?;
    let bundle = capture_during(|| {
        ask_for_a_module();
        Ok(())
    })?;
    let row = (bundle.summary.workqueue.iter())
        .find(|row| row.function == HELPER)
        .with_context(|| format!("no row of {HELPER}: {:?}", bundle.summary.workqueue))?;
    println!("{row:?}");
    // More than 32 bits of nanoseconds hold; and it slept nearly all of it.
    assert!(
        (4_900_000_000..20_000_000_000).contains(&row.service.max_ns),
        "{row:?}"
    );
    if !without_btf() {
        assert!(row.service_net.max_ns < 1_000_000_000, "{row:?}");
    }
    Ok(())
}

#[test]
#[ignore = "replaces modprobe: in a VM only, by cargo xtask vm"]
fn vm_a_work_that_had_begun_before_is_not_guessed() -> Result<()> {
    let _alone = alone();
    only_in_a_vm()?;
    // However long the probes take to attach, the work goes on until it is told.
    const TOLD: &str = "/tmp/modprobe-may-end";
    let _ = fs::remove_file(TOLD);
    let _restore = slow_helper(&format!("while [ ! -e {TOLD} ]; do sleep 1; done"))?;
    let asking = std::thread::spawn(ask_for_a_module);
    std::thread::sleep(Duration::from_millis(300));
    let bundle = capture_during(|| {
        fs::write(TOLD, "")?;
        asking
            .join()
            .map_err(|_| anyhow::anyhow!("the asking thread panicked"))?;
        Ok(())
    })?;
    let counts = &bundle.summary.accounting.by_family[&Family::Workqueue];
    println!("{counts:?}");
    assert!(
        counts
            .partial
            .get("end_without_start")
            .copied()
            .unwrap_or(0)
            >= 1,
        "{counts:?}"
    );
    let whole = (bundle.summary.workqueue.iter())
        .any(|row| row.function == HELPER && row.service.max_ns > 5_000_000_000);
    assert!(
        !whole,
        "its beginning was not seen: {:?}",
        bundle.summary.workqueue
    );
    Ok(())
}

/// `KDSKBLED` (include/uapi/linux/kd.h): has the keyboard's lights set, which a tasklet does (`set_leds`,
/// drivers/tty/vt/keyboard.c).
const KDSKBLED: libc::Ioctl = 0x4b65;

/// The console, whose keyboard has lights.
pub(crate) fn keyboard() -> Result<fs::File> {
    let mut options = fs::File::options();
    let console = options.read(true).write(true).open("/dev/tty1");
    console.context("cannot open /dev/tty1")
}

/// Another pattern for each number.
#[allow(unsafe_code)]
pub(crate) fn set_lights(keyboard: &fs::File, number: u64) -> Result<()> {
    use std::os::fd::AsRawFd as _;
    // SAFETY: the argument is a number.
    let result = unsafe { libc::ioctl(keyboard.as_raw_fd(), KDSKBLED, number & 7) };
    ensure!(result == 0, "{}", std::io::Error::last_os_error());
    Ok(())
}

#[test]
#[ignore = "sets a keyboard's lights: in a VM only, by cargo xtask vm"]
fn vm_tasklets_are_counted_by_function() -> Result<()> {
    const TIMES: u64 = 50;
    let _alone = alone();
    let has_tracepoint = Path::new("/sys/kernel/tracing/events/irq/tasklet_exit").is_dir();
    let trace = has_tracepoint
        .then(|| Trace::start(&["irq/tasklet_exit"]))
        .transpose()?;
    let bundle = capture_during(|| {
        let keyboard = keyboard()?;
        for i in 0..TIMES {
            set_lights(&keyboard, i)?;
            // Not two at once: one that is pending already is not scheduled again.
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    })?;
    let Some(trace) = trace else {
        left_out("this kernel has no tracepoints for tasklets");
        return Ok(());
    };
    // The lights are set at other times too.
    let events = trace.stop()?;
    let theirs = events
        .iter()
        .filter(|event| event.fields.ends_with("function=kbd_bh"));
    let theirs = theirs.count() as u64;
    let row = (bundle.summary.tasklet.iter())
        .find(|row| row.function == "kbd_bh")
        .with_context(|| format!("no row of kbd_bh: {:?}", bundle.summary.tasklet))?;
    println!("{row:?}");
    assert!(theirs >= TIMES - 5, "the trace has {theirs}");
    assert!(
        row.count.abs_diff(theirs) <= 5,
        "the trace has {theirs}: {row:?}"
    );
    assert_eq!(
        (row.service.count, row.service_net.count),
        (row.count, row.count)
    );
    assert!(
        row.service.p50_ns > 0 && row.service_net.sum_ns <= row.service.sum_ns,
        "{row:?}"
    );
    // All of them ran inside of TASKLET or HI.
    let softirqs: u64 = (bundle.summary.softirq.iter())
        .filter(|softirq| softirq.vector == "TASKLET" || softirq.vector == "HI")
        .map(|softirq| softirq.service.sum_ns)
        .sum();
    let tasklets: u64 = bundle
        .summary
        .tasklet
        .iter()
        .map(|row| row.service.sum_ns)
        .sum();
    assert!(tasklets <= softirqs, "{tasklets} ns of {softirqs}");
    Ok(())
}

#[test]
#[ignore = "taints the kernel and has it log: in a VM only, by cargo xtask vm"]
fn vm_taint_and_log_are_seen_as_they_come() -> Result<()> {
    /// `TAINT_WARN`, bit 9: `W`
    const WARN: &str = "512";
    let _alone = alone();
    let tainted = "/proc/sys/kernel/tainted";
    let mut before = 0_u64;
    let bundle = capture_during(|| {
        before = fs::read_to_string(tainted)?.trim().parse()?;
        fs::write(tainted, WARN).context("cannot taint the kernel")?;
        // The kernel itself says what keys there are (drivers/tty/sysrq.c).
        fs::write("/proc/sysrq-trigger", "h")?;
        std::thread::sleep(Duration::from_millis(600));
        Ok(())
    })?;
    let changes = &bundle.summary.taint.changes;
    println!("{before} {changes:?} {:?}", bundle.summary.log);
    let window = &bundle.summary.window;
    let span = window.start_unix_ns..window.start_unix_ns + window.duration_ns;
    if before & 512 == 0 {
        let [change] = &changes[..] else {
            panic!("one change: {changes:?}");
        };
        assert_eq!((change.before, change.after), (before, before | 512));
        assert_eq!(change.added, "W");
        assert!(span.contains(&change.time_unix_ns), "{change:?}");
        crate::vm::check_found(&bundle, "TAINT");
    }
    let log = &bundle.summary.log;
    let line = (log.lines.iter()).find(|line| line.text.starts_with("sysrq: HELP"));
    assert!(line.is_some(), "{log:?}");
    // Whatever printk's clock says, and whatever was logged while the probes were attached.
    let in_window = |unix_ns| span.contains(&unix_ns) || unix_ns == span.end;
    assert!(
        log.lines.iter().all(|line| in_window(line.time_unix_ns)),
        "{log:?}"
    );
    let counted: u64 = log.by_level.iter().sum();
    assert!(counted >= log.lines.len() as u64, "{log:?}");
    Ok(())
}
