//! Interned names: an id that is made of the text itself.
//!
//! A workqueue or an irq action may be freed, and its address used again, before userspace looks. An
//! id that hashes the text cannot then name something else: the kernel side puts id and text into the
//! names table, and records carry the id.

use crate::record::NAME_LEN;

/// The words of a NUL-padded name.
pub type NameWords = [u64; NAME_LEN / 8];

/// The id of a name, never 0. Multiply-and-rotate over its words: not against an adversary, who
/// would need root to name a workqueue.
#[inline(always)]
#[must_use]
pub fn name_id(words: &NameWords) -> u64 {
    let mut hash: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut i = 0;
    while i < words.len() {
        hash = (hash ^ words[i])
            .wrapping_mul(0xff51_afd7_ed55_8ccd)
            .rotate_left(29);
        i += 1;
    }
    if hash == 0 { 1 } else { hash }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> NameWords {
        let mut bytes = [0; NAME_LEN];
        bytes[..text.len()].copy_from_slice(text.as_bytes());
        let mut words = [0; NAME_LEN / 8];
        for (word, chunk) in words.iter_mut().zip(bytes.chunks_exact(8)) {
            *word = u64::from_ne_bytes(chunk.try_into().unwrap());
        }
        words
    }

    #[test]
    fn names_that_differ_in_one_place_have_ids_that_differ() {
        let names: Vec<String> = (0..10_000).map(|i| format!("wg-crypt-wg{i}")).collect();
        let ids: std::collections::HashSet<u64> =
            names.iter().map(|n| name_id(&words(n))).collect();
        assert_eq!(ids.len(), names.len());
        assert!(!ids.contains(&0));
    }
}
