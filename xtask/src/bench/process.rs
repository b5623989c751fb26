//! kctx as a process: how soon it measures, what it takes at rest and under load, how much it stands.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::figures::{Figure, median};
use crate::command;

/// How long each is looked at.
const REST: Duration = Duration::from_secs(20);
const UNDER_LOAD: Duration = Duration::from_secs(10);

pub(super) fn measure(kctx: &Path, load: &Path, folder: &Path, rounds: u32) -> Result<Vec<Figure>> {
    let bundle = folder.join("bench.kctx.tar.zst");
    let mut figures = vec![first_record(kctx, &bundle, rounds)?];
    figures.extend(at_rest(kctx)?);
    figures.extend(under_load(kctx, load, folder)?);
    figures.extend(captured(kctx, load, folder, &bundle)?);
    Ok(figures)
}

pub(super) fn figure(name: &str, value: f64, unit: &str, how: &str) -> Figure {
    Figure {
        name: name.to_owned(),
        value,
        unit: unit.to_owned(),
        how: how.to_owned(),
    }
}

/// From the start of the process to its window's: from then on, what happens is recorded.
fn first_record(kctx: &Path, bundle: &Path, rounds: u32) -> Result<Figure> {
    eprintln!("bench: start");
    let mut milliseconds = Vec::new();
    for _ in 0..rounds {
        let started = SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos();
        capture(kctx, bundle, "100ms")?;
        let opened = summary(kctx, bundle)?["window"]["start_unix_ns"]
            .as_u64()
            .context("a summary has a window")?;
        milliseconds.push(
            (f64::from(u32::try_from(
                u128::from(opened).saturating_sub(started) / 1000,
            )?)) / 1000.0,
        );
    }
    let value = median(&milliseconds).context("no rounds")?;
    Ok(figure(
        "start to first record",
        value,
        "ms",
        "from exec to the opening of the window, every family, median",
    ))
}

fn capture(kctx: &Path, bundle: &Path, window: &str) -> Result<()> {
    let mut command = Command::new(kctx);
    command
        .args(["capture", "--window", window, "-o"])
        .arg(bundle);
    command::capture(&mut command)?;
    Ok(())
}

fn summary(kctx: &Path, bundle: &Path) -> Result<Value> {
    let text = command::capture(
        Command::new(kctx)
            .arg("report")
            .arg(bundle)
            .args(["--format", "json"]),
    )?;
    serde_json::from_str(&text).context("the report is no JSON")
}

/// A process that is killed when this goes.
pub(super) struct Killed(pub(super) Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A `kctx run`.
pub(super) struct Daemon(Killed);

impl Daemon {
    pub(super) fn start(kctx: &mut Command) -> Result<Self> {
        let child = kctx
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("cannot start kctx")?;
        let daemon = Self(Killed(child));
        // Until it is at work.
        std::thread::sleep(Duration::from_secs(3));
        Ok(daemon)
    }

    /// CPU time of all its threads, in nanoseconds.
    fn cpu_ns(&self) -> Result<f64> {
        let mut sum = 0.0;
        for thread in fs::read_dir(format!("/proc/{}/task", self.0.0.id()))? {
            let text = fs::read_to_string(thread?.path().join("schedstat"))?;
            let ns = text.split_whitespace().next().unwrap_or_default();
            sum += ns.parse::<f64>().context("no schedstat")?;
        }
        Ok(sum)
    }

    /// A size of /proc/PID/status, in MiB.
    fn mebibytes(&self, name: &str) -> Result<f64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0.0.id()))?;
        let field = command::field(&status, name).with_context(|| format!("no {name}"))?;
        let kibibytes = field.trim_end_matches("kB").trim().parse::<f64>()?;
        Ok(kibibytes / 1024.0)
    }

    /// Which share of one CPU it takes over so long.
    fn share(&self, during: Duration) -> Result<f64> {
        let (before, start) = (self.cpu_ns()?, Instant::now());
        std::thread::sleep(during);
        Ok((self.cpu_ns()? - before) / start.elapsed().as_nanos() as f64 * 100.0)
    }
}

fn at_rest(kctx: &Path) -> Result<Vec<Figure>> {
    eprintln!("bench: at rest");
    let daemon = Daemon::start(Command::new(kctx).arg("run"))?;
    let share = daemon.share(REST)?;
    Ok(vec![
        figure(
            "userspace, machine at rest",
            share,
            "% of one CPU",
            "kctx run, every family, 20 s, by schedstat",
        ),
        figure(
            "resident memory, at rest",
            daemon.mebibytes("VmRSS:")?,
            "MiB",
            "the same process; /proc/PID/status, VmRSS, shared pages of its file included",
        ),
        figure(
            "of that, its own",
            daemon.mebibytes("RssAnon:")?,
            "MiB",
            "RssAnon",
        ),
    ])
}

/// Datagrams on each CPU, as fast as they go, until this goes.
pub(super) struct Loads(Vec<Killed>);

impl Loads {
    pub(super) fn start(load: &Path, folder: &Path) -> Result<Self> {
        let mut loads = Self(Vec::new());
        let cpus = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        for cpu in 0..cpus {
            // At most so many windows: it ends by itself.
            let child = Command::new(load)
                .current_dir(folder)
                .args(["udp", "1000", &cpu.to_string()])
                .stdout(Stdio::null())
                .spawn()
                .context("cannot start the load")?;
            loads.0.push(Killed(child));
        }
        Ok(loads)
    }
}

fn under_load(kctx: &Path, load: &Path, folder: &Path) -> Result<Vec<Figure>> {
    eprintln!("bench: under load");
    let daemon = Daemon::start(Command::new(kctx).arg("run"))?;
    let loads = Loads::start(load, folder)?;
    std::thread::sleep(Duration::from_secs(2));
    let share = daemon.share(UNDER_LOAD)?;
    drop(loads);
    Ok(vec![
        figure(
            "userspace, under load",
            share,
            "% of one CPU",
            "kctx run, datagrams on each CPU as fast as they go; the governor allows 2 % by default",
        ),
        figure(
            "resident memory, under load",
            daemon.mebibytes("VmRSS:")?,
            "MiB",
            "the same process",
        ),
    ])
}

fn captured(kctx: &Path, load: &Path, folder: &Path, bundle: &Path) -> Result<Vec<Figure>> {
    eprintln!("bench: capture under load");
    let loads = Loads::start(load, folder)?;
    capture(kctx, bundle, "5s")?;
    drop(loads);
    let start = Instant::now();
    let summary = summary(kctx, bundle)?;
    let report = start.elapsed();
    let number = |value: &Value| value.as_f64().context("a summary has counts");
    let total = &summary["accounting"];
    let (streamed, spilled) = (number(&total["streamed"])?, number(&total["spilled"])?);
    let seconds = number(&summary["window"]["duration_ns"])? / 1e9;
    if streamed == 0.0 {
        bail!("a capture under load has no record");
    }
    let bytes = fs::metadata(bundle)?.len() as f64;
    Ok(vec![
        figure(
            "records streamed, under load",
            streamed / seconds,
            "1/s",
            "capture of 5 s, datagrams on each CPU as fast as they go, 1 MiB rings",
        ),
        figure(
            "of all records, spilled then",
            spilled / (streamed + spilled) * 100.0,
            "%",
            "counts and histograms exact all the same",
        ),
        figure(
            "bundle, everything included",
            bytes / streamed,
            "bytes a record",
            "size of the file, evidence too",
        ),
        figure(
            "report",
            streamed / report.as_secs_f64() / 1e6,
            "million records/s",
            "kctx report --format json of that bundle, the whole process",
        ),
    ])
}
