//! Triggers: rules on what the daemon measures, each of which has a capture taken when it fires.
//!
//! A rule ([`rule`]) is a figure with a threshold, or something that happens. At each window's end the figures are read
//! ([`figure`]), the rules decide ([`watch`], pure), and what fires is captured by a thread of its own (`job`): what the
//! flight recorder has from before, and what comes within the rule's window.

pub mod event;
pub mod exported;
pub mod figure;
#[cfg(kctx_live)]
pub(crate) mod job;
pub mod rule;
pub mod softnet;
pub mod store;
pub mod unit;
pub mod watch;
#[cfg(kctx_live)]
pub(crate) mod works;

use serde::{Deserialize, Serialize};

pub use self::rule::Rule;

/// A rule that fired, as the bundle has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fired {
    /// The rule's name.
    pub rule: String,
    /// The rule in words.
    pub condition: String,
    /// What it saw: the figure, with its unit and of what, or what happened.
    pub saw: String,
    /// When, in nanoseconds since the Unix epoch: the end of the window in which it was seen.
    pub time_unix_ns: u64,
    /// Times that it would have fired since its last capture, and was held back by a limit.
    pub held_back: u64,
}
