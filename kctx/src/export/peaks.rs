//! The highest of the last minute, so that no export misses a peak that is over when it looks.

use std::collections::BTreeMap;

/// Length of a slot, in nanoseconds.
const SLOT_NS: u64 = 10_000_000_000;

/// Slots that are looked back at, the open one among them: a minute, and as much of the seventh as is over.
const SLOTS: usize = 7;

/// Peaks of the last minute, by CPU; `None`: of all together.
#[derive(Clone, Debug, Default)]
pub(super) struct Peaks {
    /// Number of the open slot since the Unix epoch.
    open: u64,
    by_cpu: BTreeMap<Option<u32>, [u32; SLOTS]>,
}

impl Peaks {
    /// The time is now this; what is more than a minute old is forgotten.
    pub(super) fn reach(&mut self, unix_ns: u64) {
        let slot = unix_ns / SLOT_NS;
        // A clock that is set back opens no slot, and one that jumps opens all.
        let opened = slot.saturating_sub(self.open).min(SLOTS as u64);
        for slots in self.by_cpu.values_mut() {
            for n in 0..opened {
                slots[((slot - n) % SLOTS as u64) as usize] = 0;
            }
        }
        self.open = slot;
    }

    /// Found now.
    pub(super) fn note(&mut self, cpu: Option<u32>, value: u32) {
        let slots = self.by_cpu.entry(cpu).or_default();
        let slot = &mut slots[(self.open % SLOTS as u64) as usize];
        *slot = value.max(*slot);
    }

    /// The highest of each: 0 where there was one, but long ago.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Option<u32>, u32)> {
        let highest = |slots: &[u32; SLOTS]| slots.iter().copied().max().unwrap_or(0);
        self.by_cpu
            .iter()
            .map(move |(cpu, slots)| (*cpu, highest(slots)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn a_peak_is_seen_for_a_minute_and_forgotten_soon_after() {
        for at in [1_000, 1_003, 1_009] {
            let mut peaks = Peaks::default();
            peaks.reach(at * SECOND);
            peaks.note(Some(3), 9);
            let mut seen = 0;
            for second in at..at + 120 {
                peaks.reach(second * SECOND);
                peaks.note(Some(3), 1);
                peaks.note(Some(4), 2);
                let all: Vec<_> = peaks.iter().collect();
                assert_eq!(all[1], (Some(4), 2));
                seen += u64::from(all[0] == (Some(3), 9));
            }
            assert!((60..=70).contains(&seen), "{seen} s");
        }
    }

    #[test]
    fn what_comes_no_more_is_nothing_and_clocks_may_jump() {
        let mut peaks = Peaks::default();
        peaks.reach(1_000 * SECOND);
        peaks.note(None, 9);
        peaks.reach(990 * SECOND);
        assert_eq!(peaks.iter().collect::<Vec<_>>(), [(None, 9)]);
        peaks.reach(100_000 * SECOND);
        assert_eq!(peaks.iter().collect::<Vec<_>>(), [(None, 0)]);
    }
}
