//! A daemon that is scraped while it measures.

use std::{
    collections::BTreeMap,
    io::Write as _,
    net::{SocketAddr, TcpListener, TcpStream},
    time::Duration,
};

use anyhow::{Context as _, Result};
use kctx::export::prometheus::{model::MetricFamily, settings::DEFAULT_LISTEN};
use kctx_tests::{
    load,
    program::{self, Running},
    scrape::{self, OPEN_METRICS, PROTOBUF, TEXT, total},
};
use rustix::process::Signal;

use crate::{alone, in_vm};

const IN_TIME: Duration = Duration::from_secs(20);

fn daemon() -> Result<(Running, SocketAddr)> {
    let arguments = [
        "run",
        "--interval",
        "200ms",
        "--duration",
        "120s",
        "--prometheus-listen=127.0.0.1:0",
    ];
    let kctx = Running::kctx(arguments)?;
    let address = scrape::address(&kctx)?;
    scrape::wait_until_ready(address)?;
    Ok((kctx, address))
}

/// The whole exposition in text.
fn text(address: SocketAddr) -> Result<String> {
    Ok(scrape::get(address, "/metrics", TEXT, true)?
        .text()?
        .to_owned())
}

fn runs(text: &str) -> Result<f64> {
    total(text, "kctx_softirq_duration_seconds_count", &[])
}

/// Every sample of every counter and histogram, by name and labels.
fn counts(families: &[MetricFamily]) -> BTreeMap<String, f64> {
    let mut counts = BTreeMap::new();
    for family in families {
        for metric in &family.metric {
            let labels: Vec<_> = metric
                .label
                .iter()
                .map(|l| format!("{}={}", l.name(), l.value()))
                .collect();
            let name = format!("{} {}", family.name(), labels.join(","));
            let histogram = metric.histogram.as_ref().map(|h| h.sample_count() as f64);
            if let Some(count) = histogram.or(metric.counter.map(|counter| counter.value())) {
                counts.insert(name, count);
            }
        }
    }
    counts
}

#[test]
fn counters_only_grow_and_agree_with_the_books() -> Result<()> {
    let _alone = alone();
    let (kctx, address) = daemon()?;
    let _udp = load::udp()?;
    let mut before = BTreeMap::new();
    for round in 0..12 {
        std::thread::sleep(Duration::from_millis(150));
        let families = scrape::get(address, "/metrics", PROTOBUF, round % 2 == 0)?.families()?;
        let now = counts(&families);
        for (name, count) in &before {
            let later = now.get(name).with_context(|| format!("{name} is gone"))?;
            assert!(later >= count, "{name} went from {count} to {later}");
        }
        before = now;
    }
    let text = text(address)?;
    let books = books(&text)?;
    let runs = runs(&text)?;
    assert!(runs > 1_000.0, "{runs}");
    // Records of the last window may still be on their way to the next one when its books are closed.
    // On emulated CPUs much may be.
    let least = books * if in_vm() { 0.3 } else { 0.95 };
    assert!(
        runs >= least && runs <= 1.05 * books,
        "{books} in the books, {runs} in the histograms"
    );
    assert_eq!(
        total(
            &text,
            "kctx_records_total",
            &[("kctx_record_outcome", "lost")]
        )?,
        0.0
    );
    assert!(total(&text, "kctx_probe_attached", &[])? >= 9.0);
    kctx.signal(Signal::TERM)?;
    let ended = kctx.wait(IN_TIME)?;
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
    Ok(())
}

/// The softirqs whose records reached userspace, by the kernel's side of the books.
fn books(text: &str) -> Result<f64> {
    ["streamed", "spilled"]
        .into_iter()
        .try_fold(0.0, |sum, outcome| {
            let labels = [
                ("kctx_probe_family", "softirq"),
                ("kctx_record_outcome", outcome),
            ];
            Ok(sum + total(text, "kctx_records_total", &labels)?)
        })
}

/// Little is left in the rings for a while; but not over a window's end.
#[test]
fn what_little_is_in_a_ring_goes_with_its_window() -> Result<()> {
    let _alone = alone();
    let (_kctx, address) = daemon()?;
    // Some hundreds in a window of 200 ms: a fiftieth of a ring.
    let _udp = load::slow_udp(Duration::from_micros(300))?;
    let mut furthest = 0.0_f64;
    for _ in 0..12 {
        std::thread::sleep(Duration::from_millis(150));
        let text = text(address)?;
        furthest = furthest.max(books(&text)? - runs(&text)?);
    }
    println!(
        "{furthest} records behind at most; {} runs",
        runs(&text(address)?)?
    );
    assert!(
        in_vm() || runs(&text(address)?)? > 2_000.0,
        "the load did not run"
    );
    assert!(in_vm() || furthest < 100.0, "{furthest} records behind");
    Ok(())
}

#[test]
fn bad_clients_hold_up_nothing() -> Result<()> {
    let _alone = alone();
    let (kctx, address) = daemon()?;
    let _udp = load::udp()?;
    let mut held = Vec::new();
    for n in 0..40 {
        let mut stream = TcpStream::connect(address)?;
        let _ = match n % 3 {
            // A head that does not end, a page that is not read, nothing at all.
            0 => stream.write_all(b"GET /metrics HTTP/1.1\r\nx: y"),
            1 => stream.write_all(b"GET /metrics HTTP/1.1\r\n\r\n"),
            _ => Ok(()),
        };
        held.push(stream);
    }
    // One line a window, all the while.
    let lines = |kctx: &Running| Ok::<_, anyhow::Error>(kctx.read_stdout()?.lines().count());
    let before = lines(&kctx)?;
    std::thread::sleep(Duration::from_secs(2));
    let during = lines(&kctx)? - before;
    assert!(during >= 5, "{during} windows of 200 ms in 2 s");
    drop(held);
    scrape::wait_until_ready(address)?;
    assert!(runs(&text(address)?)? > 1_000.0);
    kctx.signal(Signal::TERM)?;
    let ended = kctx.wait(IN_TIME)?;
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
    assert!(
        ended.stdout.lines().count() >= 2
            && ended.stdout.lines().all(|line| line.contains("lost 0")),
        "{}",
        ended.stdout
    );
    Ok(())
}

#[test]
fn every_format_is_there_while_it_measures() -> Result<()> {
    let _alone = alone();
    let (_kctx, address) = daemon()?;
    for (accept, starts) in [
        (TEXT, "text/plain; version=0.0.4"),
        (OPEN_METRICS, "application/openmetrics-text; version=1.0.0"),
        (PROTOBUF, "application/vnd.google.protobuf"),
    ] {
        let answer = scrape::get(address, "/metrics", accept, true)?;
        assert_eq!(answer.status, 200);
        assert!(
            answer.content_type.starts_with(starts),
            "{}",
            answer.content_type
        );
    }
    assert_eq!(
        scrape::get(address, "/healthz", "*/*", false)?.text()?,
        "ok\n"
    );
    Ok(())
}

/// Unasked it listens on loopback; where that is taken it says so, and measures all the same.
#[test]
fn scrapes_are_answered_unasked_unless_the_address_is_taken() -> Result<()> {
    let _alone = alone();
    let run = |more: &[&str]| {
        let mut arguments = vec!["run", "--interval", "200ms", "--duration", "1s"];
        arguments.extend(more);
        program::run(arguments)
    };
    // Somebody else on this machine may have it.
    let taken = TcpListener::bind(DEFAULT_LISTEN);
    let ended = run(&[])?.success()?;
    let line = format!("kctx: cannot answer scrapes on {DEFAULT_LISTEN}: ");
    let said: Vec<_> = (ended.stderr.lines())
        .filter(|said| said.starts_with(&line))
        .collect();
    assert_eq!(said.len(), 1, "{}", ended.stderr);
    assert!(ended.stdout.lines().count() >= 3, "{}", ended.stdout);

    let asked = run(&["--prometheus-listen"])?;
    assert_eq!(asked.status.code(), Some(1), "{}", asked.stderr);
    assert!(asked.stderr.contains(&line), "{}", asked.stderr);

    let none = run(&["--prometheus-listen=none"])?.success()?;
    assert!(!none.stderr.contains("scrapes"), "{}", none.stderr);

    if taken.is_ok() {
        drop(taken);
        let kctx = Running::kctx(["run", "--interval", "200ms", "--duration", "60s"])?;
        let address = scrape::address(&kctx)?;
        assert_eq!(address.to_string(), DEFAULT_LISTEN);
        scrape::wait_until_ready(address)?;
    }
    Ok(())
}
