//! Prometheus scrape: whoever asks gets the totals as of the last window.
//!
//! ```text
//! totals -> family (names, labels) -> text or protobuf -> page (gzip, kept for the window) -> server (HTTP)
//! ```
//!
//! Names and labels are those that Prometheus gives the same metrics when they arrive by OTLP. Nothing is rendered
//! unless somebody asks, and at most once for each window and format.

pub mod accept;
pub mod family;
pub mod model;
pub mod name;
pub mod page;
pub mod protobuf;
pub mod server;
pub mod settings;
pub mod text;

mod answer;
mod health;
mod pace;

pub use server::{PrometheusServer, StartError};
pub use settings::{PrometheusConfig, PrometheusSettings};

#[cfg(test)]
mod format_tests;
#[cfg(test)]
mod hour_tests;
#[cfg(test)]
mod parsed;
#[cfg(test)]
mod server_tests;
