//! Sinks that hand closed windows to other systems.
//!
//! ```text
//! Window -> totals (cumulative, and since the last push) -> otlp (pushed) and prometheus (asked for)
//!        -> totals (of that window alone) -> triggers
//! ```
//!
//! [`metric::GROUPS`] is the one list of metrics that are exported: both sinks and the reference in docs/metrics.md take
//! names, units and words from it. [`event::EVENTS`] is that of events, which go out by OTLP alone, each as it happened.

pub mod attributes;
pub mod captures;
pub mod cumulative;
pub mod event;
pub mod exponential;
pub mod health;
pub mod interval;
pub mod metric;
pub mod otlp;
pub mod prometheus;
pub mod resource;
pub mod series;
pub mod settings;
pub mod totals;

mod gone;
mod peaks;
pub mod reloads;
mod rows;
#[cfg(test)]
mod size_tests;
#[cfg(test)]
pub(crate) mod testing;
mod windowed;

pub use settings::ExportConfig;
