//! A user who may not load programs: told why, and shown the recording instead where one is named.

use std::{
    fs::{self, Permissions},
    os::unix::{fs::PermissionsExt as _, process::CommandExt as _},
    path::PathBuf,
    process::Command,
};

use anyhow::{Context as _, Result, ensure};
use kctx_tests::program::{self, Ended};
use serde_json::Value;
use tempfile::TempDir;

use crate::{check_failed, check_says, sample};

/// `nobody`
const USER: u32 = 65534;

/// Somewhere that anybody may read, with kctx and the sample in it: the build's own folders may be closed.
struct Open {
    folder: TempDir,
}

impl Open {
    fn new() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        fs::set_permissions(folder.path(), Permissions::from_mode(0o755))?;
        let open = Self { folder };
        // Not by this process: what it holds open for writing another thread's child holds too, until that has executed its own
        // program, and a file that is open for writing cannot be executed.
        let copied = Command::new("cp")
            .args([program::kctx_path()?, open.path("kctx")])
            .status()?;
        ensure!(copied.success(), "cp: {copied}");
        fs::copy(sample(), open.path("sample"))?;
        fs::set_permissions(open.path("sample"), Permissions::from_mode(0o644))?;
        Ok(open)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Runs kctx as a user without any privilege.
    fn run(&self, arguments: &[&str]) -> Result<Ended> {
        let mut command = Command::new(self.path("kctx"));
        command.args(arguments).current_dir(self.folder.path());
        if rustix::process::geteuid().is_root() {
            // Without supplementary groups too: std drops those when it changes the user.
            command.uid(USER).gid(USER);
        }
        program::run_command(command)
    }

    fn live_reason(&self) -> Result<String> {
        let doctor = self.run(&["doctor", "--format", "json"])?.success()?;
        let diagnosis: Value = serde_json::from_str(&doctor.stdout)?;
        assert_eq!(diagnosis["live"], false, "{diagnosis}");
        let reason = diagnosis["live_reason"].as_str();
        Ok(reason.context("a reason")?.to_owned())
    }
}

#[test]
fn without_privileges_the_banner_says_why_and_the_sample_is_replayed() -> Result<()> {
    let open = Open::new()?;
    let reason = open.live_reason()?;
    let ended = open.run(&["run", "--or-replay", "sample"])?;
    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
    check_says(
        &ended,
        &[&format!("NOT LIVE: {reason}"), "the recording sample"],
    );
    let replay = open.run(&["replay", "sample"])?.success()?;
    assert_eq!(ended.stdout, replay.stdout);
    assert!(ended.stdout.contains("NET_RX"), "{ended:?}");
    Ok(())
}

#[test]
fn without_privileges_the_reason_says_what_is_missing() -> Result<()> {
    let reason = Open::new()?.live_reason()?;
    // A kctx that was built without its programs has another.
    let expected = [
        "missing CAP_BPF and CAP_PERFMON",
        "without its BPF programs",
    ];
    assert!(
        expected.iter().any(|words| reason.contains(words)),
        "{reason}"
    );
    Ok(())
}

#[test]
fn without_privileges_a_live_command_fails_in_one_line() -> Result<()> {
    let open = Open::new()?;
    fs::set_permissions(open.folder.path(), Permissions::from_mode(0o777))?;
    let reason = open.live_reason()?;
    check_failed(&open.run(&["run", "--duration", "1s"])?, &[&reason]);
    check_failed(&open.run(&["doctor", "--estimate", "1s"])?, &[&reason]);
    check_failed(
        &open.run(&["capture", "--window", "1s", "-o", "x"])?,
        &[&reason],
    );
    assert!(!open.path("x").exists());
    Ok(())
}

#[test]
fn a_folder_that_may_not_be_written_is_named() -> Result<()> {
    let open = Open::new()?;
    if !open.live_reason()?.contains("CAP_BPF") {
        println!("built without programs: capture does not get that far");
        return Ok(());
    }
    if !rustix::process::geteuid().is_root() {
        // Then the folder is the user's own.
        fs::set_permissions(open.folder.path(), Permissions::from_mode(0o555))?;
    }
    let ended = open.run(&["capture", "--window", "1s", "-o", "x.kctx.tar.zst"])?;
    check_failed(&ended, &["cannot write", "Permission denied"]);
    let ended = open.run(&["report", "sample", "-o", "report.txt"])?;
    check_failed(&ended, &["cannot write report.txt", "Permission denied"]);
    fs::set_permissions(open.folder.path(), Permissions::from_mode(0o755))?;
    Ok(())
}

#[test]
fn a_missing_recording_is_named_after_the_banner() -> Result<()> {
    let ended = Open::new()?.run(&["run", "--or-replay", "missing"])?;
    assert_eq!(ended.status.code(), Some(1), "{ended:?}");
    assert_eq!(ended.stdout, "");
    check_says(&ended, &["NOT LIVE", "cannot replay missing"]);
    Ok(())
}
