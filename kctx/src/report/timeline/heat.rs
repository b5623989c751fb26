//! How often which duration, over time.

use super::axis::halve;

/// Buckets to a doubling of a duration.
pub(in crate::report) const PER_OCTAVE: usize = 2;

/// Durations below 2^6 ns are in the first bucket, those from 2^34 ns (17 s) on in the last.
const LOWEST: u32 = 6;
const HIGHEST: u32 = 34;

/// Buckets of a duration.
pub(in crate::report) const BUCKETS: usize = (HIGHEST - LOWEST) as usize * PER_OCTAVE + 1;

/// Slots of the axis to a column.
pub(in crate::report) const SLOTS_A_COLUMN: usize = 4;

/// The bucket of a duration: half-octaves, cut at 1.5 times a power of two.
pub(in crate::report) fn bucket(ns: u64) -> usize {
    if ns < 1 << LOWEST {
        return 0;
    }
    let octave = 63 - ns.leading_zeros();
    let upper_half = (ns >> (octave - 1)) & 1;
    let index = (octave - LOWEST) as usize * PER_OCTAVE + upper_half as usize;
    index.min(BUCKETS - 1)
}

/// The shortest duration of a bucket.
pub(in crate::report) fn lowest_ns(bucket: usize) -> u64 {
    if bucket == 0 {
        return 0;
    }
    let octave = LOWEST + (bucket / PER_OCTAVE) as u32;
    (1 << octave)
        + if bucket % PER_OCTAVE == 1 {
            1 << (octave - 1)
        } else {
            0
        }
}

/// Counts by column and bucket. It grows with time, up to the axis' slots.
#[derive(Clone, Debug, Default)]
pub(in crate::report) struct Heat {
    columns: Vec<[u32; BUCKETS]>,
    count: u64,
}

/// A column without counts.
#[derive(Clone, Copy)]
struct Column([u32; BUCKETS]);

impl Default for Column {
    fn default() -> Self {
        Self([0; BUCKETS])
    }
}

impl Heat {
    pub(super) fn add(&mut self, slot: usize, ns: u64) {
        let column = slot / SLOTS_A_COLUMN;
        if column >= self.columns.len() {
            self.columns.resize(column + 1, [0; BUCKETS]);
        }
        let cell = &mut self.columns[column][bucket(ns)];
        *cell = cell.saturating_add(1);
        self.count += 1;
    }

    pub(super) fn halve(&mut self) {
        let mut columns: Vec<Column> = std::mem::take(&mut self.columns)
            .into_iter()
            .map(Column)
            .collect();
        halve(&mut columns, |sum, column| {
            for (cell, more) in sum.0.iter_mut().zip(column.0) {
                *cell = cell.saturating_add(more);
            }
        });
        self.columns = columns.into_iter().map(|column| column.0).collect();
    }

    /// How many durations.
    pub(in crate::report) fn count(&self) -> u64 {
        self.count
    }

    /// The columns, each with a count for every bucket.
    pub(in crate::report) fn columns(&self) -> &[[u32; BUCKETS]] {
        &self.columns
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_duration_is_in_its_bucket(ns in any::<u64>()) {
            let index = bucket(ns);
            prop_assert!(lowest_ns(index) <= ns);
            prop_assert!(index == BUCKETS - 1 || ns < lowest_ns(index + 1));
        }
    }

    #[test]
    fn no_count_is_lost_when_columns_become_longer() {
        let mut heat = Heat::default();
        for slot in 0..100 {
            heat.add(slot, 1_000 * slot as u64);
        }
        heat.halve();
        let all: u64 = heat.columns().iter().flatten().map(|n| u64::from(*n)).sum();
        assert_eq!((all, heat.count(), heat.columns().len()), (100, 100, 13));
    }
}
