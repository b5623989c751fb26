//! A replay that pushes: what an endpoint gets of what happened, and what it does not.

use anyhow::{Context as _, Result};
use kctx::{
    aggregate::window::{LogRow, LogRows},
    source::{Control, Item},
};
use kctx_common::record::module_event;
use kctx_tests::{
    otlp::{Answer, Endpoint},
    program::{self, Ended},
    stream::{self, Names, START_NS, START_UNIX_NS},
};
use opentelemetry_proto::tonic::{
    collector::{logs::v1::ExportLogsServiceRequest, metrics::v1::ExportMetricsServiceRequest},
    common::v1::{AnyValue, KeyValue, any_value::Value},
    metrics::v1::{metric::Data, number_data_point},
};
use prost::Message as _;

const SECOND: u64 = 1_000_000_000;
const EXPORTED: &str = "otel.sdk.exporter.log.exported";

/// A module comes and taints the kernel, which complains; in the next window it goes, and in the last one nothing happens:
/// what became of logs is told with the next window's metrics.
pub(crate) fn eventful() -> [Item; 9] {
    let line = LogRow {
        seq: 42,
        level: 4,
        // A stream's lines have the monotonic time.
        time_unix_ns: START_NS + 30,
        text: "evil: loading out-of-tree module taints kernel.".to_owned(),
        fragment: false,
    };
    let log = LogRows {
        lines: vec![line],
        by_level: [0, 0, 0, 0, 1, 0, 0, 0],
        ..LogRows::default()
    };
    let out_of_tree = 1 << 12;
    [
        stream::start(),
        stream::batch(
            0,
            &[stream::module(
                module_event::LOAD,
                "evil",
                out_of_tree,
                START_NS + 10,
            )],
        ),
        stream::control(Control::Taint {
            monotonic_ns: START_NS + 20,
            before: 0,
            after: u64::from(out_of_tree),
        }),
        stream::control(Control::Log(Box::new(log))),
        stream::window_end(SECOND),
        stream::batch(
            0,
            &[stream::module(
                module_event::FREE,
                "evil",
                0,
                START_NS + SECOND + 10,
            )],
        ),
        stream::window_end(2 * SECOND),
        stream::counted([0; 4]),
        stream::window_end(3 * SECOND),
    ]
}

fn replay(answer: Answer, variables: &[(&str, &str)]) -> Result<(Ended, Endpoint)> {
    let folder = tempfile::tempdir()?;
    let bundle = folder.path().join("eventful.kctx.tar.zst");
    stream::record(&eventful(), &Names::default(), &bundle)?;
    let endpoint = Endpoint::start(answer)?;
    let mut command = program::kctx(["replay", &bundle.to_string_lossy()])?;
    let url = format!("http://{}", endpoint.address);
    command
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", url)
        .envs(variables.iter().copied());
    Ok((program::run_command(command)?, endpoint))
}

fn text(value: Option<&AnyValue>) -> String {
    match value.and_then(|value| value.value.as_ref()) {
        Some(Value::StringValue(text)) => text.clone(),
        Some(Value::IntValue(number)) => number.to_string(),
        other => format!("{other:?}"),
    }
}

/// `time event severity body` of each record, with the time since the stream's start.
fn records(endpoint: &Endpoint) -> Result<Vec<String>> {
    let mut records = Vec::new();
    for received in endpoint.received("/v1/logs") {
        let request = ExportLogsServiceRequest::decode(received.body.as_slice())?;
        let scopes = request.resource_logs.iter().flat_map(|of| &of.scope_logs);
        records.extend(scopes.flat_map(|scope| &scope.log_records).map(|record| {
            format!(
                "{} {} {} {}",
                record.time_unix_nano - START_UNIX_NS,
                record.event_name,
                record.severity_number,
                text(record.body.as_ref())
            )
        }));
    }
    Ok(records)
}

/// What a metric last said, by `error.type`; empty for none.
fn counted(endpoint: &Endpoint, name: &str) -> Result<Vec<(String, i64)>> {
    let requests = endpoint.received("/v1/metrics");
    let last = requests.last().context("no metrics came")?;
    let request = ExportMetricsServiceRequest::decode(last.body.as_slice())?;
    let scopes = request
        .resource_metrics
        .iter()
        .flat_map(|of| &of.scope_metrics);
    let mut metrics = scopes.flat_map(|scope| &scope.metrics);
    let Some(metric) = metrics.find(|metric| metric.name == name) else {
        return Ok(Vec::new());
    };
    let Some(Data::Sum(sum)) = &metric.data else {
        anyhow::bail!("{name} is no sum");
    };
    let error = |attributes: &[KeyValue]| {
        let error = attributes.iter().find(|pair| pair.key == "error.type");
        error.map_or(String::new(), |pair| text(pair.value.as_ref()))
    };
    let points = sum.data_points.iter().map(|point| match point.value {
        Some(number_data_point::Value::AsInt(value)) => (error(&point.attributes), value),
        _ => (error(&point.attributes), -1),
    });
    Ok(points.collect())
}

#[test]
fn what_happened_is_told_when_it_happened() -> Result<()> {
    let (ended, endpoint) = replay(|_| 200, &[])?;
    let ended = ended.success()?;
    assert_eq!(
        records(&endpoint)?,
        [
            "10 kctx.module.loaded 9 module evil was loaded",
            "20 kctx.kernel.taint.changed 13 the kernel is tainted: oot_module (O): A module built outside of the \
             kernel tree was loaded.",
            "30 kctx.kernel.log 13 evil: loading out-of-tree module taints kernel.",
            "1000000010 kctx.module.unloaded 9 module evil was unloaded",
        ]
    );
    assert_eq!(endpoint.received("/v1/logs").len(), 2, "one of each window");
    assert!(!endpoint.received("/v1/metrics").is_empty());
    assert_eq!(counted(&endpoint, EXPORTED)?, [(String::new(), 4)]);
    let told: Vec<_> = ended.stderr.lines().collect();
    let logs = format!(
        "kctx: exporting OTLP logs to http://{}/v1/logs",
        endpoint.address
    );
    assert!(told.contains(&logs.as_str()), "{told:?}");
    Ok(())
}

/// The common case: a backend for metrics alone.
#[test]
fn an_endpoint_that_takes_no_logs_is_told_about_once_and_gets_its_metrics() -> Result<()> {
    let metrics_alone = |path: &str| if path == "/v1/metrics" { 200 } else { 404 };
    let (ended, endpoint) = replay(metrics_alone, &[])?;
    let ended = ended.success()?;
    let about_logs: Vec<_> = (ended.stderr.lines())
        .filter(|line| line.contains("takes no logs"))
        .collect();
    assert_eq!(about_logs.len(), 1, "{ended:?}");
    assert!(about_logs[0].contains("`[otlp.logs] enabled = false`"));
    assert!(!ended.stderr.contains("failed"), "{ended:?}");
    assert_eq!(endpoint.received("/v1/logs").len(), 1);
    assert_eq!(counted(&endpoint, EXPORTED)?, [("404".to_owned(), 3)]);
    assert_eq!(
        counted(&endpoint, "otel.sdk.processor.log.processed")?,
        [(String::new(), 3), ("no_receiver".to_owned(), 1)]
    );
    Ok(())
}

#[test]
fn logs_are_off_where_the_environment_says_so_and_alone_where_it_says_that() -> Result<()> {
    let (ended, endpoint) = replay(|_| 200, &[("OTEL_LOGS_EXPORTER", "none")])?;
    assert!(!ended.success()?.stderr.contains("logs"));
    assert!(endpoint.received("/v1/logs").is_empty());
    assert!(!endpoint.received("/v1/metrics").is_empty());
    let (ended, endpoint) = replay(|_| 200, &[("OTEL_METRICS_EXPORTER", "none")])?;
    ended.success()?;
    assert_eq!(records(&endpoint)?.len(), 4);
    assert!(endpoint.received("/v1/metrics").is_empty());
    Ok(())
}

#[test]
fn a_replay_whose_logs_were_refused_has_failed() -> Result<()> {
    let refused = |path: &str| if path == "/v1/logs" { 401 } else { 200 };
    let (ended, endpoint) = replay(refused, &[])?;
    assert_eq!(ended.status.code(), Some(1), "{ended:?}");
    assert!(
        ended
            .stderr
            .contains("the OTLP export of logs failed: the endpoint answered 401")
    );
    assert!(!endpoint.received("/v1/metrics").is_empty());
    Ok(())
}
