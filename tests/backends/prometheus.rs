//! Prometheus 3.5, which scrapes: native histograms and classic ones.

use std::{
    fmt::Write as _,
    fs,
    net::SocketAddr,
    path::Path,
    process::Command,
    time::{Duration, Instant, SystemTime},
};

use anyhow::{Result, bail};
use kctx_tests::{
    backend::{self, Server},
    program::Running,
    scrape,
};
use tempfile::TempDir;

use crate::{
    bundle,
    figures::{self, Asked, Buckets},
};

/// One kctx as Prometheus scrapes it.
pub(crate) struct Job<'a> {
    pub(crate) name: &'a str,
    pub(crate) target: SocketAddr,
    /// Native histograms, else classic ones.
    pub(crate) native: bool,
}

/// A Prometheus at work, and what it writes.
pub(crate) struct Scraping {
    pub(crate) server: Server,
    _folder: TempDir,
}

/// Starts one that scrapes each job and evaluates the rules each second.
pub(crate) fn start(jobs: &[Job<'_>], rules: &[&Path]) -> Result<Scraping> {
    start_program("KCTX_PROMETHEUS", jobs, rules, &[])
}

/// The same with the program that a variable names, and with more options.
pub(crate) fn start_program(
    variable: &str,
    jobs: &[Job<'_>],
    rules: &[&Path],
    options: &[&str],
) -> Result<Scraping> {
    let folder = tempfile::tempdir()?;
    let mut config =
        "global: {scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}\nrule_files:\n"
            .to_owned();
    for path in rules {
        writeln!(config, "  - {:?}", path.display().to_string())?;
    }
    config.push_str("scrape_configs:\n");
    for Job {
        name,
        target,
        native,
    } in jobs
    {
        let protocol = if *native {
            "PrometheusProto"
        } else {
            "OpenMetricsText1.0.0"
        };
        writeln!(
            config,
            "  - {{job_name: {name}, scrape_protocols: [{protocol}], static_configs: [{{targets: [\"{target}\"], labels: {{instance: {name}}}}}]}}"
        )?;
    }
    let file = folder.path().join("prometheus.yml");
    fs::write(&file, config)?;
    let address = backend::free_address()?;
    let mut command = Command::new(backend::program(variable)?);
    command
        .arg(format!("--config.file={}", file.display()))
        .arg(format!(
            "--storage.tsdb.path={}",
            folder.path().join("data").display()
        ))
        .arg(format!("--web.listen-address={address}"))
        .args(["--enable-feature=native-histograms", "--log.level=warn"])
        .args(options);
    Ok(Scraping {
        server: Server::start(command, address, "/-/ready")?,
        _folder: folder,
    })
}

/// Now, in seconds since the Unix epoch.
pub(crate) fn now() -> Result<f64> {
    Ok(SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)?
        .as_secs_f64())
}

/// Scrapes a replay, which has all of its figures from its first page on, and compares.
fn compare(native: bool, buckets: Buckets) -> Result<()> {
    let bundle = bundle()?;
    let report = figures::report(bundle)?;
    let kctx = Running::kctx([
        "replay",
        "--prometheus-listen=127.0.0.1:0",
        &*bundle.to_string_lossy(),
    ])?;
    let target = scrape::address(&kctx)?;
    wait_until_whole(target, &report)?;
    let scraping = start(
        &[Job {
            name: "kctx",
            target,
            native,
        }],
        &[],
    )?;
    let server = &scraping.server;
    let start = Instant::now();
    while server.query("kctx_probe_attached", now()?)?.0.is_empty() {
        if start.elapsed() > Duration::from_secs(30) {
            bail!("nothing was scraped: {}", server.said()?);
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    let time = now()?;
    figures::check(&figures::figures(&report)?, buckets, |metric, asked| {
        let expression = match (asked, native) {
            (Asked::Count, true) => format!("histogram_count({metric})"),
            (Asked::Sum, true) => format!("histogram_sum({metric})"),
            (Asked::Quantile(q), true) => format!("histogram_quantile({q}, {metric})"),
            (Asked::Count, false) => format!("{metric}_count"),
            (Asked::Sum, false) => format!("{metric}_sum"),
            (Asked::Quantile(q), false) => format!("histogram_quantile({q}, {metric}_bucket)"),
        };
        server.query(&expression, time)
    })
}

/// Until the replay is through: the page then has as many softirqs as the report.
fn wait_until_whole(target: SocketAddr, report: &serde_json::Value) -> Result<()> {
    scrape::wait_until_ready(target)?;
    let counts = report["softirq"].as_array().into_iter().flatten();
    let wanted: u64 = counts.filter_map(|row| row["count"].as_u64()).sum();
    let start = Instant::now();
    loop {
        let page = scrape::get(target, "/metrics", scrape::TEXT, true)?;
        let seen = scrape::total(page.text()?, "kctx_softirq_duration_seconds_count", &[])?;
        if seen == wanted as f64 {
            return Ok(());
        }
        if start.elapsed() > Duration::from_secs(60) {
            bail!("{seen} of {wanted} softirqs");
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn native_histograms_say_what_the_report_says() -> Result<()> {
    compare(true, Buckets::Exponential)
}

#[test]
fn classic_histograms_say_what_the_report_says() -> Result<()> {
    compare(false, Buckets::Classic)
}
