//! The report as a page, in headless Chromium: its script draws all of it, and no name in it is run.
//!
//! `KCTX_BROWSER` names the Chromium; `cargo xtask test` finds one, or says that these were not run.

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, Result};
use kctx_tests::{
    page::{self, HOSTILE},
    program::{self, Running},
};

/// A browser starts slowly on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

fn sample() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("data/sample.kctx.tar.zst")
}

/// The page as it is after its script, in a window so wide.
fn drawn(page: &Path, width: u32, dark: bool) -> Result<String> {
    let browser = std::env::var_os("KCTX_BROWSER")
        .context("KCTX_BROWSER names no Chromium: run the tests by `cargo xtask test`")?;
    let profile = tempfile::tempdir()?;
    let mut command = Command::new(browser);
    command
        .args([
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--dump-dom",
        ])
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .arg(format!("--window-size={width},900"));
    if dark {
        command.arg("--blink-settings=preferredColorScheme=0");
    }
    command.arg(format!("file://{}", page.display()));
    let ended = Running::start(command)?.wait(PATIENCE)?;
    anyhow::ensure!(ended.status.success(), "{}: {}", ended.status, ended.stderr);
    Ok(ended.stdout)
}

/// What the script says it drew: CPUs, contexts, heatmaps, devices, events, frames.
fn counts(dom: &str) -> Result<Vec<usize>> {
    assert!(
        !dom.contains("data-error"),
        "{}",
        &dom[..dom.len().min(300)]
    );
    let (_, after) = dom
        .split_once("data-drawn=\"")
        .context("it was not drawn")?;
    let (counts, _) = after.split_once('"').context("an attribute has an end")?;
    let counts = counts.split(' ').map(str::parse);
    Ok(counts.collect::<Result<_, _>>()?)
}

#[test]
fn all_of_the_page_is_drawn_at_any_width() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let page = folder.path().join("report.html");
    let sample = sample();
    let arguments = ["report", "--format", "html", &sample.to_string_lossy()];
    program::run(arguments.into_iter().chain(["-o", &page.to_string_lossy()]))?.success()?;
    for (width, dark) in [(360, false), (1440, true)] {
        let dom = drawn(&page, width, dark)?;
        let [cpus, lanes, heats, devices, _, frames] = counts(&dom)?[..] else {
            anyhow::bail!("other counts");
        };
        assert_eq!(cpus, 2);
        assert!(
            lanes >= 3 && heats >= 6 && devices >= 1 && frames >= 1,
            "{width}"
        );
        // Rows that are HTML already, and those that the script made.
        for expected in [
            "<td>NET_RX</td>",
            "NET_RX wait",
            "interrupts",
            "CPU 1</option>",
        ] {
            assert!(dom.contains(expected), "no {expected} at {width}");
        }
        assert!(!dom.contains("drawn by the page's own script"));
    }
    Ok(())
}

#[test]
fn names_are_drawn_and_none_is_run() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("hostile.html");
    std::fs::write(&path, page::hostile()?)?;
    let dom = drawn(&path, 768, false)?;
    let [cpus, _, heats, devices, events, frames] = counts(&dom)?[..] else {
        anyhow::bail!("other counts");
    };
    assert_eq!((cpus, heats, devices, events, frames), (1, 1, 1, 3, 3));
    // A picture or a bold name would be an element of the page by now.
    for never in ["<img", "<b>evil", "<i>x"] {
        assert!(!dom.contains(never), "{never}");
    }
    let shown = HOSTILE.replace('<', "&lt;").replace('>', "&gt;");
    assert!(dom.contains(&shown));
    Ok(())
}

#[test]
fn many_cpus_are_drawn() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("large.html");
    std::fs::write(&path, page::many_cpus()?)?;
    let counts = counts(&drawn(&path, 360, false)?)?;
    assert_eq!(counts[0], 256);
    assert!(counts[2] >= 6);
    Ok(())
}
