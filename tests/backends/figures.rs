//! What `kctx report` says of a bundle, and how near a backend comes to it that was sent the same.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use kctx_tests::{backend::Rows, program};
use serde_json::Value;

/// Durations of one row of the report, and the series that they are.
pub(crate) struct Figure {
    /// As Prometheus names it.
    pub(crate) metric: &'static str,
    pub(crate) labels: Vec<(&'static str, String)>,
    pub(crate) count: u64,
    pub(crate) sum_ns: u64,
    /// Quantiles with their values in nanoseconds.
    quantiles: [(f64, u64); 3],
}

/// What is asked of a backend, of all series of a metric.
#[derive(Clone, Copy)]
pub(crate) enum Asked {
    Count,
    Sum,
    Quantile(f64),
}

/// How far apart quantiles of kctx' histogram and of a backend's may be, as a ratio.
#[derive(Clone, Copy)]
pub(crate) enum Buckets {
    /// Both name a place in the same bucket: of a scale of 3, which is the coarsest for what takes 100 ns to 4 s, or finer.
    Exponential,
    /// Powers of two.
    Classic,
}

/// The report's own quantiles are upper edges of buckets 0.8 % wide, and a duration may lie in a bucket of the export whose edge
/// is within its bucket of the report.
const OWN_ERROR: f64 = 1.008;

impl Buckets {
    fn ratio(self) -> f64 {
        OWN_ERROR
            * match self {
                Self::Exponential => 0.125_f64.exp2(),
                Self::Classic => 2.0,
            }
    }
}

/// The report of a bundle.
pub(crate) fn report(bundle: &Path) -> Result<Value> {
    let path = bundle.to_string_lossy();
    let ended = program::run(["report", "--format", "json", &*path])?.success()?;
    Ok(serde_json::from_str(&ended.stdout)?)
}

/// When the bundle's window ended, in seconds since the Unix epoch.
pub(crate) fn end(report: &Value) -> Result<f64> {
    let number = |name: &str| report["window"][name].as_u64().context("a time");
    Ok((number("start_unix_ns")? + number("duration_ns")?) as f64 / 1e9)
}

/// All durations of softirqs, interrupts and works in a report.
pub(crate) fn figures(report: &Value) -> Result<Vec<Figure>> {
    let mut figures = Vec::new();
    let mut add = |section: &str, durations: &str, metric, labels: &[(&'static str, &str)]| {
        for row in report[section].as_array().into_iter().flatten() {
            let text = |key: &str| match &row[key] {
                Value::String(text) => Some(text.clone()),
                Value::Number(number) => Some(number.to_string()),
                _ => None,
            };
            let one = &row[durations];
            let number = |key: &str| one[key].as_u64();
            if row["overflow"] == true || number("count").is_none_or(|count| count == 0) {
                continue;
            }
            let labels = labels.iter();
            figures.push(Figure {
                metric,
                labels: (labels.filter_map(|(label, key)| Some((*label, text(key)?)))).collect(),
                count: number("count").context("a count")?,
                sum_ns: number("sum_ns").context("a sum")?,
                quantiles: [
                    (0.5, number("p50_ns").context("p50")?),
                    (0.9, number("p90_ns").context("p90")?),
                    (0.99, number("p99_ns").context("p99")?),
                ],
            });
        }
        anyhow::Ok(())
    };
    let softirq = [
        ("kctx_softirq_vector", "vector"),
        ("kctx_softirq_context", "context"),
        ("cpu_logical_number", "cpu"),
    ];
    let hardirq = [
        ("kctx_irq_number", "irq"),
        ("kctx_irq_name", "name"),
        ("cpu_logical_number", "cpu"),
    ];
    let work = [
        ("kctx_workqueue_name", "workqueue"),
        ("code_function_name", "function"),
    ];
    add(
        "softirq",
        "service",
        "kctx_softirq_duration_seconds",
        &softirq,
    )?;
    add(
        "softirq",
        "wait",
        "kctx_softirq_wait_duration_seconds",
        &softirq,
    )?;
    add(
        "hardirq",
        "service",
        "kctx_hardirq_duration_seconds",
        &hardirq,
    )?;
    add(
        "workqueue",
        "service",
        "kctx_workqueue_duration_seconds",
        &work,
    )?;
    add(
        "workqueue",
        "wait",
        "kctx_workqueue_wait_duration_seconds",
        &work,
    )?;
    Ok(figures)
}

/// Compares all figures with what a backend has: counts to the digit, sums to the nanosecond, quantiles within the bucket
/// that they are in.
pub(crate) fn check(
    figures: &[Figure],
    buckets: Buckets,
    mut ask: impl FnMut(&str, Asked) -> Result<Rows>,
) -> Result<()> {
    let mut metrics: Vec<_> = figures.iter().map(|figure| figure.metric).collect();
    metrics.dedup();
    ensure!(metrics.len() >= 4, "only {metrics:?} in the report");
    let (mut quantiles, mut worst, mut all) = (0, 1.0_f64, 0.0);
    for metric in metrics {
        let here = || figures.iter().filter(|figure| figure.metric == metric);
        let (counts, sums) = (ask(metric, Asked::Count)?, ask(metric, Asked::Sum)?);
        ensure!(
            counts.0.len() == here().count(),
            "{metric}: {} series, {} rows",
            counts.0.len(),
            here().count()
        );
        for figure in here() {
            let place = || format!("{metric} {:?}", figure.labels);
            let count = counts.one(&figure.labels).with_context(place)?;
            ensure!(
                count == figure.count as f64,
                "{}: count {count}, {} in the report",
                place(),
                figure.count
            );
            let sum = sums.one(&figure.labels).with_context(place)?;
            let wanted = figure.sum_ns as f64 / 1e9;
            // A double of seconds.
            ensure!(
                (sum - wanted).abs() <= 1e-9 + wanted * 1e-12,
                "{}: sum {sum}, {wanted} in the report",
                place()
            );
        }
        for (at, q) in [0.5, 0.9, 0.99].into_iter().enumerate() {
            let values = ask(metric, Asked::Quantile(q))?;
            for figure in here().filter(|figure| figure.count >= 500) {
                let (_, ns) = figure.quantiles[at];
                let value = values.one(&figure.labels)? * 1e9;
                let ratio = (value / ns as f64).max(ns as f64 / value);
                ensure!(
                    ratio <= buckets.ratio(),
                    "{metric} {:?}: p{} is {value} ns, {ns} ns in the report",
                    figure.labels,
                    q * 100.0
                );
                quantiles += 1;
                all += value / ns as f64;
                worst = worst.max(ratio);
            }
        }
    }
    ensure!(quantiles >= 6, "only {quantiles} quantiles to compare");
    let mean = all / f64::from(quantiles);
    println!(
        "{} series, {quantiles} quantiles, the worst off by {:.2} %, on average by {:+.2} %",
        figures.len(),
        (worst - 1.0) * 100.0,
        (mean - 1.0) * 100.0
    );
    // Where each is a bucket too far, that is 2.2 % at a scale of 5, which four decades have.
    ensure!(
        matches!(buckets, Buckets::Classic) || (mean - 1.0).abs() < 0.015,
        "all quantiles are off, by {mean}"
    );
    Ok(())
}
