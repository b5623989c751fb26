//! kctx as a child process that never outlives the test.

use std::{
    ffi::OsStr,
    fs::File,
    os::{fd::OwnedFd, unix::fs::FileExt as _},
    path::PathBuf,
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal};

use crate::kernel;

/// No command here has reason to take longer, on an emulated machine neither.
const PATIENCE: Duration = Duration::from_secs(90);

/// The kctx under test, which `cargo xtask test` names in the environment.
pub fn kctx_path() -> Result<PathBuf> {
    std::env::var_os("KCTX_BIN")
        .map(PathBuf::from)
        .context("KCTX_BIN names no kctx: run the tests by `cargo xtask test`")
}

/// An emulated machine takes some seconds to attach the probes, and more than half a minute on 5.10 under load
/// while its host is busy too.
const TO_OPEN: Duration = PATIENCE;

/// A command line of kctx, free of what the environment could add to it, and apart from any other kctx on this machine:
/// without a control socket where the arguments name none.
pub fn kctx<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Result<Command> {
    let mut command = Command::new(kctx_path()?);
    command.args(arguments).env_remove("KCTX_LOG");
    command.env("KCTX_SOCKET", "");
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("OTEL_") {
            command.env_remove(name);
        }
    }
    Ok(command)
}

/// What a command that ended left.
#[derive(Debug)]
pub struct Ended {
    /// Its status.
    pub status: ExitStatus,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

impl Ended {
    /// An error unless it succeeded.
    pub fn success(self) -> Result<Self> {
        if self.status.success() {
            return Ok(self);
        }
        bail!("kctx ended with {}: {}", self.status, self.stderr)
    }

    /// An error unless a signal ended a capture that was written all the same.
    pub fn cut_short(self) -> Result<Self> {
        let told = self.stderr.contains("a signal ended the window early");
        if self.status.code() == Some(1) && told {
            return Ok(self);
        }
        bail!("kctx ended with {}: {}", self.status, self.stderr)
    }
}

/// Runs kctx to its end.
pub fn run<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Result<Ended> {
    run_command(kctx(arguments)?)
}

/// Runs a command to its end.
pub fn run_command(command: Command) -> Result<Ended> {
    Running::start(command)?.wait(PATIENCE)
}

/// A child at work; killed when dropped.
#[derive(Debug)]
pub struct Running {
    child: Child,
    stdout: File,
    stderr: File,
}

impl Running {
    /// Starts a command. Its output goes to unnamed files: a pipe that nobody reads would stop it.
    pub fn start(command: Command) -> Result<Self> {
        let stdout = tempfile::tempfile()?;
        Self::start_with(command, stdout.try_clone()?.into(), stdout)
    }

    /// Starts a command with this terminal as its standard output.
    pub fn start_on_terminal(command: Command, terminal: OwnedFd) -> Result<Self> {
        Self::start_with(command, terminal, tempfile::tempfile()?)
    }

    fn start_with(mut command: Command, output: OwnedFd, stdout: File) -> Result<Self> {
        let stderr = tempfile::tempfile()?;
        let child = command
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(stderr.try_clone()?)
            .spawn()
            .with_context(|| format!("cannot start {}", command.get_program().display()))?;
        Ok(Self {
            child,
            stdout,
            stderr,
        })
    }

    /// Starts kctx.
    pub fn kctx<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Result<Self> {
        Self::start(kctx(arguments)?)
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits until its probes are attached and its window is open: from then on everything counts.
    pub fn wait_until_open(&mut self) -> Result<()> {
        let start = Instant::now();
        while start.elapsed() < TO_OPEN {
            if let Some(status) = self.child.try_wait()? {
                bail!(
                    "kctx ended with {status} before its window opened: {}",
                    self.read_stderr()?
                );
            }
            if kernel::counts(self.pid()) {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        bail!("kctx did not open its window within {TO_OPEN:?}")
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let pid = Pid::from_raw(self.pid().cast_signed()).context("a child has a process id")?;
        Ok(rustix::process::kill_process(pid, signal)?)
    }

    /// Waits for its end; one that takes too long is killed and an error.
    pub fn wait(mut self, patience: Duration) -> Result<Ended> {
        let start = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait()? {
                break status;
            }
            if start.elapsed() > patience {
                bail!(
                    "not done after {patience:?}; it said: {}",
                    self.read_stderr()?
                );
            }
            std::thread::sleep(Duration::from_millis(2));
        };
        Ok(Ended {
            status,
            stdout: read(&self.stdout)?,
            stderr: self.read_stderr()?,
        })
    }

    /// What it has said on standard output so far.
    pub fn read_stdout(&self) -> Result<String> {
        read(&self.stdout)
    }

    /// What it has said on standard error so far.
    pub fn read_stderr(&self) -> Result<String> {
        read(&self.stderr)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn read(file: &File) -> Result<String> {
    // The child shares the file's position, and writes there: it is left alone.
    let mut bytes = vec![0; usize::try_from(file.metadata()?.len())?];
    file.read_exact_at(&mut bytes, 0)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
