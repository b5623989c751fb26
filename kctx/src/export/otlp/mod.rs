//! OTLP export: windows in, requests out, over HTTP/protobuf or gRPC.
//!
//! The pipeline of the OpenTelemetry SDK cannot take histograms that are already aggregated, so kctx
//! fills the protocol's messages itself:
//!
//! ```text
//! totals (series, exponential histograms) -> points, request (split) -> sender -> deliver -> client (HTTP or gRPC)
//! ```
//!
//! [`exporter::OtlpExporter`] owns all of it but the totals, on a thread of its own. Threads, retries, clients and settings
//! of the way there know of a [`Signal`] only what is in [`signal`].

pub mod env;
pub mod exporter;
pub mod points;
pub mod request;
pub mod retry;
pub mod settings;
pub mod signal;
pub mod stats;
pub mod transport;

mod client;
mod collect;
mod deliver;
mod endpoint;
mod push;
mod sender;
#[cfg(test)]
mod stubs;

pub use exporter::OtlpExporter;
pub use push::{ShutdownOutcome, StartError};
pub use settings::{OtlpConfig, OtlpSettings};
pub use signal::Signal;
pub use stats::ExporterStats;
pub use transport::Transport;

#[cfg(test)]
pub(in crate::export) use sender::component;
