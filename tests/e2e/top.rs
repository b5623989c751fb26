//! `kctx top` on a terminal, by what the screen shows, from the recorded bundle.

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use kctx_tests::{
    program,
    tmux::{PROMPT, Terminal},
};
use rustix::process::{Pid, Signal, kill_process};

use crate::{check_usage, sample};

/// What is not over by then will not be.
const PATIENCE: Duration = Duration::from_secs(10);

/// The sample on a terminal of that size, once its table is there.
fn opened(columns: u16, lines: u16) -> Result<(Terminal, String)> {
    opened_with("", columns, lines)
}

fn opened_with(environment: &str, columns: u16, lines: u16) -> Result<(Terminal, String)> {
    let terminal = Terminal::open(columns, lines)?;
    let (kctx, sample) = (program::kctx_path()?, sample());
    terminal.enter(&format!(
        "clear; {environment} {} top {}; echo status $?",
        kctx.display(),
        sample.display()
    ))?;
    let screen = terminal.wait_for("table", |screen| {
        screen.contains("RECORDED 1/1") && screen.contains("\n>")
    })?;
    Ok((terminal, screen))
}

/// The first cell of the selected row.
fn selected(screen: &str) -> Option<&str> {
    let row = screen.lines().find(|line| line.starts_with('>'))?;
    row[1..].split_whitespace().next()
}

#[test]
fn without_a_terminal_it_is_wrong_usage() -> Result<()> {
    for arguments in [vec!["top"], vec!["top", "some.bundle"]] {
        check_usage(
            &program::run(arguments)?,
            &["is not a terminal", "kctx run"],
        );
    }
    Ok(())
}

#[test]
fn a_bundle_is_shown_at_eighty_by_twenty_four() -> Result<()> {
    let (terminal, screen) = opened(80, 24)?;
    for wanted in [
        "Busiest: ",
        "busiest first",
        "cpu0",
        "[1softirq]",
        "vshare",
        "? help",
    ] {
        assert!(screen.contains(wanted), "{wanted}:\n{screen}");
    }
    assert!(terminal.is_taken()?);
    terminal.press("q")?;
    let after = terminal.wait_for("status", |screen| screen.contains("status 0"))?;
    assert!(!after.contains("[1softirq]"), "{after}");
    terminal.check_given_back()
}

#[test]
fn keys_choose_the_table_the_row_and_its_detail() -> Result<()> {
    let (terminal, screen) = opened(100, 40)?;
    let first = selected(&screen).context("a row")?.to_owned();
    terminal.press("Enter")?;
    terminal.wait_for("detail", |screen| {
        screen.contains(&format!("softirq {first} on CPU")) && screen.contains("p99.9")
    })?;
    terminal.press("Escape")?;
    terminal.wait_for("table", |screen| selected(screen) == Some(first.as_str()))?;
    for (key, name) in [
        ("3", "[3irq]"),
        ("Tab", "[4work]"),
        ("BTab", "[3irq]"),
        ("9", "[9probe]"),
    ] {
        terminal.press(key)?;
        terminal.wait_for(name, |screen| screen.contains(name))?;
    }
    terminal.type_text("1r")?;
    terminal.wait_for("another order", |screen| screen.contains("^share"))?;
    terminal.press("?")?;
    terminal.wait_for("help", |screen| screen.contains("Shift-Tab"))?;
    terminal.press("Escape")?;
    terminal.type_text("/rcu")?;
    terminal.wait_for("filter", |screen| {
        screen.contains("filter: rcu_") && selected(screen) == Some("RCU")
    })?;
    terminal.press("Enter")?;
    let filtered = terminal.wait_for("filtered rows", |screen| {
        screen.contains("rows with \"rcu\"")
    })?;
    assert!(!filtered.contains("\n TIMER"), "{filtered}");
    Ok(())
}

#[test]
fn another_size_is_drawn_anew_down_to_nothing() -> Result<()> {
    let (terminal, screen) = opened(80, 24)?;
    assert!(!screen.contains("waitmax"));
    terminal.resize(200, 60)?;
    terminal.wait_for("every column", |screen| {
        screen.contains("waitmax") && screen.contains("Modules, taint and kernel log")
    })?;
    terminal.resize(20, 4)?;
    terminal.wait_for("a small screen", |screen| !screen.contains("waitmax"))?;
    terminal.resize(80, 24)?;
    terminal.wait_for("the table again", |screen| screen.contains("vshare"))?;
    terminal.press("C-c")?;
    terminal.wait_for("status", |screen| screen.contains("status 0"))?;
    terminal.check_given_back()
}

#[test]
fn a_signal_gives_the_terminal_back() -> Result<()> {
    for signal in [Signal::TERM, Signal::INT] {
        let (terminal, _) = opened(80, 24)?;
        let pid = Pid::from_raw(terminal.command()?.cast_signed()).context("a process id")?;
        kill_process(pid, signal)?;
        terminal.wait_for("status", |screen| screen.contains("status 0"))?;
        terminal.check_given_back()?;
    }
    Ok(())
}

/// More than crossterm reads at once.
#[test]
fn what_is_pasted_does_not_stand_before_the_keys() -> Result<()> {
    let (terminal, _) = opened(80, 24)?;
    terminal.type_text(&"j".repeat(3000))?;
    // The last row is selected, and nothing is in the way any more.
    std::thread::sleep(Duration::from_millis(500));
    terminal.press("q")?;
    terminal.wait_for("status", |screen| screen.contains("status 0"))?;
    terminal.check_given_back()
}

/// Also where no hangup signal comes, since it is of another session, and nothing is drawn that would fail.
#[test]
fn a_terminal_that_goes_away_ends_it() -> Result<()> {
    let (terminal, _) = opened_with("setsid -w", 80, 24)?;
    // From the first key on crossterm reads the terminal.
    terminal.type_text("9")?;
    terminal.wait_for("another table", |screen| screen.contains("[9probe]"))?;
    let setsid = terminal.command()?;
    let children = fs::read_to_string(format!("/proc/{setsid}/task/{setsid}/children"))?;
    let pid = children.trim().parse().ok().and_then(Pid::from_raw);
    let pid = pid.context("setsid waits for one")?;
    drop(terminal);
    let gone = || !Path::new(&format!("/proc/{}", pid.as_raw_nonzero())).exists();
    let start = Instant::now();
    while !gone() {
        if start.elapsed() > PATIENCE {
            kill_process(pid, Signal::KILL)?;
            panic!("it outlives its terminal");
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

#[test]
fn a_terminal_without_colour_gets_none() -> Result<()> {
    let (terminal, _) = opened_with("NO_COLOR=1", 80, 24)?;
    const COLOUR: &str = "\x1b[38;5;";
    let plain = terminal.coloured_screen()?;
    // A colour of a palette; 39, the terminal's own, is none.
    assert!(!plain.contains(COLOUR), "{plain:?}");
    drop(terminal);
    let (terminal, _) = opened(80, 24)?;
    let coloured = terminal.coloured_screen()?;
    assert!(coloured.contains(COLOUR), "{coloured:?}");
    Ok(())
}

#[test]
fn a_file_that_is_no_bundle_is_one_line() -> Result<()> {
    let terminal = Terminal::open(120, 24)?;
    terminal.enter(&format!(
        "clear; {} top /dev/null; echo status $?",
        program::kctx_path()?.display()
    ))?;
    let screen = terminal.wait_for("status", |screen| screen.contains("status 1"))?;
    assert!(screen.contains("kctx: cannot show /dev/null: "), "{screen}");
    assert!(screen.trim_end().ends_with(PROMPT), "{screen}");
    Ok(())
}

/// Set in the one that panics.
const PANICS: &str = "KCTX_TESTS_PANICS";

/// This test starts itself once more, on a terminal.
#[test]
fn a_panic_gives_the_terminal_back_and_is_read() -> Result<()> {
    if std::env::var_os(PANICS).is_some() {
        let screen = kctx::top::Screen::enter(|_| ())?;
        // A release build aborts at a panic, and drops nothing.
        std::mem::forget(screen);
        panic!("on purpose");
    }
    let terminal = Terminal::open(120, 40)?;
    terminal.enter(&format!(
        "clear; {PANICS}=1 {} --exact top::a_panic_gives_the_terminal_back_and_is_read --nocapture; echo status $?",
        std::env::current_exe()?.display()
    ))?;
    let screen = terminal.wait_for("status", |screen| screen.contains("status 101"))?;
    assert!(screen.contains("on purpose"), "{screen}");
    terminal.check_given_back()
}
