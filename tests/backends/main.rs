//! What kctx exports, as real servers understand it: VictoriaMetrics, Prometheus, and one made with OpenTelemetry's own Python
//! messages. `cargo xtask test` fetches them; where one cannot be had its tests are listed as not run.

mod dashboards;
mod figures;
mod otlp_server;
mod prometheus;
mod prometheus_otlp;
mod recorded;
mod rules;
mod victoria_metrics;

use std::{
    path::{Path, PathBuf},
    sync::OnceLock,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use kctx_tests::{
    load::{self, Pty},
    program::{self, Running},
};
use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

/// Where the repository is.
fn repository() -> Result<&'static Path> {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().context("the tests are in the repository")
}

/// Whether kctx can measure here.
fn is_live() -> Result<bool> {
    let doctor = program::run(["doctor", "--format", "json"])?.success()?;
    let doctor: Value = serde_json::from_str(&doctor.stdout)?;
    doctor["live"].as_bool().context("live is yes or no")
}

/// A bundle to replay into a backend: of this machine under load, made once; where it permits none the recorded sample.
fn bundle() -> Result<&'static Path> {
    static MADE: OnceLock<(TempDir, PathBuf)> = OnceLock::new();
    if let Some((_, path)) = MADE.get() {
        return Ok(path);
    }
    let folder = tempfile::tempdir()?;
    let path = if is_live()? {
        let path = folder.path().join("load.kctx.tar.zst");
        capture(&path)?;
        path
    } else {
        println!("this machine permits no measurement: the recorded sample");
        repository()?.join("tests/data/sample.kctx.tar.zst")
    };
    let (_, path) = MADE.get_or_init(|| (folder, path));
    Ok(path)
}

fn capture(path: &Path) -> Result<()> {
    let path = path.to_string_lossy();
    let mut capture = Running::kctx(["capture", "--window", "100s", "-o", &path])?;
    capture.wait_until_open()?;
    {
        let _udp = load::slow_udp(Duration::from_micros(100))?;
        let mut pty = Pty::open()?;
        for _ in 0..20 {
            pty.carry(100)?;
            std::thread::sleep(Duration::from_millis(50));
        }
    }
    capture.signal(Signal::INT)?;
    capture.wait(Duration::from_secs(60))?.cut_short()?;
    Ok(())
}

/// Replays a bundle into an OTLP endpoint.
fn push(bundle: &Path, endpoint: &str, more: &[(&str, &str)]) -> Result<()> {
    let bundle = bundle.to_string_lossy();
    let mut command = program::kctx(["replay", "--otlp-endpoint", endpoint, &*bundle])?;
    command.envs(more.iter().copied());
    let ended = program::run_command(command)?;
    if ended.stderr.contains("failed") {
        bail!("{}", ended.stderr);
    }
    ended.success()?;
    Ok(())
}
