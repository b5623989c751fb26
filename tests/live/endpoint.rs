//! A daemon whose OTLP endpoint is in every trouble there is: it goes on, counts what it cannot send, tells it once, and is well again
//! by itself.

use std::{
    net::SocketAddr,
    time::{Duration, Instant, SystemTime},
};

use anyhow::{Context as _, Result, bail, ensure};
use kctx_tests::{
    kernel,
    left_out::left_out,
    load,
    program::{self, Running},
    received::Series,
    scrape::{self, TEXT, total},
    troubled::{Came, Endpoint, Trouble},
};
use rustix::process::Signal;

use crate::{alone, in_vm};

const METRICS: &str = "/v1/metrics";
const EXPORTED: &str = "otel_sdk_exporter_metric_data_point_exported_total";
const PATIENCE: Duration = Duration::from_secs(30);
const IN_TIME: Duration = Duration::from_secs(20);

struct Daemon {
    kctx: Running,
    scraped: SocketAddr,
}

impl Daemon {
    /// Pushes five times a second, and gives an export up after `timeout`.
    fn start(endpoint: &Endpoint, timeout: Duration) -> Result<Self> {
        let mut command = program::kctx([
            "run",
            "--interval",
            "200ms",
            "--duration",
            "120s",
            "--prometheus-listen=127.0.0.1:0",
        ])?;
        command
            .env(
                "OTEL_EXPORTER_OTLP_ENDPOINT",
                format!("http://{}", endpoint.address),
            )
            .env("OTEL_METRIC_EXPORT_INTERVAL", "200")
            .env(
                "OTEL_EXPORTER_OTLP_TIMEOUT",
                timeout.as_millis().to_string(),
            )
            .env("KCTX_LOG", "kctx=info");
        let kctx = Running::start(command)?;
        let scraped = scrape::address(&kctx)?;
        scrape::wait_until_ready(scraped)?;
        Ok(Self { kctx, scraped })
    }

    /// Data points whose export ended so.
    fn exported(&self, labels: &[(&str, &str)]) -> Result<f64> {
        total(&self.page()?, EXPORTED, labels)
    }

    /// Data points that the endpoint took.
    fn sent(&self) -> Result<f64> {
        let page = self.page()?;
        let sent: Vec<&str> = (page.lines())
            .filter(|line| !line.contains("error_type="))
            .collect();
        total(&sent.join("\n"), EXPORTED, &[])
    }

    fn page(&self) -> Result<String> {
        Ok(scrape::get(self.scraped, "/metrics", TEXT, true)?
            .text()?
            .to_owned())
    }

    fn said(&self, text: &str) -> Result<usize> {
        Ok(self.kctx.read_stderr()?.matches(text).count())
    }
}

/// Waits until it holds.
fn wait_until(what: &str, mut holds: impl FnMut() -> Result<bool>) -> Result<()> {
    let start = Instant::now();
    while start.elapsed() < PATIENCE {
        if holds()? {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    bail!("{what}: not within {PATIENCE:?}")
}

fn taken(endpoint: &Endpoint) -> usize {
    endpoint
        .came(METRICS)
        .iter()
        .filter(|came| came.taken)
        .count()
}

/// The troubles with what an export that ends of each is counted as.
fn troubles() -> Vec<(Trouble, &'static str)> {
    let status = |status| Trouble::Status(status, Vec::new());
    vec![
        (status(429), "429"),
        (status(503), "503"),
        // Longer than an export may take: given up at once.
        (
            Trouble::Status(503, vec!["retry-after: 3600".to_owned()]),
            "503",
        ),
        (status(400), "400"),
        (status(401), "401"),
        (Trouble::HalfClosed, "connection"),
        (Trouble::Garbage, "protocol"),
        (Trouble::Oversized(5 << 20), "response_too_large"),
        (Trouble::Silent, "timeout"),
        (Trouble::Slow(Duration::from_secs(3)), "timeout"),
    ]
}

#[test]
fn every_trouble_is_counted_and_told_and_then_over() -> Result<()> {
    if in_vm() {
        left_out("the endpoint's troubles are not the kernel's");
        return Ok(());
    }
    let _alone = alone();
    let mut endpoint = Endpoint::start(None)?;
    let daemon = Daemon::start(&endpoint, Duration::from_secs(1))?;
    let _udp = load::slow_udp(Duration::from_millis(1))?;
    for (trouble, kind) in troubles() {
        let place = || format!("{trouble:?}");
        check_trouble(&daemon, kind, || {
            endpoint.trouble(trouble.clone());
            Ok(())
        })
        .with_context(place)?;
        check_recovery(&daemon, &endpoint, || {
            endpoint.trouble(Trouble::None);
            Ok(())
        })
        .with_context(place)?;
    }
    endpoint.close();
    check_trouble(&daemon, "connect", || Ok(()))?;
    endpoint.open()?;
    check_recovery(&daemon, &endpoint, || Ok(()))?;
    check_end(daemon, &endpoint)
}

/// Data points fail of this from when it begins, and a line says so.
fn check_trouble(daemon: &Daemon, kind: &str, begin: impl FnOnce() -> Result<()>) -> Result<()> {
    let failed = [("error_type", kind)];
    let before = (daemon.exported(&failed)?, daemon.said("failed:")?);
    begin()?;
    wait_until("the failures are counted", || {
        Ok(daemon.exported(&failed)? > before.0)
    })?;
    let told = daemon.said("failed:")? - before.1;
    ensure!(
        (1..=2).contains(&told),
        "told {told} times: {}",
        daemon.kctx.read_stderr()?
    );
    Ok(())
}

/// The endpoint gets something again, that is counted, and a line says so.
fn check_recovery(
    daemon: &Daemon,
    endpoint: &Endpoint,
    end: impl FnOnce() -> Result<()>,
) -> Result<()> {
    let before = (taken(endpoint), daemon.said("works again")?);
    let all = daemon.sent()?;
    end()?;
    wait_until("it gets exports again", || {
        Ok(taken(endpoint) > before.0 + 1)
    })?;
    wait_until("that is told", || {
        Ok(daemon.said("works again")? == before.1 + 1)
    })?;
    // A page holds what the last window knew.
    wait_until("what came is counted", || Ok(daemon.sent()? > all))
}

/// All that was counted is there in the end, and no series ever went back.
fn check_end(daemon: Daemon, endpoint: &Endpoint) -> Result<()> {
    let scraped = total(&daemon.page()?, "kctx_softirq_duration_seconds_count", &[])?;
    daemon.kctx.signal(Signal::TERM)?;
    let ended = daemon.kctx.wait(IN_TIME)?;
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
    ensure!(
        ended.stdout.lines().count() >= 2
            && ended.stdout.lines().all(|line| line.contains("lost 0")),
        "{}",
        ended.stdout
    );
    let mut series = Series::default();
    for came in endpoint.came(METRICS).iter().filter(|came| came.taken) {
        series.take(&came.request.body)?;
    }
    let received = series.count("kctx.softirq.duration") as f64;
    println!(
        "{} later points without a reset; {received} softirqs",
        series.later
    );
    ensure!(
        received >= scraped && scraped > 1_000.0,
        "{received} of {scraped} softirqs arrived"
    );
    Ok(())
}

/// `Retry-After` in both its forms: nothing comes sooner, and then it does.
#[test]
fn the_endpoint_is_left_alone_for_as_long_as_it_asks() -> Result<()> {
    if in_vm() {
        left_out("the endpoint's troubles are not the kernel's");
        return Ok(());
    }
    let _alone = alone();
    let endpoint = Endpoint::start(None)?;
    let daemon = Daemon::start(&endpoint, Duration::from_secs(10))?;
    let seconds = "retry-after: 2".to_owned();
    check_wait(&daemon, &endpoint, 503, seconds.clone())?;
    check_wait(&daemon, &endpoint, 429, seconds)?;
    // A date has no fractions of a second: two of them at least.
    let date = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(3));
    check_wait(&daemon, &endpoint, 503, format!("retry-after: {date}"))?;
    // It was retried in time: no export failed.
    assert_eq!(daemon.said("failed:")?, 0, "{}", daemon.kctx.read_stderr()?);
    Ok(())
}

fn check_wait(daemon: &Daemon, endpoint: &Endpoint, status: u16, header: String) -> Result<()> {
    wait_until("it pushes", || Ok(taken(endpoint) > 0))?;
    let refused = |all: &[Came]| all.iter().rposition(|came| !came.taken);
    let before = refused(&endpoint.came(METRICS));
    let place = header.clone();
    endpoint.trouble(Trouble::Status(status, vec![header]));
    wait_until("it is refused", || {
        Ok(refused(&endpoint.came(METRICS)) > before)
    })?;
    endpoint.trouble(Trouble::None);
    let at = refused(&endpoint.came(METRICS)).context("it was refused")?;
    wait_until("it comes again", || {
        Ok(endpoint.came(METRICS).len() > at + 1)
    })?;
    let came = endpoint.came(METRICS);
    let waited = came[at + 1].at - came[at].at;
    println!("{place}: {waited:?}");
    let least = Duration::from_secs(2);
    ensure!(waited >= least && waited < 3 * least, "{place}: {waited:?}");
    ensure!(
        came[at].request.body == came[at + 1].request.body,
        "{place}: another request"
    );
    ensure!(
        total(&daemon.page()?, "kctx_export_merged_total", &[])? >= 5.0,
        "{place}: none merged"
    );
    Ok(())
}

/// An endpoint that comes and goes: memory stays as it is, and what comes is whole.
#[test]
fn an_endpoint_that_comes_and_goes_costs_no_memory_and_no_count() -> Result<()> {
    const CYCLES: u32 = 24;
    if in_vm() {
        left_out("the endpoint's troubles are not the kernel's");
        return Ok(());
    }
    let _alone = alone();
    let mut endpoint = Endpoint::start(None)?;
    let daemon = Daemon::start(&endpoint, Duration::from_millis(500))?;
    let _udp = load::slow_udp(Duration::from_millis(1))?;
    let mut resident = Vec::new();
    for _ in 0..CYCLES {
        let before = taken(&endpoint);
        wait_until("it pushes", || Ok(taken(&endpoint) > before))?;
        endpoint.close();
        std::thread::sleep(Duration::from_millis(500));
        resident.push(kernel::resident_bytes(daemon.kctx.pid())?);
        endpoint.open()?;
    }
    // Histograms get buckets for what they have not seen yet; that is over soon.
    let (settled, last) = (resident[resident.len() / 2], resident[resident.len() - 1]);
    println!("{CYCLES} cycles: resident {resident:?}");
    ensure!(
        last < settled + (2 << 20),
        "memory grew from {settled} to {last} bytes"
    );
    check_end(daemon, &endpoint)
}
