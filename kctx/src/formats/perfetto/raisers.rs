//! Which slice raised a softirq: the one of that kind on that CPU that was running at the raise.
//!
//! A raiser's slice is written before what it raised is known, so the last few of a CPU are held back.

use std::collections::VecDeque;

use super::events::{Raised, Slice};

/// Slices held back on each CPU. A raise is answered at the interrupt's end or, by ksoftirqd, some dozens of softirqs
/// later; where it takes longer there is no flow.
const HELD: usize = 64;

/// A slice, and the flows that begin in it.
#[derive(Debug)]
pub(super) struct Held {
    pub slice: Slice,
    pub flows: Vec<u64>,
}

/// The last slices of a CPU, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Raisers {
    held: VecDeque<Held>,
}

impl Raisers {
    /// Begins a flow in the slice that raised it; whether there is one.
    pub(super) fn flow_from(&mut self, raised: &Raised, flow: u64) -> bool {
        let raised_in = |held: &&mut Held| {
            let slice = &held.slice;
            slice.raises == Some(raised.by)
                && (slice.start_ns..=slice.end_ns).contains(&raised.at_ns)
        };
        let Some(held) = self.held.iter_mut().rev().find(raised_in) else {
            return false;
        };
        held.flows.push(flow);
        true
    }

    /// Holds a slice; gives the oldest where there are too many.
    pub(super) fn hold(&mut self, slice: Slice) -> Option<Held> {
        let flows = Vec::new();
        self.held.push_back(Held { slice, flows });
        (self.held.len() > HELD).then(|| self.held.pop_front())?
    }

    /// All that are held.
    pub(super) fn into_held(self) -> impl Iterator<Item = Held> {
        self.held.into_iter()
    }
}
