//! Where the workspace and its build output are.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::command;

/// The paths every command works with; all absolute.
pub(crate) struct Workspace {
    pub(crate) root: PathBuf,
    pub(crate) target: PathBuf,
    /// The triple of this machine, as the compiler names it.
    pub(crate) host: String,
}

impl Workspace {
    /// Asks cargo, so that CARGO_TARGET_DIR and `build.target-dir` are honoured as cargo does.
    pub(crate) fn find() -> Result<Self> {
        let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("Cargo.toml");
        let mut metadata = Command::new(cargo_program());
        metadata
            .args([
                "metadata",
                "--no-deps",
                "--format-version=1",
                "--manifest-path",
            ])
            .arg(&manifest);
        let json: serde_json::Value = serde_json::from_str(&command::capture(&mut metadata)?)
            .context("cargo metadata did not print JSON")?;
        let path = |key: &str| {
            json[key]
                .as_str()
                .map(PathBuf::from)
                .with_context(|| format!("cargo metadata has no {key}"))
        };
        let version = command::capture(Command::new("rustc").arg("-vV"))?;
        let host = command::field(&version, "host: ")
            .context("rustc -vV names no host")?
            .to_owned();
        Ok(Self {
            root: path("workspace_root")?,
            target: path("target_directory")?,
            host,
        })
    }

    /// The cargo that runs xtask, at the workspace's root.
    pub(crate) fn cargo(&self) -> Command {
        let mut cargo = Command::new(cargo_program());
        cargo
            .current_dir(&self.root)
            .env("CARGO_TARGET_DIR", &self.target)
            // Programs are looked for where cargo puts them for this machine.
            .env_remove("CARGO_BUILD_TARGET");
        cargo
    }

    /// The tests' recorded bundle, which is replayed where live capture cannot be had.
    pub(crate) fn sample(&self) -> PathBuf {
        self.root.join("tests/data/sample.kctx.tar.zst")
    }

    /// The package of the eBPF programs, which is outside the workspace.
    pub(crate) fn ebpf(&self) -> PathBuf {
        self.root.join("kctx-ebpf")
    }
}

fn cargo_program() -> OsString {
    std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}
