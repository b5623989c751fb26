//! The kernel log of one window: its first lines, within bounds, and counts of all.

use serde::{Deserialize, Serialize};

use super::{
    kmsg::LEVEL_NAMES,
    kmsg_follow::{LogBounds, LogLine, Polled},
};

/// What a window's log was.
///
/// `by_level` and `fragments` count all lines; of these `lines` were kept and `dropped` were not.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogSummary {
    /// The first lines, oldest first.
    pub lines: Vec<LogLine>,
    /// All lines that are no fragments, kept or not, by level.
    pub by_level: [u64; LEVEL_NAMES.len()],
    /// All fragments, kept or not: their level means nothing.
    #[serde(default)]
    pub fragments: u64,
    /// Lines and fragments that the bounds kept out.
    pub dropped: u64,
    /// Records that userspace wrote.
    #[serde(default)]
    pub from_userspace: u64,
    /// Times the kernel had overwritten records before they were read, or that more were left at the end than
    /// are read then.
    pub overruns: u64,
    /// How many it had overwritten, as far as that is known: the first time, before any record was read,
    /// it is not.
    #[serde(default)]
    pub overwritten: u64,
    /// Polls that failed: what was logged is not known.
    #[serde(default)]
    pub failed: u64,
}

impl LogSummary {
    /// Whether there is nothing to tell.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// A line costs so much of what the rate limit fills up at `lines_per_second` for each microsecond.
const LINE_COST: u64 = 1_000_000;

/// Keeps the first lines of each window within bounds, and counts all.
#[derive(Debug)]
pub struct LogWindow {
    bounds: LogBounds,
    summary: LogSummary,
    /// What the rate limit still allows, in [`LINE_COST`]s.
    allowance: u64,
    /// The newest line's time.
    last_us: Option<u64>,
}

impl LogWindow {
    /// Opens the first window.
    #[must_use]
    pub fn new(bounds: LogBounds) -> Self {
        Self {
            bounds,
            summary: LogSummary::default(),
            allowance: full_allowance(&bounds),
            last_us: None,
        }
    }

    /// Other bounds from now on. How long a line may be is for who reads it.
    pub fn set_bounds(&mut self, bounds: LogBounds) {
        self.bounds = bounds;
    }

    /// Takes what one poll found.
    pub fn add(&mut self, polled: Polled) {
        let summary = &mut self.summary;
        summary.from_userspace = summary.from_userspace.saturating_add(polled.from_userspace);
        summary.overruns = summary.overruns.saturating_add(polled.overruns);
        summary.overwritten = summary.overwritten.saturating_add(polled.overwritten);
        for line in polled.lines {
            self.push(line);
        }
    }

    /// A poll failed.
    pub fn failed(&mut self) {
        self.summary.failed = self.summary.failed.saturating_add(1);
    }

    /// Records were left unread, and nobody will read them.
    pub fn left_unread(&mut self) {
        self.summary.overruns = self.summary.overruns.saturating_add(1);
    }

    /// Takes a line; says whether it was kept.
    pub fn push(&mut self, line: LogLine) -> bool {
        self.refill(line.time_us);
        let summary = &mut self.summary;
        if line.fragment {
            summary.fragments += 1;
        } else if let Some(count) = summary.by_level.get_mut(usize::from(line.level & 7)) {
            *count += 1;
        }
        if summary.lines.len() >= self.bounds.lines_per_window || self.allowance < LINE_COST {
            summary.dropped += 1;
            return false;
        }
        self.allowance -= LINE_COST;
        summary.lines.push(line);
        true
    }

    /// Closes the window and opens the next. The rate limit begins anew: in a storm that goes on, the
    /// next window shows its first lines too.
    pub fn take(&mut self) -> LogSummary {
        self.allowance = full_allowance(&self.bounds);
        std::mem::take(&mut self.summary)
    }

    /// Times of different CPUs may be out of order by a little: then nothing is filled up.
    fn refill(&mut self, time_us: u64) {
        let last_us = self.last_us.unwrap_or(time_us);
        let passed_us = time_us.saturating_sub(last_us);
        let gained = passed_us.saturating_mul(u64::from(self.bounds.lines_per_second));
        self.allowance = self
            .allowance
            .saturating_add(gained)
            .min(full_allowance(&self.bounds));
        self.last_us = Some(last_us.max(time_us));
    }
}

fn full_allowance(bounds: &LogBounds) -> u64 {
    u64::from(bounds.lines_per_second) * LINE_COST
}
