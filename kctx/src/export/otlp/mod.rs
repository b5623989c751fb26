//! OTLP export: windows in, requests out, over HTTP/protobuf or gRPC; metrics and logs.
//!
//! The pipeline of the OpenTelemetry SDK cannot take histograms that are already aggregated, so kctx
//! fills the protocol's messages itself:
//!
//! ```text
//! totals (series, exponential histograms) -> points, request (split) -+
//!                                                                     +-> sender -> deliver -> client (HTTP or gRPC)
//! a window's events -> logs (records, queue) -> request (split) ------+
//! ```
//!
//! [`exporter::OtlpExporter`] owns all of it but the totals, [`logs::LogExporter`] all of the other, each on a thread of its
//! own: what one endpoint does to one of them the other does not feel. Threads, retries, clients and settings of the way
//! there are written once, for a [`Signal`].

pub mod env;
pub mod exporter;
pub mod logs;
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
pub use logs::{LogExporter, LogSettings};
pub use push::{ShutdownOutcome, StartError};
pub use settings::{OtlpConfig, OtlpSettings};
pub use signal::Signal;
pub use stats::ExporterStats;
pub use transport::Transport;

#[cfg(test)]
pub(in crate::export) use sender::component;
