//! What happened at a time: taint, kernel log, modules. Rows of a closed window.

use serde::{Deserialize, Serialize};

/// A change of the kernel's taint.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub struct TaintRow {
    /// When it was seen, in nanoseconds since the Unix epoch: up to half a second after it happened.
    pub time_unix_ns: u64,
    /// /proc/sys/kernel/tainted before.
    pub before: u64,
    /// And after.
    pub after: u64,
    /// Letters of the flags that are new.
    pub added: String,
}

/// The kernel's log in a window: the first lines, and counts of all.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq, Eq)]
pub struct LogRows {
    /// The first lines, in order; how many is a setting.
    pub lines: Vec<LogRow>,
    /// Lines by level, 0 (emergency) to 7 (debug), of all.
    pub by_level: [u64; 8],
    /// Lines and fragments that are not among `lines`.
    pub dropped: u64,
    /// Times that more was logged than could be read: the kernel's buffer had gone around, or at the end of all
    /// there was more than is read then.
    pub overruns: u64,
    /// Records that are known to have been overwritten before they were read.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub overwritten: u64,
    /// Parts of lines that came apart, of all; they have no level.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub fragments: u64,
    /// Times that the log could not be read.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub failed: u64,
}

/// A line of the kernel's log.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq, Eq)]
pub struct LogRow {
    /// Sequence number.
    pub seq: u64,
    /// Level, 0 (emergency) to 7 (debug).
    pub level: u8,
    /// When, in nanoseconds since the Unix epoch: by printk's clock, held between the moments at which the log
    /// was looked at before and after.
    pub time_unix_ns: u64,
    /// The text, cut to a bound.
    pub text: String,
    /// Part of a line that came apart; its level means nothing.
    #[serde(default, skip_serializing_if = "is_false")]
    pub fragment: bool,
}

/// One module event.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub struct ModuleRow {
    /// `load`, `init`, `free` or `request`.
    pub event: ModuleEvent,
    /// Module name; of a request, what was asked for.
    pub name: String,
    /// When, in nanoseconds since the Unix epoch.
    pub time_unix_ns: u64,
    /// Taint letters that the module brought, as in /proc/modules; empty for none.
    #[serde(default)]
    pub taints: String,
    /// Process that did it.
    pub pid: u32,
    /// That process's comm.
    pub comm: String,
    /// CPU it happened on.
    pub cpu: u32,
    /// Init only: how long the module's init function took.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub init_ns: Option<u64>,
    /// Init only: what it returned; below 0 the module is freed again.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub ret: Option<i32>,
    /// Load only: the request for a module that led to it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub requested_by: Option<ModuleRequester>,
}

/// Who had the kernel ask for a module.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub struct ModuleRequester {
    /// What was asked for, which may be an alias.
    pub name: String,
    /// The process that needed it.
    pub pid: u32,
    /// Its comm.
    pub comm: String,
    /// It asked for another name, and is the latest that may have led to this: it may have been another, or a user.
    #[serde(default, skip_serializing_if = "is_false")]
    pub guess: bool,
}

/// What happened to a module.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, PartialEq, Eq, Hash)]
#[serde(rename_all = "snake_case")]
pub enum ModuleEvent {
    /// Linked in, init not yet called.
    Load,
    /// Gone.
    Free,
    /// The kernel asked modprobe for it.
    Request,
    /// Its init function returned.
    Init,
}

impl ModuleEvent {
    /// The name used in JSON and as an attribute.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Load => "load",
            Self::Free => "free",
            Self::Request => "request",
            Self::Init => "init",
        }
    }
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde asks for a reference
fn is_zero(n: &u64) -> bool {
    *n == 0
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde asks for a reference
fn is_false(value: &bool) -> bool {
    !*value
}
