//! The recorded sample.

use anyhow::Result;
use kctx_tests::{
    bundle::{self, Bundle},
    program,
};
use serde_json::Value;

use crate::sample_path;

#[test]
fn a_replay_yields_the_recorded_summary() -> Result<()> {
    let recorded = Bundle::read(&sample_path())?;
    let replayed = bundle::replay(&sample_path())?;
    assert_eq!(
        bundle::comparable(&replayed.summary)?,
        bundle::without_version(serde_json::from_str(recorded.text("summary.json")?)?)?
    );
    assert_eq!(replayed.undecoded, 0);
    for (family, received) in replayed.received.into_iter().enumerate() {
        let counts = recorded.summary.accounting.by_family.values().nth(family);
        assert_eq!(Some(received), counts.map(|counts| counts.streamed));
    }
    Ok(())
}

#[test]
fn a_replay_yields_the_recorded_summary_to_the_byte() -> Result<()> {
    let recorded = Bundle::read(&sample_path())?;
    let mut replayed = bundle::replay(&sample_path())?.summary;
    replayed
        .kctx_version
        .clone_from(&recorded.summary.kctx_version);
    let replayed = serde_json::to_string_pretty(&replayed)?;
    assert!(recorded.text("summary.json")?.trim_end() == replayed);
    Ok(())
}

#[test]
fn the_sample_is_of_a_network_and_disk_load() -> Result<()> {
    let summary = Bundle::read(&sample_path())?.summary;
    let count = |vector: &str| -> u64 {
        let rows = summary.softirq.iter().filter(|row| row.vector == vector);
        rows.map(|row| row.count).sum()
    };
    assert!(count("NET_RX") > 10_000 && count("BLOCK") > 100);
    assert!(!summary.hardirq.is_empty() && !summary.workqueue.is_empty());
    let size = std::fs::metadata(sample_path())?.len();
    assert!(size <= 2 << 20, "{size} bytes");
    Ok(())
}

#[test]
fn the_report_as_json_is_the_recorded_summary() -> Result<()> {
    let sample = sample_path();
    let report = program::run(["report", "--format", "json", &sample.to_string_lossy()])?;
    let report = report.success()?;
    assert_eq!(report.stderr, "");
    let printed: Value = serde_json::from_str(&report.stdout)?;
    let recorded = Bundle::read(&sample)?;
    let recorded: Value = serde_json::from_str(recorded.text("summary.json")?)?;
    assert_eq!(printed, recorded);
    Ok(())
}

#[test]
fn the_report_as_text_names_what_was_busy() -> Result<()> {
    let report = program::run(["report", &sample_path().to_string_lossy()])?.success()?;
    for expected in ["NET_RX", "BLOCK", "virtio", "events_unbound"] {
        assert!(
            report.stdout.contains(expected),
            "no {expected} in\n{}",
            report.stdout
        );
    }
    let width = report.stdout.lines().map(|line| line.chars().count()).max();
    assert!(width.is_some_and(|width| width < 200), "{width:?}");
    Ok(())
}

#[test]
fn a_replay_shows_its_windows() -> Result<()> {
    let replay = program::run(["replay", &sample_path().to_string_lossy()])?.success()?;
    assert_eq!(replay.stdout.lines().count(), 1, "{}", replay.stdout);
    assert!(replay.stdout.contains("NET_RX"), "{}", replay.stdout);
    Ok(())
}
