//! `kctx export` and `kctx diff`: what they print, and what they refuse.

use std::{fs, io::Write as _, path::Path};

use anyhow::{Context as _, Result};
use kctx_tests::program;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use serde_json::Value;

use crate::{check_failed, check_says, check_usage, sample};

#[test]
fn each_format_is_written_to_a_file_and_to_stdout() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let sample = sample();
    let sample = sample.to_string_lossy();
    for format in ["perfetto", "jsonl", "folded"] {
        let path = folder.path().join(format);
        let arguments = ["export", &*sample, "--format", format];
        let to_file = arguments.iter().copied();
        let output = path.to_string_lossy();
        let ended = program::run(to_file.chain(["-o", &output]))?.success()?;
        assert_eq!((ended.stdout.as_str(), ended.stderr.as_str()), ("", ""));
        let written = fs::read(&path)?;
        assert!(!written.is_empty());
        let printed = program::run(arguments.into_iter().chain(["-o", "-"]))?.success()?;
        assert!(printed.stdout == String::from_utf8_lossy(&written));
    }
    Ok(())
}

#[test]
fn a_trace_does_not_go_to_a_terminal() -> Result<()> {
    let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY)?;
    grantpt(&terminal)?;
    unlockpt(&terminal)?;
    let name = ptsname(&terminal, Vec::new())?.into_string()?;
    let slave = fs::OpenOptions::new().read(true).write(true).open(name)?;
    let sample = sample();
    let arguments = ["export", &*sample.to_string_lossy(), "--format", "perfetto"];
    let ended = program::kctx(arguments)?.stdout(slave).output()?;
    assert_eq!(ended.status.code(), Some(2));
    let says = String::from_utf8_lossy(&ended.stderr);
    assert!(
        says.contains("does not go to a terminal; give a file"),
        "{says}"
    );
    Ok(())
}

#[test]
fn what_cannot_be_read_or_written_is_named() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let sample = sample();
    let sample = sample.to_string_lossy();
    let text = folder.path().join("text");
    fs::write(&text, "no bundle")?;
    let missing = folder.path().join("missing");
    let output = folder.path().join("out");
    let output = output.to_string_lossy();
    for (bundle, says) in [
        (text.as_path(), "not zstd"),
        (&missing, "No such file"),
        (folder.path(), "directory"),
    ] {
        let bundle = bundle.to_string_lossy();
        let arguments = ["export", &*bundle, "--format", "jsonl", "-o", &output];
        check_failed(&program::run(arguments)?, &["cannot export", &bundle, says]);
        let ended = program::run(["diff", &*bundle, &*sample])?;
        check_failed(&ended, &["cannot compare", &bundle, says]);
        let ended = program::run(["diff", &*sample, &*bundle])?;
        check_failed(&ended, &["cannot compare", &bundle, says]);
    }
    // No output is made for what is no bundle.
    assert!(!Path::new(&*output).exists());
    for (output, says) in [
        ("/dev/full", "No space left"),
        ("/missing/x", "No such file"),
    ] {
        let arguments = ["export", &*sample, "--format", "jsonl", "-o", output];
        check_failed(&program::run(arguments)?, &[says]);
    }
    check_usage(&program::run(["export", &*sample])?, &["--format"]);
    let arguments = ["export", &*sample, "--format", "pcap"];
    check_usage(&program::run(arguments)?, &["pcap", "--format"]);
    check_usage(&program::run(["diff", &*sample])?, &["required"]);
    Ok(())
}

#[test]
fn a_bundle_is_not_written_over() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let bundle = folder.path().join("b.kctx.tar.zst");
    fs::copy(sample(), &bundle)?;
    let link = folder.path().join("link");
    std::os::unix::fs::symlink(&bundle, &link)?;
    let path = bundle.to_string_lossy();
    for output in [&bundle, &link] {
        let output = output.to_string_lossy();
        let arguments = ["export", &*path, "--format", "jsonl", "-o", &output];
        check_failed(&program::run(arguments)?, &["it is the bundle itself"]);
        let sample = sample();
        let sample = sample.to_string_lossy();
        for words in [
            vec!["report", &*path],
            vec!["diagnose", &*path],
            vec!["diff", &*sample, &*path],
        ] {
            let arguments = words.into_iter().chain(["-o", &*output]);
            check_failed(&program::run(arguments)?, &["it is the bundle itself"]);
        }
    }
    assert!(fs::read(&bundle)? == fs::read(sample())?);
    Ok(())
}

#[test]
fn a_bundle_cut_short_is_exported_up_to_the_cut_and_not_compared() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let bundle = folder.path().join("cut.kctx.tar.zst");
    let whole = fs::read(sample())?;
    fs::File::create(&bundle)?.write_all(&whole[..whole.len() * 7 / 10])?;
    let path = bundle.to_string_lossy();
    let ended = program::run(["export", &*path, "--format", "jsonl"])?.success()?;
    check_says(&ended, &["was cut short", "records in it"]);
    assert!(ended.stdout.lines().count() > 1000);
    for line in ended.stdout.lines() {
        let line: Value = serde_json::from_str(line)?;
        assert!(line["type"].is_string());
    }
    let ended = program::run(["diff", &*path, &*sample().to_string_lossy()])?;
    check_failed(&ended, &["cannot compare", "no summary"]);
    Ok(())
}

#[test]
fn a_comparison_keeps_to_its_schema() -> Result<()> {
    let schema = Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("docs/diff.schema.json");
    let schema: Value = serde_json::from_str(&fs::read_to_string(schema)?)?;
    let validator = jsonschema::validator_for(&schema)?;
    let sample = sample();
    let sample = sample.to_string_lossy();
    let ended = program::run(["diff", &*sample, &*sample, "--format", "json"])?.success()?;
    let mut diff: Value = serde_json::from_str(&ended.stdout)?;
    let errors: Vec<String> = (validator.iter_errors(&diff))
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect();
    assert!(errors.is_empty(), "{errors:#?}");
    let rows = diff["rows"].as_array().context("rows")?;
    let net_rx = rows
        .iter()
        .find(|row| row["name"] == "NET_RX")
        .context("NET_RX")?;
    assert_eq!(net_rx["changed"], false);
    assert_eq!(net_rx["figures"][0]["verdict"], "noise");
    diff["rows"][0]["figures"][0]["verdict"] = "perhaps".into();
    assert!(!validator.is_valid(&diff));
    Ok(())
}

#[test]
fn a_comparison_for_people_begins_with_the_answer() -> Result<()> {
    let sample = sample();
    let sample = sample.to_string_lossy();
    let text = program::run(["diff", &*sample, &*sample])?
        .success()?
        .stdout;
    assert!(
        text.starts_with("nothing changed by more than the noise"),
        "{text}"
    );
    Ok(())
}
