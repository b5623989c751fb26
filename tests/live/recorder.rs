//! Captures through a running daemon: they have the time before they were asked for, and the daemon does not feel them.

use std::{
    io::{Read as _, Write as _},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use kctx::{aggregate::window::Family, capture::flight::EndReason, report::summary::Summary};
use kctx_tests::{
    bundle::Bundle,
    load,
    program::{self, Ended, Running},
};
use rustix::process::Signal;
use tempfile::TempDir;

use crate::{alone, bounds::Small, check_replay};

const IN_TIME: Duration = Duration::from_secs(30);

/// A daemon with a socket of its own.
struct Daemon {
    folder: TempDir,
    running: Running,
}

impl Daemon {
    fn start() -> Result<Self> {
        Self::keeping("5s", "500ms")
    }

    /// One that keeps so much and closes its windows so often. Without a governor: all records are streamed.
    fn keeping(length: &str, interval: &str) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let config = folder.path().join("kctx.toml");
        std::fs::write(
            &config,
            format!("[governor]\ncpu_limit = 0\n[recorder]\nlength = \"{length}\"\n"),
        )?;
        let socket = folder.path().join("kctx.sock");
        let mut running = Running::kctx([
            "run",
            "--interval",
            interval,
            "--duration",
            "90s",
            "--config",
            &config.to_string_lossy(),
            "--socket",
            &socket.to_string_lossy(),
        ])?;
        running.wait_until_open()?;
        let daemon = Self { folder, running };
        // The socket is there a moment after the window is.
        let start = Instant::now();
        while !daemon.socket().exists() {
            anyhow::ensure!(start.elapsed() < IN_TIME, "there is no socket");
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(daemon)
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("kctx.sock")
    }

    fn output(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn client(&self, window: &str, output: &Path) -> Result<Running> {
        Running::kctx([
            "capture",
            "--socket",
            &self.socket().to_string_lossy(),
            "--window",
            window,
            "-o",
            &output.to_string_lossy(),
        ])
    }

    fn capture(&self, window: &str) -> Result<Bundle> {
        let output = self.output("whole.kctx.tar.zst");
        self.client(window, &output)?.wait(IN_TIME)?.success()?;
        let bundle = Bundle::read(&output)?;
        check_replay(&bundle, &output)?;
        check_books(&bundle.summary);
        Ok(bundle)
    }

    /// It ends well, and in none of its windows was anything lost.
    fn end(self) -> Result<Ended> {
        self.running.signal(Signal::TERM)?;
        let ended = self.running.wait(IN_TIME)?;
        assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
        assert!(ended.stdout.lines().count() >= 2, "{}", ended.stdout);
        for line in ended.stdout.lines() {
            assert!(line.ends_with("lost 0"), "{line}");
        }
        Ok(ended)
    }
}

/// The rows have as many records as the probes counted, to the last.
fn check_books(summary: &Summary) {
    let rows = |family| -> u64 {
        match family {
            Family::Softirq => summary.softirq.iter().map(|row| row.count).sum(),
            Family::Hardirq => (summary.hardirq.iter())
                .map(|row| row.count + row.unhandled)
                .sum(),
            Family::Workqueue => summary.workqueue.iter().map(|row| row.count).sum(),
            Family::Napi => summary.napi.iter().map(|row| row.count).sum(),
            Family::Kthread => summary.kthread.iter().map(|row| row.count).sum(),
            Family::Tasklet => summary.tasklet.iter().map(|row| row.count).sum(),
            Family::Module => summary.module.len() as u64,
            Family::Stack => summary.stack.iter().map(|row| row.count).sum(),
        }
    };
    for (family, counts) in &summary.accounting.by_family {
        let lost: u64 = counts.lost.values().sum();
        assert_eq!(
            counts.observed,
            counts.streamed + counts.spilled + lost,
            "{family:?}"
        );
        assert_eq!((lost, rows(*family)), (0, counts.observed), "{family:?}");
    }
    let span = summary.window.duration_ns;
    for time in &summary.cpu {
        let parts = [time.ksoftirqd_ns, time.kthread_ns, time.rest_ns];
        let sum: u64 = parts.into_iter().flatten().sum();
        let sum = sum + time.hardirq_ns + time.softirq_ns;
        assert!(sum.abs_diff(span) < span / 100, "{time:?} of {span}");
    }
}

#[test]
fn a_capture_through_the_daemon_has_the_time_before_and_costs_no_gap() -> Result<()> {
    let _alone = alone();
    let daemon = Daemon::start()?;
    let udp = load::udp()?;
    std::thread::sleep(Duration::from_secs(4));
    // Two at a time.
    let second_output = daemon.output("second.kctx.tar.zst");
    let second = daemon.client("2s", &second_output)?;
    let bundle = daemon.capture("1s")?;
    let ending = bundle.manifest.through_daemon.context("an ending")?;
    assert_eq!(ending.reason, EndReason::Asked);
    assert!(ending.before_ns >= 3_000_000_000, "{ending:?}");
    let after_ns = ending.duration_ns - ending.before_ns;
    assert!(
        (1_000_000_000..3_000_000_000).contains(&after_ns),
        "{ending:?}"
    );
    assert_eq!(bundle.manifest.window.duration_ns, ending.duration_ns);
    let softirqs = &bundle.summary.accounting.by_family[&Family::Softirq];
    assert!(softirqs.streamed > 10_000, "{softirqs:?}");
    assert!(bundle.members.contains_key("evidence/after/proc/softirqs"));
    second.wait(IN_TIME)?.success()?;
    check_books(&Bundle::read(&second_output)?.summary);
    drop(udp);
    daemon.end()?;
    Ok(())
}

#[test]
fn a_capture_that_has_enough_before_it_begins_ends() -> Result<()> {
    let _alone = alone();
    // Nothing is kept, so a dump begins with the next window; and nobody waits for the interval.
    let daemon = Daemon::keeping("0s", "60s")?;
    let began = Instant::now();
    let bundle = daemon.capture("10ms")?;
    assert!(began.elapsed() < Duration::from_secs(20));
    let ending = bundle.manifest.through_daemon.context("an ending")?;
    assert_eq!((ending.reason, ending.before_ns), (EndReason::Asked, 0));
    Ok(())
}

#[test]
fn a_disk_that_fills_is_told_with_what_can_be_read() -> Result<()> {
    let _alone = alone();
    let daemon = Daemon::start()?;
    let _udp = load::udp()?;
    let small = Small::mount("1500k")?;
    let output = small.path().join("full.kctx.tar.zst");
    let ended = daemon.client("60s", &output)?.wait(IN_TIME * 3)?;
    assert_eq!(ended.status.code(), Some(1), "{ended:?}");
    let last = ended.stderr.lines().last().unwrap_or_default();
    for says in [
        "No space left on device",
        "the capture was cut short; kctx report ",
    ] {
        assert!(last.contains(says), "{ended:?}");
    }
    let partial = output.with_extension("zst.partial");
    program::run(["report", &partial.to_string_lossy()])?.success()?;
    Ok(())
}

/// Who asks has bounds of its own, and a capture that comes to them is whole up to there.
#[test]
fn a_capture_through_the_daemon_is_bounded_in_memory() -> Result<()> {
    let _alone = alone();
    let daemon = Daemon::start()?;
    let _udp = load::udp()?;
    let output = daemon.output("large.kctx.tar.zst");
    let config = daemon.output("client.toml");
    // The least that may be set: who asks a daemon needs little.
    std::fs::write(&config, "[capture]\nmax_memory = \"4MiB\"\n")?;
    let ended = Running::kctx([
        "capture",
        "--config",
        &config.to_string_lossy(),
        "--socket",
        &daemon.socket().to_string_lossy(),
        "--window",
        "60s",
        "-o",
        &output.to_string_lossy(),
    ])?
    .wait(IN_TIME)?;
    assert_eq!(ended.status.code(), Some(1), "{}", ended.stderr);
    assert!(
        ended.stderr.contains("[capture] max_memory"),
        "{}",
        ended.stderr
    );
    let bundle = Bundle::read(&output)?;
    assert!(bundle.manifest.interrupted && bundle.manifest.through_daemon.is_some());
    assert!(bundle.manifest.limits["memory_bytes"].hit);
    assert!(bundle.manifest.limits["window_ns"].hit);
    check_books(&bundle.summary);
    daemon.end()?;
    Ok(())
}

#[test]
fn a_client_that_is_killed_or_takes_nothing_is_not_felt() -> Result<()> {
    let _alone = alone();
    let daemon = Daemon::start()?;
    let udp = load::udp()?;
    std::thread::sleep(Duration::from_secs(2));
    let mut hung = UnixStream::connect(daemon.socket())?;
    hung.write_all(b"{\"capture\":{\"protocol\":1,\"window_ns\":60000000000}}\n")?;
    let killed = daemon.client("60s", &daemon.output("killed.kctx.tar.zst"))?;
    std::thread::sleep(Duration::from_secs(1));
    killed.signal(Signal::KILL)?;
    killed.wait(IN_TIME)?;
    daemon.capture("1s")?;
    // It is given up within the time that a frame may take, and told so by the end of the stream.
    hung.set_read_timeout(Some(IN_TIME))?;
    std::thread::sleep(Duration::from_secs(12));
    let taken = std::io::copy(&mut (&hung).take(1 << 30), &mut std::io::sink())?;
    assert!(taken > 0);
    drop(udp);
    let ended = daemon.end()?;
    assert!(ended.stderr.contains("given up"), "{}", ended.stderr);
    Ok(())
}

#[test]
fn who_interrupts_a_capture_or_ends_the_daemon_keeps_what_came() -> Result<()> {
    let _alone = alone();
    let daemon = Daemon::start()?;
    std::thread::sleep(Duration::from_secs(1));
    let output = daemon.output("early.kctx.tar.zst");
    let client = daemon.client("60s", &output)?;
    std::thread::sleep(Duration::from_secs(1));
    client.signal(Signal::INT)?;
    client.wait(IN_TIME)?.cut_short()?;
    let bundle = Bundle::read(&output)?;
    assert!(bundle.manifest.interrupted);
    check_books(&bundle.summary);

    let output = daemon.output("cut.kctx.tar.zst");
    let client = daemon.client("60s", &output)?;
    std::thread::sleep(Duration::from_secs(1));
    // The folder goes with the daemon.
    let kept = tempfile::tempdir()?;
    let socket = daemon.socket();
    daemon.running.signal(Signal::TERM)?;
    let ended = client.wait(IN_TIME)?;
    assert_eq!(ended.status.code(), Some(1), "{}", ended.stderr);
    assert!(
        ended.stderr.contains("the daemon ended"),
        "{}",
        ended.stderr
    );
    let copy = kept.path().join("cut");
    std::fs::copy(&output, &copy)?;
    let bundle = Bundle::read(&copy)?;
    let ending = bundle.manifest.through_daemon.context("an ending")?;
    assert_eq!(ending.reason, EndReason::DaemonEnded);
    check_books(&bundle.summary);
    let ended = daemon.running.wait(IN_TIME)?;
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
    assert!(!socket.exists(), "the socket goes with the daemon");
    Ok(())
}

#[test]
fn a_socket_that_is_listened_on_is_refused_and_one_left_behind_replaced() -> Result<()> {
    let _alone = alone();
    let daemon = Daemon::start()?;
    let socket = daemon.socket();
    let socket_text = socket.to_string_lossy();
    let run = ["run", "--duration", "1s", "--socket", &socket_text];
    let ended = program::run(run)?;
    assert_eq!(ended.status.code(), Some(1), "{}", ended.stderr);
    assert!(
        ended.stderr.contains("another kctx run listens"),
        "{}",
        ended.stderr
    );
    daemon.running.signal(Signal::KILL)?;
    daemon.running.wait(IN_TIME)?;
    assert!(socket.exists(), "a killed daemon leaves it");
    program::run(run)?.success()?;
    assert!(!socket.exists());
    Ok(())
}
