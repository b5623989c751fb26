//! What the rules about a softirq vector say alike.

use super::Outcome;
use crate::diagnose::{
    draft::Draft,
    facts::{
        Facts, origins,
        shares::{Taken, place},
        stacks::Through,
    },
    figures::{list, percent, rate, time},
    finding::{Confidence, Finding, Severity},
    harm::{BUSY, Harm, severity},
    page::Page,
};

/// A vector that takes much of a CPU.
pub(super) struct Busy<'a> {
    pub(super) page: &'a Page,
    pub(super) vector: &'a str,
    /// `its timers`, `completions of block requests`
    pub(super) what: &'static str,
    /// What was called in it, where that was sampled.
    pub(super) code: Option<Through>,
    /// No healthy host does that.
    pub(super) defect: bool,
}

impl Busy<'_> {
    /// A finding about the CPUs that are busy with it, the busiest first; `None` where none is.
    pub(super) fn finding(&self, facts: &Facts<'_>) -> Option<Finding> {
        self.draft(facts).map(|(_, draft)| draft.done())
    }

    /// The same, to be added to.
    pub(super) fn draft(&self, facts: &Facts<'_>) -> Option<(Taken, Draft)> {
        let all = facts.vector(self.vector);
        // One that takes little and waits long waits for another vector: that one is the finding.
        let most = all.first().filter(|most| most.percent >= BUSY)?.clone();
        let harm = Harm::of_vector(facts, self.vector, &most);
        let severity = severity(most.percent, &harm, self.defect)?;
        let busy = all.iter().filter(|taken| taken.percent >= BUSY);
        let cpus: Vec<u32> = busy.map(|taken| taken.cpu).collect();
        let confidence = if self.code.is_some() {
            Confidence::High
        } else {
            Confidence::Medium
        };
        let draft = self.about(facts, &most, &cpus, (severity, confidence));
        Some((most, draft))
    }

    /// What there is to say of the CPU that it takes most of.
    pub(super) fn about(
        &self,
        facts: &Facts<'_>,
        most: &Taken,
        cpus: &[u32],
        (severity, confidence): (Severity, Confidence),
    ) -> Draft {
        let harm = Harm::of_vector(facts, self.vector, most);
        let code = self.code.as_ref().map(|code| {
            format!(
                ", {} of the sampled stacks in {}",
                percent(code.percent),
                code.function
            )
        });
        let raisers = raisers(facts, self.vector, most.cpu);
        let draft = Draft::new(self.page, severity, confidence)
            .title(format!("CPU {}: {} in {}", most.cpu, percent(most.percent), self.vector))
            .statement(format!(
                "CPU {} spends {} of its time in {}: the softirq {} runs {}, at most {} at a time, mostly in {}{}{}.",
                most.cpu,
                percent(most.percent),
                self.what,
                self.vector,
                rate(most.rate),
                time(most.longest_ns as f64),
                place(&most.place, most.cpu),
                code.clone().unwrap_or_default(),
                harm.clause()
            ))
            .share(most.cpu, &format!("softirq {}", self.vector), most.percent)
            .cpu(most.cpu)
            .cpus(cpus.iter().copied())
            .vector(self.vector)
            .step("CPU", format!("{}: {} in {}", most.cpu, percent(most.percent), self.vector))
            .step("place", place(&most.place, most.cpu))
            .step("vector", format!("{}, {} runs, the longest {}", self.vector, rate(most.rate), time(most.longest_ns as f64)))
            .step("raised by", raisers)
            .step("code", self.code.as_ref().map_or(String::new(), Through::words))
            .evidence(
                format!("summary.softirq[vector={},cpu={}]", self.vector, most.cpu),
                format!("{} of the CPU, {} runs", percent(most.percent), rate(most.rate)),
            );
        match &self.code {
            Some(code) => draft.function(&code.function).evidence(
                format!("summary.stack[context=softirq:{}]", self.vector),
                code.words(),
            ),
            None => draft.missing("stacks of it: fewer than 10 were sampled"),
        }
    }

    /// What a rule says that is about nothing but this.
    pub(super) fn outcome(&self, facts: &Facts<'_>) -> Outcome {
        match (self.finding(facts), self.not(facts)) {
            (Some(finding), _) => Outcome::Found(vec![finding]),
            (None, Some(because)) => Outcome::RuledOut(because),
            (None, None) => Outcome::Silent,
        }
    }

    /// Why it is not that.
    pub(super) fn not(&self, facts: &Facts<'_>) -> Option<String> {
        let all = facts.vector(self.vector);
        let most = all.first()?;
        Some(format!(
            "{} takes at most {} of a CPU (CPU {}; less than {BUSY:.0} %), {} runs there",
            self.vector,
            percent(most.percent),
            most.cpu,
            rate(most.rate)
        ))
    }
}

/// What raised a vector on a CPU, the most first.
pub(super) fn raisers(facts: &Facts<'_>, vector: &str, cpu: u32) -> String {
    let rows = facts.summary.softirq_origin.iter();
    let rows = rows
        .filter(|row| row.vector == vector && row.cpu == cpu)
        .take(3);
    let words: Vec<_> = rows
        .map(|row| {
            format!(
                "{} by {}",
                rate(facts.rate(row.count)),
                origins::words(&row.origin)
            )
        })
        .collect();
    list(&words)
}
