//! What the kernel put into histograms because a ring was full or the governor said so, and how it grew.

use aya::maps::{MapData, MapError, PerCpuHashMap};
use kctx_common::{
    bucket,
    spill::{OriginKey, SpillHistogram, SpillKey, SpillRow},
};
use rustc_hash::FxHashMap;

use crate::source::{SpillDelta, SpilledDurations, SpilledOrigin};

/// When the spill is read: all of it takes a system call for each row and copies the row of each CPU, eight
/// kilobytes each. Where windows are short that would cost more than the records that the governor keeps away.
#[derive(Debug, Default)]
pub struct Pace {
    /// Records spilled ever, when it was read last.
    read: u64,
    /// Windows closed since.
    windows: u32,
}

impl Pace {
    /// Whether to read it at a window's end: if anything was `spilled` since it was read last, by the counters' sum
    /// ever, and that was a second ago, which is so many windows. At the `last` window's end all is read.
    pub fn is_due(&mut self, spilled: u64, windows_a_second: u32, last: bool) -> bool {
        self.windows = self.windows.saturating_add(1);
        let due = last || self.windows >= windows_a_second;
        if !due || spilled == self.read {
            return false;
        }
        (self.read, self.windows) = (spilled, 0);
        true
    }
}

/// The spill, and what was read of it.
pub struct Spill {
    possible: Vec<u32>,
    rows: PerCpuHashMap<MapData, SpillKey, SpillRow>,
    origins: PerCpuHashMap<MapData, OriginKey, u64>,
    /// When to read it.
    pub pace: Pace,
    /// Rows are never taken out of the kernel's table, so there are no more than it has places for on each CPU.
    last_rows: FxHashMap<(SpillKey, u32), Box<SpillRow>>,
    last_origins: FxHashMap<(OriginKey, u32), u64>,
}

impl Spill {
    pub(super) fn new(
        possible: Vec<u32>,
        rows: PerCpuHashMap<MapData, SpillKey, SpillRow>,
        origins: PerCpuHashMap<MapData, OriginKey, u64>,
    ) -> Self {
        Self {
            possible,
            rows,
            origins,
            pace: Pace::default(),
            last_rows: FxHashMap::default(),
            last_origins: FxHashMap::default(),
        }
    }

    /// How the histograms grew since the last call.
    pub fn grown(&mut self) -> Result<Vec<SpillDelta>, MapError> {
        let mut deltas = Vec::new();
        for key in self.rows.keys() {
            let key = key?;
            for (&cpu, row) in self.possible.iter().zip(self.rows.get(&key, 0)?.iter()) {
                if count(row) == 0 {
                    continue;
                }
                let before = self.last_rows.get(&(key, cpu)).map(|row| &**row);
                if before.is_some_and(|before| count(before) == count(row)) {
                    continue;
                }
                deltas.push(SpillDelta {
                    cpu,
                    family: key.family,
                    unhandled: key.unhandled != 0,
                    overflow: key.overflow != 0,
                    context: key.context,
                    number: key.number,
                    name_id: key.name_id,
                    function: key.function,
                    wait: growth(&row.wait, before.map(|b| &b.wait)),
                    service: growth(&row.service, before.map(|b| &b.service)),
                    third: growth(&row.third, before.map(|b| &b.third)),
                    fourth: growth(&row.fourth, before.map(|b| &b.fourth)),
                });
                self.last_rows.insert((key, cpu), Box::new(*row));
            }
        }
        Ok(deltas)
    }

    /// How the counts of what raised spilled softirqs grew since the last call.
    pub fn grown_origins(&mut self) -> Result<Vec<SpilledOrigin>, MapError> {
        let mut grown = Vec::new();
        for entry in self.origins.iter() {
            let (key, counts) = entry?;
            for (&cpu, &count) in self.possible.iter().zip(counts.iter()) {
                if count == 0 {
                    continue;
                }
                let before = self.last_origins.insert((key, cpu), count).unwrap_or(0);
                if count > before {
                    grown.push(SpilledOrigin {
                        cpu,
                        vector: key.vector,
                        kind: key.kind,
                        number: key.number,
                        count: count - before,
                    });
                }
            }
        }
        Ok(grown)
    }
}

/// Records in a row: each has a service time, but for NAPI polls, which all have packets.
fn count(row: &SpillRow) -> u64 {
    row.service.count.max(row.third.count)
}

fn growth(now: &SpillHistogram, before: Option<&SpillHistogram>) -> SpilledDurations {
    let (count, sum_ns, max_ns) = before.map_or((0, 0, 0), |b| (b.count, b.sum_ns, b.max_ns));
    let buckets: Vec<(u16, u32)> = now
        .buckets
        .iter()
        .enumerate()
        .map(|(i, n)| (i as u16, n.wrapping_sub(before.map_or(0, |b| b.buckets[i]))))
        .filter(|&(_, n)| n != 0)
        .collect();
    let top = buckets.last().map_or(0, |&(i, _)| {
        bucket::lower_ns(i as usize + 1).saturating_sub(1)
    });
    SpilledDurations {
        count: now.count - count,
        sum_ns: now.sum_ns - sum_ns,
        max_ns: if now.max_ns > max_ns {
            now.max_ns
        } else {
            top.min(now.max_ns)
        },
        buckets,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_spill_is_read_at_most_once_a_second_and_in_the_end_whatever_is_left() {
        let mut pace = Pace::default();
        // Windows of 100 ms, and in each something is spilled; the last is the 25th.
        let read: Vec<u64> = (1..=25)
            .filter(|&n| pace.is_due(n * 100, 10, n == 25))
            .collect();
        assert_eq!(read, [10, 20, 25]);
        assert!(!pace.is_due(2500, 10, true), "nothing is left");
        // Windows of a second: each.
        assert!(pace.is_due(2600, 1, false) && pace.is_due(2700, 1, false));
        assert!(!pace.is_due(2700, 1, false));
        // After a lull at once, since that is longer than a second.
        assert!((0..20).all(|_| !pace.is_due(2700, 10, false)));
        assert!(pace.is_due(2701, 10, false));
    }
}
