//! Sends windows with known durations to the OTLP endpoint of the `OTEL_*` variables, and prints what
//! they held as one JSON document, for comparing with what a backend makes of them.
//!
//! `OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:4318 cargo run --example otlp_send -- 6`

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, bail};
use kctx::aggregate::duration::Durations;
use kctx::aggregate::window::{SoftirqRow, Window};
use kctx::export::otlp::{OtlpConfig, OtlpExporter, env};
use kctx::export::{cumulative::Limits, resource::Resource, totals::Totals};
use serde_json::json;

/// Between the ends of two windows.
const STEP: Duration = Duration::from_secs(10);
/// Durations of each vector in each window.
const PER_WINDOW: u64 = 2_000;

fn main() -> anyhow::Result<()> {
    let windows: u64 = std::env::args().nth(1).as_deref().unwrap_or("6").parse()?;
    let none = OtlpConfig::default();
    let resolved = env::resolve(&none, &none, &|name| std::env::var(name).ok())?;
    for warning in &resolved.warnings {
        eprintln!("{warning}");
    }
    let mut resource = Resource::detect();
    resolved.apply_to(&mut resource);
    let Some(settings) = resolved.settings else {
        bail!("set OTEL_EXPORTER_OTLP_ENDPOINT");
    };
    let totals = Arc::new(Totals::of(Limits::default(), settings.temporality, false));
    let exporter = OtlpExporter::spawn(settings, resource, totals)?;
    let span = STEP * u32::try_from(windows)?;
    let mut start = SystemTime::now()
        .duration_since(UNIX_EPOCH)?
        .saturating_sub(span);
    let mut totals = [("NET_RX", 3e3, 1.2), ("BLOCK", 2e5, 0.8)]
        .map(|(vector, median, sigma)| (vector, median, sigma, Durations::default()));
    let mut uniform = Uniform(42);
    for _ in 0..windows {
        let mut window = Window {
            start_unix_ns: u64::try_from(start.as_nanos())?,
            duration_ns: u64::try_from(STEP.as_nanos())?,
            ..Window::default()
        };
        for (vector, median, sigma, total) in &mut totals {
            let seen: Durations = (0..PER_WINDOW)
                .map(|_| (*median * (*sigma * uniform.normal()).exp()) as u64)
                .collect();
            total.merge(&seen);
            window.softirq.push(SoftirqRow {
                vector,
                cpu: 0,
                context: "irq_tail",
                count: seen.count(),
                wait_unknown: 0,
                wait: seen.clone(),
                service: seen.clone(),
                service_net: seen,
            });
        }
        start += STEP;
        exporter.offer(Arc::new(window));
        if !exporter.settle(Duration::from_secs(30)) {
            bail!("not settled after 30 s");
        }
    }
    let outcome = exporter.shutdown(Duration::from_secs(5));
    let stats = exporter.stats();
    let rows: Vec<_> = totals
        .iter()
        .map(|(vector, _, _, total)| {
            json!({
                "vector": vector,
                "count": total.count(),
                "sum": total.sum_ns() as f64 / 1e9,
                "max": total.max_ns() as f64 / 1e9,
                "p50": total.quantile_ns(0.5) as f64 / 1e9,
                "p90": total.quantile_ns(0.9) as f64 / 1e9,
                "p99": total.quantile_ns(0.99) as f64 / 1e9,
                "p999": total.quantile_ns(0.999) as f64 / 1e9,
            })
        })
        .collect();
    println!(
        "{}",
        json!({"rows": rows, "outcome": format!("{outcome:?}")})
    );
    stats
        .last_error
        .map_or(Ok(()), |error| Err(anyhow::Error::msg(error)))
        .context("export")
}

/// The same numbers in every run.
struct Uniform(u64);

impl Uniform {
    fn next(&mut self) -> f64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 11) as f64 + 0.5) / (1_u64 << 53) as f64
    }

    /// Box-Muller.
    fn normal(&mut self) -> f64 {
        let radius = (-2.0 * self.next().ln()).sqrt();
        radius * (std::f64::consts::TAU * self.next()).cos()
    }
}
