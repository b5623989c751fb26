//! A window's events as records: a pure function.

use std::str::FromStr;
use std::sync::Arc;

use serde::Deserialize;

use super::{
    Event, KERNEL_LOG, MODULE_INIT_FAILED, MODULE_INITIALIZED, MODULE_LOADED, MODULE_UNLOADED,
    Severity, TAINT_CHANGED,
};
use crate::aggregate::window::{LogRow, LogRows, ModuleEvent, ModuleRow, TaintRow, Window};
use crate::export::attributes::{Attributes, Value};
use crate::host::kmsg::{LEVEL_NAMES, WARNING};
use crate::host::taint::{self, TaintFlag};

/// Flags that say that something broke, by the kernel's names.
const BROKEN: [&str; 4] = ["machine_check", "bad_page", "die", "softlockup"];

/// Something that happened.
#[derive(Clone, Debug)]
pub struct Record {
    /// When, in nanoseconds since the Unix epoch.
    pub time_unix_ns: u64,
    /// When kctx had it, likewise: never earlier.
    pub observed_unix_ns: u64,
    /// How severe it is.
    pub severity: Severity,
    /// What it is.
    pub event: &'static Event,
    /// For people.
    pub body: String,
    /// For machines.
    pub attributes: Attributes,
}

/// Which lines of the kernel's log become records: those at a level, or worse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Level(Option<u8>);

impl Level {
    /// No line does.
    pub const NONE: Self = Self(None);

    /// Lines from this level, 0 (emergency) to 7 (debug), up to 0.
    #[must_use]
    pub const fn at(level: u8) -> Self {
        Self(Some(level))
    }

    fn takes(self, level: u8) -> bool {
        self.0.is_some_and(|most| level <= most)
    }
}

impl FromStr for Level {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        if text == "none" {
            return Ok(Self::NONE);
        }
        let known = (LEVEL_NAMES.iter().zip(0..)).find(|(name, _)| **name == text);
        known.map(|(_, level)| Self::at(level)).ok_or_else(|| {
            format!(
                "{text:?} is no level of the kernel's log: write one of {}, or none",
                LEVEL_NAMES.join(", ")
            )
        })
    }
}

impl TryFrom<String> for Level {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

/// What becomes a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Which lines of the kernel's log.
    pub level: Level,
    /// Most records of one window.
    pub records: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            level: Level::at(WARNING),
            records: 500,
        }
    }
}

/// What was left out of a window's records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LeftOut {
    /// For [`Bounds::records`].
    pub over_window: u64,
    /// Lines of the kernel's log that would have been records, but that its own bounds kept out of the window.
    pub over_log: u64,
}

/// A window's records.
#[derive(Clone, Debug, Default)]
pub struct Told {
    /// By time.
    pub records: Vec<Record>,
    /// Those that are not among them.
    pub left_out: LeftOut,
}

/// The records of what happened in a window. Over the bound, lines of the kernel's log are left out first: there are
/// few of all others.
#[must_use]
pub fn told(window: &Window, bounds: Bounds) -> Told {
    let end = window.start_unix_ns.saturating_add(window.duration_ns);
    let lines = || {
        let lines = window.log.lines.iter();
        lines.filter(|line| !line.fragment && bounds.level.takes(line.level))
    };
    let taints = window.taint.iter().flat_map(|row| taint(row, end));
    let modules = (window.module.iter()).filter_map(|row| module(row, end));
    let logged = lines().map(|row| line(row, end));
    let mut all = taints.chain(modules).chain(logged);
    let mut records: Vec<_> = all.by_ref().take(bounds.records).collect();
    let left_out = LeftOut {
        over_window: all.count() as u64,
        over_log: logged_at(&window.log, bounds.level).saturating_sub(lines().count() as u64),
    };
    records.sort_by_key(|record| record.time_unix_ns);
    Told { records, left_out }
}

/// Lines that were logged at a level or worse, kept or not.
fn logged_at(log: &LogRows, level: Level) -> u64 {
    let levels = (0..).zip(log.by_level);
    let taken = levels.filter(|(at, _)| level.takes(*at));
    taken.fold(0, |sum, (_, lines)| sum.saturating_add(lines))
}

fn record(
    event: &'static Event,
    severity: Severity,
    time_unix_ns: u64,
    window_end: u64,
    body: String,
    attributes: Attributes,
) -> Record {
    Record {
        time_unix_ns,
        observed_unix_ns: window_end.max(time_unix_ns),
        severity,
        event,
        body,
        attributes,
    }
}

/// `None` of a request: a load that it led to tells it, and any user may make the kernel ask for anything, any number of
/// times.
fn module(row: &ModuleRow, end: u64) -> Option<Record> {
    let name = &row.name;
    let (event, severity, body) = match (row.event, row.ret) {
        (ModuleEvent::Request, _) => return None,
        (ModuleEvent::Load, _) => (
            &MODULE_LOADED,
            Severity::INFO,
            format!("module {name} was loaded"),
        ),
        (ModuleEvent::Free, _) => (
            &MODULE_UNLOADED,
            Severity::INFO,
            format!("module {name} was unloaded"),
        ),
        (ModuleEvent::Init, Some(result @ ..0)) => (
            &MODULE_INIT_FAILED,
            Severity::ERROR,
            format!("module {name} could not be initialized: its init function returned {result}"),
        ),
        (ModuleEvent::Init, _) => (
            &MODULE_INITIALIZED,
            Severity::INFO,
            format!("module {name} was initialized"),
        ),
    };
    let with_taints = matches!(row.event, ModuleEvent::Load | ModuleEvent::Free);
    let taints = (with_taints && !row.taints.is_empty()).then_some(&row.taints);
    let mut attributes = Attributes::new()
        .with("kctx.module.name", name)
        .with_some("kctx.module.taints", taints)
        .with("process.pid", row.pid)
        .with("thread.name", &row.comm)
        .with("cpu.logical_number", row.cpu)
        .with_some("kctx.module.init.duration_ns", row.init_ns.map(number))
        .with_some(
            "kctx.module.init.result",
            row.ret.map(|ret| Value::Int(i64::from(ret))),
        );
    if let Some(by) = &row.requested_by {
        attributes = attributes
            .with("kctx.module.request.name", &by.name)
            .with("kctx.module.request.pid", by.pid)
            .with("kctx.module.request.comm", &by.comm)
            .with_some(
                "kctx.module.request.guess",
                by.guess.then_some(Value::Bool(true)),
            );
    }
    let time = row.time_unix_ns;
    Some(record(event, severity, time, end, body, attributes))
}

/// One of each flag that is new.
fn taint(row: &TaintRow, end: u64) -> impl Iterator<Item = Record> {
    let new = row.after & !row.before;
    let known = taint::decode(new).map(|flag| flag_words(*flag));
    let unknown = taint::unknown_bits(new).into_iter().map(|bit| {
        let body = format!(
            "the kernel is tainted: bit_{bit} (?): a flag that this version of kctx does not know"
        );
        let name = Value::Text(Arc::from(format!("bit_{bit}").as_str()));
        (Severity::WARN, name, body)
    });
    known.chain(unknown).map(move |(severity, name, body)| {
        let attributes = Attributes::new()
            .with("kctx.kernel.taint.flag", name)
            .with("kctx.kernel.taint.before", number(row.before))
            .with("kctx.kernel.taint.after", number(row.after));
        let time = row.time_unix_ns;
        record(&TAINT_CHANGED, severity, time, end, body, attributes)
    })
}

fn flag_words(flag: TaintFlag) -> (Severity, Value, String) {
    let TaintFlag {
        letter,
        name,
        meaning,
        ..
    } = flag;
    let severity = match BROKEN.contains(&name) {
        true => Severity::ERROR,
        false => Severity::WARN,
    };
    let body = format!("the kernel is tainted: {name} ({letter}): {meaning}");
    (severity, Value::Static(name), body)
}

fn line(row: &LogRow, end: u64) -> Record {
    let severity = Severity::of_level(row.level);
    let attributes = Attributes::new()
        .with("kctx.kernel.log.level", severity.text)
        .with("kctx.kernel.log.sequence", number(row.seq));
    let (time, body) = (row.time_unix_ns, row.text.clone());
    record(&KERNEL_LOG, severity, time, end, body, attributes)
}

/// OTLP's numbers are signed.
fn number(value: u64) -> Value {
    Value::Int(i64::try_from(value).unwrap_or(i64::MAX))
}

#[cfg(test)]
#[path = "record_tests.rs"]
mod tests;
