//! Whether the numbers can be trusted, before anything is concluded from them.

use super::{
    facts::Facts,
    figures::{list, percent, rate},
    finding::Confidence,
};
use crate::{
    aggregate::window::Family, capture::evidence::Phase, host::irqs::SoftirqTable,
    report::human::duration,
};

/// A shorter window has too few of rare events (design of the thresholds).
const LONG_ENOUGH_S: f64 = 5.0;
/// Nothing can be said of a shorter one.
const TOO_SHORT_S: f64 = 0.5;
/// Stolen time is in every duration.
const STEAL: f64 = 5.0;
/// Records that went nowhere, of all.
const LOST: f64 = 1.0;

/// What is to be said of the numbers themselves.
#[derive(Clone, Debug)]
pub(super) struct Trust {
    /// No finding is surer than this.
    pub(super) most: Confidence,
    /// In words.
    pub(super) caveats: Vec<String>,
    /// Why nothing can be ruled out.
    pub(super) blind: Option<String>,
}

pub(super) fn judge(facts: &Facts<'_>) -> Trust {
    let mut trust = Trust {
        most: Confidence::High,
        caveats: Vec::new(),
        blind: None,
    };
    trust.window(facts);
    trust.probes(facts);
    trust.records(facts);
    trust.steal(facts);
    trust.evidence(facts);
    trust.taint(facts);
    trust
}

impl Trust {
    fn lower(&mut self, most: Confidence, caveat: String) {
        self.most = self.most.min(most);
        self.caveats.push(caveat);
    }

    fn window(&mut self, facts: &Facts<'_>) {
        let length = duration(facts.summary.window.duration_ns);
        if facts.seconds < TOO_SHORT_S {
            self.blind = Some(format!(
                "the window is only {length} (a diagnosis takes 5 s)"
            ));
        }
        if facts.seconds < LONG_ENOUGH_S {
            self.lower(
                Confidence::Medium,
                format!("The window is {length}; below 5 s no finding is more than medium."),
            );
        }
    }

    fn probes(&mut self, facts: &Facts<'_>) {
        let (mut missing, mut reason) = (Vec::new(), None);
        for probe in facts.summary.probes.iter().filter(|probe| !probe.attached) {
            if !missing.contains(&probe.family.as_str()) {
                missing.push(probe.family.as_str());
            }
            reason = reason.or(probe.reason.as_deref());
        }
        let hidden = [Family::Softirq, Family::Hardirq];
        let hidden: Vec<_> = hidden
            .into_iter()
            .filter(|family| !facts.measured(*family))
            .collect();
        if let Some(family) = hidden.first() {
            let why = reason.unwrap_or("no reason is given");
            let family = family.as_str();
            let hint = busiest_vector(facts)
                .map(|hint| format!("; {hint}"))
                .unwrap_or_default();
            self.blind = Some(format!("{family} could not be measured ({why}){hint}"));
        }
        // Modules may be off in a kernel for good: then there is nothing to see.
        missing.retain(|family| *family != Family::Module.as_str());
        if !missing.is_empty() {
            self.caveats.push(format!(
                "Not measured, because probes are not attached: {}.",
                list(&missing)
            ));
        }
    }

    fn records(&mut self, facts: &Facts<'_>) {
        let total = &facts.summary.accounting.total;
        let lost: u64 = total
            .lost
            .values()
            .fold(0, |sum, lost| sum.saturating_add(*lost));
        let part = lost as f64 * 100.0 / total.observed.max(1) as f64;
        if part > LOST {
            self.lower(
                Confidence::Medium,
                format!("{} of the records were lost.", percent(part)),
            );
        }
        if total.overflowed > 0 {
            self.caveats.push(format!(
                "{} records have no row of their own: the key limit was reached.",
                total.overflowed
            ));
        }
        let mut governed: Vec<_> = facts
            .summary
            .governor
            .iter()
            .map(|row| row.family.as_str())
            .collect();
        governed.dedup();
        if !governed.is_empty() {
            self.caveats.push(format!(
                "The governor kept these from the rings for a while: {}.",
                list(&governed)
            ));
        }
    }

    fn steal(&mut self, facts: &Facts<'_>) {
        let Some((cpu, stat)) =
            (facts.stat.iter().flatten()).max_by(|a, b| a.1.steal.total_cmp(&b.1.steal))
        else {
            return;
        };
        if stat.steal > STEAL {
            self.lower(
                Confidence::Medium,
                format!(
                    "The hypervisor took {} of CPU {cpu}: all durations have that in them.",
                    percent(stat.steal)
                ),
            );
        }
    }

    fn evidence(&mut self, facts: &Facts<'_>) {
        if facts.evidence.is_empty() {
            self.lower(
                Confidence::Medium,
                "There is no evidence of the window's edges: drops, affinities and settings are not known.".to_owned(),
            );
        } else if facts.softnet.is_none() {
            self.caveats
                .push("softnet_stat was not sampled twice: drops are not known.".to_owned());
        }
    }

    fn taint(&mut self, facts: &Facts<'_>) {
        // Died, bad page, machine check, soft lockup, warned: something went wrong before.
        let bad: Vec<_> = (facts.summary.taint.flags.iter())
            .filter(|flag| matches!(flag.letter, 'D' | 'B' | 'M' | 'L' | 'W'))
            .map(|flag| format!("{} ({})", flag.letter, flag.name))
            .collect();
        if !bad.is_empty() {
            self.caveats.push(format!(
                "The kernel is tainted by {}: read the first such line of its log before all else.",
                list(&bad)
            ));
        }
    }
}

/// Of the kernel's own counts: the vector that ran most.
fn busiest_vector(facts: &Facts<'_>) -> Option<String> {
    let sample = |phase| {
        let text = facts.evidence.text(phase, "proc/softirqs")?;
        Some(SoftirqTable::parse(&text))
    };
    let (before, after) = (sample(Phase::Before)?, sample(Phase::After)?);
    let mut most: Option<(u64, &str, u32)> = None;
    for (vector, counts) in &after.rows {
        for (cpu, now) in after.cpus.iter().zip(counts) {
            let grown = now.saturating_sub(before.count(vector, *cpu).unwrap_or(*now));
            most = most.max((grown > 0).then_some((grown, vector, *cpu)));
        }
    }
    let (count, vector, cpu) = most?;
    let rate = rate(facts.grown_rate(count));
    Some(format!(
        "/proc/softirqs points to {vector} on CPU {cpu} ({rate})"
    ))
}
