//! A replay that is scraped: what Prometheus gets is what the report says.

use std::{
    collections::BTreeMap,
    fs,
    net::{SocketAddr, TcpListener},
    time::Duration,
};

use anyhow::{Context as _, Result};
use kctx::report::summary::Summary;
use kctx_tests::{
    program::{self, Running},
    scrape::{self, OPEN_METRICS, PROTOBUF, TEXT, total},
};
use rustix::process::Signal;

use crate::{check_failed, check_usage, sample};

const IN_TIME: Duration = Duration::from_secs(20);

fn replay(more: &[&str]) -> Result<(Running, SocketAddr)> {
    let sample = sample();
    let sample = sample.to_string_lossy();
    let mut arguments = vec!["replay", &*sample, "--prometheus-listen=127.0.0.1:0"];
    arguments.extend(more);
    let kctx = Running::kctx(arguments)?;
    let address = scrape::address(&kctx)?;
    scrape::wait_until_ready(address)?;
    Ok((kctx, address))
}

fn report() -> Result<Summary> {
    let sample = sample();
    let ended = program::run(["report", "--format", "json", &sample.to_string_lossy()])?;
    Ok(serde_json::from_str(&ended.success()?.stdout)?)
}

/// Counts by what is in the first of the pair.
fn by<'a>(rows: impl Iterator<Item = (&'a str, u64)>) -> BTreeMap<&'a str, u64> {
    let mut counts = BTreeMap::new();
    for (key, count) in rows {
        *counts.entry(key).or_insert(0) += count;
    }
    counts
}

#[test]
fn counts_and_sums_are_those_of_the_report() -> Result<()> {
    let (_kctx, address) = replay(&[])?;
    let summary = report()?;
    let answer = scrape::get(address, "/metrics", TEXT, true)?;
    let text = answer.text()?;
    let runs = by(summary
        .softirq
        .iter()
        .map(|row| (row.vector.as_str(), row.count)));
    assert!(runs.values().sum::<u64>() > 100);
    for (vector, count) in runs {
        let label = [("kctx_softirq_vector", vector)];
        let name = "kctx_softirq_duration_seconds_count";
        assert_eq!(total(text, name, &label)?, count as f64, "{vector}");
        assert_eq!(
            total(text, "kctx_softirq_raised_total", &label)?,
            count as f64,
            "{vector}"
        );
    }
    let gross: u64 = summary.softirq.iter().map(|row| row.service.sum_ns).sum();
    let sum = total(text, "kctx_softirq_duration_seconds_sum", &[])?;
    assert!((sum * 1e9 - gross as f64).abs() < 1.0, "{sum} {gross}");
    let interrupts = by(summary
        .hardirq
        .iter()
        .map(|row| (row.name.as_str(), row.count)));
    for (name, count) in interrupts {
        let label = [("kctx_irq_name", name)];
        let counted = total(text, "kctx_hardirq_duration_seconds_count", &label)?;
        assert_eq!(counted, count as f64, "{name}");
    }
    let works: u64 = summary.workqueue.iter().map(|row| row.count).sum();
    let counted = total(text, "kctx_workqueue_duration_seconds_count", &[])?;
    assert_eq!(counted, works as f64);
    let packets: u64 = summary.napi.iter().map(|row| row.packets).sum();
    assert_eq!(
        total(text, "kctx_napi_poll_packets_total", &[])?,
        packets as f64
    );
    let streamed = [("kctx_record_outcome", "streamed")];
    let streamed = total(text, "kctx_records_total", &streamed)?;
    assert_eq!(streamed, summary.accounting.total.streamed as f64);
    Ok(())
}

#[test]
fn each_accept_header_gets_its_format_with_the_same_counts() -> Result<()> {
    let (_kctx, address) = replay(&[])?;
    let name = "kctx_softirq_duration_seconds";
    let count = format!("{name}_count");
    let classic = scrape::get(address, "/metrics", TEXT, false)?;
    assert!(
        classic
            .content_type
            .starts_with("text/plain; version=0.0.4"),
        "{classic:?}"
    );
    let expected = total(classic.text()?, &count, &[])?;
    assert!(expected > 100.0);
    for (accept, content_type) in [
        ("*/*", "text/plain; version=0.0.4"),
        (OPEN_METRICS, "application/openmetrics-text; version=1.0.0"),
    ] {
        for gzip in [false, true] {
            let answer = scrape::get(address, "/metrics", accept, gzip)?;
            assert!(answer.content_type.starts_with(content_type), "{answer:?}");
            assert_eq!(total(answer.text()?, &count, &[])?, expected);
            let ended = answer.text()?.ends_with("# EOF\n");
            assert_eq!(ended, accept == OPEN_METRICS);
        }
    }
    let answer = scrape::get(address, "/metrics", PROTOBUF, true)?;
    assert!(
        answer
            .content_type
            .starts_with("application/vnd.google.protobuf"),
        "{answer:?}"
    );
    let families = answer.families()?;
    let family = families.iter().find(|family| family.name() == name);
    let metrics = &family.context("softirqs")?.metric;
    let histograms: Vec<_> = metrics
        .iter()
        .filter_map(|metric| metric.histogram.as_ref())
        .collect();
    let native: u64 = histograms
        .iter()
        .map(|histogram| histogram.sample_count())
        .sum();
    assert_eq!(native as f64, expected);
    for histogram in histograms {
        let (mut count, mut sum) = (0, 0);
        for delta in &histogram.positive_delta {
            count += delta;
            sum += count;
        }
        let sum = u64::try_from(sum)? + histogram.zero_count();
        assert_eq!(sum, histogram.sample_count());
    }
    Ok(())
}

#[test]
fn a_replay_stays_until_a_signal_and_then_ends_well() -> Result<()> {
    let (kctx, address) = replay(&[])?;
    for path in ["/healthz", "/readyz"] {
        let answer = scrape::get(address, path, "*/*", false)?;
        assert_eq!((answer.status, answer.text()?), (200, "ok\n"));
    }
    assert_eq!(scrape::get(address, "/", "*/*", false)?.status, 200);
    assert_eq!(scrape::get(address, "/other", "*/*", false)?.status, 404);
    kctx.signal(Signal::TERM)?;
    let ended = kctx.wait(IN_TIME)?;
    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
    assert!(std::net::TcpStream::connect(address).is_err());
    Ok(())
}

#[test]
fn a_replay_listens_only_where_the_command_line_says_so() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let config = folder.path().join("kctx.toml");
    fs::write(&config, "[prometheus]\nlisten = \"127.0.0.1:0\"\n")?;
    let sample = sample();
    let arguments = [
        "replay",
        &sample.to_string_lossy(),
        "--config",
        &config.to_string_lossy(),
    ];
    // It ends by itself.
    let ended = program::run(arguments)?.success()?;
    assert!(!ended.stderr.contains("scrapes"), "{ended:?}");
    Ok(())
}

#[test]
fn an_address_that_others_reach_is_warned_about() -> Result<()> {
    let sample = sample();
    let arguments = [
        "replay",
        &sample.to_string_lossy(),
        "--prometheus-listen=0.0.0.0:0",
    ];
    let kctx = Running::kctx(arguments)?;
    scrape::address(&kctx)?;
    let said = kctx.read_stderr()?;
    assert!(
        said.contains("0.0.0.0:0, which other hosts may reach"),
        "{said}"
    );
    let (kctx, _) = replay(&[])?;
    assert!(!kctx.read_stderr()?.contains("other hosts"));
    Ok(())
}

#[test]
fn what_cannot_be_listened_on_is_said_in_one_line() -> Result<()> {
    let taken = TcpListener::bind("127.0.0.1:0")?;
    let address = taken.local_addr()?;
    let sample = sample();
    let sample = sample.to_string_lossy();
    let listen = format!("--prometheus-listen={address}");
    let ended = program::run(["replay", &*sample, &listen])?;
    check_failed(
        &ended,
        &[
            "cannot answer scrapes",
            &address.to_string(),
            "another kctx",
        ],
    );
    let ended = program::run(["replay", &*sample, "--prometheus-listen=9769"])?;
    check_usage(
        &ended,
        &["\"9769\" is no address to listen on", "127.0.0.1:9769"],
    );
    Ok(())
}
