//! `kctx diagnose` of a bundle: what it prints, and that it always does.

use anyhow::Result;
use kctx_tests::program;
use serde_json::Value;

use crate::{check_failed, check_usage, sample};

#[test]
fn the_first_line_answers_and_the_status_is_success() -> Result<()> {
    let ended = program::run(["diagnose".into(), sample().into_os_string()])?.success()?;
    assert_eq!(ended.stderr, "");
    let first = ended.stdout.lines().next().unwrap_or_default();
    assert!(
        ["CPU ", "Nothing is hot: ", "Busy, without harm: "]
            .iter()
            .any(|start| first.starts_with(start)),
        "{}",
        ended.stdout
    );
    let wide = ended
        .stdout
        .lines()
        .find(|line| line.chars().count() > 80 && !line.contains("$ "));
    assert_eq!(wide, None);
    assert!(ended.stdout.contains("\nRuled out\n"), "{}", ended.stdout);
    Ok(())
}

#[test]
fn json_is_one_document_with_the_summary_in_it() -> Result<()> {
    let sample = sample();
    let sample = sample.to_string_lossy();
    let printed = program::run(["diagnose", "--format", "json", &sample])?.success()?;
    let document: Value = serde_json::from_str(&printed.stdout)?;
    assert_eq!(document["schema"], "kctx.diagnosis.v1");
    let report = program::run(["report", "--format", "json", &sample])?.success()?;
    assert_eq!(
        document["summary"],
        serde_json::from_str::<Value>(&report.stdout)?
    );
    let markdown = program::run(["diagnose", "--format", "markdown", &sample])?.success()?;
    assert!(markdown.stdout.starts_with("**") && markdown.stdout.contains("\n### Ruled out\n"));
    Ok(())
}

#[test]
fn what_is_no_bundle_is_told_in_one_line() -> Result<()> {
    check_failed(
        &program::run(["diagnose", "/nowhere.kctx.tar.zst"])?,
        &["cannot diagnose /nowhere.kctx.tar.zst", "No such file"],
    );
    let sample = sample();
    check_usage(
        &program::run(["diagnose", "--window", "5s", &sample.to_string_lossy()])?,
        &["cannot be used with"],
    );
    Ok(())
}
