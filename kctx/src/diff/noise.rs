//! Whether a figure's slots of one window and those of another differ by more than they do among themselves: pure.
//!
//! Three things must hold, since each alone is fooled:
//!
//! - the rank test of Mann and Whitney (normal approximation, ties corrected) tells them apart at [`ALPHA`], divided by the
//!   number of looks (Bonferroni). It needs no shape of distribution; but with many slots it finds steps too small to matter;
//! - the step between the medians is larger than the spread (10th to 90th percentile) inside either window. A load
//!   that drifts or comes in bursts has slots that depend on each other, which the test does not know;
//! - the step is [`LEAST_STEP`] of the larger median at least. The same load is not the same twice.

use serde::Serialize;

/// How often a change may be found where there is none, in all looks of a comparison together.
const ALPHA: f64 = 0.01;

/// The least step, as a share of the larger median.
const LEAST_STEP: f64 = 0.25;

/// Fewer slots with a value than this in either window tell nothing.
const LEAST_SLOTS: usize = 10;

/// What the slots say.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "verdict", rename_all = "snake_case")]
pub enum Judged {
    /// Larger than the noise.
    Changed {
        /// From median to median of the slots.
        step: f64,
        /// The larger of both windows' spreads.
        spread: f64,
        /// Of the rank test, times the number of looks.
        p: f64,
    },
    /// Within it.
    Noise {
        /// As above.
        step: f64,
        /// As above.
        spread: f64,
        /// As above.
        p: f64,
    },
    /// There is not enough to tell.
    CannotTell {
        /// Why.
        reason: String,
    },
}

impl Judged {
    pub(super) fn cannot_tell(reason: &str) -> Self {
        Self::CannotTell {
            reason: reason.to_owned(),
        }
    }

    /// It is a change.
    #[must_use]
    pub fn is_changed(&self) -> bool {
        matches!(self, Self::Changed { .. })
    }
}

/// Judges a figure; `looks` is how many are judged in all.
pub(super) fn judge(before: &[f64], after: &[f64], looks: usize) -> Judged {
    if before.len() < LEAST_SLOTS || after.len() < LEAST_SLOTS {
        return Judged::cannot_tell("too few executions in too many slots");
    }
    let (before_sorted, after_sorted) = (sorted(before), sorted(after));
    let medians = (median(&before_sorted), median(&after_sorted));
    let step = medians.1 - medians.0;
    let spread = spread(&before_sorted).max(spread(&after_sorted));
    let p = (mann_whitney(before, after) * looks as f64).min(1.0);
    let large = medians.0.abs().max(medians.1.abs());
    if p < ALPHA && step.abs() > spread && step.abs() >= LEAST_STEP * large {
        Judged::Changed { step, spread, p }
    } else {
        Judged::Noise { step, spread, p }
    }
}

fn sorted(values: &[f64]) -> Vec<f64> {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values
}

fn median(sorted: &[f64]) -> f64 {
    let middle = sorted.len() / 2;
    match sorted.len() % 2 {
        0 => f64::midpoint(sorted[middle - 1], sorted[middle]),
        _ => sorted[middle],
    }
}

/// From the 10th to the 90th percentile.
fn spread(sorted: &[f64]) -> f64 {
    let tenth = sorted.len() / 10;
    sorted[sorted.len() - 1 - tenth] - sorted[tenth]
}

/// Two-sided p of the rank sum, by its normal approximation with ties and continuity corrected.
fn mann_whitney(a: &[f64], b: &[f64]) -> f64 {
    let mut all: Vec<(f64, bool)> = a.iter().map(|&value| (value, true)).collect();
    all.extend(b.iter().map(|&value| (value, false)));
    all.sort_by(|x, y| x.0.total_cmp(&y.0));
    let (n, m) = (a.len() as f64, b.len() as f64);
    let total = n + m;
    let (mut ranks_of_a, mut ties, mut at) = (0.0, 0.0, 0);
    for group in all.chunk_by(|x, y| x.0 == y.0) {
        let size = group.len() as f64;
        let rank = at as f64 + f64::midpoint(1.0, size);
        ranks_of_a += rank * group.iter().filter(|(_, of_a)| *of_a).count() as f64;
        ties += size.powi(3) - size;
        at += group.len();
    }
    let u = ranks_of_a - n * (n + 1.0) / 2.0;
    let variance = n * m / 12.0 * (total + 1.0 - ties / (total * (total - 1.0)));
    if variance <= 0.0 {
        // All are the same.
        return 1.0;
    }
    let distance = ((u - n * m / 2.0).abs() - 0.5).max(0.0);
    two_sided(distance / variance.sqrt())
}

/// Probability that a standard normal is so far out: Abramowitz and Stegun 26.2.17 in Horner's form, within 7.5e-8 of the
/// probability; beyond 5 by its first asymptotic term (26.2.12), which is an upper bound.
fn two_sided(z: f64) -> f64 {
    let density = (-z * z / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt();
    if z > 5.0 {
        return 2.0 * density / z;
    }
    let t = 1.0 / (1.0 + 0.231_641_9 * z);
    let series = [
        1.330_274_429,
        -1.821_255_978,
        1.781_477_937,
        -0.356_563_782,
        0.319_381_530,
    ];
    let tail = density * series.iter().fold(0.0, |sum, term| (sum + term) * t);
    (2.0 * tail).clamp(0.0, 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Around a middle, the same each time.
    fn around(middle: f64, seed: u64) -> Vec<f64> {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut next = || {
            state ^= state >> 12;
            state ^= state << 25;
            state ^= state >> 27;
            (state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 40) as f64 / (1_u64 << 24) as f64
        };
        // Three of them: not far from normal.
        (0..20)
            .map(|_| middle * (1.0 + 0.1 * (next() + next() + next() - 1.5)))
            .collect()
    }

    #[test]
    fn the_normal_tail_is_that_of_the_tables() {
        for (z, p) in [
            (0.0, 1.0),
            (1.0, 0.317_311),
            (1.96, 0.049_996),
            (3.29, 0.001_002),
        ] {
            assert!((two_sided(z) - p).abs() < 2e-6, "{z}: {}", two_sided(z));
        }
        assert!((5.0e-7..6.5e-7).contains(&two_sided(4.999)));
        assert!((5.0e-7..6.5e-7).contains(&two_sided(5.001)));
    }

    #[test]
    fn the_rank_test_gives_what_is_known() {
        // Without ties, U = 0: z = (12.5 - 0.5) / sqrt(25 * 11 / 12).
        let p = mann_whitney(&[1.0, 2.0, 3.0, 4.0, 5.0], &[6.0, 7.0, 8.0, 9.0, 10.0]);
        assert!((p - 0.012_186).abs() < 1e-5, "{p}");
        assert_eq!(mann_whitney(&[1.0; 20], &[1.0; 20]), 1.0);
    }

    #[test]
    fn a_thousand_pairs_of_the_same_load_have_no_change() {
        for seed in 0..1000 {
            let judged = judge(&around(50.0, seed + 1), &around(50.0, seed + 5001), 1);
            assert!(!judged.is_changed(), "{seed}: {judged:?}");
        }
    }

    #[test]
    fn a_step_over_the_noise_is_a_change_either_way() {
        let (low, high) = (around(50.0, 1), around(100.0, 2));
        assert!(judge(&low, &high, 5000).is_changed());
        assert!(judge(&high, &low, 5000).is_changed());
        assert!(judge(&[0.0; 20], &high, 5000).is_changed());
    }

    #[test]
    fn a_step_within_what_a_window_does_by_itself_is_none() {
        // Half of the slots of each window are bursts: medians far apart, both within the spread.
        let bursts = |low: usize| -> Vec<f64> {
            (0..20).map(|n| if n < low { 1.0 } else { 100.0 }).collect()
        };
        assert!(!judge(&bursts(14), &bursts(6), 1).is_changed());
    }

    #[test]
    fn a_step_of_less_than_a_quarter_is_none() {
        let slots = |at: f64| -> Vec<f64> { (0..20).map(|n| at + 0.01 * f64::from(n)).collect() };
        assert!(!judge(&slots(100.0), &slots(120.0), 1).is_changed());
        assert!(judge(&slots(100.0), &slots(140.0), 1).is_changed());
    }

    #[test]
    fn few_slots_tell_nothing() {
        let judged = judge(&[1.0; 9], &[9.0; 20], 1);
        assert!(matches!(judged, Judged::CannotTell { .. }), "{judged:?}");
    }
}
