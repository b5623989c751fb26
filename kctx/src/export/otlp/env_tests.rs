use std::collections::BTreeMap;
use std::path::PathBuf;

use super::*;
use crate::export::interval::Temporality;
use crate::export::otlp::settings::{Bytes, Compression, HistogramKind, Protocol, Span};

fn resolve_env(vars: &[(&str, &str)]) -> Result<Resolved, SettingsError> {
    resolve_with(&OtlpConfig::default(), &OtlpConfig::default(), vars)
}

fn resolve_with(
    cli: &OtlpConfig,
    file: &OtlpConfig,
    vars: &[(&str, &str)],
) -> Result<Resolved, SettingsError> {
    let vars: BTreeMap<String, String> = vars
        .iter()
        .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
        .collect();
    resolve(cli, file, &|name| vars.get(name).cloned())
}

const BASE: (&str, &str) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://host:4318");

fn with_base(vars: &[(&str, &str)]) -> Resolved {
    let mut all = vec![BASE];
    all.extend_from_slice(vars);
    resolve_env(&all).unwrap()
}

fn settings_of(vars: &[(&str, &str)]) -> OtlpSettings {
    let resolved = with_base(vars);
    assert_eq!(resolved.warnings, Vec::<String>::new());
    resolved.settings.unwrap()
}

#[test]
fn endpoints() {
    let grpc = ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc");
    let all = "OTEL_EXPORTER_OTLP_ENDPOINT";
    let own = "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT";
    let cases: &[(&[(&str, &str)], &str)] = &[
        (&[(all, "http://h:4318")], "http://h:4318/v1/metrics"),
        (&[(all, "http://h:4318/")], "http://h:4318/v1/metrics"),
        (&[(all, " https://h/a/b/ ")], "https://h/a/b/v1/metrics"),
        (
            &[(all, "http://h/a?token=1")],
            "http://h/a/v1/metrics?token=1",
        ),
        (
            &[(all, "http://[::1]:4318")],
            "http://[::1]:4318/v1/metrics",
        ),
        (&[(own, "http://h:4318")], "http://h:4318/"),
        (
            &[(own, "http://h/x/"), (all, "http://other")],
            "http://h/x/",
        ),
        (&[(own, ""), (all, "http://h")], "http://h/v1/metrics"),
        (&[grpc, (all, "http://h:4317")], "http://h:4317/"),
        (&[grpc, (all, "h:4317")], "https://h:4317/"),
        (
            &[
                grpc,
                (all, "h:4317"),
                ("OTEL_EXPORTER_OTLP_INSECURE", "TRUE"),
            ],
            "http://h:4317/",
        ),
        (
            &[grpc, (all, "h:4317"), ("OTEL_EXPORTER_OTLP_INSECURE", "1")],
            "https://h:4317/",
        ),
        (
            &[
                grpc,
                (all, "https://h:1"),
                ("OTEL_EXPORTER_OTLP_INSECURE", "true"),
            ],
            "https://h:1/",
        ),
    ];
    for (vars, expected) in cases {
        let resolved = resolve_env(vars).unwrap();
        assert_eq!(
            resolved.settings.unwrap().transport.endpoint.to_string(),
            *expected,
            "{vars:?}"
        );
    }
}

#[test]
fn bad_endpoints_are_errors_of_one_line_that_name_their_source() {
    for text in [
        "host:4318",
        "localhost",
        "ftp://h",
        "http://",
        "http:// h",
        "http://h:99999999",
        "http://h:x",
        "http://h:",
    ] {
        let error = resolve_env(&[("OTEL_EXPORTER_OTLP_ENDPOINT", text)])
            .unwrap_err()
            .to_string();
        assert!(
            error.starts_with("OTEL_EXPORTER_OTLP_ENDPOINT: "),
            "{error}"
        );
        assert!(!error.contains('\n'));
    }
    let secret = [("OTEL_EXPORTER_OTLP_ENDPOINT", "http://me:secret@h:1")];
    let error = resolve_env(&secret).unwrap_err().to_string();
    assert!(
        error.contains("header") && !error.contains("secret"),
        "{error}"
    );
    let file = OtlpConfig {
        endpoint: Some("nowhere".to_owned()),
        ..OtlpConfig::default()
    };
    let error = resolve_with(&OtlpConfig::default(), &file, &[])
        .unwrap_err()
        .to_string();
    assert!(error.starts_with("otlp.endpoint: "), "{error}");
}

#[test]
fn export_is_on_only_with_an_endpoint() {
    let off: &[&[(&str, &str)]] = &[
        &[],
        &[("OTEL_EXPORTER_OTLP_ENDPOINT", " ")],
        &[BASE, ("OTEL_SDK_DISABLED", "True")],
        &[BASE, ("OTEL_METRICS_EXPORTER", "none")],
        &[BASE, ("OTEL_METRICS_EXPORTER", "prometheus,console")],
        &[("OTEL_METRICS_EXPORTER", "otlp")],
    ];
    for vars in off {
        assert!(resolve_env(vars).unwrap().settings.is_none(), "{vars:?}");
    }
    let on: &[&[(&str, &str)]] = &[
        &[BASE],
        &[BASE, ("OTEL_SDK_DISABLED", "1")],
        &[BASE, ("OTEL_METRICS_EXPORTER", "console,OTLP")],
    ];
    for vars in on {
        assert!(resolve_env(vars).unwrap().settings.is_some(), "{vars:?}");
    }
    assert_eq!(
        resolve_env(&[("OTEL_METRICS_EXPORTER", "otlp")])
            .unwrap()
            .warnings
            .len(),
        1
    );
    let cli = OtlpConfig {
        endpoint: Some("http://cli".to_owned()),
        ..OtlpConfig::default()
    };
    let none = [("OTEL_METRICS_EXPORTER", "none")];
    let resolved = resolve_with(&cli, &OtlpConfig::default(), &none).unwrap();
    assert!(resolved.settings.is_some());
    let disabled = [("OTEL_SDK_DISABLED", "true")];
    let resolved = resolve_with(&cli, &OtlpConfig::default(), &disabled).unwrap();
    assert!(resolved.settings.is_none() && resolved.warnings.len() == 1);
}

#[test]
fn defaults() {
    let settings = settings_of(&[]);
    assert_eq!(settings.transport.protocol, Protocol::HttpProtobuf);
    assert_eq!(settings.transport.compression, Compression::Gzip);
    assert_eq!(settings.transport.timeout, Some(Duration::from_secs(10)));
    assert_eq!(settings.interval, Duration::from_secs(10));
    assert_eq!(settings.histogram, HistogramKind::Exponential);
    assert!(settings.transport.headers.is_empty());
    assert_eq!(settings.transport.max_request_bytes, 3 << 20);
    assert_eq!(settings.transport.max_response_bytes, 4 << 20);
}

#[test]
fn the_metrics_variable_wins() {
    let settings = settings_of(&[
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip"),
        ("OTEL_EXPORTER_OTLP_METRICS_COMPRESSION", "NONE"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "1"),
        ("OTEL_EXPORTER_OTLP_METRICS_TIMEOUT", "2500"),
        ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/a"),
        ("OTEL_EXPORTER_OTLP_METRICS_CERTIFICATE", "/b"),
        ("OTEL_EXPORTER_OTLP_CLIENT_KEY", "/k"),
        ("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", "/c"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "a=1"),
        ("OTEL_EXPORTER_OTLP_METRICS_HEADERS", "b=2"),
        ("OTEL_METRIC_EXPORT_INTERVAL", "30000"),
        (
            "OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION",
            "Explicit_Bucket_Histogram",
        ),
        (
            "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE",
            "LowMemory",
        ),
    ]);
    assert_eq!(settings.transport.compression, Compression::None);
    assert_eq!(
        settings.transport.timeout,
        Some(Duration::from_millis(2500))
    );
    assert_eq!(settings.transport.certificate, Some(PathBuf::from("/b")));
    assert_eq!(
        settings.transport.client_identity.unwrap().key,
        PathBuf::from("/k")
    );
    assert_eq!(settings.transport.headers.len(), 1);
    assert_eq!(settings.transport.headers[0].0, "b");
    assert_eq!(settings.interval, Duration::from_secs(30));
    assert_eq!(settings.histogram, HistogramKind::Explicit);
    assert_eq!(settings.temporality, Temporality::LowMemory);
}

/// A backend may drop what it does not expect without a word: that one source overrules another is said.
#[test]
fn what_is_configured_wins_over_the_environment_and_says_so() {
    let file: OtlpConfig = serde_json::from_str(
        r#"{"endpoint": "http://h", "temporality": "delta", "histogram": "explicit"}"#,
    )
    .unwrap();
    let temporality = "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE";
    let histogram = "OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION";
    let of = |vars: &[(&str, &str)]| {
        let resolved = resolve_with(&OtlpConfig::default(), &file, vars).unwrap();
        let settings = resolved.settings.unwrap();
        assert_eq!(settings.temporality, Temporality::Delta);
        assert_eq!(settings.histogram, HistogramKind::Explicit);
        resolved.warnings
    };
    assert_eq!(of(&[]), [""; 0]);
    assert_eq!(
        of(&[
            (temporality, "DELTA"),
            (histogram, "explicit_bucket_histogram")
        ]),
        [""; 0]
    );
    assert_eq!(
        of(&[
            (temporality, "cumulative"),
            (histogram, "base2_exponential_bucket_histogram")
        ]),
        [
            format!(
                "{histogram} says base2_exponential_bucket_histogram, but otlp.histogram is explicit_bucket_histogram, \
                 which wins"
            ),
            format!("{temporality} says cumulative, but otlp.temporality is delta, which wins"),
        ]
    );
}

type Case<'a> = (&'a [(&'a str, &'a str)], Option<u64>);

#[test]
fn timeouts() {
    let exporter = "OTEL_EXPORTER_OTLP_TIMEOUT";
    let reader = "OTEL_METRIC_EXPORT_TIMEOUT";
    let cases: &[Case<'_>] = &[
        (&[(exporter, "0")], None),
        (&[(exporter, "0"), (reader, "700")], Some(700)),
        (&[(exporter, "500"), (reader, "700")], Some(500)),
        (&[(reader, "700")], Some(700)),
        (&[(reader, "0")], Some(10_000)),
    ];
    for (vars, ms) in cases {
        assert_eq!(
            settings_of(vars).transport.timeout,
            ms.map(Duration::from_millis),
            "{vars:?}"
        );
    }
}

#[test]
fn what_cannot_be_understood_is_named_and_ignored() {
    let cases = [
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "zstd"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "-1"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "10s"),
        ("OTEL_METRIC_EXPORT_INTERVAL", "0"),
        ("OTEL_METRIC_EXPORT_TIMEOUT", "x"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "novalue"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "=x"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "k=a%0Ab"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "k=%ff"),
        (
            "OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION",
            "summary",
        ),
        (
            "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE",
            "deltas",
        ),
        ("OTEL_RESOURCE_ATTRIBUTES", "a=1,b"),
    ];
    let default = format!("{:?}", settings_of(&[]));
    for (name, value) in cases {
        let resolved = with_base(&[(name, value)]);
        assert_eq!(resolved.warnings.len(), 1, "{name}={value}");
        assert!(resolved.warnings[0].starts_with(&format!("{name} is ignored: ")));
        assert_eq!(
            format!("{:?}", resolved.settings.unwrap()),
            default,
            "{name}={value}"
        );
        assert!(resolved.resource.is_empty());
    }
    let error = resolve_env(&[BASE, ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json")]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "OTEL_EXPORTER_OTLP_PROTOCOL: http/json is not supported: use http/protobuf or grpc"
    );
}

#[test]
fn headers_are_percent_decoded_and_never_shown() {
    let settings = settings_of(&[(
        "OTEL_EXPORTER_OTLP_HEADERS",
        "Authorization=Basic%20c2VjcmV0PQ==, x-scope = a;b ,",
    )]);
    let headers: Vec<_> = settings
        .transport
        .headers
        .iter()
        .map(|(k, v)| (k.as_str(), v.to_str().unwrap()))
        .collect();
    assert_eq!(
        headers,
        [("authorization", "Basic c2VjcmV0PQ=="), ("x-scope", "a;b")]
    );
    let shown = format!("{settings:?}");
    assert!(
        shown.contains("authorization") && !shown.contains("c2VjcmV0"),
        "{shown}"
    );
    let warned = with_base(&[("OTEL_EXPORTER_OTLP_HEADERS", "k=top-secret,other")]);
    assert!(!warned.warnings[0].contains("top-secret"));
}

#[test]
fn resource_attributes_in_order() {
    let file = OtlpConfig {
        service_name: Some("file".to_owned()),
        resource: Some([("b".to_owned(), "file".to_owned())].into()),
        ..OtlpConfig::default()
    };
    let vars = [
        (
            "OTEL_RESOURCE_ATTRIBUTES",
            "service.name=list,a=x%2Cy,b=env",
        ),
        ("OTEL_SERVICE_NAME", "env"),
    ];
    let mut resource = Resource::default();
    with_base(&vars).apply_to(&mut resource);
    assert_eq!(resource.get("service.name"), Some("env"));
    assert_eq!(resource.get("a"), Some("x,y"));
    assert_eq!(resource.get("b"), Some("env"));
    resolve_with(&OtlpConfig::default(), &file, &vars)
        .unwrap()
        .apply_to(&mut resource);
    assert_eq!(resource.get("service.name"), Some("file"));
    assert_eq!(resource.get("b"), Some("file"));
}

#[test]
fn command_line_then_file_then_environment() {
    let file: OtlpConfig = serde_json::from_str(
        r#"{"endpoint": "http://file", "metrics_endpoint": "http://file/whole", "timeout": "3s",
            "protocol": "http/protobuf", "max_request_size": "1MiB", "headers": {"k": "v"}}"#,
    )
    .unwrap();
    let cli = OtlpConfig {
        endpoint: Some("http://cli".to_owned()),
        interval: Some(Span(Duration::from_secs(7))),
        ..OtlpConfig::default()
    };
    let vars = [
        BASE,
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "1"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "e=1"),
    ];
    let none = OtlpConfig::default();
    let from_file = resolve_with(&none, &file, &vars).unwrap().settings.unwrap();
    assert_eq!(from_file.transport.endpoint, "http://file/whole");
    assert_eq!(from_file.transport.timeout, Some(Duration::from_secs(3)));
    assert_eq!(from_file.transport.max_request_bytes, 1 << 20);
    assert_eq!(from_file.transport.headers[0].0, "k");
    let both = resolve_with(&cli, &file, &vars).unwrap().settings.unwrap();
    assert_eq!(both.transport.endpoint, "http://cli/v1/metrics");
    assert_eq!(both.interval, Duration::from_secs(7));
    assert_eq!(from_file.interval, Duration::from_secs(10));
}

#[test]
fn bad_configuration_is_an_error() {
    for text in [
        r#"{"timeout": "10"}"#,
        r#"{"protocol": "http/json"}"#,
        r#"{"compression": "br"}"#,
        r#"{"endpiont": "http://h"}"#,
        r#"{"max_request_size": "3 parsecs"}"#,
    ] {
        assert!(serde_json::from_str::<OtlpConfig>(text).is_err(), "{text}");
    }
    let on = |change: fn(&mut OtlpConfig)| {
        let mut config = OtlpConfig {
            endpoint: Some("http://h".to_owned()),
            ..OtlpConfig::default()
        };
        change(&mut config);
        resolve_with(&config, &OtlpConfig::default(), &[])
    };
    assert!(on(|_| {}).is_ok());
    let bad: [fn(&mut OtlpConfig); 4] = [
        |c| c.interval = Some(Span(Duration::ZERO)),
        |c| c.max_request_size = Some(Bytes(10)),
        |c| c.client_key = Some(PathBuf::from("/k")),
        |c| c.headers = Some([("a b".to_owned(), "v".to_owned())].into()),
    ];
    for (at, change) in bad.into_iter().enumerate() {
        assert!(on(change).is_err(), "case {at}");
    }
}
