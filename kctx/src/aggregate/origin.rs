//! What raised a softirq or queued a work: from a record's kind and number to a name.

use std::sync::Arc;

use kctx_common::{pairing::origin_word, record::origin};

use super::window::{Origin, OriginKind, UNKNOWN};
use crate::resolve::{Resolver, SOFTIRQ_VECTORS, VECTOR_CLASSES};

/// The key of an origin that was not seen.
pub(super) const KEY_UNKNOWN: u64 = origin_word(origin::UNKNOWN, 0);

/// An origin in one word, the same for all that make one row: a kind that has no number has number 0, and a
/// kind that there is not is unknown.
#[inline]
#[must_use]
pub(super) const fn key(kind: u8, number: u32) -> u64 {
    /// For each kind that fits a record's four bits, itself or unknown, and the bits of its number. A table, since
    /// which kind comes next cannot be guessed.
    const KINDS: [(u8, u32); 16] = {
        let mut kinds = [(origin::UNKNOWN, 0); 16];
        kinds[origin::IRQ as usize] = (origin::IRQ, u32::MAX);
        kinds[origin::VECTOR as usize] = (origin::VECTOR, u32::MAX);
        kinds[origin::SOFTIRQ as usize] = (origin::SOFTIRQ, u32::MAX);
        kinds[origin::TASK as usize] = (origin::TASK, u32::MAX);
        kinds[origin::IDLE as usize] = (origin::IDLE, 0);
        kinds
    };
    if kind as usize >= KINDS.len() {
        return KEY_UNKNOWN;
    }
    let (kind, bits) = KINDS[kind as usize];
    origin_word(kind, number & bits)
}

/// The kind that a record's byte stands for.
#[must_use]
pub(super) fn kind_of(kind: u8) -> OriginKind {
    match kind {
        origin::IRQ => OriginKind::Irq,
        origin::VECTOR => OriginKind::Vector,
        origin::SOFTIRQ => OriginKind::Softirq,
        origin::TASK => OriginKind::Task,
        origin::IDLE => OriginKind::Idle,
        _ => OriginKind::Unknown,
    }
}

/// An origin as a record has it, with its name.
pub(crate) fn named(kind: u8, number: u32, names: &mut Resolver) -> Origin {
    of_key(key(kind, number), names)
}

/// The origin of a [`key`], with its name.
pub(super) fn of_key(key: u64, names: &mut Resolver) -> Origin {
    let (kind, number) = (kind_of((key >> 32) as u8), key as u32);
    let listed = |list: &[&str]| Arc::from(*list.get(number as usize).unwrap_or(&UNKNOWN));
    let (number, name) = match kind {
        OriginKind::Unknown | OriginKind::Idle => (None, Arc::from("")),
        // Its row has the name, or the names: lines are shared.
        OriginKind::Irq => (Some(number), Arc::from("")),
        OriginKind::Vector => (Some(number), listed(&VECTOR_CLASSES)),
        OriginKind::Softirq => (Some(number), listed(&SOFTIRQ_VECTORS)),
        OriginKind::Task => (Some(number), names.comm(number)),
    };
    Origin { kind, number, name }
}

/// What was not seen.
pub(super) fn unseen() -> Origin {
    Origin {
        kind: OriginKind::Unknown,
        number: None,
        name: Arc::from(""),
    }
}

/// All tasks of one comm together.
pub(super) fn of_comm(comm: Arc<str>) -> Origin {
    Origin {
        kind: OriginKind::Task,
        number: None,
        name: comm,
    }
}
