//! The kinds of telemetry that kctx sends, and what tells their ways to an endpoint apart.

use opentelemetry_proto::tonic::collector::logs::v1::{
    ExportLogsServiceRequest, ExportLogsServiceResponse,
};
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsServiceRequest, ExportMetricsServiceResponse,
};
use prost::Message;

/// A kind of telemetry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// What is counted and measured.
    Metrics,
    /// What happened at a time.
    Logs,
}

impl Signal {
    /// As people call it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Metrics => "metrics",
            Self::Logs => "logs",
        }
    }

    /// What stands for it in the variables that are its own: `OTEL_EXPORTER_OTLP_METRICS_ENDPOINT`.
    #[must_use]
    pub fn variable(self) -> &'static str {
        match self {
            Self::Metrics => "METRICS",
            Self::Logs => "LOGS",
        }
    }

    /// What is added to a base URL (OTLP exporter specification, "Endpoint URLs").
    #[must_use]
    pub fn path(self) -> &'static str {
        match self {
            Self::Metrics => "v1/metrics",
            Self::Logs => "v1/logs",
        }
    }

    /// What it consists of.
    #[must_use]
    pub fn items(self) -> &'static str {
        match self {
            Self::Metrics => "data points",
            Self::Logs => "log records",
        }
    }
}

/// The messages of a signal.
pub(super) trait Carried: Clone + Send + Sync + 'static {
    /// Which one.
    const SIGNAL: Signal;
    /// Its method in gRPC.
    const METHOD: &'static str;
    type Request: Message + Clone + Default + 'static;
    type Response: Message + Default + 'static;

    /// How many items of a request the endpoint refused, and what it remarked.
    fn partial_success(response: Self::Response) -> Option<(i64, String)>;
}

/// Metrics by their messages.
#[derive(Clone, Debug)]
pub(super) struct Metrics;

impl Carried for Metrics {
    const SIGNAL: Signal = Signal::Metrics;
    const METHOD: &'static str = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export";
    type Request = ExportMetricsServiceRequest;
    type Response = ExportMetricsServiceResponse;

    fn partial_success(response: Self::Response) -> Option<(i64, String)> {
        let partial = response.partial_success?;
        Some((partial.rejected_data_points, partial.error_message))
    }
}

/// Logs by their messages.
#[derive(Clone, Debug)]
pub(super) struct Logs;

impl Carried for Logs {
    const SIGNAL: Signal = Signal::Logs;
    const METHOD: &'static str = "/opentelemetry.proto.collector.logs.v1.LogsService/Export";
    type Request = ExportLogsServiceRequest;
    type Response = ExportLogsServiceResponse;

    fn partial_success(response: Self::Response) -> Option<(i64, String)> {
        let partial = response.partial_success?;
        Some((partial.rejected_log_records, partial.error_message))
    }
}
