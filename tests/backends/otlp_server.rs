//! OTLP over gRPC and over HTTP into a server made with OpenTelemetry's own Python messages.

use std::{
    collections::BTreeMap,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use kctx_tests::{
    backend::{self, Rows},
    program::Running,
};
use serde_json::Value;

use crate::{
    bundle,
    figures::{self, Asked, Buckets},
    push, repository,
};

struct Server {
    port: u64,
    child: Running,
}

/// Starts it with more options; `protocol` is `grpc` or `http`.
fn start(protocol: &str, more: &[&str]) -> Result<Server> {
    let mut command = Command::new(backend::program("KCTX_OTLP_PYTHON")?);
    command
        .arg(repository()?.join("tests/backends/otlp_server.py"))
        .args(["--protocol", protocol])
        .args(more);
    let child = Running::start(command)?;
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(60) {
        if let Some(line) = child.read_stdout()?.lines().next() {
            let first: Value = serde_json::from_str(line)?;
            let port = first["port"].as_u64().context("a port")?;
            return Ok(Server { port, child });
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    bail!("no server: {}", child.read_stderr()?)
}

impl Server {
    /// The metrics that came, by the names that they have in Prometheus, with their points.
    fn metrics(&self) -> Result<BTreeMap<String, Vec<Value>>> {
        let mut metrics: BTreeMap<String, Vec<Value>> = BTreeMap::new();
        for line in self.child.read_stdout()?.lines().skip(1) {
            let request: Value = serde_json::from_str(line)?;
            for metric in request["metrics"].as_array().into_iter().flatten() {
                let name = metric["name"].as_str().context("a name")?;
                let name = format!("{}_seconds", name.replace('.', "_"));
                let points = metric["points"].as_array().context("points")?;
                metrics.entry(name).or_default().extend(points.clone());
            }
        }
        Ok(metrics)
    }
}

fn row(point: &Value, key: &str) -> Result<(BTreeMap<String, String>, f64)> {
    let attributes = point["attributes"].as_object().context("attributes")?;
    let labels = attributes.iter().map(|(name, value)| {
        let value = value
            .as_str()
            .map_or_else(|| value.to_string(), str::to_owned);
        (name.replace('.', "_"), value)
    });
    Ok((labels.collect(), point[key].as_f64().context("a number")?))
}

fn compare(server: &Server, endpoint_path: &str, protocol: &str) -> Result<()> {
    let bundle = bundle()?;
    let report = figures::report(bundle)?;
    let endpoint = format!("http://127.0.0.1:{}{endpoint_path}", server.port);
    push(
        bundle,
        &endpoint,
        &[("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)],
    )?;
    let metrics = server.metrics()?;
    figures::check(
        &figures::figures(&report)?,
        Buckets::Exponential,
        |metric, asked| {
            let key = match asked {
                Asked::Count => "count".to_owned(),
                Asked::Sum => "sum".to_owned(),
                Asked::Quantile(q) => format!("p{}", q * 100.0),
            };
            let points = metrics
                .get(metric)
                .with_context(|| format!("no {metric}"))?;
            points
                .iter()
                .map(|point| row(point, &key))
                .collect::<Result<_>>()
                .map(Rows)
        },
    )
}

#[test]
fn grpc_says_what_the_report_says() -> Result<()> {
    compare(&start("grpc", &[])?, "", "grpc")
}

#[test]
fn http_says_what_the_report_says() -> Result<()> {
    compare(&start("http", &[])?, "", "http/protobuf")
}

/// gRPC's way to ask for a wait, of a status that without it would be no reason to come again.
#[test]
fn the_servers_retry_info_is_kept() -> Result<()> {
    let options = [
        "--fail",
        "RESOURCE_EXHAUSTED:1",
        "--retry-after",
        "2",
        "--metrics-only",
    ];
    let server = start("grpc", &options)?;
    let endpoint = format!("http://127.0.0.1:{}", server.port);
    let off = ("OTEL_LOGS_EXPORTER", "none");
    push(
        bundle()?,
        &endpoint,
        &[("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"), off],
    )?;
    let said = server.child.read_stdout()?;
    let requests: Vec<Value> = (said.lines().skip(1))
        .map(serde_json::from_str)
        .collect::<Result<_, _>>()?;
    ensure!(requests.len() >= 2, "{} requests", requests.len());
    ensure!(
        requests[0]["metrics"] == requests[1]["metrics"],
        "another request"
    );
    let time = |at: usize| requests[at]["time"].as_f64().context("a time");
    let waited = time(1)? - time(0)?;
    println!("came again after {waited:.2} s");
    ensure!((2.0..6.0).contains(&waited), "came again after {waited} s");
    Ok(())
}
