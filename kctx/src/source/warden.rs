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
    /// Another limit, from the next tick on.
    next_limit: Option<CpuShare>,
    last_ns: u64,
    last_cpu_ns: u64,
    last_observed: Option<[u64; FAMILIES]>,
}

/// What a tick changed.
#[derive(Debug)]
pub struct Ruling {
    /// Families that are kept from the rings now, as bits.
    pub mask: u32,
    /// What the stream is told.
    pub controls: Vec<Control>,
}

impl Warden {
    /// With this limit; 0 for none.
    #[must_use]
    pub fn new(limit: CpuShare) -> Self {
        Self {
            governor: Governor::new(limit),
            next_limit: None,
            last_ns: 0,
            last_cpu_ns: 0,
            last_observed: None,
        }
    }

    /// Has it go by another limit.
    pub fn set_limit(&mut self, limit: CpuShare) {
        self.next_limit = Some(limit);
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
        let controls = self.rule(now_ns, wall_ns, used_ns, &seen);
        for control in &controls {
            announce(control);
        }
        (!controls.is_empty()).then(|| Ruling {
            mask: self.governor.mask(),
            controls,
        })
    }

    /// What follows from `seen` records and `used_ns` of CPU time in `wall_ns`.
    fn rule(
        &mut self,
        now_ns: u64,
        wall_ns: u64,
        used_ns: u64,
        seen: &[u64; FAMILIES],
    ) -> Vec<Control> {
        let was_helpless = self.governor.helpless().is_some();
        if let Some(limit) = self.next_limit.take() {
            self.governor.set_limit(limit);
        }
        let change = self.governor.tick(now_ns, wall_ns, used_ns, seen);
        let change = change.and_then(|change| {
            Some(Control::Governor {
                family: *Family::ALL.get(change.family)?,
                limited: change.limited,
                monotonic_ns: change.at_ns,
                reason: change.reason,
            })
        });
        let helpless = self.governor.helpless();
        let told = (helpless.is_some() != was_helpless).then(|| Control::GovernorHelpless {
            monotonic_ns: now_ns,
            reason: helpless.map(|helpless| helpless.reason.clone()),
        });
        change.into_iter().chain(told).collect()
    }
}

/// In the log, each change once.
fn announce(control: &Control) {
    match control {
        Control::Governor {
            family,
            limited,
            reason,
            ..
        } => tracing::warn!(
            "governor: {} {}: {reason}",
            family.as_str(),
            if *limited {
                "goes into the kernel's histograms only"
            } else {
                "is streamed again"
            },
        ),
        Control::GovernorHelpless { reason, .. } => tracing::warn!(
            "governor: {}",
            reason
                .as_deref()
                .unwrap_or("kctx is within its CPU limit again")
        ),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn that_nothing_is_left_to_limit_is_told_once_and_that_it_is_over_too() {
        let mut warden = Warden::new(CpuShare::from_ppm(20_000));
        let mut told = Vec::new();
        let mut seen = [0; FAMILIES];
        seen[Family::Napi as usize] = 10;
        // A minute at 4 % of a CPU whatever is limited, and half a minute at nothing.
        for second in 0..90 {
            let used_ns = if second < 60 { 40_000_000 } else { 0 };
            told.extend(warden.rule(second * SECOND, SECOND, used_ns, &seen));
        }
        let told: Vec<_> = (told.iter())
            .map(|control| match control {
                Control::Governor { limited, .. } => (*limited, None),
                Control::GovernorHelpless { reason, .. } => (false, Some(reason.is_some())),
                other => panic!("{other:?}"),
            })
            .collect();
        // What its ten records seemed to cost keeps the family limited.
        assert_eq!(
            told,
            [(true, None), (false, Some(true)), (false, Some(false))],
            "limited, helpless, no longer helpless"
        );
    }

    #[test]
    fn that_another_limit_ends_helplessness_is_told() {
        let mut warden = Warden::new(CpuShare::from_ppm(20_000));
        let told = |warden: &mut Warden| {
            let controls =
                (0..5).flat_map(|s| warden.rule(s * SECOND, SECOND, 40_000_000, &[0; FAMILIES]));
            let reasons = controls.map(|control| match control {
                Control::GovernorHelpless { reason, .. } => reason.is_some(),
                other => panic!("{other:?}"),
            });
            reasons.collect::<Vec<_>>()
        };
        assert_eq!(told(&mut warden), [true]);
        warden.set_limit(CpuShare::from_ppm(50_000));
        assert_eq!(told(&mut warden), [false]);
    }
}
