//! OTLP/gRPC: tonic frames messages and reads statuses, over the same connections as HTTP.

use std::error::Error;
use std::time::Duration;

use hyper::http::Uri;
use hyper::http::header::{HeaderMap, HeaderValue, USER_AGENT};
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_client::MetricsServiceClient;
use tonic::codec::CompressionEncoding;
use tonic::metadata::MetadataMap;
use tonic::{Code, Extensions, Request, Status};
use tonic_types::StatusExt;

use super::connect::Connector;
use super::{Accepted, Failure, accepted, hint, no_answer, one_line};
use crate::export::otlp::retry::grpc_verdict;
use crate::export::otlp::settings::{Compression, OtlpSettings, Protocol};

#[derive(Clone)]
pub(in crate::export::otlp) struct GrpcClient {
    client: MetricsServiceClient<Client<Connector, tonic::body::Body>>,
    metadata: MetadataMap,
    timeout: Option<Duration>,
}

impl GrpcClient {
    pub(super) fn new(settings: &OtlpSettings, connector: Connector) -> Self {
        let mut headers = HeaderMap::new();
        headers.insert(USER_AGENT, HeaderValue::from_static(super::USER_AGENT));
        for (name, value) in &settings.headers {
            headers.insert(name, value.clone());
        }
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .timer(TokioTimer::new())
            // Without TLS there is nothing to negotiate the version by: prior knowledge.
            .http2_only(true)
            .build(connector);
        let origin: Uri = settings.endpoint.clone();
        let mut client = MetricsServiceClient::with_origin(client, origin)
            .max_decoding_message_size(settings.max_response_bytes)
            .accept_compressed(CompressionEncoding::Gzip);
        if settings.compression == Compression::Gzip {
            client = client.send_compressed(CompressionEncoding::Gzip);
        }
        Self {
            client,
            metadata: MetadataMap::from_headers(headers),
            timeout: settings.timeout,
        }
    }

    pub(super) async fn send(
        &self,
        message: ExportMetricsServiceRequest,
    ) -> Result<Accepted, Failure> {
        let mut request =
            Request::from_parts(self.metadata.clone(), Extensions::default(), message);
        if let Some(timeout) = self.timeout {
            request.set_timeout(timeout);
        }
        match self.client.clone().export(request).await {
            Ok(response) => Ok(accepted(response.into_inner())),
            Err(status) => Err(hint::explain(failure(&status), Protocol::Grpc)),
        }
    }
}

fn failure(status: &Status) -> Failure {
    // A status with a cause was made up on this side: there was no answer.
    if let Some(failure) = status.source().and_then(no_answer) {
        return failure;
    }
    let retry_info = status
        .get_details_retry_info()
        .and_then(|info| info.retry_delay);
    let kind = code_name(status.code());
    let said = one_line(status.message().as_bytes());
    Failure {
        verdict: grpc_verdict(status.code(), retry_info, status.message()),
        message: format!("the endpoint answered {kind}: {said}"),
        kind: kind.into(),
    }
}

/// The code as the gRPC specification writes it.
fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}
