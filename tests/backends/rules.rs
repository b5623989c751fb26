//! Recording rules and alerts: promtool's word on them, and what there is in a file of rules.

use std::{path::PathBuf, process::Command};

use anyhow::{Result, ensure};
use kctx_tests::backend;

use crate::repository;

/// The files that the example configuration loads.
pub(crate) fn files() -> Result<[PathBuf; 2]> {
    let folder = repository()?.join("docs/prometheus");
    Ok([
        folder.join("kctx.rules.yml"),
        folder.join("kctx.alerts.yml"),
    ])
}

fn promtool(arguments: &[&str]) -> Result<String> {
    let mut command = Command::new(backend::program("KCTX_PROMTOOL")?);
    command
        .current_dir(repository()?.join("docs/prometheus"))
        .args(arguments);
    let output = command.output()?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "promtool {arguments:?}: {said}");
    Ok(said)
}

#[test]
fn promtool_finds_no_fault_with_the_rules() -> Result<()> {
    let said = promtool(&[
        "check",
        "rules",
        "--lint=all",
        "--lint-fatal",
        "kctx.rules.yml",
        "kctx.alerts.yml",
    ])?;
    ensure!(said.matches("SUCCESS").count() == 2, "{said}");
    Ok(())
}

#[test]
fn the_rules_pass_their_own_tests() -> Result<()> {
    promtool(&["test", "rules", "kctx_test.yml"])?;
    Ok(())
}

#[test]
fn promtool_takes_the_example_configuration() -> Result<()> {
    promtool(&["check", "config", "prometheus.yml"])?;
    Ok(())
}
