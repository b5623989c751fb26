//! Which pseudonym stands for what.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, PoisonError},
};

/// Different things of one kind that have a pseudonym of their own; all others share one.
const MOST: usize = 1 << 16;

/// Kernel addresses and their numbers, from 1. Shared by texts and records, so that one address is the same in both.
#[derive(Clone, Debug, Default)]
pub struct Pointers(Arc<Mutex<HashMap<u64, u64>>>);

impl Pointers {
    /// The number that stands for an address: 0 for 0, and for what is no address of the kernel the number itself.
    #[must_use]
    pub fn alias(&self, address: u64) -> u64 {
        if !is_kernel_address(address) {
            return address;
        }
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let next = known.len() as u64 + 1;
        if known.len() >= MOST {
            return known.get(&address).copied().unwrap_or(next);
        }
        *known.entry(address).or_insert(next)
    }
}

/// The upper half of the address space, but for all ones: that is -1. With five levels of page tables (x86's LA57), or 52
/// bits of arm64, it begins lower than with four: at `ff00...`.
pub(super) fn is_kernel_address(address: u64) -> bool {
    address >> 56 == 0xff && address != u64::MAX
}

/// Kinds of what is replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Kind {
    Mac,
    Ip,
    Uuid,
    Serial,
}

impl Kind {
    fn word(self) -> &'static str {
        match self {
            Self::Mac => "mac",
            Self::Ip => "ip",
            Self::Uuid => "uuid",
            Self::Serial => "serial",
        }
    }
}

/// All pseudonyms of a bundle, and how often each kind was used.
#[derive(Debug, Default)]
pub struct Pseudonyms {
    pointers: Pointers,
    named: HashMap<Kind, HashMap<String, usize>>,
    counts: BTreeMap<String, u64>,
}

impl Pseudonyms {
    pub(super) fn pointers(&self) -> Pointers {
        self.pointers.clone()
    }

    pub(super) fn counts(&self) -> BTreeMap<String, u64> {
        self.counts.clone()
    }

    /// The pseudonym of a pointer.
    pub(super) fn pointer(&mut self, address: u64) -> String {
        self.count("ptr");
        format!("ptr-{}", self.pointers.alias(address))
    }

    /// The pseudonym of something by its text in one form.
    pub(super) fn of(&mut self, kind: Kind, text: String) -> String {
        self.count(kind.word());
        let known = self.named.entry(kind).or_default();
        let next = known.len() + 1;
        let number = match known.get(&text) {
            Some(number) => *number,
            None if known.len() >= MOST => next,
            None => {
                known.insert(text, next);
                next
            }
        };
        format!("{}-{number}", kind.word())
    }

    /// What stands for a secret: nothing that could be compared.
    pub(super) fn secret(&mut self) -> &'static str {
        self.count("secret");
        "redacted"
    }

    fn count(&mut self, kind: &str) {
        match self.counts.get_mut(kind) {
            Some(count) => *count += 1,
            None => {
                self.counts.insert(kind.to_owned(), 1);
            }
        }
    }
}
