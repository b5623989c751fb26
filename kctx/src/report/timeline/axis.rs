//! Slots of time, of which there are never more than a few hundred: when time goes on beyond the last, each becomes
//! twice as long.

/// Shortest slot: 2^14 ns.
const FIRST_SHIFT: u32 = 14;

/// Slots of one length from a start on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Axis {
    start_ns: u64,
    /// A slot is 2^shift nanoseconds long.
    shift: u32,
    slots: usize,
}

impl Axis {
    /// So many slots; an even number.
    pub(super) fn new(start_ns: u64, slots: usize) -> Self {
        Self {
            start_ns,
            shift: FIRST_SHIFT,
            slots,
        }
    }

    /// Length of a slot.
    pub(super) fn slot_ns(&self) -> u64 {
        1 << self.shift
    }

    /// The slot of a moment; what was before the start is in the first. None past the last.
    pub(super) fn slot(&self, at_ns: u64) -> Option<usize> {
        let slot = at_ns.saturating_sub(self.start_ns) >> self.shift;
        usize::try_from(slot).ok().filter(|slot| *slot < self.slots)
    }

    /// When a slot begins.
    pub(super) fn begin_ns(&self, slot: usize) -> u64 {
        let after = (slot as u64).saturating_mul(self.slot_ns());
        self.start_ns.saturating_add(after)
    }

    /// Slots become twice as long, and half as many are in use.
    pub(super) fn double(&mut self) {
        self.shift += 1;
    }
}

/// Makes one of each two neighbours.
pub(super) fn halve<T: Default>(slots: &mut Vec<T>, mut join: impl FnMut(&mut T, T)) {
    let mut halved = Vec::with_capacity(slots.len().div_ceil(2));
    let mut all = std::mem::take(slots).into_iter();
    while let Some(mut first) = all.next() {
        if let Some(second) = all.next() {
            join(&mut first, second);
        }
        halved.push(first);
    }
    *slots = halved;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_twice_as_long_holds_two() {
        let mut axis = Axis::new(1_000, 4);
        let slot_ns = axis.slot_ns();
        assert_eq!(axis.slot(0), Some(0));
        assert_eq!(axis.slot(1_000 + 3 * slot_ns), Some(3));
        assert_eq!(axis.slot(1_000 + 4 * slot_ns), None);
        axis.double();
        assert_eq!(axis.slot(1_000 + 4 * slot_ns), Some(2));
        assert_eq!(axis.begin_ns(2), 1_000 + 4 * slot_ns);
        let mut counts = vec![1, 2, 3];
        halve(&mut counts, |sum, n| *sum += n);
        assert_eq!(counts, [3, 3]);
    }
}
