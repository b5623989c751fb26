//! Triggers, provoked for real.

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use kctx::diagnose::Document;
use kctx_tests::{
    bundle::Bundle,
    load,
    program::{self, Running},
    scrape, situation,
};
use rustix::process::Signal;

use crate::{alone, check_replay, in_vm, two_cpus};

const IN_TIME: Duration = Duration::from_secs(40);

fn start(folder: &Path, interval: &str, rules: &str) -> Result<Running> {
    let config = folder.join("kctx.toml");
    let bundles = folder.join("bundles");
    let head = format!(
        "[governor]\ncpu_limit = 0\n[capture]\ndirectory = {bundles:?}\nmax_bundles = 1\npause = \"10s\"\n"
    );
    std::fs::write(&config, head + rules)?;
    let config = config.to_string_lossy().into_owned();
    let arguments = [
        "run",
        "--interval",
        interval,
        "--duration",
        "90s",
        "--prometheus-listen=127.0.0.1:0",
        "--config",
        &config,
    ];
    let mut daemon = Running::kctx(arguments)?;
    daemon.wait_until_open()?;
    Ok(daemon)
}

/// The whole bundles in the folder.
fn bundles(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder.join("bundles"));
    let paths = (entries.into_iter().flatten()).filter_map(|entry| Some(entry.ok()?.path()));
    paths
        .filter(|path| path.extension().is_some_and(|end| end == "zst"))
        .collect()
}

/// Waits for a bundle that is not the one known.
fn next_bundle(folder: &Path, known: Option<&Path>) -> Result<PathBuf> {
    let start = Instant::now();
    while start.elapsed() < IN_TIME {
        if let [bundle] = &bundles(folder)[..]
            && Some(bundle.as_path()) != known
        {
            return Ok(bundle.clone());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    anyhow::bail!("no bundle came")
}

#[test]
fn a_load_fires_its_rule_and_the_bundle_says_which_and_has_what_led_to_it() -> Result<()> {
    let _alone = alone();
    let folder = tempfile::tempdir()?;
    let daemon = start(
        folder.path(),
        "500ms",
        "[[trigger]]\nname = \"never\"\nwhen = \"softirq_wait_p99\"\nabove = \"1h\"\nover = \"1s\"\n\
         [[trigger]]\nname = \"udp\"\nwhen = \"context_share\"\ncontext = \"softirq\"\nabove = \"4%\"\nover = \"2s\"\n\
         window = \"1s\"\n",
    )?;
    std::thread::sleep(Duration::from_secs(2));
    assert!(bundles(folder.path()).is_empty(), "nothing happened yet");
    let udp = load::udp()?;
    let first = next_bundle(folder.path(), None)?;
    let bundle = Bundle::read(&first)?;
    check_replay(&bundle, &first)?;
    let fired = bundle.manifest.trigger.context("a rule")?;
    assert_eq!(fired.rule, "udp");
    assert!(fired.condition.contains("4 % or more for 2s"), "{fired:?}");
    assert!(fired.saw.contains("(CPU "), "{fired:?}");
    let window = bundle.manifest.window;
    let after_ns = (window.start_unix_ns + window.duration_ns) - fired.time_unix_ns;
    // An emulated machine takes its time.
    let most_ns = if in_vm() {
        10_000_000_000
    } else {
        4_000_000_000
    };
    assert!(
        (1_000_000_000..most_ns).contains(&after_ns),
        "{fired:?} {window:?}"
    );
    // What led to it is in the bundle: two seconds of it, and the time before.
    let before_ns = fired.time_unix_ns - window.start_unix_ns;
    assert!(before_ns >= 3_500_000_000, "{fired:?} {window:?}");
    let softirqs = bundle
        .summary
        .softirq
        .iter()
        .filter(|row| row.vector == "NET_RX");
    assert!(softirqs.map(|row| row.count).sum::<u64>() > 1000);
    assert!(bundle.members.contains_key("evidence/before/proc/softirqs"));
    let page = scrape::get(scrape::address(&daemon)?, "/metrics", "text/plain", false)?;
    let total = |name, labels: &[_]| scrape::total(page.text()?, name, labels);
    let rule = [("kctx_trigger_rule", "udp")];
    assert_eq!(total("kctx_trigger_fired_total", &rule)?, 1.0);
    assert!(total("kctx_recorder_memory_bytes", &[])? > 10_000.0);
    let length = total("kctx_recorder_length_seconds", &[])?;
    assert!((3.0..=31.0).contains(&length), "{length}");

    // It stays high, so it does not fire again; once it was low it does, and the oldest bundle goes.
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(bundles(folder.path()), std::slice::from_ref(&first));
    drop(udp);
    std::thread::sleep(Duration::from_secs(4));
    let udp = load::udp()?;
    let second = next_bundle(folder.path(), Some(&first))?;
    let written = [("kctx_trigger_result", "written")];
    let page = scrape::get(scrape::address(&daemon)?, "/metrics", "text/plain", false)?;
    assert!(scrape::total(page.text()?, "kctx_trigger_bundles_total", &written)? >= 1.0);
    assert!(!first.exists());
    let fired = Bundle::read(&second)?.manifest.trigger.context("a rule")?;
    assert_eq!(fired.rule, "udp");
    drop(udp);
    daemon.signal(Signal::TERM)?;
    let ended = daemon.wait(IN_TIME)?;
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
    assert!(!ended.stderr.contains("never"), "{}", ended.stderr);
    Ok(())
}

#[test]
fn a_daemon_that_ends_writes_the_bundle_that_is_under_way() -> Result<()> {
    let _alone = alone();
    let folder = tempfile::tempdir()?;
    let daemon = start(
        folder.path(),
        "500ms",
        "[[trigger]]\nname = \"udp\"\nwhen = \"metric\"\nmetric = \"kctx.softirq.wait.duration\"\nof = \"rate\"\n\
         where = { \"kctx.softirq.vector\" = \"NET_RX\" }\nabove = \"1000/s\"\nover = \"1s\"\nwindow = \"60s\"\n",
    )?;
    let _udp = load::udp()?;
    let start = Instant::now();
    while !daemon.read_stderr()?.contains("trigger udp") {
        anyhow::ensure!(start.elapsed() < IN_TIME, "it did not fire");
        std::thread::sleep(Duration::from_millis(50));
    }
    std::thread::sleep(Duration::from_millis(500));
    daemon.signal(Signal::TERM)?;
    let ended = daemon.wait(IN_TIME)?;
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
    let [path] = &bundles(folder.path())[..] else {
        anyhow::bail!("no bundle: {}", ended.stderr);
    };
    let bundle = Bundle::read(path)?;
    check_replay(&bundle, path)?;
    assert!(bundle.manifest.interrupted);
    let fired = bundle.manifest.trigger.context("a rule")?;
    let saw = "the rate of kctx.softirq.wait.duration where kctx.softirq.vector is NET_RX: ";
    assert!(fired.saw.starts_with(saw), "{fired:?}");
    Ok(())
}

/// A real-time task holds a CPU whose ksoftirqd has packets to receive.
#[test]
fn a_finding_fires_its_rule() -> Result<()> {
    let _alone = alone();
    let Some((cpu, other)) = two_cpus()? else {
        return Ok(());
    };
    let folder = tempfile::tempdir()?;
    // The kernel throttles real-time tasks by the second, so a shorter window has no whole wait in it. Of a rule that cannot
    // fire there is one beside it.
    let daemon = start(
        folder.path(),
        "2s",
        "[[trigger]]\nname = \"other\"\nwhen = \"finding\"\nid = \"WQ-CG\"\nover = \"1s\"\n\
         [[trigger]]\nname = \"starved\"\nwhen = \"finding\"\nid = \"RT-STARVE\"\nover = \"1s\"\nwindow = \"1s\"\n",
    )?;
    let at = folder.path().to_owned();
    let path = situation::in_network(move || {
        let _made = match situation::make("rt-starve", cpu, other) {
            Ok(made) => made,
            Err(error) if in_vm() => {
                println!("not made here: {error:#}");
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        next_bundle(&at, None).map(Some)
    })?;
    let Some(path) = path else { return Ok(()) };
    let bundle = Bundle::read(&path)?;
    check_replay(&bundle, &path)?;
    let fired = bundle.manifest.trigger.context("a rule")?;
    assert_eq!(fired.rule, "starved");
    assert_eq!(fired.condition, "a diagnosis finds RT-STARVE for 1s");
    // What it saw is in the bundle, and a diagnosis of that says the same.
    let path = path.to_string_lossy().into_owned();
    let ended = program::run(["diagnose", &path, "--format", "json"])?.success()?;
    let document: Document = serde_json::from_str(&ended.stdout)?;
    let found = &document.diagnosis;
    assert!(
        found
            .findings
            .iter()
            .any(|finding| finding.id == "RT-STARVE"),
        "{found:#?}"
    );
    daemon.signal(Signal::TERM)?;
    let ended = daemon.wait(IN_TIME)?;
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
    assert!(!ended.stderr.contains("other"), "{}", ended.stderr);
    Ok(())
}
