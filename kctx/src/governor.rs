//! Bounds what kctx may cost in userspace.
//!
//! A record that is streamed is copied, decoded, named and counted by this process. On a host with very
//! many of them the busiest family is limited: its records go into the kernel's histograms only, except
//! for outliers. All are still counted. What the programs cost in the kernel is not bounded here.
//!
//! A pure control loop, fed once a second; integers only, and no clock is read.
//!
//! - Over the limit for [`OVER_TICKS`] ticks on end, the family with the most records is limited; then one
//!   more with each tick over it. A family released less than [`PROBATION_NS`] ago is the first to go:
//!   its release is what changed.
//! - A limited family is released, the least recently limited first, when it fitted for [`CALM_TICKS`]
//!   ticks on end: the share now (smoothed, since an export every ten seconds is a peak of one tick) and
//!   its records times their learnt cost stay below 60 % of the limit. One whose records hardly cost
//!   anything any more (5 % of the limit) may go up to 90 %: else it could never come back to a process
//!   that has other things to do.
//! - Where no family with records is left to limit, kctx goes on over its limit, and [`Governor::helpless`] says so
//!   until it was within it for [`CALM_TICKS`] ticks on end.
//! - A limit of 0 is none: what is limited is released, a family a tick.
//! - It has to have been limited for its hold: ten seconds, and twice as long each time that it is limited
//!   again within a minute after its release, up to ten minutes.

use std::fmt;

use serde::{Deserialize, Serialize};

/// One CPU, in millionths.
pub const PPM: u32 = 1_000_000;

/// Ticks over the limit, one after the other, before the first family is limited.
pub const OVER_TICKS: u32 = 2;
/// Ticks for which a family has to fit before it is released.
pub const CALM_TICKS: u32 = 10;
/// How long a family is limited at least.
pub const SHORTEST_HOLD_NS: u64 = 10 * SECOND_NS;
/// The most that doubling makes of it.
pub const LONGEST_HOLD_NS: u64 = 600 * SECOND_NS;
/// Limited again so soon after its release, a family's hold doubles.
pub const RELAPSE_NS: u64 = 60 * SECOND_NS;
/// So soon after its release, a family is limited before others with more records.
pub const PROBATION_NS: u64 = 10 * SECOND_NS;

const SECOND_NS: u64 = 1_000_000_000;

/// A tick's part in what is learnt and in the smoothed share: an eighth.
const DECAY: u64 = 8;

/// A share of one CPU. Several threads may use more than one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct CpuShare(u32);

impl CpuShare {
    /// From millionths of one CPU.
    #[must_use]
    pub const fn from_ppm(ppm: u32) -> Self {
        Self(ppm)
    }

    /// Millionths of one CPU.
    #[must_use]
    pub const fn ppm(self) -> u32 {
        self.0
    }

    /// So long of that time.
    #[must_use]
    pub fn of(cpu_ns: u128, wall_ns: u64) -> Self {
        let ppm = cpu_ns.saturating_mul(u128::from(PPM)) / u128::from(wall_ns.max(1));
        Self(u32::try_from(ppm).unwrap_or(u32::MAX))
    }

    fn plus(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    fn percent(self, percent: u64) -> Self {
        Self(u32::try_from(u64::from(self.0) * percent / 100).unwrap_or(u32::MAX))
    }

    /// An eighth of the way from here to `newer`.
    fn smoothed(self, newer: Self) -> Self {
        let sum = u64::from(self.0) * (DECAY - 1) + u64::from(newer.0);
        Self(u32::try_from(sum / DECAY).unwrap_or(u32::MAX))
    }
}

impl fmt::Display for CpuShare {
    /// In percent with one decimal: `2.0 %`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tenths = self.0 / (PPM / 1000);
        write!(f, "{}.{} %", tenths / 10, tenths % 10)
    }
}

/// A family was limited or released.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GovernorChange {
    /// Index of the family.
    pub family: usize,
    /// Limited; else released.
    pub limited: bool,
    /// `CLOCK_MONOTONIC` in nanoseconds.
    pub at_ns: u64,
    /// What kctx used in the last tick, in thousandths of one CPU.
    pub cpu_share_milli: u32,
    /// Why, in words.
    pub reason: String,
}

/// Over the limit, and nothing left that would help.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Helpless {
    /// Since when: `CLOCK_MONOTONIC` in nanoseconds.
    pub since_ns: u64,
    /// Why, in words.
    pub reason: String,
}

/// What is known of one family.
#[derive(Clone, Copy, Debug, Default)]
struct Family {
    /// Since when it has been limited.
    limited_ns: Option<u64>,
    /// When it was released last.
    released_ns: Option<u64>,
    /// How long it stays limited.
    hold_ns: u64,
    /// For how many ticks it has fitted.
    calm: u32,
    /// CPU time of the ticks learnt from, as far as it was this family's, the older the less.
    learnt_ns: u64,
    /// The records that it was spent on.
    learnt_records: u64,
}

impl Family {
    /// What `records` in `wall_ns` would cost.
    fn cost(&self, records: u64, wall_ns: u64) -> CpuShare {
        let cpu_ns = u128::from(records) * u128::from(self.learnt_ns)
            / u128::from(self.learnt_records.max(1));
        CpuShare::of(cpu_ns, wall_ns)
    }

    fn learn(&mut self, cpu_ns: u64, records: u64) {
        let decayed = |sum: u64| sum - sum / DECAY;
        self.learnt_ns = decayed(self.learnt_ns).saturating_add(cpu_ns);
        self.learnt_records = decayed(self.learnt_records).saturating_add(records);
    }
}

/// The control loop over `N` families, at most 32.
#[derive(Clone, Debug)]
pub struct Governor<const N: usize> {
    limit: CpuShare,
    families: [Family; N],
    over_ticks: u32,
    /// Since the last change; nothing is known yet directly after one.
    smoothed: Option<CpuShare>,
    helpless: Option<Helpless>,
    /// Ticks within the limit, one after the other.
    within_ticks: u32,
}

impl<const N: usize> Governor<N> {
    const FITS_THE_MASK: () = assert!(N <= 32, "the mask has 32 bits");

    /// Limits nothing yet; with a limit of 0 it never will.
    #[must_use]
    pub fn new(limit: CpuShare) -> Self {
        let () = Self::FITS_THE_MASK;
        Self {
            limit,
            families: [Family::default(); N],
            over_ticks: 0,
            smoothed: None,
            helpless: None,
            within_ticks: 0,
        }
    }

    /// Another limit from the next tick on. What a family cost holds; what was said of the old limit does not.
    pub fn set_limit(&mut self, limit: CpuShare) {
        if limit == self.limit {
            return;
        }
        self.limit = limit;
        (self.over_ticks, self.within_ticks) = (0, 0);
        self.helpless = None;
        for family in &mut self.families {
            family.calm = 0;
        }
    }

    /// Set while kctx is over its limit although each family that has records is limited.
    #[must_use]
    pub fn helpless(&self) -> Option<&Helpless> {
        self.helpless.as_ref()
    }

    /// The families that are limited, as bits.
    #[must_use]
    pub fn mask(&self) -> u32 {
        let bits = self.families.iter().enumerate();
        bits.filter(|(_, family)| family.limited_ns.is_some())
            .fold(0, |mask, (index, _)| mask | 1 << index)
    }

    /// Takes what happened since the last tick, about a second: `wall_ns` passed, this process used
    /// `cpu_ns` of CPU time, and the probes observed so many records of each family, streamed or not.
    /// `now_ns` is `CLOCK_MONOTONIC`. There is at most one change.
    pub fn tick(
        &mut self,
        now_ns: u64,
        wall_ns: u64,
        cpu_ns: u64,
        observed: &[u64; N],
    ) -> Option<GovernorChange> {
        if wall_ns == 0 {
            return None;
        }
        let share = CpuShare::of(cpu_ns.into(), wall_ns);
        if self.limit.ppm() == 0 {
            return self.release_without_limit(now_ns, share);
        }
        let smoothed = self.smoothed.map_or(share, |old| old.smoothed(share));
        self.smoothed = Some(smoothed);
        self.learn(share, cpu_ns, observed);
        self.note_what_fits(smoothed, wall_ns, observed);
        let change = if share > self.limit {
            self.over_ticks = self.over_ticks.saturating_add(1);
            self.within_ticks = 0;
            self.limit_one(now_ns, share, observed)
        } else {
            self.over_ticks = 0;
            self.within_ticks = self.within_ticks.saturating_add(1);
            if self.within_ticks >= CALM_TICKS {
                self.helpless = None;
            }
            self.release_one(now_ns, share, smoothed, wall_ns, observed)
        };
        if change.is_some() {
            // What was measured so far no longer holds.
            self.smoothed = None;
            for family in &mut self.families {
                family.calm = 0;
            }
        }
        change
    }

    /// Spreads the CPU time over the records that were streamed. Sums decay, rather than quotients, so that
    /// a tick with few records has little weight; and a tick that is cheap as a whole has none, since what
    /// kctx does without any record would be taken for theirs.
    fn learn(&mut self, share: CpuShare, cpu_ns: u64, observed: &[u64; N]) {
        if share < self.limit.percent(25) {
            return;
        }
        let streaming = |family: &Family| family.limited_ns.is_none();
        let streamed: u128 = self
            .families
            .iter()
            .zip(observed)
            .filter(|(family, _)| streaming(family))
            .map(|(_, &records)| u128::from(records))
            .sum();
        for (family, &records) in self.families.iter_mut().zip(observed) {
            if streaming(family) && records > 0 {
                // At most `cpu_ns`, since `records` are part of `streamed`.
                let its_own = u128::from(cpu_ns) * u128::from(records) / streamed;
                family.learn(u64::try_from(its_own).unwrap_or(u64::MAX), records);
            }
        }
    }

    fn note_what_fits(&mut self, smoothed: CpuShare, wall_ns: u64, observed: &[u64; N]) {
        let limit = self.limit;
        for (family, &records) in self.families.iter_mut().zip(observed) {
            let cost = family.cost(records, wall_ns);
            let total = smoothed.plus(cost);
            let hardly_any = cost <= limit.percent(5) && total < limit.percent(90);
            if total < limit.percent(60) || hardly_any {
                family.calm = family.calm.saturating_add(1);
            } else {
                family.calm = 0;
            }
        }
    }

    fn limit_one(
        &mut self,
        now_ns: u64,
        share: CpuShare,
        observed: &[u64; N],
    ) -> Option<GovernorChange> {
        if self.over_ticks < OVER_TICKS {
            return None;
        }
        let on_probation = |family: &Family| {
            let released_ns = family.released_ns?;
            (now_ns.saturating_sub(released_ns) <= PROBATION_NS).then_some(released_ns)
        };
        // A family without records would not make it any cheaper.
        let busiest = observed
            .iter()
            .enumerate()
            .filter(|&(index, &records)| records > 0 && self.families[index].limited_ns.is_none())
            .max_by_key(|&(index, &records)| {
                let family = &self.families[index];
                (on_probation(family), records, std::cmp::Reverse(index))
            });
        let Some((index, &records)) = busiest else {
            let limit = self.limit;
            self.helpless.get_or_insert_with(|| Helpless {
                since_ns: now_ns,
                reason: format!(
                    "kctx used {share} of a CPU, its limit is {limit}, and no family with records is left to limit"
                ),
            });
            return None;
        };
        let family = &mut self.families[index];
        let relapsed = family
            .released_ns
            .is_some_and(|at| now_ns.saturating_sub(at) <= RELAPSE_NS);
        family.hold_ns = if relapsed {
            (family.hold_ns * 2).min(LONGEST_HOLD_NS)
        } else {
            SHORTEST_HOLD_NS
        };
        family.limited_ns = Some(now_ns);
        let why = if relapsed {
            "again soon after its release"
        } else {
            "the most"
        };
        Some(GovernorChange {
            family: index,
            limited: true,
            at_ns: now_ns,
            cpu_share_milli: share.ppm() / 1000,
            reason: format!(
                "kctx used {share} of a CPU, its limit is {}; {records} records of this family in the last \
                 tick, {why}; limited for {} s at least",
                self.limit,
                family.hold_ns / SECOND_NS
            ),
        })
    }

    fn release_without_limit(&mut self, now_ns: u64, share: CpuShare) -> Option<GovernorChange> {
        let limited = |family: &Family| family.limited_ns.is_some();
        let index = self.families.iter().position(limited)?;
        let family = &mut self.families[index];
        family.limited_ns = None;
        family.released_ns = Some(now_ns);
        Some(GovernorChange {
            family: index,
            limited: false,
            at_ns: now_ns,
            cpu_share_milli: share.ppm() / 1000,
            reason: "there is no limit any more".to_owned(),
        })
    }

    fn release_one(
        &mut self,
        now_ns: u64,
        share: CpuShare,
        smoothed: CpuShare,
        wall_ns: u64,
        observed: &[u64; N],
    ) -> Option<GovernorChange> {
        let (_, index) = self
            .families
            .iter()
            .enumerate()
            .filter(|(_, family)| family.calm >= CALM_TICKS)
            .filter_map(|(index, family)| Some((family.limited_ns?, index)))
            .filter(|&(since, index)| now_ns.saturating_sub(since) >= self.families[index].hold_ns)
            .min()?;
        let family = &mut self.families[index];
        family.limited_ns = None;
        family.released_ns = Some(now_ns);
        let expected = smoothed.plus(family.cost(observed[index], wall_ns));
        Some(GovernorChange {
            family: index,
            limited: false,
            at_ns: now_ns,
            cpu_share_milli: share.ppm() / 1000,
            reason: format!(
                "with the {} records of this family in the last tick kctx would use {expected} of a CPU; \
                 its limit is {}",
                observed[index], self.limit
            ),
        })
    }
}

#[cfg(test)]
#[path = "governor_tests.rs"]
mod tests;
