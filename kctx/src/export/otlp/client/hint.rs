//! What a failure most likely means to the person who set the endpoint.

use std::borrow::Cow;

use super::super::retry::Verdict;
use super::super::settings::Protocol;
use super::super::signal::Signal;
use super::Failure;

/// Adds the remedy to a failure whose cause is well known.
pub(super) fn explain(mut failure: Failure, protocol: Protocol, signal: Signal) -> Failure {
    if let Some(hint) = hint(&failure, protocol, signal) {
        failure.message = format!("{} ({hint})", failure.message);
    }
    failure
}

const GRPC_THERE: &str =
    "a gRPC endpoint needs OTEL_EXPORTER_OTLP_PROTOCOL=grpc; HTTP is usually on port 4318";

fn hint(failure: &Failure, protocol: Protocol, signal: Signal) -> Option<Cow<'static, str>> {
    let text = match (protocol, failure.kind.as_ref()) {
        // Prometheus' words; a 500 is not to be retried.
        (_, _) if failure.message.contains("native histograms are disabled") => Some(
            "enable native histograms there, or set \
             OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION=explicit_bucket_histogram",
        ),
        (_, _) if failure.message.contains("CertificateRequired") => {
            Some("set OTEL_EXPORTER_OTLP_CLIENT_KEY and OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE")
        }
        (Protocol::HttpProtobuf, "protocol") => Some(GRPC_THERE),
        // The same, where the endpoint's first frame was there before the request went out (hyper's words).
        (Protocol::HttpProtobuf, _) if failure.message.contains("unexpected message") => {
            Some(GRPC_THERE)
        }
        (Protocol::HttpProtobuf, "404" | "405") => {
            return Some(Cow::Owned(format!(
                "is the path right? OTEL_EXPORTER_OTLP_ENDPOINT is a base to which {} is added",
                signal.path()
            )));
        }
        (Protocol::HttpProtobuf, "415") => Some("does the endpoint take OTLP as http/protobuf?"),
        (Protocol::Grpc, "protocol" | "connection") => Some(
            "an HTTP endpoint needs OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf; gRPC is usually on port 4317",
        ),
        (_, "connect") if failure.message.contains("UnknownIssuer") => {
            Some("give the certificate of its issuer in OTEL_EXPORTER_OTLP_CERTIFICATE")
        }
        (_, "connect") if failure.message.contains("InvalidContentType") => {
            Some("the endpoint does not speak TLS: http:// instead of https://?")
        }
        _ if failure.verdict == Verdict::TooLarge => {
            Some("the next requests will be half as large")
        }
        _ => None,
    };
    text.map(Cow::Borrowed)
}
