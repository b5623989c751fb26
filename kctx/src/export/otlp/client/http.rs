//! OTLP/HTTP with protobuf bodies.

use std::io::Write;
use std::marker::PhantomData;
use std::time::SystemTime;

use bytes::Bytes;
use flate2::Compression as Level;
use flate2::write::GzEncoder;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::http::header::{
    CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderValue, LOCATION, RETRY_AFTER, USER_AGENT,
};
use hyper::http::{Request, StatusCode, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use prost::Message;

use super::connect::Connector;
use super::{Accepted, Failure, accepted, describe, hint, no_answer, one_line, sources};
use crate::export::otlp::retry::{Verdict, http_verdict};
use crate::export::otlp::settings::{Compression, Protocol};
use crate::export::otlp::signal::Carried;
use crate::export::otlp::transport::Transport;

/// `google.rpc.Status`, of which only the message is wanted.
#[derive(Clone, PartialEq, Message)]
struct RpcStatus {
    #[prost(string, tag = "2")]
    message: String,
}

#[derive(Clone)]
pub(in crate::export::otlp) struct HttpClient<S> {
    client: Client<Connector, Full<Bytes>>,
    uri: Uri,
    headers: HeaderMap,
    compression: Compression,
    max_response_bytes: usize,
    signal: PhantomData<S>,
}

impl<S: Carried> HttpClient<S> {
    pub(super) fn new(transport: &Transport, connector: Connector) -> Self {
        let mut headers = HeaderMap::new();
        headers.insert(USER_AGENT, HeaderValue::from_static(super::USER_AGENT));
        for (name, value) in &transport.headers {
            headers.insert(name, value.clone());
        }
        headers.insert(
            CONTENT_TYPE,
            HeaderValue::from_static("application/x-protobuf"),
        );
        if transport.compression == Compression::Gzip {
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        Self {
            client: Client::builder(TokioExecutor::new())
                .pool_timer(TokioTimer::new())
                .timer(TokioTimer::new())
                .build(connector),
            uri: transport.endpoint.clone(),
            headers,
            compression: transport.compression,
            max_response_bytes: transport.max_response_bytes,
            signal: PhantomData,
        }
    }

    pub(super) fn encode(&self, request: &S::Request) -> Bytes {
        let plain = request.encode_to_vec();
        match self.compression {
            Compression::None => plain.into(),
            Compression::Gzip => {
                let mut encoder = GzEncoder::new(Vec::new(), Level::fast());
                // Writing to a Vec cannot fail.
                let _ = encoder.write_all(&plain);
                encoder.finish().unwrap_or_default().into()
            }
        }
    }

    pub(super) async fn send(&self, body: Bytes) -> Result<Accepted, Failure> {
        let answer = self.attempt(body).await;
        answer.map_err(|failure| hint::explain(failure, Protocol::HttpProtobuf, S::SIGNAL))
    }

    async fn attempt(&self, body: Bytes) -> Result<Accepted, Failure> {
        let mut request = Request::post(self.uri.clone())
            .body(Full::new(body))
            .map_err(|error| permanent("request", error.to_string()))?;
        *request.headers_mut() = self.headers.clone();
        let response = self.client.request(request).await.map_err(|error| {
            no_answer(&error).unwrap_or_else(|| Failure {
                verdict: Verdict::Retry { after: None },
                kind: "connection".into(),
                message: describe(&error),
            })
        })?;
        let (head, body) = response.into_parts();
        let body = self.read(body).await;
        if head.status == StatusCode::OK {
            return Ok(read_success::<S>(&body?));
        }
        let text = |name| {
            head.headers
                .get(name)
                .and_then(|v| HeaderValue::to_str(v).ok())
        };
        let said = body.map(|body| error_text(&body)).unwrap_or_default();
        let status = head.status.as_u16();
        let verdict = http_verdict(status, text(RETRY_AFTER), &said, SystemTime::now());
        let mut message = format!("the endpoint answered {}", head.status);
        if !said.is_empty() {
            message = format!("{message}: {said}");
        }
        if let Some(location) = text(LOCATION).filter(|_| head.status.is_redirection()) {
            message = format!(
                "{message}; it redirects to {}",
                one_line(location.as_bytes())
            );
        }
        Err(Failure {
            verdict,
            kind: status.to_string().into(),
            message,
        })
    }

    async fn read(&self, body: hyper::body::Incoming) -> Result<Bytes, Failure> {
        match Limited::new(body, self.max_response_bytes).collect().await {
            Ok(body) => Ok(body.to_bytes()),
            // Specification: a response over the limit is not to be retried.
            Err(error)
                if sources(error.as_ref()).any(<dyn std::error::Error>::is::<LengthLimitError>) =>
            {
                Err(permanent(
                    "response_too_large",
                    format!(
                        "the answer is longer than {} bytes",
                        self.max_response_bytes
                    ),
                ))
            }
            Err(error) => Err(no_answer(error.as_ref())
                .unwrap_or_else(|| permanent("protocol", describe(error.as_ref())))),
        }
    }
}

fn permanent(kind: &'static str, message: String) -> Failure {
    Failure {
        verdict: Verdict::Permanent,
        kind: kind.into(),
        message,
    }
}

/// Bodies of success are empty or text with some backends: only what decodes is believed, and what does
/// not is remarked upon.
fn read_success<S: Carried>(body: &[u8]) -> Accepted {
    match S::Response::decode(body) {
        Ok(response) => accepted::<S>(response),
        Err(_) => Accepted {
            rejected: 0,
            remark: format!(
                "the endpoint answered 200, but with no OTLP response: is it an OTLP endpoint? It said: {}",
                one_line(body)
            ),
        },
    }
}

/// An error's body is a `Status` by the specification, and text with most backends.
fn error_text(body: &[u8]) -> String {
    match RpcStatus::decode(body) {
        Ok(status) if !status.message.is_empty() => one_line(status.message.as_bytes()),
        _ => one_line(body),
    }
}
