//! HTTP and gRPC endpoints on loopback that follow a script.

use std::collections::VecDeque;
use std::io::Read;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use flate2::read::GzDecoder;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::http::{HeaderMap, Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_server::{
    MetricsService, MetricsServiceServer,
};
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsPartialSuccess, ExportMetricsServiceRequest, ExportMetricsServiceResponse,
};
use opentelemetry_proto::tonic::metrics::v1::Metric;
use prost::Message;
use tonic::codec::CompressionEncoding;

/// One answer of the scripted endpoint.
#[derive(Clone, Debug)]
pub(super) enum Answer {
    Status(u16, Vec<(&'static str, String)>, Vec<u8>),
    /// None, and the connection stays open.
    Hang,
}

impl Answer {
    pub(super) fn ok() -> Self {
        Self::Status(200, Vec::new(), Vec::new())
    }
}

/// A request as it came in.
#[derive(Clone, Debug)]
pub(super) struct Received {
    pub(super) path: String,
    pub(super) headers: HeaderMap,
    pub(super) message: ExportMetricsServiceRequest,
}

impl Received {
    pub(super) fn metrics(&self) -> &[Metric] {
        &self.message.resource_metrics[0].scope_metrics[0].metrics
    }
}

#[derive(Clone, Default)]
struct Script {
    answers: Arc<Mutex<VecDeque<Answer>>>,
    received: Arc<Mutex<Vec<Received>>>,
}

/// An HTTP endpoint on loopback: gives the scripted answers in order, then 200.
pub(super) struct HttpStub {
    pub(super) address: SocketAddr,
    script: Script,
    // Ends the server with the test.
    _stop: tokio::sync::oneshot::Sender<()>,
}

impl HttpStub {
    pub(super) fn start(answers: impl IntoIterator<Item = Answer>) -> Self {
        Self::serve(answers, false)
    }

    /// One that does not understand HTTP/2.
    pub(super) fn start_http1(answers: impl IntoIterator<Item = Answer>) -> Self {
        Self::serve(answers, true)
    }

    fn serve(answers: impl IntoIterator<Item = Answer>, http1_only: bool) -> Self {
        let script = Script::default();
        script.answers.lock().unwrap().extend(answers);
        let serving = script.clone();
        let (address, stop) = listen(move |stream| {
            let script = serving.clone();
            async move {
                let service =
                    hyper::service::service_fn(move |request| answer(request, script.clone()));
                let builder = auto::Builder::new(TokioExecutor::new());
                let builder = if http1_only {
                    builder.http1_only()
                } else {
                    builder
                };
                let _ = builder
                    .serve_connection(TokioIo::new(stream), service)
                    .await;
            }
        });
        Self {
            address,
            script,
            _stop: stop,
        }
    }

    pub(super) fn received(&self) -> Vec<Received> {
        self.script.received.lock().unwrap().clone()
    }
}

/// Serves each connection on a thread of its own, until what is returned is dropped.
fn listen<F>(
    serve: impl Fn(tokio::net::TcpStream) -> F + Send + 'static,
) -> (SocketAddr, tokio::sync::oneshot::Sender<()>)
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async move {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            let accepting = async {
                loop {
                    let (stream, _) = listener.accept().await.unwrap();
                    tokio::spawn(serve(stream));
                }
            };
            tokio::select! {
                () = accepting => {}
                _ = stopped => {}
            }
        });
    });
    (address, stop)
}

async fn answer(
    request: Request<Incoming>,
    script: Script,
) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let (head, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    let mut plain = Vec::new();
    if head
        .headers
        .get("content-encoding")
        .is_some_and(|value| value == "gzip")
    {
        GzDecoder::new(body.as_ref())
            .read_to_end(&mut plain)
            .unwrap();
    } else {
        plain.extend_from_slice(&body);
    }
    script.received.lock().unwrap().push(Received {
        path: head.uri.path().to_owned(),
        headers: head.headers,
        message: ExportMetricsServiceRequest::decode(plain.as_slice()).unwrap(),
    });
    let next = script
        .answers
        .lock()
        .unwrap()
        .pop_front()
        .unwrap_or_else(Answer::ok);
    let Answer::Status(status, headers, body) = next else {
        return std::future::pending().await;
    };
    let mut response = Response::builder().status(status);
    for (name, value) in headers {
        response = response.header(name, value);
    }
    Ok(response.body(Full::new(body.into())).unwrap())
}

/// An OTLP/gRPC server on loopback: gives the scripted answers in order (points rejected, or a status),
/// then success.
pub(super) struct GrpcStub {
    pub(super) address: SocketAddr,
    service: GrpcService,
    _stop: tokio::sync::oneshot::Sender<()>,
}

type GrpcAnswer = Result<i64, tonic::Status>;
type GrpcReceived = (HeaderMap, ExportMetricsServiceRequest);

#[derive(Clone, Default)]
struct GrpcService {
    answers: Arc<Mutex<VecDeque<GrpcAnswer>>>,
    received: Arc<Mutex<Vec<GrpcReceived>>>,
}

impl GrpcStub {
    pub(super) fn start(answers: impl IntoIterator<Item = GrpcAnswer>) -> Self {
        let service = GrpcService::default();
        service.answers.lock().unwrap().extend(answers);
        let serving = service.clone();
        let (address, stop) = listen(move |stream| {
            let server = MetricsServiceServer::new(serving.clone())
                .accept_compressed(CompressionEncoding::Gzip);
            async move {
                let _ = auto::Builder::new(TokioExecutor::new())
                    .http2_only()
                    .serve_connection(TokioIo::new(stream), TowerToHyperService::new(server))
                    .await;
            }
        });
        Self {
            address,
            service,
            _stop: stop,
        }
    }

    pub(super) fn received(&self) -> Vec<GrpcReceived> {
        self.service.received.lock().unwrap().clone()
    }
}

#[tonic::async_trait]
impl MetricsService for GrpcService {
    async fn export(
        &self,
        request: tonic::Request<ExportMetricsServiceRequest>,
    ) -> Result<tonic::Response<ExportMetricsServiceResponse>, tonic::Status> {
        let headers = request.metadata().clone().into_headers();
        self.received
            .lock()
            .unwrap()
            .push((headers, request.into_inner()));
        let rejected_data_points = self.answers.lock().unwrap().pop_front().unwrap_or(Ok(0))?;
        Ok(tonic::Response::new(ExportMetricsServiceResponse {
            partial_success: Some(ExportMetricsPartialSuccess {
                rejected_data_points,
                error_message: String::new(),
            }),
        }))
    }
}
