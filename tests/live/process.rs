//! The daemon as a process: how it ends, what it leaves, what it may.

use std::time::Duration;

use anyhow::Result;
use kctx_tests::{bundle::Bundle, kernel, load, program::Running};
use rustix::process::Signal;

use crate::{Output, alone, check_replay};

/// A daemon that ends by itself, should the test not get to it.
const RUN: [&str; 5] = ["run", "--interval", "200ms", "--duration", "60s"];
const IN_TIME: Duration = Duration::from_secs(20);

fn daemon() -> Result<Running> {
    let mut daemon = Running::kctx(RUN)?;
    daemon.wait_until_open()?;
    Ok(daemon)
}

/// The kernel frees a program some time after its last user is gone.
fn check_gone(programs: &std::collections::BTreeSet<u32>) -> Result<()> {
    for _ in 0..500 {
        if kernel::still_loaded(programs)?.is_empty() {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("still loaded: {:?}", kernel::still_loaded(programs)?)
}

#[test]
fn a_killed_daemon_leaves_no_program() -> Result<()> {
    let _alone = alone();
    let daemon = daemon()?;
    let programs = kernel::programs_of(daemon.pid())?;
    assert!(programs.len() >= 9, "{programs:?}");
    assert_eq!(kernel::still_loaded(&programs)?, programs);
    daemon.signal(Signal::KILL)?;
    let ended = daemon.wait(IN_TIME)?;
    assert_eq!(ended.status.code(), None);
    check_gone(&programs)
}

#[test]
fn a_terminated_daemon_ends_well_and_leaves_no_program() -> Result<()> {
    let _alone = alone();
    let daemon = daemon()?;
    let programs = kernel::programs_of(daemon.pid())?;
    std::thread::sleep(Duration::from_millis(500));
    daemon.signal(Signal::TERM)?;
    let ended = daemon.wait(IN_TIME)?;
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
    assert!(ended.stdout.lines().count() >= 2, "{}", ended.stdout);
    check_gone(&programs)
}

#[test]
fn two_daemons_do_not_disturb_each_other() -> Result<()> {
    let _alone = alone();
    let _udp = load::udp()?;
    let (first, second) = (daemon()?, daemon()?);
    let (of_first, of_second) = (
        kernel::programs_of(first.pid())?,
        kernel::programs_of(second.pid())?,
    );
    assert!(of_first.is_disjoint(&of_second));
    std::thread::sleep(Duration::from_millis(700));
    first.signal(Signal::TERM)?;
    let first = first.wait(IN_TIME)?;
    assert_eq!(kernel::still_loaded(&of_second)?, of_second);
    second.signal(Signal::TERM)?;
    let second = second.wait(IN_TIME)?;
    for ended in [first, second] {
        assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
        let lines: Vec<&str> = ended.stdout.lines().collect();
        assert!(lines.len() >= 3, "{lines:?}");
        assert!(
            lines.iter().any(|line| line.contains("NET_RX")),
            "{lines:?}"
        );
        assert!(
            lines.iter().all(|line| line.contains("lost 0")),
            "{lines:?}"
        );
    }
    check_gone(&of_first)?;
    check_gone(&of_second)
}

#[test]
fn an_interrupted_capture_keeps_what_it_has() -> Result<()> {
    let _alone = alone();
    let _udp = load::udp()?;
    let output = Output::new()?;
    let path = output.path();
    let path_text = path.to_string_lossy();
    let mut capture = Running::kctx(["capture", "--window", "60s", "-o", &path_text])?;
    capture.wait_until_open()?;
    std::thread::sleep(Duration::from_millis(800));
    capture.signal(Signal::INT)?;
    capture.wait(IN_TIME)?.cut_short()?;
    let bundle = Bundle::read(&path)?;
    assert!(bundle.manifest.interrupted);
    assert!(bundle.text("evidence/after/proc/softirqs").is_ok());
    let window = bundle.summary.window.duration_ns;
    assert!(
        (700_000_000..IN_TIME.as_nanos() as u64).contains(&window),
        "{window}"
    );
    assert!(bundle.summary.accounting.total.observed > 100);
    check_replay(&bundle, &path)
}

#[test]
fn a_whole_capture_is_not_marked_as_interrupted() -> Result<()> {
    let _alone = alone();
    assert!(!crate::capture("200ms", &[])?.manifest.interrupted);
    Ok(())
}

#[test]
fn no_thread_keeps_privileges_that_are_not_needed() -> Result<()> {
    // include/uapi/linux/capability.h
    const DAC_READ_SEARCH: u32 = 2;
    const SYSLOG: u32 = 34;
    const PERFMON: u32 = 38;
    const BPF: u32 = 39;
    let _alone = alone();
    let daemon = daemon()?;
    let allowed = [DAC_READ_SEARCH, SYSLOG, PERFMON, BPF]
        .iter()
        .fold(0_u64, |set, bit| set | 1 << bit);
    for field in ["CapEff", "CapPrm"] {
        let threads = kernel::status_of_threads(daemon.pid(), field)?;
        assert!(threads.len() >= 3, "{threads:?}");
        for (thread, set) in threads {
            let set = u64::from_str_radix(&set, 16)?;
            assert_eq!(set & !allowed, 0, "{field} of {thread}: {set:#x}");
            assert_ne!(set & 1 << BPF, 0, "{field} of {thread}: {set:#x}");
        }
    }
    for (thread, set) in kernel::status_of_threads(daemon.pid(), "NoNewPrivs")? {
        assert_eq!(set, "1", "{thread}");
    }
    Ok(())
}
