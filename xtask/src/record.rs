//! What a VM's run left: one file for each configuration, from which docs/kernels.md is made.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::console::Console;
use crate::kernels;
use crate::libtest::Verdict;
use crate::matrix::Config;
use crate::workspace::Workspace;

/// A run of the live tests in a VM.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq, Eq)]
pub(crate) struct Record {
    /// The kernel as `--kernel` names it, without a path.
    pub(crate) kernel: String,
    /// `rt`, `cloud` or nothing, of one of Debian's kernels.
    pub(crate) flavour: String,
    /// True for one of Debian's kernels, which anybody can have.
    pub(crate) debian: bool,
    /// `uname -r` and `uname -v`, where it came so far.
    pub(crate) release: Option<String>,
    pub(crate) version: Option<String>,
    /// Processors asked for, and those that the kernel brought up.
    pub(crate) cpus: u32,
    pub(crate) cpus_online: Option<u32>,
    /// Whether the VM has its kernel's BTF.
    pub(crate) btf: bool,
    pub(crate) seconds: u64,
    /// What went wrong that no failed test tells.
    pub(crate) trouble: Option<String>,
    pub(crate) passed: Vec<String>,
    pub(crate) failed: Vec<String>,
    pub(crate) ignored: Vec<String>,
    /// As kctx's summary has them; none where the test that prints them did not get to it.
    pub(crate) probes: Vec<Probe>,
}

/// A probe of kctx's summary.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq, Eq)]
pub(crate) struct Probe {
    pub(crate) name: String,
    pub(crate) family: String,
    pub(crate) attached: bool,
    #[serde(default)]
    pub(crate) mechanism: Option<String>,
    /// Why it is not attached, or not by the best mechanism.
    #[serde(default)]
    pub(crate) reason: Option<String>,
}

impl Record {
    pub(crate) fn new(
        config: &Config,
        console: &Console,
        seconds: u64,
        trouble: Option<String>,
    ) -> Self {
        let kernel = config.short();
        let (_, flavour) = kernel.split_once('-').unwrap_or((&kernel, ""));
        let debian = kernels::is_known(&config.kernel);
        Self {
            flavour: if debian {
                flavour.to_owned()
            } else {
                String::new()
            },
            debian,
            release: console.release.clone(),
            version: console.version.clone(),
            cpus: config.cpus,
            cpus_online: console.cpus,
            btf: console.btf.unwrap_or(config.btf),
            seconds,
            trouble,
            passed: console.tests(Verdict::Passed),
            failed: console.tests(Verdict::Failed),
            ignored: console.tests(Verdict::Ignored),
            probes: console.probes.clone(),
            kernel,
        }
    }

    /// Writes it and says where. What is no run of all tests as they are lies apart, so that the docs are
    /// not made from it.
    pub(crate) fn write(&self, ws: &Workspace, config: &Config, whole: bool) -> Result<PathBuf> {
        let mut dir = results(ws);
        if !whole {
            dir.push("partial");
        }
        fs::create_dir_all(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
        let path = dir.join(format!("{}.json", config.slug()));
        let text = serde_json::to_string_pretty(self).context("a record is no JSON")?;
        fs::write(&path, text + "\n")
            .with_context(|| format!("cannot write {}", path.display()))?;
        Ok(path)
    }
}

fn results(ws: &Workspace) -> PathBuf {
    ws.target.join("vm/results")
}

/// The records of all whole runs, and of which configurations of `wanted` there is none.
pub(crate) fn all(ws: &Workspace, wanted: &[Config]) -> Result<(Vec<Record>, Vec<Config>)> {
    let dir = results(ws);
    let mut records = Vec::new();
    let mut paths = Vec::new();
    if dir.is_dir() {
        let entries =
            fs::read_dir(&dir).with_context(|| format!("cannot read {}", dir.display()))?;
        for entry in entries {
            let path = entry?.path();
            if path
                .extension()
                .is_some_and(|extension| extension == "json")
            {
                records.push(read(&path)?);
                paths.push(path);
            }
        }
    }
    let missing = |config: &&Config| {
        let name = format!("{}.json", config.slug());
        !paths.iter().any(|path| path.ends_with(&name))
    };
    Ok((records, wanted.iter().filter(missing).cloned().collect()))
}

fn read(path: &Path) -> Result<Record> {
    let text =
        fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    serde_json::from_str(&text).with_context(|| {
        format!(
            "{} is no record of this xtask: remove it and start that VM again",
            path.display()
        )
    })
}
