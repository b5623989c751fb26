//! Which part of a bundle a summary is of.

use serde::{Deserialize, Serialize};

/// What a summary was narrowed to, and what could not be told apart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Narrowed {
    /// Only these CPUs; `None`: all.
    pub cpus: Option<Vec<u32>>,
    /// Only these softirq vectors, and what ran in them; `None`: all, and all other families.
    pub vectors: Option<Vec<String>>,
    /// Only this time; `None`: the whole window.
    pub span: Option<SpanSummary>,
    /// Where the time in each context is from.
    pub contexts: ContextsFrom,
    /// Executions that the kernel spilled: they have no time, and so are in no span.
    pub spilled_left_out: u64,
    /// Samples of stacks that have no time or no CPU.
    pub stacks_left_out: u64,
    /// Lines of the kernel's log that were counted without their time.
    pub log_lines_left_out: u64,
}

/// A part of a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpanSummary {
    /// Its start, in nanoseconds since the window's.
    pub from_ns: u64,
    /// Its end, likewise.
    pub to_ns: u64,
}

/// Where the time in each context is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ContextsFrom {
    /// The kernel's accounts of the whole window.
    Accounts,
    /// The records of the span: what was spilled is missing.
    Records,
}
