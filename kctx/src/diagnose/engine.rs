//! From facts to a diagnosis: every rule is asked, causes take the place of what they explain, and the worst comes first.

use std::collections::BTreeSet;

use super::{
    Case,
    facts::Facts,
    figures::percent,
    finding::{
        AlsoSeen, DIAGNOSIS_SCHEMA, Diagnosis, Finding, MAX_FINDINGS, RuledOut, Severity, Step,
        Verdict,
    },
    rule::{self, Outcome, Rule, hot},
    takers::{Takers, What},
    trust,
};
use crate::report::human::{duration, name};

/// Asks all rules.
pub(super) fn run(case: &Case<'_>) -> Diagnosis {
    let facts = Facts::of(case);
    let trust = trust::judge(&facts);
    let takers = Takers::of(&facts);
    let Asked {
        mut findings,
        mut ruled_out,
        beside,
    } = ask(&facts, &takers);
    ruled_out.extend(explain(&mut findings, &beside));
    for finding in &mut findings {
        finding.confidence = finding.confidence.min(trust.most);
    }
    rank(&takers, &mut findings);
    let worst = findings.first().map(|finding| finding.severity);
    let verdict = match (worst, &trust.blind) {
        (Some(Severity::Warn | Severity::Crit), _) => Verdict::Hot,
        (_, Some(_)) => Verdict::Inconclusive,
        _ => Verdict::NothingHot,
    };
    let first_line = match (verdict, findings.first(), &trust.blind) {
        (Verdict::Hot, Some(finding), _) => finding.statement.clone(),
        (Verdict::Inconclusive, _, Some(why)) => format!("Inconclusive, because {why}."),
        _ => harmless(&facts, &takers, &findings),
    };
    // A probe's reason, a flag or a row's name may hold anything; findings have been made safe already.
    let safe = |texts: Vec<String>| texts.iter().map(|text| name(text)).collect();
    for row in &mut ruled_out {
        row.because = name(&row.because);
    }
    let mut also_seen = Vec::new();
    for finding in findings.drain(MAX_FINDINGS.min(findings.len())..) {
        also_seen.push(AlsoSeen {
            id: finding.id,
            severity: finding.severity,
            title: finding.title,
        });
    }
    Diagnosis {
        schema: DIAGNOSIS_SCHEMA.to_owned(),
        verdict,
        first_line: name(&first_line),
        findings,
        also_seen,
        ruled_out,
        caveats: safe(trust.caveats),
    }
}

/// What the rules said.
#[derive(Default)]
struct Asked {
    findings: Vec<Finding>,
    ruled_out: Vec<RuledOut>,
    /// Ids of what was found and explains nothing else.
    beside: Vec<&'static str>,
}

impl Asked {
    fn take(&mut self, id: &'static str, outcome: Outcome) {
        match outcome {
            Outcome::Silent => {}
            Outcome::Found(found) => self.findings.extend(found),
            Outcome::FoundBeside(found) => {
                self.findings.extend(found);
                self.beside.push(id);
            }
            Outcome::RuledOut(because) => self.ruled_out.push(RuledOut {
                id: id.to_owned(),
                because,
            }),
        }
    }
}

fn ask(facts: &Facts<'_>, takers: &Takers) -> Asked {
    let mut asked = Asked::default();
    for rule in rule::RULES {
        asked.take(rule.page.id, (rule.judge)(facts));
    }
    let left = hot::judge(facts, takers, &asked.findings);
    asked.take(hot::PAGE.id, left);
    asked
}

/// Takes out findings that others explain. Their harm is the cause's, which is as bad as the worst of them.
fn explain(findings: &mut Vec<Finding>, beside: &[&str]) -> Vec<RuledOut> {
    let all = findings.clone();
    let mut explained = Vec::new();
    findings.retain(|finding| {
        let rule: Option<&Rule> = rule::of(&finding.id);
        let by = rule.map_or(&[][..], |rule| rule.explained_by);
        let causes = by.iter().filter(|id| !beside.contains(id));
        let causes = causes.flat_map(|id| all.iter().filter(move |other| other.id == **id));
        let cause = causes.into_iter().find(|other| reaches(other, finding));
        if let Some(cause) = cause {
            explained.push((cause.id.clone(), finding.clone()));
        }
        cause.is_none()
    });
    let mut said = Vec::new();
    for (cause, effect) in explained {
        // Of a cause that is explained itself, its own cause takes it.
        if let Some(cause) = findings
            .iter_mut()
            .find(|finding| finding.id == cause && reaches(finding, &effect))
        {
            cause.severity = cause.severity.max(effect.severity);
            cause.chain.push(Step {
                step: "effect".to_owned(),
                value: format!("{}: {}", effect.id, effect.title),
            });
        }
        said.push(RuledOut {
            because: format!("seen, but an effect of {cause}: {}", effect.title),
            id: effect.id,
        });
    }
    said
}

/// Whether a cause is where an effect is. One that does not say on which CPU it is explains nothing that is on one: it could be
/// anywhere. What is on no CPU by itself, as works are, is told apart by functions, where both name some.
fn reaches(cause: &Finding, effect: &Finding) -> bool {
    fn meet<T: PartialEq>(a: &[T], b: &[T]) -> bool {
        a.iter().any(|item| b.contains(item))
    }
    let (cause, effect) = (&cause.scope, &effect.scope);
    match effect.cpus.is_empty() {
        false => meet(&cause.cpus, &effect.cpus),
        true => {
            let unnamed = cause.functions.is_empty() || effect.functions.is_empty();
            unnamed || meet(&cause.functions, &effect.functions)
        }
    }
}

/// The first line where nothing does harm: what is busy, else that nothing is, and what else was seen.
fn harmless(facts: &Facts<'_>, takers: &Takers, findings: &[Finding]) -> String {
    let busy = findings.iter().find(|finding| takers.are_in(finding));
    match (busy, findings.first()) {
        (Some(busy), _) => format!("Busy, without harm: {}", busy.statement),
        (None, Some(seen)) => format!("{} Also seen: {}.", nothing_hot(facts, takers), seen.title),
        (None, None) => nothing_hot(facts, takers),
    }
}

/// The worst first; of equals what keeps a CPU busy, works on no CPU in particular too; of those that which takes most.
fn rank(takers: &Takers, findings: &mut [Finding]) {
    let share = |finding: &Finding| finding.share.as_ref().map_or(0.0, |share| share.percent);
    let busy = |finding: &Finding| takers.are_in(finding);
    findings.sort_by(|a, b| {
        (b.severity.cmp(&a.severity))
            .then_with(|| busy(b).cmp(&busy(a)))
            .then_with(|| share(b).total_cmp(&share(a)))
    });
}

fn nothing_hot(facts: &Facts<'_>, takers: &Takers) -> String {
    // Softirqs have a sentence of their own.
    let most = (takers.busy()).find(|taker| !matches!(taker.what, What::Vector(_)));
    let most = most.map_or(String::new(), |taker| {
        let (words, share) = (taker.words(), percent(taker.percent));
        format!("{words} takes {share} of a CPU, ")
    });
    let vectors: BTreeSet<&str> = (facts.summary.softirq.iter())
        .map(|row| row.vector.as_str())
        .collect();
    let busiest = (vectors.into_iter())
        .flat_map(|vector| {
            facts
                .vector(vector)
                .into_iter()
                .map(move |taken| (taken, vector))
        })
        .map(|(taken, vector)| (taken.percent, vector, taken.cpu))
        .max_by(|a, b| a.0.total_cmp(&b.0));
    let waits = facts.summary.softirq.iter().map(|row| row.wait.max_ns);
    let window = duration(facts.summary.window.duration_ns);
    let busiest = match busiest {
        Some((share, vector, cpu)) => {
            format!(
                "the busiest softirq is {vector} on CPU {cpu} with {}",
                percent(share)
            )
        }
        None => "no softirq ran".to_owned(),
    };
    let wait = match waits.max() {
        Some(ns) if ns > 0 => format!(", the longest wait for one {}", duration(ns)),
        _ => String::new(),
    };
    let drops = match &facts.softnet {
        None => String::new(),
        Some(rates) => {
            let dropped: f64 = rates.values().map(|rate| rate.dropped).sum();
            format!(
                ", {} packets/s dropped at a backlog",
                super::figures::number(dropped)
            )
        }
    };
    format!("Nothing is hot: {most}{busiest}{wait}{drops}, in {window}.")
}

#[cfg(test)]
#[path = "engine_tests.rs"]
mod tests;
