//! OTLP over HTTP into VictoriaMetrics.

use std::process::Command;

use anyhow::Result;
use kctx_tests::backend::{self, Server};
use tempfile::TempDir;

use crate::{
    bundle,
    figures::{self, Asked, Buckets},
    push,
};

fn start(folder: &TempDir) -> Result<Server> {
    let address = backend::free_address()?;
    let mut command = Command::new(backend::program("KCTX_VICTORIA_METRICS")?);
    command
        .arg(format!("-httpListenAddr={address}"))
        .arg(format!("-storageDataPath={}", folder.path().display()))
        .args([
            // A recording may be old, and what comes is asked for at once.
            "-retentionPeriod=100y",
            "-search.latencyOffset=0s",
            "-opentelemetry.usePrometheusNaming",
            "-memory.allowedBytes=256MiB",
        ]);
    Server::start(command, address, "/health")
}

/// Pushes the bundle, and compares.
fn compare(variables: &[(&str, &str)], buckets: Buckets) -> Result<()> {
    let bundle = bundle()?;
    let report = figures::report(bundle)?;
    let folder = tempfile::tempdir()?;
    let server = start(&folder)?;
    let endpoint = format!("http://{}/opentelemetry", server.address);
    push(bundle, &endpoint, variables)?;
    backend::get(server.address, "/internal/force_flush")?;
    // Samples of a time are there for five minutes after it.
    let time = figures::end(&report)? + 1.0;
    figures::check(&figures::figures(&report)?, buckets, |metric, asked| {
        let expression = match asked {
            Asked::Count => format!("{metric}_count"),
            Asked::Sum => format!("{metric}_sum"),
            Asked::Quantile(q) => format!("histogram_quantile({q}, {metric}_bucket)"),
        };
        server.query(&expression, time)
    })
}

#[test]
fn exponential_histograms_say_what_the_report_says() -> Result<()> {
    compare(&[], Buckets::Exponential)
}

#[test]
fn explicit_buckets_say_what_the_report_says() -> Result<()> {
    let explicit = (
        "OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION",
        "explicit_bucket_histogram",
    );
    compare(&[explicit], Buckets::Classic)
}
