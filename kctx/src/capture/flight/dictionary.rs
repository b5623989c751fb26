//! What the stream told of names, as far as it still holds.

use std::hash::Hash;

use rustc_hash::FxHashMap;

/// Keys and what they stand for, at most so many: those that were told least recently go first.
///
/// The resolver forgets all of a kind at once when there are too many, and tells those again that are used. So what it still
/// counts on was told after that, and is among the latest.
#[derive(Clone, Debug)]
pub(super) struct Dictionary<K> {
    entries: FxHashMap<K, (u64, String)>,
    told: u64,
    limit: usize,
}

impl<K: Eq + Hash + Copy + Ord> Dictionary<K> {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            entries: FxHashMap::default(),
            told: 0,
            limit,
        }
    }

    pub(super) fn tell(&mut self, key: K, text: &str) {
        self.told += 1;
        self.entries.insert(key, (self.told, text.to_owned()));
        if self.entries.len() >= self.limit.saturating_mul(2) {
            self.keep_the_latest();
        }
    }

    fn keep_the_latest(&mut self) {
        let mut told: Vec<u64> = self.entries.values().map(|(told, _)| *told).collect();
        told.sort_unstable();
        let oldest_kept = told[told.len() - self.limit];
        self.entries.retain(|_, (told, _)| *told >= oldest_kept);
    }

    pub(super) fn clear(&mut self) {
        self.entries.clear();
    }

    /// All of it, by key.
    pub(super) fn entries(&self) -> Vec<(K, &str)> {
        let mut entries: Vec<_> = (self.entries.iter())
            .map(|(key, (_, text))| (*key, text.as_str()))
            .collect();
        entries.sort_unstable_by_key(|(key, _)| *key);
        entries
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_stay() {
        let mut dictionary = Dictionary::new(3);
        for key in 0..5 {
            dictionary.tell(key, "first");
        }
        dictionary.tell(0, "again");
        let keys = |dictionary: &Dictionary<u32>| -> Vec<u32> {
            let entries = dictionary.entries().into_iter();
            entries.map(|(key, _)| key).collect()
        };
        assert_eq!(keys(&dictionary), [0, 1, 2, 3, 4]);
        dictionary.tell(5, "one too many");
        assert_eq!(keys(&dictionary), [0, 4, 5]);
        assert_eq!(dictionary.entries()[0], (0, "again"));
        dictionary.clear();
        assert!(dictionary.entries().is_empty());
    }
}
