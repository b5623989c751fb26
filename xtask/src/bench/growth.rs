//! What grows: memory with CPUs and work functions, exports with what there is to export.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};

use super::figures::{Figure, median};
use super::process::{Daemon, Killed, Loads, figure};
use crate::command;

/// More of each than there was.
const CPUS: u32 = 256;
const FUNCTIONS: u32 = 1000;

pub(super) fn of_memory(example: &Path) -> Result<Vec<Figure>> {
    eprintln!("bench: memory with CPUs and functions");
    let kib = |cpus: u32, functions: u32| -> Result<f64> {
        let arguments = [cpus.to_string(), functions.to_string()];
        let text = command::capture(Command::new(example).args(arguments))?;
        text.trim().parse().with_context(|| format!("{text:?}"))
    };
    let few = kib(2, 1)?;
    let how = "kctx/examples/memory_growth.rs: own memory after three windows, 300 records a row of 100 ns to 1 ms";
    Ok(vec![
        figure(
            "memory of userspace for a CPU with ten vectors",
            (kib(2 + CPUS, 1)? - few) / f64::from(CPUS),
            "KiB",
            how,
        ),
        figure(
            "the same for a work function",
            (kib(2, 1 + FUNCTIONS)? - few) / f64::from(FUNCTIONS),
            "KiB",
            how,
        ),
    ])
}

/// Exports of a `kctx run` under load, by an endpoint that takes them.
pub(super) fn of_export(
    kctx: &Path,
    sink: &Path,
    load: &Path,
    folder: &Path,
) -> Result<Vec<Figure>> {
    eprintln!("bench: export");
    let sink = Command::new(sink)
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start the endpoint")?;
    let mut sink = Killed(sink);
    let said = sink.0.stdout.take().context("no output of the endpoint")?;
    let mut said = BufReader::new(said).lines();
    let address = said.next().context("the endpoint says nothing")??;
    let daemon = Daemon::start(
        Command::new(kctx)
            .arg("run")
            .env("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://{address}"))
            .env("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")
            .env("OTEL_METRIC_EXPORT_INTERVAL", "1000"),
    )?;
    let loads = Loads::start(load, folder)?;
    std::thread::sleep(Duration::from_secs(6));
    drop((loads, daemon, sink));
    let mut sizes: Vec<(f64, f64)> = Vec::new();
    for line in said {
        let line = line?;
        let (bytes, sent) = line.split_once(' ').with_context(|| line.clone())?;
        sizes.push((bytes.parse::<f64>()?, sent.parse::<f64>()?));
    }
    // The first ones have not seen all there is.
    let (bytes, sent): (Vec<f64>, Vec<f64>) = sizes.split_off(sizes.len() / 2).into_iter().unzip();
    let of = |sizes: &[f64]| median(sizes).context("nothing was exported");
    let how = "kctx run, OTLP/HTTP, every family, datagrams on each CPU; medians";
    Ok(vec![
        figure("an export", of(&bytes)?, "bytes", how),
        figure("an export, compressed", of(&sent)?, "bytes", how),
    ])
}
