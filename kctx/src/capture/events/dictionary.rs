//! What is written whole at its first appearance, and as a number from then on.

use std::hash::Hash;

use rustc_hash::FxHashMap;

use super::put_varint;

/// Things by the order in which they first appeared.
#[derive(Debug)]
pub(super) struct Dictionary<T>(FxHashMap<T, u64>);

impl<T> Default for Dictionary<T> {
    fn default() -> Self {
        Self(FxHashMap::default())
    }
}

impl<T: Copy + Eq + Hash> Dictionary<T> {
    /// Its index, and at its first appearance, what `describe` writes.
    pub(super) fn put(
        &mut self,
        out: &mut Vec<u8>,
        thing: T,
        describe: impl FnOnce(&mut Vec<u8>, T),
    ) {
        let next = self.0.len() as u64;
        let index = *self.0.entry(thing).or_insert(next);
        put_varint(out, index);
        if index == next {
            describe(out, thing);
        }
    }
}
