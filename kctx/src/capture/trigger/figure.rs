//! What a rule may look at, read from a closed window and what is asked beside it.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{exported::Exported, softnet::SoftnetRates, unit::Unit};
use crate::{
    aggregate::{
        duration::Durations,
        window::{ContextTimes, Window},
    },
    export::cumulative::Cumulative,
};

/// Fewer runs have no 99th percentile worth the name.
pub(super) const WAITS: u64 = 100;

/// A figure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Figure {
    /// The 99th percentile of a softirq vector's wait over all CPUs; the highest of all vectors, where none is named. Of
    /// vectors with 100 waits in the window or more.
    SoftirqWaitP99(Option<&'static str>),
    /// Time that a ksoftirqd was on its CPU, softirqs in it included; the highest of all CPUs.
    KsoftirqdShare,
    /// Time in a context; the highest of all CPUs.
    ContextShare(Context),
    /// `time_squeeze` of /proc/net/softnet_stat, over all CPUs.
    TimeSqueeze,
    /// `dropped` of /proc/net/softnet_stat, over all CPUs.
    BacklogDrops,
    /// The time since its start of the work that has been in execution the longest.
    WorkInFlight,
    /// Calls of an interrupt's handlers that returned `IRQ_NONE`; the highest of all interrupts.
    UnhandledInterrupts,
    /// Whether a diagnosis of the window has this finding, as a warning or worse.
    Finding(String),
    /// Anything that is exported.
    Exported(Exported),
}

/// A context of a CPU's time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Context {
    /// Interrupt handlers and vectors.
    Hardirq,
    /// Softirqs, wherever they ran.
    Softirq,
    /// ksoftirqd, outside of softirqs and interrupts.
    Ksoftirqd,
    /// Other kernel threads, likewise.
    Kthread,
}

/// What a figure was, and of what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    /// In the figure's unit.
    pub value: u64,
    /// A vector, a CPU, an interrupt; empty where there is but one.
    pub of: String,
}

/// What is asked beside the window, where a rule needs it.
#[derive(Clone, Debug, Default)]
pub struct Beside<'a> {
    /// /proc/net/softnet_stat.
    pub softnet: Option<SoftnetRates>,
    /// How long the work has run that has run the longest, in nanoseconds, and its function.
    pub longest_work: Option<Reading>,
    /// Ids of the findings that the window's diagnosis has, as `kctx.finding.active` shows them; `None` without one.
    pub findings: Option<&'a [String]>,
    /// What the window counted of the metrics that rules look at; `None` where none does.
    pub exported: Option<&'a Cumulative>,
}

impl Context {
    fn words(self) -> &'static str {
        match self {
            Self::Hardirq => "interrupts",
            Self::Softirq => "softirqs",
            Self::Ksoftirqd => "ksoftirqd outside of softirqs",
            Self::Kthread => "kernel threads other than ksoftirqd",
        }
    }

    fn of(self, time: &ContextTimes) -> Option<u64> {
        match self {
            Self::Hardirq => Some(time.hardirq_ns),
            Self::Softirq => Some(time.softirq_ns),
            Self::Ksoftirqd => time.ksoftirqd_ns,
            Self::Kthread => time.kthread_ns,
        }
    }
}

impl Figure {
    /// What it is counted in.
    #[must_use]
    pub fn unit(&self) -> Unit {
        match self {
            Self::SoftirqWaitP99(_) | Self::WorkInFlight => Unit::Time,
            Self::KsoftirqdShare | Self::ContextShare(_) => Unit::Share,
            Self::TimeSqueeze | Self::BacklogDrops | Self::UnhandledInterrupts => Unit::Rate,
            Self::Finding(_) => Unit::Truth,
            Self::Exported(exported) => exported.unit(),
        }
    }

    /// For people.
    #[must_use]
    pub fn words(&self) -> String {
        match self {
            Self::SoftirqWaitP99(None) => "the 99th percentile of some softirq's wait".to_owned(),
            Self::SoftirqWaitP99(Some(vector)) => {
                format!("the 99th percentile of {vector}'s wait")
            }
            Self::KsoftirqdShare => "some ksoftirqd's share of its CPU".to_owned(),
            Self::ContextShare(context) => format!("the share of some CPU in {}", context.words()),
            Self::TimeSqueeze => "time_squeeze of all CPUs".to_owned(),
            Self::BacklogDrops => "packets that found a backlog full, on all CPUs,".to_owned(),
            Self::WorkInFlight => "the time that some work has been in execution".to_owned(),
            Self::UnhandledInterrupts => "some interrupt that no handler knew".to_owned(),
            Self::Finding(id) => format!("a diagnosis finds {id}"),
            Self::Exported(exported) => exported.words(),
        }
    }

    /// Whether it takes a diagnosis of each window.
    #[must_use]
    pub fn needs_findings(&self) -> bool {
        match self {
            Self::Finding(_) => true,
            Self::Exported(exported) => exported.metric().name == "kctx.finding.active",
            _ => false,
        }
    }

    /// What it is in a window; `None` where it could not be seen.
    #[must_use]
    pub fn read(&self, window: &Window, beside: &Beside<'_>) -> Option<Reading> {
        match self {
            Self::SoftirqWaitP99(vector) => wait(window, *vector),
            Self::KsoftirqdShare => {
                let rows = window.kthread.iter().filter(|row| row.role == "ksoftirqd");
                let shares = rows.map(|row| (share(row.cpu_ns, window), row.comm.to_string()));
                highest(shares)
            }
            Self::ContextShare(context) => highest(window.cpu.iter().filter_map(|time| {
                let share = share(context.of(time)?, window);
                Some((share, format!("CPU {}", time.cpu)))
            })),
            Self::TimeSqueeze => beside.softnet.map(|rates| all(rates.time_squeeze)),
            Self::BacklogDrops => beside.softnet.map(|rates| all(rates.dropped)),
            Self::WorkInFlight => beside.longest_work.clone(),
            Self::UnhandledInterrupts => unhandled(window),
            Self::Exported(exported) => {
                exported.read(beside.exported?, window.duration_ns).map(all)
            }
            Self::Finding(id) => Some(all(u64::from(beside.findings?.contains(id)))),
        }
    }
}

fn all(value: u64) -> Reading {
    Reading {
        value,
        of: String::new(),
    }
}

fn share(ns: u64, window: &Window) -> u64 {
    let ppm = u128::from(ns) * 1_000_000 / u128::from(window.duration_ns.max(1));
    u64::try_from(ppm).unwrap_or(u64::MAX)
}

fn highest(readings: impl Iterator<Item = (u64, String)>) -> Option<Reading> {
    let (value, of) = readings.max_by_key(|(value, _)| *value)?;
    Some(Reading { value, of })
}

fn wait(window: &Window, vector: Option<&str>) -> Option<Reading> {
    let mut waits: BTreeMap<&str, Durations> = BTreeMap::new();
    let rows = window.softirq.iter();
    for row in rows.filter(|row| vector.is_none_or(|vector| vector == row.vector)) {
        waits.entry(row.vector).or_default().merge(&row.wait);
    }
    let enough = waits.iter().filter(|(_, wait)| wait.count() >= WAITS);
    highest(enough.map(|(vector, wait)| (wait.quantile_ns(0.99), (*vector).to_owned())))
}

fn unhandled(window: &Window) -> Option<Reading> {
    let mut counts: BTreeMap<u32, u64> = BTreeMap::new();
    for row in &window.hardirq {
        if let Some(irq) = row.irq {
            *counts.entry(irq).or_default() += row.unhandled;
        }
    }
    let rate = |count: u64| {
        let rate = u128::from(count) * 1_000_000_000 / u128::from(window.duration_ns.max(1));
        u64::try_from(rate).unwrap_or(u64::MAX)
    };
    highest(
        counts
            .iter()
            .map(|(irq, n)| (rate(*n), format!("irq {irq}"))),
    )
}

#[cfg(test)]
#[path = "figure_tests.rs"]
mod tests;
