//! The governor at work: once a second, what kctx used and what the probes saw, and what follows from it.

use kctx_common::counters::FAMILIES;

use super::Control;
use crate::{
    aggregate::window::Family,
    governor::{CpuShare, Governor},
    host::clock,
};

/// A tick of the governor.
const TICK_NS: u64 = 1_000_000_000;

/// What a tick is measured against.
pub struct Warden {
    governor: Governor<FAMILIES>,
    last_ns: u64,
    last_cpu_ns: u64,
    last_observed: Option<[u64; FAMILIES]>,
}

/// A family's limit changed.
pub struct Ruling {
    /// Families that are kept from the rings now, as bits.
    pub mask: u32,
    /// What the stream is told.
    pub control: Control,
}

impl Warden {
    /// With this limit; 0 for none.
    #[must_use]
    pub fn new(limit: CpuShare) -> Self {
        Self {
            governor: Governor::new(limit),
            last_ns: 0,
            last_cpu_ns: 0,
            last_observed: None,
        }
    }

    /// Whether a tick is due.
    #[must_use]
    pub fn is_due(&self, now_ns: u64) -> bool {
        now_ns >= self.last_ns + TICK_NS
    }

    /// A tick: what the probes observed ever, by family.
    pub fn tick(&mut self, now_ns: u64, mut observed: [u64; FAMILIES]) -> Option<Ruling> {
        // These have no histograms in the kernel to go to.
        observed[Family::Module as usize] = 0;
        observed[Family::Stack as usize] = 0;
        let cpu_ns = clock::cpu_time_ns();
        let wall_ns = now_ns.saturating_sub(std::mem::replace(&mut self.last_ns, now_ns));
        let used_ns = cpu_ns.saturating_sub(std::mem::replace(&mut self.last_cpu_ns, cpu_ns));
        let before = self.last_observed.replace(observed)?;
        let seen = std::array::from_fn(|i| observed[i].saturating_sub(before[i]));
        let change = self.governor.tick(now_ns, wall_ns, used_ns, &seen)?;
        let family = *Family::ALL.get(change.family)?;
        tracing::warn!(
            "governor: {} {}: {}",
            family.as_str(),
            if change.limited {
                "goes into the kernel's histograms only"
            } else {
                "is streamed again"
            },
            change.reason
        );
        Some(Ruling {
            mask: self.governor.mask(),
            control: Control::Governor {
                family,
                limited: change.limited,
                monotonic_ns: change.at_ns,
                reason: change.reason,
            },
        })
    }
}
