//! A running daemon that reads its configuration again.

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use kctx_tests::{
    bundle::Bundle,
    load::{self, Pty},
    program::{self, Running},
    scrape,
};
use rustix::process::Signal;
use tempfile::TempDir;

use crate::alone;

const IN_TIME: Duration = Duration::from_secs(40);

/// A daemon, and the folder of its configuration and its bundles.
struct Reloaded {
    daemon: Running,
    folder: TempDir,
}

fn configure(folder: &Path, tables: &str) -> Result<PathBuf> {
    let (path, bundles) = (folder.join("kctx.toml"), folder.join("bundles"));
    let capture = format!("[capture]\ndirectory = {bundles:?}\nmax_bundles = 2\npause = \"10s\"\n");
    std::fs::write(&path, capture + tables)?;
    Ok(path)
}

impl Reloaded {
    fn start(tables: &str) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let config = configure(folder.path(), tables)?;
        let mut daemon = Running::kctx([
            "run",
            "--interval=500ms",
            "--duration=180s",
            "--prometheus-listen=127.0.0.1:0",
            "--config",
            &*config.to_string_lossy(),
        ])?;
        daemon.wait_until_open()?;
        Ok(Self { daemon, folder })
    }

    /// Waits for what it says.
    fn says(&self, words: &str) -> Result<()> {
        let start = Instant::now();
        while !self.daemon.read_stderr()?.contains(words) {
            let said = self.daemon.read_stderr()?;
            anyhow::ensure!(start.elapsed() < IN_TIME, "no {words:?} in {said:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// Has it read the file again, and waits for what it says to that.
    fn reload(&self, words: &str) -> Result<()> {
        self.daemon.signal(Signal::HUP)?;
        self.says(words)
    }

    fn configure(&self, tables: &str) -> Result<()> {
        configure(self.folder.path(), tables).map(drop)
    }

    /// The rules whose bundles are there, the oldest first.
    fn rules(&self) -> Result<Vec<String>> {
        let mut paths = Vec::new();
        for entry in std::fs::read_dir(self.folder.path().join("bundles"))? {
            paths.push(entry?.path());
        }
        paths.retain(|path| path.extension().is_some_and(|end| end == "zst"));
        paths.sort();
        let rule = |path: &PathBuf| {
            let fired = Bundle::read(path)?.manifest.trigger;
            Ok(fired.context("a rule")?.rule)
        };
        paths.iter().map(rule).collect()
    }

    fn end(self) -> Result<String> {
        self.daemon.signal(Signal::TERM)?;
        let ended = self.daemon.wait(IN_TIME)?;
        anyhow::ensure!(ended.status.success(), "{}", ended.stderr);
        Ok(ended.stderr)
    }
}

fn rule(name: &str, percent: u32) -> String {
    format!(
        "[[trigger]]\nname = \"{name}\"\nwhen = \"context_share\"\ncontext = \"softirq\"\nabove = \"{percent}%\"\n\
         over = \"1s\"\nwindow = \"1s\"\n"
    )
}

#[test]
fn a_rule_that_a_reload_brings_fires_and_one_that_it_leaves_does_not_again() -> Result<()> {
    let _alone = alone();
    let rest = "[governor]\ncpu_limit = 0\n";
    let first = format!("{rest}{}", rule("first", 4));
    let run = Reloaded::start(&first)?;
    let address = scrape::address(&run.daemon)?;
    let reloads = |labels: &[(&str, &str)]| -> Result<f64> {
        let page = scrape::get(address, "/metrics", "text/plain", false)?;
        scrape::total(page.text()?, "kctx_config_reloads_total", labels)
    };
    let udp = load::udp()?;
    run.says("trigger first: wrote ")?;
    let page = scrape::get(address, "/metrics", "text/plain", false)?;
    let samples = (page.text()?.lines()).filter(|l| l.starts_with("kctx_config_reloads_total"));
    assert_eq!(samples.count(), 4, "from 0 on");
    assert_eq!(reloads(&[])?, 0.0);

    run.configure(&first.replace("4%", "often"))?;
    // Two tables of four and two lines are before it.
    run.reload(&format!(
        "the old one stays in force: {}/kctx.toml: line 7: ",
        run.folder.path().display()
    ))?;
    std::fs::remove_file(run.folder.path().join("kctx.toml"))?;
    run.reload("the old one stays in force: cannot read the configuration")?;
    run.configure(&first.replace("4%", "5%"))?;
    let path = run.folder.path().join("kctx.toml");
    let text = std::fs::read_to_string(&path)?;
    std::fs::write(&path, text.replace("/bundles", "/kctx.toml/bundles"))?;
    run.reload(
        "the old one stays in force: triggers cannot leave bundles; see [capture] directory",
    )?;

    // It is first in order, and would fire before the other, had it forgotten that it did.
    run.configure(&format!(
        "[meter]\nsample = \"2s\"\n{first}{}",
        rule("second", 3)
    ))?;
    run.reload("was read again; in force now: [[trigger]]; only after a restart: [meter]\n")?;
    run.says("trigger second: wrote ")?;
    assert_eq!(run.rules()?, ["first", "second"]);
    // Each is told with its window.
    let start = Instant::now();
    while reloads(&[])? < 4.0 {
        anyhow::ensure!(start.elapsed() < IN_TIME, "{} reloads", reloads(&[])?);
        std::thread::sleep(Duration::from_millis(50));
    }
    for (error, count) in [("unreadable", 1.0), ("invalid", 1.0), ("unusable", 1.0)] {
        assert_eq!(reloads(&[("error_type", error)])?, count, "{error}");
    }
    assert_eq!(reloads(&[])?, 4.0);

    // Without rules nothing more is written.
    run.configure(rest)?;
    run.reload("in force now: [[trigger]]\n")?;
    drop(udp);
    let said = run.end()?;
    assert_eq!(said.matches("; capturing").count(), 2, "{said}");
    Ok(())
}

#[test]
fn what_the_governor_limited_is_released_where_the_limit_is_taken_away() -> Result<()> {
    let _alone = alone();
    let run = Reloaded::start("[governor]\ncpu_limit = \"0.1%\"\n")?;
    let _udp = load::udp()?;
    run.says("goes into the kernel's histograms only")?;
    run.configure("[governor]\ncpu_limit = 0\n")?;
    run.reload("in force now: [governor] cpu_limit\n")?;
    run.says("is streamed again: there is no limit any more")?;
    run.end().map(drop)
}

#[test]
fn a_terminal_that_hangs_up_ends_it() -> Result<()> {
    let _alone = alone();
    let folder = tempfile::tempdir()?;
    let config = configure(folder.path(), "")?;
    let pty = Pty::open()?;
    let mut command = program::kctx(["run", "--interval=1h", "--duration=60s", "--config"])?;
    command.arg(config);
    let mut daemon = Running::start_on_terminal(command, pty.terminal()?)?;
    daemon.wait_until_open()?;
    daemon.signal(Signal::HUP)?;
    std::thread::sleep(Duration::from_millis(500));
    assert!(daemon.read_stderr()?.contains("nothing changed"));
    drop(pty);
    daemon.signal(Signal::HUP)?;
    let ended = daemon.wait(IN_TIME)?;
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
    Ok(())
}
