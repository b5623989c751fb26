//! `kctx top` on this kernel, by what the screen shows.

use std::time::Duration;

use anyhow::{Context as _, Result};
use kctx_tests::{left_out::left_out, load, program, tmux::Terminal};

use crate::{alone, capture, in_vm};

/// Between two looks at a screen that must not change: two windows and a half.
const LOOK: Duration = Duration::from_millis(2500);

/// `kctx top` on a terminal, once it has shown a window.
fn top(columns: u16, lines: u16) -> Result<Terminal> {
    let terminal = Terminal::open(columns, lines)?;
    terminal.enter(&format!(
        "clear; {} top; echo status $?",
        program::kctx_path()?.display()
    ))?;
    terminal.wait_for("window", |screen| {
        screen.contains("kctx top  LIVE") && screen.contains("\n>")
    })?;
    Ok(terminal)
}

/// A test VM has a busybox and no tmux. What is measured there the other tests see; a terminal is one on any kernel.
fn no_tmux() -> Result<()> {
    assert!(!std::path::Path::new("/usr/bin/tmux").exists());
    left_out("no tmux in a test VM");
    Ok(())
}

/// The screen from when its window was: before that stands how many windows are kept, which goes on while it pauses, as the
/// notes on the last line do.
fn looked_at(screen: &str) -> &str {
    let (_, from) = screen.split_once("PAUSED ").unwrap_or(("", screen));
    let from = from.split_once("  ").map_or(from, |(_, when)| when);
    from.trim_end()
        .rsplit_once('\n')
        .map_or(from, |(table, _)| table)
}

/// Vector, CPU and share in per cent of the first row.
fn first_softirq(screen: &str) -> Option<(String, u32, f64)> {
    let row = screen.lines().find(|line| line.starts_with('>'))?;
    let mut words = row[1..].split_whitespace();
    let (vector, cpu) = (words.next()?, words.next()?);
    let words: Vec<&str> = words.collect();
    let percent = words.iter().position(|word| *word == "%")?;
    let share = words.get(percent.checked_sub(1)?)?.parse().ok()?;
    Some((vector.to_owned(), cpu.parse().ok()?, share))
}

#[test]
fn the_softirq_that_is_provoked_is_first_on_its_cpu_with_its_share() -> Result<()> {
    if in_vm() {
        return no_tmux();
    }
    let _alone = alone();
    let online = kctx::host::cpus::online(&kctx::host::HostRoot::system())?;
    let cpu = *online.last().context("a CPU is online")?;
    let _udp = load::udp_on(cpu)?;
    let captured = capture("2s", &[])?;
    let rows = captured.summary.softirq.iter();
    let rows = rows.filter(|row| row.vector == "NET_RX" && row.cpu == cpu);
    let ns = rows.map(|row| row.service_net.sum_ns).max().unwrap_or(0);
    let wanted = ns as f64 * 100.0 / captured.summary.window.duration_ns as f64;

    let terminal = top(80, 24)?;
    // The machine has other things to do now and then: one of its windows is like the capture's.
    let near = |screen: &str| {
        first_softirq(screen).is_some_and(|(vector, on, share)| {
            vector == "NET_RX" && on == cpu && (wanted * 0.75..wanted * 1.33).contains(&share)
        })
    };
    terminal.wait_for(&format!("NET_RX on CPU {cpu} with {wanted} %"), near)?;
    let screen = terminal.wait_for("busiest", |screen| {
        screen.contains("Busiest: softirq NET_RX")
    })?;
    assert!(screen.contains(&format!("of CPU {cpu}")), "{screen}");
    assert!(
        screen.contains("kctx ") && screen.contains("lost 0"),
        "{screen}"
    );

    // There is to be a window before the one that is held.
    std::thread::sleep(Duration::from_millis(2_500));
    terminal.press("Space")?;
    let held = terminal.wait_for("pause", |screen| screen.contains("PAUSED"))?;
    std::thread::sleep(LOOK);
    let later = terminal.screen()?;
    assert_eq!(looked_at(&later), looked_at(&held), "paused, nothing moves");
    terminal.press("Left")?;
    let before = terminal.wait_for("window before", |screen| {
        screen.contains("PAUSED")
            && looked_at(screen).lines().next() != looked_at(&held).lines().next()
    })?;
    assert_ne!(before.lines().next(), held.lines().next());
    terminal.press("Space")?;
    let live = terminal.wait_for("live", |screen| screen.contains("kctx top  LIVE"))?;
    terminal.wait_for("next window", |screen| {
        screen.lines().next() != live.lines().next()
    })?;

    terminal.type_text("2")?;
    terminal.wait_for("raiser", |screen| {
        let row = screen.lines().find(|line| line.starts_with('>'));
        row.is_some_and(|row| row.contains("NET_RX"))
    })?;
    terminal.press("q")?;
    terminal.wait_for("status", |screen| screen.contains("status 0"))?;
    terminal.check_given_back()
}

/// Whoever asks for its end gets the terminal back, and the kernel its programs.
#[test]
fn a_terminated_top_gives_the_terminal_back_and_leaves_no_program() -> Result<()> {
    if in_vm() {
        return no_tmux();
    }
    let _alone = alone();
    let terminal = top(120, 40)?;
    let pid = terminal.command()?;
    let programs = kctx_tests::kernel::programs_of(pid)?;
    assert!(programs.len() >= 9, "{programs:?}");
    for (thread, set) in kctx_tests::kernel::status_of_threads(pid, "CapEff")? {
        // CAP_SYS_ADMIN (include/uapi/linux/capability.h)
        assert_eq!(u64::from_str_radix(&set, 16)? & 1 << 21, 0, "{thread}");
    }
    let pid = rustix::process::Pid::from_raw(pid.cast_signed()).context("a process id")?;
    rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
    terminal.wait_for("status", |screen| screen.contains("status 0"))?;
    terminal.check_given_back()?;
    for _ in 0..500 {
        if kctx_tests::kernel::still_loaded(&programs)?.is_empty() {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("programs are still loaded: {programs:?}")
}
