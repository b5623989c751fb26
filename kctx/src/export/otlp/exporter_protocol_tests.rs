//! gRPC, and endpoints that are spoken to in the wrong way.

use super::*;

#[test]
fn grpc_statuses() {
    use tonic::{Code, Status};
    use tonic_types::{ErrorDetails, StatusExt};
    let retry_info = ErrorDetails::with_retry_info(Some(Duration::from_secs(1)));
    let stub = GrpcStub::start([
        Ok(0),
        Err(Status::unavailable("try later")),
        Ok(2),
        Err(Status::resource_exhausted("quota")),
        Err(Status::with_error_details(
            Code::ResourceExhausted,
            "slow down",
            retry_info,
        )),
        Ok(0),
        Err(Status::unauthenticated("who?")),
    ]);
    let endpoint = format!("http://{}/", stub.address).parse().unwrap();
    let mut settings = OtlpSettings::new(Transport::new(endpoint, Protocol::Grpc));
    settings.transport.headers = vec![("x-scope".parse().unwrap(), "secret".parse().unwrap())];
    let exporter = spawn(settings);

    offer_and_settle(&exporter, 101, 5);
    assert_eq!(exporter.stats().exports_ok, 1);
    let (metadata, message) = stub.received().remove(0);
    let text = |name: &str| metadata.get(name).unwrap().to_str().unwrap().to_owned();
    assert_eq!(text("x-scope"), "secret");
    assert!(text("user-agent").starts_with("kctx/"));
    assert_eq!(text("grpc-timeout"), "10000000u");
    assert_eq!(text("grpc-encoding"), "gzip");
    let metrics = &message.resource_metrics[0].scope_metrics[0].metrics;
    assert_eq!(
        exponential_points(metrics, "kctx.softirq.duration")[0].count,
        5
    );

    offer_and_settle(&exporter, 102, 5);
    let stats = exporter.stats();
    assert_eq!(
        (stats.exports_ok, stats.retries, stats.points_rejected),
        (2, 1, 2)
    );

    offer_and_settle(&exporter, 103, 5);
    let stats = exporter.stats();
    assert_eq!((stats.exports_failed, stats.retries), (1, 1));
    let error = stats.last_error.unwrap();
    assert_eq!(error, "the endpoint answered RESOURCE_EXHAUSTED: quota");

    let start = Instant::now();
    offer_and_settle(&exporter, 104, 5);
    assert!(start.elapsed() >= Duration::from_secs(1));
    assert_eq!(
        (exporter.stats().exports_ok, exporter.stats().retries),
        (3, 2)
    );

    offer_and_settle(&exporter, 105, 5);
    assert_eq!(exporter.stats().retries, 2);
    assert!(
        exporter
            .stats()
            .points_failed
            .contains_key("UNAUTHENTICATED")
    );
    assert_eq!(exporter.shutdown(LONG), ShutdownOutcome::Flushed);
}

#[test]
fn the_wrong_protocol_is_explained() {
    let grpc = GrpcStub::start([]);
    let endpoint = format!("http://{}/v1/metrics", grpc.address)
        .parse()
        .unwrap();
    let exporter = spawn(OtlpSettings::new(Transport::new(
        endpoint,
        Protocol::HttpProtobuf,
    )));
    offer_and_settle(&exporter, 101, 5);
    let error = exporter.stats().last_error.unwrap();
    assert!(
        error.contains("OTEL_EXPORTER_OTLP_PROTOCOL=grpc"),
        "{error}"
    );

    let http = HttpStub::start_http1([]);
    let endpoint = format!("http://{}/", http.address).parse().unwrap();
    let mut settings = OtlpSettings::new(Transport::new(endpoint, Protocol::Grpc));
    settings.transport.timeout = Some(Duration::from_secs(2));
    let exporter = spawn(settings);
    offer_and_settle(&exporter, 101, 5);
    let error = exporter.stats().last_error.unwrap();
    assert!(
        error.contains("OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf"),
        "{error}"
    );
}

#[test]
fn a_missing_certificate_is_one_clear_line() {
    let endpoint = "https://127.0.0.1:1/v1/metrics".parse().unwrap();
    let mut settings = OtlpSettings::new(Transport::new(endpoint, Protocol::HttpProtobuf));
    settings.transport.certificate = Some("/nonexistent/ca.pem".into());
    let totals = Arc::new(Totals::new(LIMITS));
    let error = OtlpExporter::spawn(settings, Resource::default(), totals)
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("/nonexistent/ca.pem") && !error.contains('\n'),
        "{error}"
    );
}
