//! OTLP metrics export: windows in, `ExportMetricsServiceRequest` out, over HTTP/protobuf or gRPC.
//!
//! The pipeline of the OpenTelemetry SDK cannot take histograms that are already aggregated, so kctx
//! fills the protocol's messages itself:
//!
//! ```text
//! totals (series, exponential histograms) -> request (points, split) -> client (HTTP or gRPC)
//! ```
//!
//! [`exporter::OtlpExporter`] owns all of it but the totals, on a thread of its own.

pub mod env;
pub mod exporter;
pub mod points;
pub mod request;
pub mod retry;
pub mod settings;
pub mod stats;

mod client;
mod collect;
mod deliver;
mod endpoint;
mod sender;
#[cfg(test)]
mod stubs;

pub use exporter::{OtlpExporter, ShutdownOutcome, StartError};
pub use settings::{OtlpConfig, OtlpSettings};
pub use stats::ExporterStats;

#[cfg(test)]
pub(in crate::export) use sender::component;
