//! One request to the endpoint and what came back. Both protocols share one HTTP stack.

mod connect;
mod grpc;
mod hint;
mod http;

use std::borrow::Cow;
use std::error::Error;

use hyper_util::client::legacy;

pub(super) use self::connect::TlsError;
use super::retry::Verdict;
use super::settings::Protocol;
use super::signal::Carried;
use super::transport::Transport;

/// How kctx names itself, in the form that the specification asks of exporters.
const USER_AGENT: &str = concat!(
    "kctx/",
    env!("CARGO_PKG_VERSION"),
    " OTel-OTLP-Exporter-Rust/",
    env!("CARGO_PKG_VERSION")
);

/// Most bytes of an endpoint's text that are shown.
const SHOWN_BYTES: usize = 200;

/// Why an attempt failed.
#[derive(Clone, Debug)]
pub(super) struct Failure {
    pub(super) verdict: Verdict,
    /// Value of `error.type`: few distinct ones.
    pub(super) kind: Cow<'static, str>,
    /// For people; one line.
    pub(super) message: String,
}

/// A request that was taken, perhaps in part.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Accepted {
    /// Items refused.
    pub(super) rejected: u64,
    /// What the endpoint remarked, or is to be remarked about it; empty for nothing.
    pub(super) remark: String,
}

/// A request in the form its protocol sends; made once, so that retries carry the same bytes.
#[derive(Clone, Debug)]
pub(super) enum Prepared<S: Carried> {
    Http(bytes::Bytes),
    Grpc(S::Request),
}

#[derive(Clone)]
pub(super) enum Client<S: Carried> {
    Http(http::HttpClient<S>),
    Grpc(grpc::GrpcClient<S>),
}

impl<S: Carried> Client<S> {
    /// Reads certificates and keys now, while the daemon may still have the rights to. Must be called
    /// inside a runtime.
    pub(super) fn new(transport: &Transport) -> Result<Self, TlsError> {
        let connector = connect::connector(transport)?;
        Ok(match transport.protocol {
            Protocol::HttpProtobuf => Self::Http(http::HttpClient::new(transport, connector)),
            Protocol::Grpc => Self::Grpc(grpc::GrpcClient::new(transport, connector)),
        })
    }

    pub(super) fn prepare(&self, request: S::Request) -> Prepared<S> {
        match self {
            Self::Http(client) => Prepared::Http(client.encode(&request)),
            Self::Grpc(_) => Prepared::Grpc(request),
        }
    }

    pub(super) async fn send(&self, request: &Prepared<S>) -> Result<Accepted, Failure> {
        match (self, request) {
            (Self::Http(client), Prepared::Http(body)) => client.send(body.clone()).await,
            (Self::Grpc(client), Prepared::Grpc(message)) => client.send(message.clone()).await,
            // A client only ever sends what it prepared.
            _ => unreachable!("request prepared for another protocol"),
        }
    }
}

/// Partial success (OTLP specification): never retried; a message without rejected items is a warning.
fn accepted<S: Carried>(response: S::Response) -> Accepted {
    let Some((rejected, message)) = S::partial_success(response) else {
        return Accepted::default();
    };
    let rejected = u64::try_from(rejected).unwrap_or(0);
    let message = one_line(message.as_bytes());
    let items = S::SIGNAL.items();
    let remark = match (rejected, message.is_empty()) {
        (0, true) => String::new(),
        (0, false) => format!("the endpoint warns: {message}"),
        (_, true) => format!("the endpoint rejected {items} without a reason"),
        (_, false) => format!("the endpoint rejected {items}: {message}"),
    };
    Accepted { rejected, remark }
}

/// Text from outside, as far as it is shown: its beginning, on one line, without control characters.
fn one_line(text: &[u8]) -> String {
    let shown = String::from_utf8_lossy(&text[..text.len().min(SHOWN_BYTES)]);
    let clean: String = shown
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    clean.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn sources<'a>(
    error: &'a (dyn Error + 'static),
) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| error.source())
}

/// An error with its causes, each said once.
fn describe(error: &(dyn Error + 'static)) -> String {
    let mut text = String::new();
    for cause in sources(error).map(ToString::to_string) {
        if text.is_empty() {
            text = cause;
        } else if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    one_line(text.as_bytes())
}

/// The failure of an attempt that brought no answer, by what lies at the bottom of it: a connection that
/// failed may come back, an answer that is not the protocol will not change.
fn no_answer(error: &(dyn Error + 'static)) -> Option<Failure> {
    let failure = |verdict, kind: &'static str, what: &str| Failure {
        verdict,
        kind: kind.into(),
        message: format!("{what}: {}", describe(error)),
    };
    let retry = Verdict::Retry { after: None };
    let connecting = sources(error)
        .filter_map(|cause| cause.downcast_ref::<legacy::Error>())
        .any(legacy::Error::is_connect);
    if connecting {
        return Some(failure(retry, "connect", "cannot connect"));
    }
    let hyper = sources(error).find_map(|cause| cause.downcast_ref::<hyper::Error>())?;
    Some(if hyper.is_parse() {
        failure(Verdict::Permanent, "protocol", "the answer is not HTTP")
    } else {
        failure(retry, "connection", "the connection broke")
    })
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::collector::logs::v1::{
        ExportLogsPartialSuccess, ExportLogsServiceResponse,
    };
    use opentelemetry_proto::tonic::collector::metrics::v1::{
        ExportMetricsPartialSuccess, ExportMetricsServiceResponse,
    };

    use super::*;
    use crate::export::otlp::signal::{Logs, Metrics};

    #[test]
    fn foreign_text_is_shown_on_one_short_line() {
        assert_eq!(one_line(b"  a\r\n\x1b[31mb\0c  "), "a [31mb c");
        assert_eq!(one_line(&[b'x'; 1000]).len(), SHOWN_BYTES);
        assert_eq!(one_line(&[0xff, b'y']), "\u{fffd}y");
        assert_eq!(one_line(b""), "");
    }

    #[test]
    fn partial_success() {
        let of = |rejected_data_points, message: &str| {
            accepted::<Metrics>(ExportMetricsServiceResponse {
                partial_success: Some(ExportMetricsPartialSuccess {
                    rejected_data_points,
                    error_message: message.to_owned(),
                }),
            })
        };
        assert_eq!(of(0, ""), Accepted::default());
        assert_eq!(of(3, "old").rejected, 3);
        assert!(of(3, "old").remark.ends_with("old"));
        assert!(!of(3, "").remark.is_empty());
        assert_eq!((of(0, "hm").rejected, of(-1, "").rejected), (0, 0));
        assert!(of(0, "hm").remark.contains("warns"));
        assert_eq!(
            accepted::<Metrics>(ExportMetricsServiceResponse::default()),
            Accepted::default()
        );
        let logs = accepted::<Logs>(ExportLogsServiceResponse {
            partial_success: Some(ExportLogsPartialSuccess {
                rejected_log_records: 2,
                error_message: "old".to_owned(),
            }),
        });
        assert_eq!(
            (logs.rejected, logs.remark.as_str()),
            (2, "the endpoint rejected log records: old")
        );
    }
}
