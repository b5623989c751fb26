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
use opentelemetry_proto::tonic::collector::logs::v1::logs_service_server::{
    LogsService, LogsServiceServer,
};
use opentelemetry_proto::tonic::collector::logs::v1::{
    ExportLogsPartialSuccess, ExportLogsServiceRequest, ExportLogsServiceResponse,
};
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_server::{
    MetricsService, MetricsServiceServer,
};
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsPartialSuccess, ExportMetricsServiceRequest, ExportMetricsServiceResponse,
};
use opentelemetry_proto::tonic::logs::v1::LogRecord;
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
pub(super) struct Received<M = ExportMetricsServiceRequest> {
    pub(super) path: String,
    pub(super) headers: HeaderMap,
    pub(super) message: M,
}

impl Received {
    pub(super) fn metrics(&self) -> &[Metric] {
        &self.message.resource_metrics[0].scope_metrics[0].metrics
    }
}

impl Received<ExportLogsServiceRequest> {
    pub(super) fn records(&self) -> &[LogRecord] {
        &self.message.resource_logs[0].scope_logs[0].log_records
    }
}

#[derive(Clone)]
struct Script<M> {
    answers: Arc<Mutex<VecDeque<Answer>>>,
    received: Arc<Mutex<Vec<Received<M>>>>,
}

/// An HTTP endpoint on loopback: gives the scripted answers in order, then 200.
pub(super) struct HttpStub<M = ExportMetricsServiceRequest> {
    pub(super) address: SocketAddr,
    script: Script<M>,
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
}

impl HttpStub<ExportLogsServiceRequest> {
    pub(super) fn start_logs(answers: impl IntoIterator<Item = Answer>) -> Self {
        Self::serve(answers, false)
    }
}

impl<M: Message + Clone + Default + 'static> HttpStub<M> {
    fn serve(answers: impl IntoIterator<Item = Answer>, http1_only: bool) -> Self {
        let script = Script {
            answers: Arc::new(Mutex::new(answers.into_iter().collect())),
            received: Arc::default(),
        };
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

    pub(super) fn received(&self) -> Vec<Received<M>> {
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

async fn answer<M: Message + Default>(
    request: Request<Incoming>,
    script: Script<M>,
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
        message: M::decode(plain.as_slice()).unwrap(),
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

/// An OTLP/gRPC server of one signal on loopback: gives the scripted answers in order (items rejected, or a status),
/// then success.
pub(super) struct GrpcStub<M = ExportMetricsServiceRequest> {
    pub(super) address: SocketAddr,
    service: GrpcService<M>,
    _stop: tokio::sync::oneshot::Sender<()>,
}

type GrpcAnswer = Result<i64, tonic::Status>;

#[derive(Clone)]
struct GrpcService<M> {
    answers: Arc<Mutex<VecDeque<GrpcAnswer>>>,
    received: Arc<Mutex<Vec<(HeaderMap, M)>>>,
}

macro_rules! start_grpc {
    ($server:ident, $answers:ident) => {{
        let service = GrpcService {
            answers: Arc::new(Mutex::new($answers.into_iter().collect())),
            received: Arc::default(),
        };
        let serving = service.clone();
        let (address, stop) = listen(move |stream| {
            let server = $server::new(serving.clone()).accept_compressed(CompressionEncoding::Gzip);
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
    }};
}

impl GrpcStub {
    pub(super) fn start(answers: impl IntoIterator<Item = GrpcAnswer>) -> Self {
        start_grpc!(MetricsServiceServer, answers)
    }
}

impl GrpcStub<ExportLogsServiceRequest> {
    pub(super) fn start_logs(answers: impl IntoIterator<Item = GrpcAnswer>) -> Self {
        start_grpc!(LogsServiceServer, answers)
    }
}

impl<M: Clone> GrpcStub<M> {
    pub(super) fn received(&self) -> Vec<(HeaderMap, M)> {
        self.service.received.lock().unwrap().clone()
    }
}

impl<M> GrpcService<M> {
    /// Takes a request; how many of its items are rejected.
    fn take(&self, request: tonic::Request<M>) -> GrpcAnswer {
        let headers = request.metadata().clone().into_headers();
        let received = (headers, request.into_inner());
        self.received.lock().unwrap().push(received);
        self.answers.lock().unwrap().pop_front().unwrap_or(Ok(0))
    }
}

#[tonic::async_trait]
impl MetricsService for GrpcService<ExportMetricsServiceRequest> {
    async fn export(
        &self,
        request: tonic::Request<ExportMetricsServiceRequest>,
    ) -> Result<tonic::Response<ExportMetricsServiceResponse>, tonic::Status> {
        Ok(tonic::Response::new(ExportMetricsServiceResponse {
            partial_success: Some(ExportMetricsPartialSuccess {
                rejected_data_points: self.take(request)?,
                error_message: String::new(),
            }),
        }))
    }
}

#[tonic::async_trait]
impl LogsService for GrpcService<ExportLogsServiceRequest> {
    async fn export(
        &self,
        request: tonic::Request<ExportLogsServiceRequest>,
    ) -> Result<tonic::Response<ExportLogsServiceResponse>, tonic::Status> {
        Ok(tonic::Response::new(ExportLogsServiceResponse {
            partial_success: Some(ExportLogsPartialSuccess {
                rejected_log_records: self.take(request)?,
                error_message: String::new(),
            }),
        }))
    }
}
