//! When the kernel became tainted, while kctx looked.

use serde::{Deserialize, Serialize};

use super::{
    root::Reread,
    taint::{self, TaintFlag},
};

/// The taint value changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaintChange {
    /// `CLOCK_MONOTONIC` in nanoseconds when it was seen: it happened after the observation before.
    pub time_ns: u64,
    /// The value until then.
    pub before: u64,
    /// The value since then.
    pub after: u64,
}

impl TaintChange {
    /// The flags that were set, by bit. Bits that this version does not know are not among them.
    pub fn set(&self) -> impl Iterator<Item = &'static TaintFlag> {
        taint::decode(self.set_bits())
    }

    /// The letters of the flags that were set, by bit (`OE`), and a `?` for each bit that this version
    /// does not know. Empty if flags only went away, which no kernel does: `add_taint` (kernel/panic.c)
    /// and the sysctl can only set.
    #[must_use]
    pub fn letters(&self) -> String {
        let known = self.set().map(|flag| flag.letter);
        let unknown = taint::unknown_bits(self.set_bits());
        known.chain(unknown.iter().map(|_| '?')).collect()
    }

    fn set_bits(&self) -> u64 {
        self.after & !self.before
    }
}

/// Compares each taint value with the one before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TaintWatch {
    last: Option<u64>,
}

impl TaintWatch {
    /// Nothing observed yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the value at `time_ns` (`CLOCK_MONOTONIC`). The first is what later ones are compared with.
    pub fn observe(&mut self, value: u64, time_ns: u64) -> Option<TaintChange> {
        let before = self.last.replace(value)?;
        (before != value).then_some(TaintChange {
            time_ns,
            before,
            after: value,
        })
    }

    /// Reads the machine's value from [`taint::PATH`] and observes it. After an error the watch is as it was before.
    pub fn poll(&mut self, file: &Reread, time_ns: u64) -> std::io::Result<Option<TaintChange>> {
        Ok(self.observe(taint::read_anew(file)?, time_ns))
    }

    /// The value observed last.
    #[must_use]
    pub fn value(&self) -> Option<u64> {
        self.last
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_first_value_is_no_change_and_the_same_value_is_none() {
        let mut watch = TaintWatch::new();
        assert_eq!(watch.observe(512, 1), None);
        assert_eq!(watch.observe(512, 2), None);
        let change = watch.observe(512 | 1 << 12 | 1 << 13, 3).unwrap();
        assert_eq!((change.time_ns, change.before), (3, 512));
        assert_eq!(change.letters(), "OE");
        assert!(change.set().any(|flag| flag.name == "unsigned_module"));
        assert_eq!(watch.observe(change.after, 4), None);
    }

    #[test]
    fn a_bit_from_a_newer_kernel_and_a_bit_that_went_are_told_apart() {
        let change = |before, after| TaintChange {
            time_ns: 0,
            before,
            after,
        };
        assert_eq!(change(0, 1 | 1 << 40).letters(), "P?");
        assert_eq!(change(1, 0).letters(), "");
    }

    #[test]
    fn polls_the_file_and_survives_what_it_does_not_know() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("tainted");
        std::fs::write(&path, "0\n").unwrap();
        let file = Reread::open(&path).unwrap();
        let mut watch = TaintWatch::new();
        assert_eq!(watch.poll(&file, 2).unwrap(), None);
        std::fs::write(&path, "many\n").unwrap();
        assert!(watch.poll(&file, 3).is_err());
        std::fs::write(&path, "4096\n").unwrap();
        let change = watch.poll(&file, 4).unwrap().unwrap();
        assert_eq!((change.before, change.letters().as_str()), (0, "O"));
        let json = serde_json::to_string(&change).unwrap();
        assert_eq!(serde_json::from_str::<TaintChange>(&json).unwrap(), change);
    }

    proptest! {
        #[test]
        fn the_changes_lead_from_the_first_value_to_the_last(values in prop::collection::vec(any::<u64>(), 1..20)) {
            let mut watch = TaintWatch::new();
            let mut at = values[0];
            for (time, &value) in (0u64..).zip(&values) {
                if let Some(change) = watch.observe(value, time) {
                    prop_assert_eq!(change.before, at);
                    prop_assert_ne!(change.before, change.after);
                    let set = (change.after & !change.before).count_ones() as usize;
                    prop_assert_eq!(change.letters().chars().count(), set);
                    at = change.after;
                }
            }
            prop_assert_eq!(at, values[values.len() - 1]);
        }
    }
}
