//! What travels beside the records and has rows of its own: taint, kernel log, stacks, the governor, kctx's own cost.

use rustc_hash::FxHashMap;

use super::{
    table::MAX_CPUS,
    window::{
        FAMILIES, Family, GovernorHelpless, GovernorRow, LogRow, LogRows, StackRow, TaintRow,
    },
};
use crate::{host::taint, meter::OwnCost};

/// Taint changes kept in one window. A flag is never taken back but by a reboot, so there can't be more
/// than there are flags; a stream that says otherwise is damaged.
const TAINT_ROWS: usize = 64;

/// Bytes of a log line that are kept.
const LINE_BYTES: usize = 1000;

/// Stacks told apart in one window, and those that it is closed with.
const STACKS_OPEN: usize = 10_000;
const STACKS_CLOSED: usize = 500;

/// Changes of the governor kept in one window.
const GOVERNOR_ROWS: usize = 1000;

/// Threads, programs and CPUs that one window's own cost may have; kctx writes fewer.
const COST_THREADS: usize = 64;
const COST_PROGRAMS: usize = 256;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Observed {
    taint: Vec<TaintRow>,
    log: LogRows,
    stacks: FxHashMap<(String, Vec<String>), u64>,
    /// Samples without a place among them.
    stacks_dropped: u64,
    governor: Vec<GovernorRow>,
    /// Families that are limited now; their rows go on in the next window.
    limited: Vec<GovernorRow>,
    /// Nothing is left to limit; goes on in the next window too.
    helpless: Option<GovernorHelpless>,
    own_cost: Option<OwnCost>,
}

impl Observed {
    /// The kernel's taint changed.
    pub(super) fn taint(&mut self, time_unix_ns: u64, before: u64, after: u64) {
        if self.taint.len() >= TAINT_ROWS {
            return;
        }
        let new = after & !before;
        let unknown = taint::unknown_bits(new).into_iter().map(|_| '?');
        self.taint.push(TaintRow {
            time_unix_ns,
            before,
            after,
            added: taint::decode(new)
                .map(|flag| flag.letter)
                .chain(unknown)
                .collect(),
        });
    }

    /// More of the kernel's log, of which at most `limit` lines are kept in a window.
    pub(super) fn log(&mut self, log: &LogRows, unix_offset_ns: u64, limit: usize) {
        let room = limit.saturating_sub(self.log.lines.len());
        self.log
            .lines
            .extend(log.lines.iter().take(room).map(|line| LogRow {
                time_unix_ns: line.time_unix_ns.wrapping_add(unix_offset_ns),
                text: cut(&line.text).to_owned(),
                ..*line
            }));
        let left_out = log.lines.len().saturating_sub(room) as u64;
        for (sum, n) in self.log.by_level.iter_mut().zip(log.by_level) {
            *sum = sum.saturating_add(n);
        }
        let dropped = log.dropped.saturating_add(left_out);
        for (sum, n) in [
            (&mut self.log.dropped, dropped),
            (&mut self.log.overruns, log.overruns),
            (&mut self.log.overwritten, log.overwritten),
            (&mut self.log.fragments, log.fragments),
            (&mut self.log.failed, log.failed),
        ] {
            *sum = sum.saturating_add(n);
        }
    }

    /// More samples of stacks.
    pub(super) fn stacks(&mut self, stacks: &[StackRow]) {
        for stack in stacks {
            let key = (stack.context.clone(), stack.frames.clone());
            if self.stacks.len() >= STACKS_OPEN && !self.stacks.contains_key(&key) {
                self.stacks_dropped = self.stacks_dropped.saturating_add(stack.count);
                continue;
            }
            let count = self.stacks.entry(key).or_default();
            *count = count.saturating_add(stack.count);
        }
    }

    /// The governor limits a family, or no longer does.
    pub(super) fn governor(&mut self, family: Family, limited: bool, unix_ns: u64, reason: &str) {
        let open = self.limited.iter().position(|row| row.family == family);
        match (open, limited) {
            (None, true) => self.limited.push(GovernorRow {
                family,
                since_unix_ns: unix_ns,
                until_unix_ns: None,
                reason: reason.to_owned(),
            }),
            (Some(at), false) => {
                let mut row = self.limited.remove(at);
                row.until_unix_ns = Some(unix_ns);
                if self.governor.len() < GOVERNOR_ROWS {
                    self.governor.push(row);
                }
            }
            _ => {}
        }
    }

    /// The governor has nothing left to limit, or that is over.
    pub(super) fn governor_helpless(&mut self, unix_ns: u64, reason: Option<&str>) {
        self.helpless = reason.map(|reason| GovernorHelpless {
            since_unix_ns: unix_ns,
            reason: reason.to_owned(),
        });
    }

    /// What kctx used in the window.
    pub(super) fn own_cost(&mut self, cost: &OwnCost) {
        let mut cost = cost.clone();
        cost.threads.truncate(COST_THREADS);
        cost.bpf.programs.truncate(COST_PROGRAMS);
        cost.bpf.cpus.truncate(MAX_CPUS as usize);
        cost.bpf.unsampled.truncate(FAMILIES);
        self.own_cost = Some(cost);
    }

    /// The window's own cost.
    pub(super) fn take_own_cost(&mut self) -> Option<OwnCost> {
        self.own_cost.take()
    }

    /// Whether that holds now.
    pub(super) fn helpless(&self) -> Option<GovernorHelpless> {
        self.helpless.clone()
    }

    /// The window's taint changes.
    pub(super) fn take_taint(&mut self) -> Vec<TaintRow> {
        std::mem::take(&mut self.taint)
    }

    /// The window's log.
    pub(super) fn take_log(&mut self) -> LogRows {
        std::mem::take(&mut self.log)
    }

    /// The window's most frequent stacks, and the number of samples of all others.
    pub(super) fn take_stacks(&mut self) -> (Vec<StackRow>, u64) {
        let mut rows: Vec<StackRow> = std::mem::take(&mut self.stacks)
            .into_iter()
            .map(|((context, frames), count)| StackRow {
                context,
                frames,
                count,
            })
            .collect();
        rows.sort_by(|a, b| {
            let what = |row: &StackRow| (row.context.clone(), row.frames.clone());
            b.count.cmp(&a.count).then_with(|| what(a).cmp(&what(b)))
        });
        let rest = rows.get(STACKS_CLOSED..).unwrap_or_default();
        let dropped = rest.iter().map(|row| row.count);
        let dropped = dropped.fold(
            std::mem::take(&mut self.stacks_dropped),
            u64::saturating_add,
        );
        rows.truncate(STACKS_CLOSED);
        (rows, dropped)
    }

    /// Each time that a family was limited in the window, by when that began; those that go on too.
    pub(super) fn take_governor(&mut self) -> Vec<GovernorRow> {
        let mut rows = std::mem::take(&mut self.governor);
        rows.extend(self.limited.iter().cloned());
        rows.sort_by_key(|row| (row.since_unix_ns, row.family));
        rows
    }
}

fn cut(text: &str) -> &str {
    let end = text.floor_char_boundary(LINE_BYTES);
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_keeps_its_first_lines_and_counts_all() {
        let line = |seq, text: &str| LogRow {
            seq,
            level: 4,
            time_unix_ns: 100 + seq,
            text: text.to_owned(),
            fragment: false,
        };
        let part = LogRows {
            lines: vec![line(1, &"é".repeat(600)), line(2, "b"), line(3, "c")],
            by_level: [0, 0, 0, 0, 5, 0, 0, 0],
            dropped: 2,
            overruns: 1,
            overwritten: 30,
            fragments: 4,
            failed: 5,
        };
        let mut observed = Observed::default();
        observed.log(&part, 1000, 4);
        observed.log(&part, 1000, 4);
        let log = observed.take_log();
        let seqs: Vec<_> = log
            .lines
            .iter()
            .map(|line| (line.seq, line.time_unix_ns))
            .collect();
        assert_eq!(seqs, [(1, 1101), (2, 1102), (3, 1103), (1, 1101)]);
        assert_eq!(log.lines[0].text.len(), LINE_BYTES);
        assert_eq!((log.by_level[4], log.dropped, log.overruns), (10, 6, 2));
        assert_eq!((log.overwritten, log.fragments, log.failed), (60, 8, 10));
        assert_eq!(observed.take_log(), LogRows::default());
    }

    #[test]
    fn stacks_are_merged_and_the_most_frequent_kept() {
        let stack = |context: &str, frame: usize, count| StackRow {
            context: context.to_owned(),
            frames: vec!["all".to_owned(), format!("f{frame}")],
            count,
        };
        let mut observed = Observed::default();
        observed.stacks(&[stack("softirq:NET_RX", 1, 2), stack("softirq:NET_RX", 1, 3)]);
        let many: Vec<_> = (0..600)
            .map(|frame| stack("kthread:rcu", frame, 1))
            .collect();
        observed.stacks(&many);
        let (rows, dropped) = observed.take_stacks();
        assert_eq!((rows.len(), dropped), (500, 101));
        assert_eq!(rows[0], stack("softirq:NET_RX", 1, 5));
        assert_eq!(observed.take_stacks(), (Vec::new(), 0));
    }

    #[test]
    fn a_limit_that_goes_on_is_in_each_window() {
        let mut observed = Observed::default();
        observed.governor(Family::Softirq, true, 10, "cost");
        observed.governor(Family::Softirq, true, 11, "again");
        observed.governor(Family::Hardirq, false, 12, "was not limited");
        let first = observed.take_governor();
        assert_eq!(
            (first.len(), first[0].since_unix_ns, first[0].until_unix_ns),
            (1, 10, None)
        );
        assert_eq!(observed.take_governor(), first);
        observed.governor(Family::Softirq, false, 20, "");
        let last = observed.take_governor();
        assert_eq!(
            (last[0].since_unix_ns, last[0].until_unix_ns),
            (10, Some(20))
        );
        assert!(observed.take_governor().is_empty());
    }

    #[test]
    fn a_taint_change_has_the_letters_that_came() {
        let mut observed = Observed::default();
        observed.taint(5, 1 << 12, 1 << 12 | 1 << 9 | 1 << 50);
        let rows = observed.take_taint();
        assert_eq!((rows[0].added.as_str(), rows[0].time_unix_ns), ("W?", 5));
    }
}
