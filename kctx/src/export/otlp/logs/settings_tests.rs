use std::collections::BTreeMap as Map;

use super::*;
use crate::export::otlp::env::{Resolved, resolve};

const BASE: (&str, &str) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://host:4318");

fn config(json: &str) -> OtlpConfig {
    serde_json::from_str(json).unwrap()
}

fn resolved(cli: &str, file: &str, vars: &[(&str, &str)]) -> Result<Resolved, SettingsError> {
    let vars: Map<String, String> = vars
        .iter()
        .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
        .collect();
    resolve(&config(cli), &config(file), &|name| vars.get(name).cloned())
}

fn logs_of(file: &str, vars: &[(&str, &str)]) -> LogSettings {
    let resolved = resolved("{}", file, vars).unwrap();
    assert_eq!(resolved.warnings, [""; 0]);
    resolved.logs.unwrap()
}

#[test]
fn defaults_are_the_specifications() {
    let logs = logs_of("{}", &[BASE]);
    assert_eq!(logs.transport.endpoint, "http://host:4318/v1/logs");
    assert_eq!(logs.transport.protocol, Protocol::HttpProtobuf);
    assert_eq!(logs.transport.timeout, Some(Duration::from_secs(10)));
    assert_eq!((logs.queue, logs.batch), (2048, 512));
    assert_eq!(logs.interval, Duration::from_secs(1));
    assert_eq!(logs.bounds, Bounds::default());
    assert_eq!(logs.bounds.level, Level::at(4));
}

/// What docs/config.md shows of `[otlp.logs]` is what holds without it.
#[test]
fn the_documented_keys_show_the_defaults() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/config.md");
    let page = std::fs::read_to_string(path).unwrap();
    let (_, from) = page.split_once("```toml\n").unwrap();
    let (file, _) = from.split_once("```").unwrap();
    let documented = crate::config::Config::parse(file).unwrap().otlp;
    assert_ne!(documented.logs, LogsConfig::default());
    let resolved = resolve(&OtlpConfig::default(), &documented, &|_| None).unwrap();
    let mut shown = resolved.logs.unwrap();
    shown.transport.headers.clear();
    let default = logs_of(
        "{}",
        &[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://localhost:4318")],
    );
    assert_eq!(format!("{shown:?}"), format!("{default:?}"));
}

#[test]
fn logs_go_where_metrics_go_unless_somebody_says_no() {
    let cli = r#"{"endpoint": "http://cli"}"#;
    let file = r#"{"endpoint": "http://file"}"#;
    let off = r#"{"endpoint": "http://file", "logs": {"enabled": false}}"#;
    let on = r#"{"endpoint": "http://file", "logs": {"enabled": true}}"#;
    let whole = r#"{"logs": {"endpoint": "http://own/x"}}"#;
    let none = ("OTEL_LOGS_EXPORTER", "none");
    let no_metrics = ("OTEL_METRICS_EXPORTER", "none");
    let disabled = ("OTEL_SDK_DISABLED", "true");
    let own = ("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", "http://own/y");
    let theirs = ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "http://metrics/y");
    type Case<'a> = (
        &'a str,
        &'a str,
        &'a [(&'a str, &'a str)],
        bool,
        Option<&'a str>,
    );
    let cases: &[Case<'_>] = &[
        ("{}", "{}", &[], false, None),
        ("{}", "{}", &[BASE], true, Some("http://host:4318/v1/logs")),
        ("{}", "{}", &[BASE, none], true, None),
        (
            "{}",
            "{}",
            &[BASE, no_metrics],
            false,
            Some("http://host:4318/v1/logs"),
        ),
        ("{}", "{}", &[BASE, disabled], false, None),
        ("{}", "{}", &[own], false, Some("http://own/y")),
        ("{}", "{}", &[theirs], true, None),
        ("{}", "{}", &[BASE, own], true, Some("http://own/y")),
        ("{}", file, &[], true, Some("http://file/v1/logs")),
        // An endpoint is no word about logs, a switch is.
        ("{}", file, &[none], true, None),
        ("{}", on, &[none], true, Some("http://file/v1/logs")),
        ("{}", off, &[], true, None),
        (cli, off, &[], true, None),
        ("{}", whole, &[], false, Some("http://own/x")),
        ("{}", whole, &[none, BASE], true, Some("http://own/x")),
        // Said on the command line, of all signals.
        (cli, whole, &[], true, Some("http://cli/v1/logs")),
    ];
    for (cli, file, vars, metrics, logs) in cases {
        let resolved = resolved(cli, file, vars).unwrap();
        let case = format!("{cli} {file} {vars:?}");
        assert_eq!(resolved.settings.is_some(), *metrics, "{case}");
        let endpoint = resolved
            .logs
            .map(|logs| logs.transport.endpoint.to_string());
        assert_eq!(endpoint.as_deref(), *logs, "{case}");
    }
}

#[test]
fn who_asks_for_logs_without_an_endpoint_is_told() {
    for (file, vars) in [
        (r#"{"logs": {"enabled": true}}"#, &[] as &[_]),
        ("{}", &[("OTEL_LOGS_EXPORTER", "otlp")]),
    ] {
        let resolved = resolved("{}", file, vars).unwrap();
        assert!(resolved.logs.is_none());
        assert_eq!(resolved.warnings.len(), 1);
        assert!(resolved.warnings[0].contains("no logs are exported"));
    }
    let unknown = resolved("{}", "{}", &[BASE, ("OTEL_LOGS_EXPORTER", "otlp,file")]).unwrap();
    assert!(unknown.logs.is_some());
    assert_eq!(
        unknown.warnings,
        ["OTEL_LOGS_EXPORTER: \"file\" is not known"]
    );
}

#[test]
fn the_logs_own_variables_win_over_those_of_all_signals() {
    let logs = logs_of(
        "{}",
        &[
            BASE,
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
            ("OTEL_EXPORTER_OTLP_LOGS_PROTOCOL", "grpc"),
            ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip"),
            ("OTEL_EXPORTER_OTLP_LOGS_COMPRESSION", "none"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "1"),
            ("OTEL_EXPORTER_OTLP_LOGS_TIMEOUT", "2500"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "a=1"),
            ("OTEL_EXPORTER_OTLP_LOGS_HEADERS", "b=2"),
            ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/a"),
            ("OTEL_EXPORTER_OTLP_LOGS_CERTIFICATE", "/b"),
            ("OTEL_EXPORTER_OTLP_LOGS_CLIENT_KEY", "/k"),
            ("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", "/c"),
            // The metrics' own are not theirs.
            ("OTEL_EXPORTER_OTLP_METRICS_CLIENT_KEY", "/m"),
            ("OTEL_METRIC_EXPORT_TIMEOUT", "7"),
            ("OTEL_BLRP_SCHEDULE_DELAY", "5000"),
            ("OTEL_BLRP_EXPORT_TIMEOUT", "2000"),
            ("OTEL_BLRP_MAX_QUEUE_SIZE", "100"),
        ],
    );
    let way = &logs.transport;
    assert_eq!(way.protocol, Protocol::Grpc);
    assert_eq!(way.endpoint, "http://host:4318/");
    assert_eq!(way.compression, Compression::None);
    assert_eq!(way.timeout, Some(Duration::from_secs(2)));
    assert_eq!((way.headers.len(), way.headers[0].0.as_str()), (1, "b"));
    assert_eq!(way.certificate, Some(PathBuf::from("/b")));
    let identity = way.client_identity.as_ref().unwrap();
    assert_eq!(identity.key, PathBuf::from("/k"));
    assert_eq!(identity.certificate, PathBuf::from("/c"));
    assert_eq!(logs.interval, Duration::from_secs(5));
    // A batch is no larger than the queue.
    assert_eq!((logs.queue, logs.batch), (100, 100));
}

#[test]
fn what_the_file_says_of_logs_wins_over_what_it_says_of_all_and_that_over_the_environment() {
    let file = r#"{"endpoint": "http://file", "timeout": "3s", "headers": {"all": "1"}, "compression": "none",
        "logs": {"timeout": "4s", "headers": {"own": "2"}, "level": "notice", "records": 7, "queue": 9, "batch": 5,
                 "interval": "2s", "max_request_size": "1MiB"}}"#;
    let vars = [
        ("OTEL_EXPORTER_OTLP_LOGS_TIMEOUT", "1"),
        ("OTEL_EXPORTER_OTLP_LOGS_COMPRESSION", "gzip"),
        ("OTEL_BLRP_MAX_QUEUE_SIZE", "100"),
    ];
    let both = resolved("{}", file, &vars).unwrap();
    let logs = both.logs.unwrap();
    let way = &logs.transport;
    assert_eq!(way.timeout, Some(Duration::from_secs(4)));
    assert_eq!((way.headers.len(), way.headers[0].0.as_str()), (1, "own"));
    assert_eq!(way.compression, Compression::None);
    assert_eq!(way.max_request_bytes, 1 << 20);
    assert_eq!((logs.bounds.level, logs.bounds.records), (Level::at(5), 7));
    assert_eq!((logs.queue, logs.batch), (9, 5));
    assert_eq!(logs.interval, Duration::from_secs(2));
    let metrics = both.settings.unwrap().transport;
    assert_eq!(metrics.timeout, Some(Duration::from_secs(3)));
    assert_eq!(metrics.headers[0].0, "all");
    assert_eq!(metrics.max_request_bytes, 3 << 20);
    let off = logs_of(r#"{"logs": {"level": "none"}}"#, &[BASE]);
    assert_eq!(off.bounds.level, Level::NONE);
}

#[test]
fn what_cannot_be_used_is_an_error_or_a_warning() {
    for text in [
        r#"{"logs": {"level": "warn"}}"#,
        r#"{"logs": {"enable": true}}"#,
        r#"{"logs": {"interval": "1"}}"#,
    ] {
        assert!(serde_json::from_str::<OtlpConfig>(text).is_err(), "{text}");
    }
    for (file, wanted) in [
        (
            r#"{"logs": {"records": 0}}"#,
            "otlp.logs.records is 0: give 1 to 10000",
        ),
        (
            r#"{"logs": {"queue": 100001}}"#,
            "otlp.logs.queue is 100001",
        ),
        (r#"{"logs": {"batch": 0}}"#, "otlp.logs.batch is 0"),
        (r#"{"logs": {"interval": "1ms"}}"#, "give at least 100ms"),
        (
            r#"{"logs": {"endpoint": "nowhere"}}"#,
            "otlp.logs.endpoint: \"nowhere\"",
        ),
        (r#"{"logs": {"client_key": "/k"}}"#, "given together"),
        (
            r#"{"logs": {"headers": {"a b": "v"}}}"#,
            "otlp.logs.headers: ",
        ),
    ] {
        let error = resolved("{}", file, &[BASE]).unwrap_err().to_string();
        assert!(error.contains(wanted) && !error.contains('\n'), "{error}");
    }
    for (name, value) in [
        ("OTEL_BLRP_MAX_QUEUE_SIZE", "0"),
        ("OTEL_BLRP_MAX_EXPORT_BATCH_SIZE", "many"),
        ("OTEL_BLRP_SCHEDULE_DELAY", "1"),
        ("OTEL_BLRP_EXPORT_TIMEOUT", "-1"),
        ("OTEL_EXPORTER_OTLP_LOGS_COMPRESSION", "zstd"),
    ] {
        let resolved = resolved("{}", "{}", &[BASE, (name, value)]).unwrap();
        assert_eq!(resolved.warnings.len(), 1, "{name}={value}");
        assert!(resolved.warnings[0].starts_with(&format!("{name} is ignored: ")));
        let default = format!("{:?}", logs_of("{}", &[BASE]));
        assert_eq!(format!("{:?}", resolved.logs.unwrap()), default);
    }
}
