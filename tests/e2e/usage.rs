//! Wrong arguments and configurations.

use std::fs;

use anyhow::Result;
use kctx_tests::program;

use crate::{check_failed, check_usage, sample};

#[test]
fn wrong_arguments_are_wrong_usage() -> Result<()> {
    let cases: &[(&[&str], &[&str])] = &[
        (&["frobnicate"], &["frobnicate"]),
        (&["run", "--frobnicate"], &["--frobnicate"]),
        (
            &["run", "--interval", "soon"],
            &["--interval", "soon", "500ms"],
        ),
        (&["run", "--interval", "0s"], &["--interval", "100ms to 1h"]),
        (&["run", "--interval", "1y"], &["--interval", "100ms to 1h"]),
        (&["run", "--duration", "-1s"], &["-1"]),
        (
            &["run", "--ring-size", "5KiB"],
            &["--ring-size", "power of two"],
        ),
        (&["run", "--ring-size", "2KiB"], &["--ring-size", "4KiB"]),
        (&["run", "--ring-size", "128MiB"], &["--ring-size", "64MiB"]),
        (&["run", "--ring-size", "many"], &["--ring-size", "64MiB"]),
        (&["capture", "--window", "0s"], &["--window", "10ms to 1h"]),
        (&["capture", "--window", "0"], &["--window"]),
        (
            &["capture", "--window", "1y"],
            &["--window", "10ms to 1h", "kctx run"],
        ),
        (&["capture", "--window", "ten"], &["--window", "10s"]),
        (&["capture", "--window", ""], &["--window"]),
        (
            &["capture", "--ring-size", "12KiB"],
            &["--ring-size", "power of two"],
        ),
        (&["capture", "--max-size", "1KiB"], &["--max-size", "64KiB"]),
        (
            &["capture", "--max-size", "9999999999999999999999"],
            &["--max-size"],
        ),
        (&["report", "x", "--format", "yaml"], &["--format", "yaml"]),
        (&["report", "x", "--vector", "NET"], &["--vector", "NET_RX"]),
        (&["report", "x", "--cpu", "one"], &["--cpu", "0-3,8"]),
        (&["report", "x", "--cpu", ""], &["--cpu", "0-3,8"]),
        (
            &["report", "x", "--from", "yesterday"],
            &["--from", "yesterday", "2.5s"],
        ),
        (&["doctor", "--format", "xml"], &["--format", "xml"]),
        (
            &["doctor", "--estimate", "soon"],
            &["--estimate", "soon", "10s"],
        ),
        (
            &["doctor", "--estimate", "0s"],
            &["--estimate", "1s to 10m"],
        ),
        (
            &["doctor", "--estimate", "1h"],
            &["--estimate", "1s to 10m"],
        ),
        (&["doctor", "--estimate"], &["--estimate"]),
        (&["completions", "tcsh"], &["tcsh"]),
    ];
    for (arguments, says) in cases {
        check_usage(&program::run(*arguments)?, says);
    }
    for missing in [&["report"][..], &["replay"], &["completions"]] {
        check_usage(&program::run(missing)?, &["required"]);
    }
    Ok(())
}

#[test]
fn a_part_that_a_bundle_has_not_is_told() -> Result<()> {
    let sample = sample();
    let sample = sample.to_string_lossy();
    for (arguments, says) in [
        (&["--cpu", "99"][..], &["--cpu 99", "0-1"][..]),
        (&["--from", "2h"], &["--from", "after the window's start"]),
        (
            &["--from", "200ms", "--to", "100ms"],
            &["--to is not after --from"],
        ),
        (
            &["--to", "1999-12-31T23:59:59Z"],
            &["--to is not after the window's start"],
        ),
    ] {
        let all = ["report", &sample]
            .into_iter()
            .chain(arguments.iter().copied());
        check_failed(&program::run(all)?, says);
    }
    Ok(())
}

#[test]
fn no_command_at_all_shows_the_help() -> Result<()> {
    let ended = program::run::<&str>([])?;
    assert_eq!(ended.status.code(), Some(2));
    assert_eq!(ended.stdout, "");
    assert!(ended.stderr.contains("Usage: kctx <COMMAND>"), "{ended:?}");
    Ok(())
}

#[test]
fn a_wrong_configuration_is_named_with_its_line() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("kctx.toml");
    let path_text = path.to_string_lossy().into_owned();
    let sample = sample();
    let sample = sample.to_string_lossy();
    let bundle = folder.path().join("never.kctx.tar.zst");
    let bundle_text = bundle.to_string_lossy();
    for (text, says) in [
        (
            "[probes]\nsoftirq_vectors = [\"NET_RXX\"]\n",
            &["line 2", "unknown softirq vector \"NET_RXX\"", "NET_RX"][..],
        ),
        (
            "[run]\nintervall = \"1s\"\n",
            &["line 2", "intervall", "interval"],
        ),
        ("[rum]\n", &["line 1", "rum"]),
        (
            "[kernel]\n\nring_size = \"5KiB\"\n",
            &["line 3", "power of two"],
        ),
        ("[kernel]\nring_size = 4096\n", &["line 2"]),
        ("[run]\ninterval = \"0s\"\n", &["line 2", "100ms to 1h"]),
        (
            "[probes]\nfamilies = [\"softirqs\"]\n",
            &["line 2", "softirqs"],
        ),
        ("[capture]\nmax_size = \"1KiB\"\n", &["line 2", "64KiB"]),
        ("[meter]\nsample = \"1h\"\n", &["line 2", "1s to 1m"]),
        ("run = [\n", &["line"]),
        ("\u{0}", &["line 1"]),
    ] {
        fs::write(&path, text)?;
        for arguments in [
            &["run", "--duration", "1s", "--config", &path_text][..],
            &[
                "capture",
                "--window",
                "10ms",
                "-o",
                &bundle_text,
                "--config",
                &path_text,
            ],
            &["replay", &sample, "--config", &path_text],
            &["doctor", "--estimate", "1s", "--config", &path_text],
        ] {
            let ended = program::run(arguments)?;
            check_failed(&ended, says);
            check_failed(&ended, &[&path_text]);
        }
    }
    assert!(!bundle.exists());
    Ok(())
}

#[test]
fn a_configuration_that_cannot_be_read_is_named() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let missing = folder.path().join("missing.toml");
    let binary = folder.path().join("binary.toml");
    fs::write(&binary, [0xff, 0xfe, 0x00])?;
    for (path, says) in [
        (missing.as_path(), "No such file"),
        (folder.path(), "directory"),
        (&binary, "UTF-8"),
    ] {
        let path = path.to_string_lossy();
        for command in [
            &["run", "--duration", "1s"][..],
            &["capture", "--window", "10ms"],
            &["doctor", "--estimate", "1s"],
        ] {
            let arguments = command.iter().copied().chain(["--config", &path]);
            check_failed(&program::run(arguments)?, &["configuration", &path, says]);
        }
    }
    Ok(())
}

#[test]
fn the_doctor_reports_a_wrong_configuration_and_goes_on() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("kctx.toml");
    fs::write(&path, "[run]\nintervall = \"1s\"\n")?;
    let arguments = [
        "doctor",
        "--format",
        "json",
        "--config",
        &path.to_string_lossy(),
    ];
    let doctor = program::run(arguments)?.success()?;
    let diagnosis: serde_json::Value = serde_json::from_str(&doctor.stdout)?;
    let checks = diagnosis["checks"].as_array().into_iter().flatten();
    let bad: Vec<_> = checks
        .filter(|check| check["name"] == "configuration" && check["ok"] == false)
        .collect();
    assert_eq!(bad.len(), 1, "{diagnosis}");
    assert!(bad[0].to_string().contains("intervall"), "{}", bad[0]);
    Ok(())
}
