//! OTLP into Prometheus itself, where there is one that was built with the receiver.

use anyhow::{Context as _, Result};

use crate::{
    bundle,
    figures::{self, Asked, Buckets},
    prometheus, push,
};

#[test]
fn exponential_histograms_say_what_the_report_says() -> Result<()> {
    let bundle = bundle()?;
    let report = figures::report(bundle)?;
    let scraping = prometheus::start_program(
        "KCTX_PROMETHEUS_OTLP",
        &[],
        &[],
        &["--web.enable-otlp-receiver"],
    )?;
    let server = &scraping.server;
    push(
        bundle,
        &format!("http://{}/api/v1/otlp", server.address),
        &[],
    )
    .with_context(|| server.said().unwrap_or_default())?;
    let time = figures::end(&report)? + 1.0;
    figures::check(
        &figures::figures(&report)?,
        Buckets::Exponential,
        |metric, asked| {
            let expression = match asked {
                Asked::Count => format!("histogram_count({metric})"),
                Asked::Sum => format!("histogram_sum({metric})"),
                Asked::Quantile(q) => format!("histogram_quantile({q}, {metric})"),
            };
            server.query(&expression, time)
        },
    )
}
