//! Output that cannot be written.

use std::{
    fs::{self, File},
    process::Stdio,
};

use anyhow::{Context as _, Result};
use kctx_tests::program;

use crate::{check_failed, check_says, sample};

#[test]
fn a_report_goes_to_a_file_when_asked() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let output = folder.path().join("report.json");
    let (sample, path) = (sample(), output.to_string_lossy());
    let arguments = [
        "report",
        "--format",
        "json",
        &sample.to_string_lossy(),
        "-o",
        &path,
    ];
    let ended = program::run(arguments)?.success()?;
    assert_eq!((ended.stdout.as_str(), ended.stderr.as_str()), ("", ""));
    let written: serde_json::Value = serde_json::from_str(&fs::read_to_string(&output)?)?;
    assert_eq!(written["schema"], "kctx.summary.v1");
    Ok(())
}

#[test]
fn a_report_that_cannot_be_written_says_so() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let missing = folder.path().join("missing/report.txt");
    let sample = sample();
    for (output, says) in [
        (missing.as_path(), "No such file"),
        (folder.path(), "directory"),
        ("/dev/full".as_ref(), "No space left"),
    ] {
        let output = output.to_string_lossy();
        let arguments = ["report", &sample.to_string_lossy(), "-o", &output];
        check_failed(&program::run(arguments)?, &["cannot write", &output, says]);
    }
    Ok(())
}

#[test]
fn a_bundle_that_cannot_be_written_is_known_before_the_window() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let missing = folder.path().join("missing/x.kctx.tar.zst");
    for (output, says) in [
        (missing.as_path(), &["cannot write", "No such file"][..]),
        (folder.path(), &["it is a directory"]),
        ("/dev/null".as_ref(), &["not a regular file"]),
        ("/proc/x.kctx.tar.zst".as_ref(), &["cannot write"]),
        ("/".as_ref(), &["names no file"]),
    ] {
        let output = output.to_string_lossy();
        // The window is far longer than the tests' patience.
        let ended = program::run(["capture", "--window", "1h", "-o", &output])?;
        check_failed(&ended, says);
        check_failed(&ended, &[&output]);
    }
    assert_eq!(fs::read_dir(folder.path())?.count(), 0);
    Ok(())
}

#[test]
fn a_reader_that_has_seen_enough_is_no_failure() -> Result<()> {
    let sample = sample();
    let sample = sample.to_string_lossy();
    for arguments in [
        &["replay", &*sample][..],
        &["report", &sample],
        &["report", "--format", "json", &sample],
        &["doctor"],
        &["man"],
        &["completions", "bash"],
    ] {
        let mut command = program::kctx(arguments)?;
        command.stdin(Stdio::null());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn()?;
        // Closed before anything can be written: nothing of it fits a pipe that nobody reads.
        drop(child.stdout.take().context("a pipe")?);
        let ended = child.wait_with_output()?;
        let stderr = String::from_utf8_lossy(&ended.stderr);
        assert_eq!(ended.status.code(), Some(0), "{arguments:?}: {stderr}");
        assert_eq!(stderr, "", "{arguments:?}");
    }
    Ok(())
}

#[test]
fn a_full_disk_behind_standard_output_is_a_failure() -> Result<()> {
    let sample = sample();
    let sample = sample.to_string_lossy();
    for arguments in [&["replay", &*sample][..], &["report", &sample], &["man"]] {
        let mut command = program::kctx(arguments)?;
        command.stdout(File::options().write(true).open("/dev/full")?);
        let ended = command.output()?;
        let stderr = String::from_utf8_lossy(&ended.stderr).into_owned();
        assert_eq!(ended.status.code(), Some(1), "{arguments:?}: {stderr}");
        assert_eq!(stderr.lines().count(), 1, "{arguments:?}: {stderr}");
        let ended = program::Ended {
            status: ended.status,
            stdout: String::new(),
            stderr,
        };
        check_says(&ended, &["No space left"]);
    }
    Ok(())
}
