//! OTLP metrics export: windows in, `ExportMetricsServiceRequest` out, over HTTP/protobuf or gRPC.
//!
//! The pipeline of the OpenTelemetry SDK cannot take histograms that are already aggregated, so kctx
//! fills the protocol's messages itself:
//!
//! ```text
//! Window -> cumulative (series, exponential histograms) -> request (points, split) -> client (HTTP or gRPC)
//! ```
//!
//! [`exporter::OtlpExporter`] owns all of it on a thread of its own.

pub mod attributes;
pub mod cumulative;
pub mod env;
pub mod exponential;
pub mod exporter;
pub mod points;
pub mod request;
pub mod resource;
pub mod retry;
pub mod series;
pub mod settings;
pub mod stats;

mod client;
mod deliver;
mod endpoint;
mod rows;
mod sender;
#[cfg(test)]
mod stubs;
#[cfg(test)]
mod testing;

pub use exporter::{OtlpExporter, ShutdownOutcome, StartError};
pub use resource::Resource;
pub use settings::{OtlpConfig, OtlpSettings};
pub use stats::ExporterStats;
