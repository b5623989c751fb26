//! What every command says of itself.

use std::{collections::BTreeSet, fs, path::Path};

use anyhow::{Context as _, Result};
use kctx_tests::program;
use serde_json::Value;

use crate::sample;

const COMMANDS: [&str; 9] = [
    "run",
    "capture",
    "report",
    "export",
    "diff",
    "replay",
    "doctor",
    "completions",
    "man",
];

#[test]
fn every_command_explains_itself() -> Result<()> {
    let overview = program::run(["--help"])?.success()?;
    for command in COMMANDS {
        assert!(
            overview.stdout.contains(&format!("\n  {command} ")),
            "{command}"
        );
        let help = program::run([command, "--help"])?.success()?;
        assert_eq!(help.stderr, "");
        assert!(
            help.stdout.contains(&format!("Usage: kctx {command}")),
            "{}",
            help.stdout
        );
        let short = program::run([command, "-h"])?.success()?;
        assert!(short.stdout.lines().count() >= 4, "{}", short.stdout);
    }
    Ok(())
}

#[test]
fn the_version_is_that_of_the_package() -> Result<()> {
    let version = program::run(["--version"])?.success()?;
    assert_eq!(
        version.stdout,
        format!("kctx {}\n", env!("CARGO_PKG_VERSION"))
    );
    Ok(())
}

#[test]
fn completions_know_the_commands() -> Result<()> {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = program::run(["completions", shell])?.success()?.stdout;
        for command in COMMANDS {
            assert!(script.contains(command), "{shell}: {command}");
        }
    }
    Ok(())
}

#[test]
fn the_manual_page_is_a_manual_page() -> Result<()> {
    let page = program::run(["man"])?.success()?.stdout;
    assert!(page.contains(".TH kctx 1"), "{page}");
    for command in COMMANDS {
        assert!(page.contains(command), "{command}");
    }
    Ok(())
}

#[test]
fn the_doctor_answers_in_one_json_document() -> Result<()> {
    let doctor = program::run(["doctor", "--format", "json"])?.success()?;
    let diagnosis: Value = serde_json::from_str(&doctor.stdout)?;
    assert_eq!(diagnosis["schema"], "kctx.doctor.v1");
    let live = diagnosis["live"].as_bool().context("live is yes or no")?;
    let reason = &diagnosis["live_reason"];
    match reason.as_str() {
        None => assert!(live && reason.is_null(), "{diagnosis}"),
        Some(reason) => {
            assert!(!live, "{diagnosis}");
            assert!(!reason.is_empty() && !reason.contains('\n'), "{reason:?}");
        }
    }
    let checks = diagnosis["checks"].as_array().context("a list of checks")?;
    let names: BTreeSet<_> = checks.iter().filter_map(|c| c["name"].as_str()).collect();
    for name in ["kernel", "configuration", "privileges", "BTF"] {
        assert!(names.contains(name), "{names:?}");
    }
    for check in checks {
        // What is not as it should be comes with what to do.
        let ok = check["ok"].as_bool().context("ok is yes or no")?;
        assert!(ok || check["remedy"].is_string(), "{check}");
    }
    let text = program::run(["doctor"])?.success()?.stdout;
    assert!(
        text.contains(if live {
            "works here"
        } else {
            "No live measurement"
        }),
        "{text}"
    );
    Ok(())
}

#[test]
fn the_report_keeps_to_its_schema() -> Result<()> {
    let schema = Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("docs/summary.schema.json");
    let schema: Value = serde_json::from_str(&fs::read_to_string(schema)?)?;
    let validator = jsonschema::validator_for(&schema)?;
    let report = program::run(["report", "--format", "json", &sample().to_string_lossy()])?;
    let mut summary: Value = serde_json::from_str(&report.success()?.stdout)?;
    let errors: Vec<String> = (validator.iter_errors(&summary))
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect();
    assert!(errors.is_empty(), "{errors:#?}");
    // The schema is one that can be failed.
    summary["softirq"][0]["count"] = "many".into();
    assert!(!validator.is_valid(&summary));
    Ok(())
}
