//! OTLP/gRPC: tonic frames messages and reads statuses, over the same connections as HTTP.

use std::error::Error;
use std::marker::PhantomData;
use std::time::Duration;

use hyper::http::header::{HeaderMap, HeaderValue, USER_AGENT};
use hyper::http::uri::PathAndQuery;
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tonic::client::Grpc;
use tonic::codec::CompressionEncoding;
use tonic::metadata::MetadataMap;
use tonic::{Code, Extensions, Request, Status};
use tonic_prost::ProstCodec;
use tonic_types::StatusExt;

use super::connect::Connector;
use super::{Accepted, Failure, accepted, hint, no_answer, one_line};
use crate::export::otlp::retry::grpc_verdict;
use crate::export::otlp::settings::{Compression, Protocol};
use crate::export::otlp::signal::Carried;
use crate::export::otlp::transport::Transport;

#[derive(Clone)]
pub(in crate::export::otlp) struct GrpcClient<S> {
    client: Grpc<Client<Connector, tonic::body::Body>>,
    metadata: MetadataMap,
    timeout: Option<Duration>,
    signal: PhantomData<S>,
}

impl<S: Carried> GrpcClient<S> {
    pub(super) fn new(transport: &Transport, connector: Connector) -> Self {
        let mut headers = HeaderMap::new();
        headers.insert(USER_AGENT, HeaderValue::from_static(super::USER_AGENT));
        for (name, value) in &transport.headers {
            headers.insert(name, value.clone());
        }
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .timer(TokioTimer::new())
            // Without TLS there is nothing to negotiate the version by: prior knowledge.
            .http2_only(true)
            .build(connector);
        let mut client = Grpc::with_origin(client, transport.endpoint.clone())
            .max_decoding_message_size(transport.max_response_bytes)
            .accept_compressed(CompressionEncoding::Gzip);
        if transport.compression == Compression::Gzip {
            client = client.send_compressed(CompressionEncoding::Gzip);
        }
        Self {
            client,
            metadata: MetadataMap::from_headers(headers),
            timeout: transport.timeout,
            signal: PhantomData,
        }
    }

    pub(super) async fn send(&self, message: S::Request) -> Result<Accepted, Failure> {
        let mut request =
            Request::from_parts(self.metadata.clone(), Extensions::default(), message);
        if let Some(timeout) = self.timeout {
            request.set_timeout(timeout);
        }
        let answer = self.call(request).await;
        answer
            .map(accepted::<S>)
            .map_err(|status| hint::explain(failure(&status), Protocol::Grpc, S::SIGNAL))
    }

    async fn call(&self, request: Request<S::Request>) -> Result<S::Response, Status> {
        let mut client = self.client.clone();
        // Without this a call would be made of a client that is not ready; hyper's always is.
        (client.ready().await).map_err(|error| Status::from_error(error.into()))?;
        let method = PathAndQuery::from_static(S::METHOD);
        let codec = ProstCodec::<S::Request, S::Response>::default();
        let answer = client.unary(request, method, codec).await?;
        Ok(answer.into_inner())
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
