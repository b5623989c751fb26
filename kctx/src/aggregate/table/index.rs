//! Where the row of a key is.

use std::hash::Hash;

use rustc_hash::FxHashMap;

/// Keys that are found without the map, each in the one place that its hint gives it.
const PLACES: usize = 16;

/// What tells a key from others most often, in one word. It need not be all of it: keys are compared whole.
pub(super) trait Hint {
    /// That word.
    fn hint(&self) -> u64;
}

/// The rows of keys. A batch is one CPU's, and on one CPU few keys come again and again, in turns: those that were asked
/// for last are found without the map.
#[derive(Debug)]
pub(super) struct Index<K> {
    all: FxHashMap<K, usize>,
    last: [Option<(K, usize)>; PLACES],
}

impl<K: Copy> Default for Index<K> {
    fn default() -> Self {
        Self {
            all: FxHashMap::default(),
            last: [None; PLACES],
        }
    }
}

impl<K: Copy + Eq + Hash + Hint> Index<K> {
    /// 2^64 by the golden ratio: the highest bits of the product depend on all of the hint (Knuth, "The Art of Computer
    /// Programming", volume 3, 6.4).
    #[inline]
    fn place(key: &K) -> usize {
        const BITS: u32 = PLACES.trailing_zeros();
        (key.hint().wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (u64::BITS - BITS)) as usize
    }

    /// The row of a key, if it has one.
    #[inline]
    pub(super) fn get(&mut self, key: &K) -> Option<usize> {
        match self.last[Self::place(key)] {
            Some((last, row)) if last == *key => Some(row),
            _ => self.get_among_all(key),
        }
    }

    fn get_among_all(&mut self, key: &K) -> Option<usize> {
        let &row = self.all.get(key)?;
        self.last[Self::place(key)] = Some((*key, row));
        Some(row)
    }

    /// A key that has none has this row from now on.
    pub(super) fn insert(&mut self, key: K, row: usize) {
        self.all.insert(key, row);
    }

    /// How many keys have a row.
    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    /// No key has a row any more.
    pub(super) fn clear(&mut self) {
        self.all.clear();
        self.last = [None; PLACES];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Keys of which several have the same place.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    struct Key(u64, u64);

    impl Hint for Key {
        fn hint(&self) -> u64 {
            self.0
        }
    }

    #[test]
    fn keys_keep_their_rows_whichever_was_asked_for_last() {
        let mut index = Index::default();
        let keys: Vec<_> = (0..40).flat_map(|a| [Key(a, 0), Key(a, 1)]).collect();
        for (row, key) in keys.iter().enumerate() {
            assert_eq!(index.get(key), None);
            index.insert(*key, row);
        }
        for _ in 0..2 {
            for (row, key) in keys.iter().enumerate() {
                assert_eq!((index.get(key), index.get(key)), (Some(row), Some(row)));
            }
        }
        assert_eq!(index.len(), keys.len());
        index.clear();
        assert!(keys.iter().all(|key| index.get(key).is_none()));
        assert_eq!(index.len(), 0);
    }
}
