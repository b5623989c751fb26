//! Sampled stacks: which code a context's time goes to.

use std::collections::BTreeMap;

use crate::aggregate::window::StackRow;

/// Stacks of a window.
#[derive(Clone, Copy, Debug)]
pub(in crate::diagnose) struct Stacks<'a>(pub(in crate::diagnose) &'a [StackRow]);

/// Fewer samples say nothing.
pub(in crate::diagnose) const ENOUGH: u64 = 10;

/// How much of a context's samples went through some functions.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::diagnose) struct Through {
    pub(in crate::diagnose) samples: u64,
    pub(in crate::diagnose) of: u64,
    pub(in crate::diagnose) percent: f64,
    /// The function that was found most; empty for none.
    pub(in crate::diagnose) function: String,
}

impl Through {
    /// `nft_do_chain in 47 of 50 stacks (94 %)`.
    pub(in crate::diagnose) fn words(&self) -> String {
        format!(
            "{} in {} of {} stacks ({:.0} %)",
            self.function, self.samples, self.of, self.percent
        )
    }
}

impl Stacks<'_> {
    /// Of the samples in a softirq: those with a frame for which `is` says so. `None` where there are too few.
    pub(in crate::diagnose) fn in_softirq(
        &self,
        vector: &str,
        is: impl Fn(&str) -> bool,
    ) -> Option<Through> {
        let context = format!("softirq:{vector}");
        self.through(|known| known == context, is)
    }

    /// The same of the samples in contexts that `of` picks.
    pub(in crate::diagnose) fn through(
        &self,
        of: impl Fn(&str) -> bool,
        is: impl Fn(&str) -> bool,
    ) -> Option<Through> {
        let (mut all, mut samples) = (0u64, 0u64);
        let mut best: Option<(u64, &str)> = None;
        for row in self.0.iter().filter(|row| of(&row.context)) {
            all = all.saturating_add(row.count);
            // The innermost: a work of that kind may call helpers of the same name.
            let Some(frame) = row.frames.iter().rev().find(|frame| is(frame)) else {
                continue;
            };
            samples = samples.saturating_add(row.count);
            if best.is_none_or(|(count, _)| row.count > count) {
                best = Some((row.count, frame));
            }
        }
        (all >= ENOUGH).then(|| Through {
            samples,
            of: all,
            percent: samples as f64 * 100.0 / all as f64,
            function: best.map_or(String::new(), |(_, frame)| frame.to_owned()),
        })
    }

    /// Of the samples in a context: the function that was running in most of them.
    pub(in crate::diagnose) fn running(&self, context: &str) -> Option<Through> {
        let rows = || self.0.iter().filter(|row| row.context == context);
        let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
        for row in rows() {
            if let Some(innermost) = row.frames.last() {
                let count = counts.entry(innermost).or_default();
                *count = count.saturating_add(row.count);
            }
        }
        let all = rows().fold(0_u64, |sum, row| sum.saturating_add(row.count));
        most(counts, all)
    }

    /// Of the samples in contexts that `of` picks: the innermost function that two thirds of them or more went through.
    pub(in crate::diagnose) fn shared(&self, of: impl Fn(&str) -> bool) -> Option<Through> {
        // For each function its samples, and how deep in them it is.
        let mut functions: BTreeMap<&str, (u64, f64)> = BTreeMap::new();
        let mut all = 0_u64;
        for row in self.0.iter().filter(|row| of(&row.context)) {
            all = all.saturating_add(row.count);
            for (depth, frame) in row.frames.iter().enumerate() {
                // Where it calls itself it counts once.
                if !row.frames[..depth].contains(frame) {
                    let (samples, depths) = functions.entry(frame).or_default();
                    *samples = samples.saturating_add(row.count);
                    *depths += depth as f64 * row.count as f64;
                }
            }
        }
        let most = all.saturating_mul(2).div_ceil(3);
        let shared = (functions.into_iter()).filter(|(_, (samples, _))| *samples >= most);
        let depth = |(samples, depths): (u64, f64)| depths / samples as f64;
        let (function, (samples, _)) = shared.max_by(|a, b| depth(a.1).total_cmp(&depth(b.1)))?;
        (all >= ENOUGH).then(|| Through {
            samples,
            of: all,
            percent: samples as f64 * 100.0 / all as f64,
            function: function.to_owned(),
        })
    }

    /// Of the samples in a softirq: what was called most by one of those functions, which go through what there is to do.
    pub(in crate::diagnose) fn called_by(&self, vector: &str, callers: &[&str]) -> Option<Through> {
        let context = format!("softirq:{vector}");
        let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
        let mut all = 0_u64;
        for row in self.0.iter().filter(|row| row.context == context) {
            all = all.saturating_add(row.count);
            let called = (row.frames.windows(2))
                .find(|pair| callers.iter().any(|caller| pair[0].starts_with(caller)))
                .map(|pair| pair[1].as_str());
            if let Some(called) = called {
                *counts.entry(called).or_default() += row.count;
            }
        }
        most(counts, all)
    }
}

/// The function with most of all samples; `None` where there are too few.
fn most(counts: BTreeMap<&str, u64>, all: u64) -> Option<Through> {
    let (function, samples) = counts.into_iter().max_by_key(|(_, count)| *count)?;
    (all >= ENOUGH).then(|| Through {
        samples,
        of: all,
        percent: samples as f64 * 100.0 / all as f64,
        function: function.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stack(frames: &[&str], count: u64) -> StackRow {
        StackRow {
            context: "softirq:NET_RX".into(),
            frames: frames.iter().map(|frame| (*frame).into()).collect(),
            count,
        }
    }

    #[test]
    fn what_most_samples_share_is_the_innermost_of_it() {
        let rows = [
            stack(
                &[
                    "ksoftirqd",
                    "net_rx_action",
                    "udp_rcv",
                    "deliver",
                    "skb_clone",
                ],
                8,
            ),
            stack(
                &[
                    "ksoftirqd",
                    "net_rx_action",
                    "udp_rcv",
                    "deliver",
                    "kfree_skb",
                ],
                8,
            ),
            // In an interrupt's tail the same functions are deeper down.
            stack(
                &[
                    "irq_exit",
                    "handle",
                    "do_softirq",
                    "net_rx_action",
                    "udp_rcv",
                ],
                4,
            ),
        ];
        let shared = |rows: &[StackRow]| Stacks(rows).shared(|known| known == "softirq:NET_RX");
        let through = shared(&rows).unwrap();
        assert_eq!(
            (through.function.as_str(), through.samples),
            ("deliver", 16)
        );
        assert_eq!(through.words(), "deliver in 16 of 20 stacks (80 %)");
        assert_eq!(shared(&rows[2..]), None, "too few");
        assert_eq!(Stacks(&rows).shared(|known| known == "softirq:RCU"), None);
    }
}
