//! From facts to a diagnosis: every rule is asked, causes take the place of what they explain, and the worst comes first.

use super::{
    Case,
    facts::Facts,
    figures::percent,
    finding::{
        AlsoSeen, DIAGNOSIS_SCHEMA, Diagnosis, Finding, MAX_FINDINGS, RuledOut, Severity, Step,
        Verdict,
    },
    rule::{self, Outcome, Rule},
    trust,
};
use crate::report::human::{duration, name};

/// Asks all rules.
pub(super) fn run(case: &Case<'_>) -> Diagnosis {
    let facts = Facts::of(case);
    let trust = trust::judge(&facts);
    let (mut findings, mut ruled_out) = ask(&facts);
    ruled_out.extend(explain(&mut findings));
    for finding in &mut findings {
        finding.confidence = finding.confidence.min(trust.most);
    }
    rank(&mut findings);
    let worst = findings.first().map(|finding| finding.severity);
    let verdict = match (worst, &trust.blind) {
        (Some(Severity::Warn | Severity::Crit), _) => Verdict::Hot,
        (_, Some(_)) => Verdict::Inconclusive,
        _ => Verdict::NothingHot,
    };
    let first_line = match (verdict, findings.first(), &trust.blind) {
        (Verdict::Hot, Some(finding), _) => finding.statement.clone(),
        (Verdict::Inconclusive, _, Some(why)) => format!("Inconclusive, because {why}."),
        (_, Some(finding), _) => format!("Busy, without harm: {}", finding.statement),
        _ => nothing_hot(&facts),
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

fn ask(facts: &Facts<'_>) -> (Vec<Finding>, Vec<RuledOut>) {
    let (mut findings, mut ruled_out) = (Vec::new(), Vec::new());
    for rule in rule::RULES {
        match (rule.judge)(facts) {
            Outcome::Silent => {}
            Outcome::Found(found) => findings.extend(found),
            Outcome::RuledOut(because) => ruled_out.push(RuledOut {
                id: rule.page.id.to_owned(),
                because,
            }),
        }
    }
    (findings, ruled_out)
}

/// Takes out findings that others explain. Their harm is the cause's, which is as bad as the worst of them.
fn explain(findings: &mut Vec<Finding>) -> Vec<RuledOut> {
    let all = findings.clone();
    let mut explained = Vec::new();
    findings.retain(|finding| {
        let rule: Option<&Rule> = rule::of(&finding.id);
        let by = rule.map_or(&[][..], |rule| rule.explained_by);
        let cause = all
            .iter()
            .find(|other| by.contains(&other.id.as_str()) && same_place(other, finding));
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
            .find(|finding| finding.id == cause && same_place(finding, &effect))
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

/// Whether two findings are about the same CPUs, or functions, as far as they say.
fn same_place(a: &Finding, b: &Finding) -> bool {
    fn meet<T: PartialEq>(a: &[T], b: &[T]) -> Option<bool> {
        (!a.is_empty() && !b.is_empty()).then(|| a.iter().any(|item| b.contains(item)))
    }
    let (a, b) = (&a.scope, &b.scope);
    let cpus = meet(&a.cpus, &b.cpus);
    cpus.or_else(|| meet(&a.functions, &b.functions))
        .unwrap_or(true)
}

/// The worst first; of equals that which takes most.
fn rank(findings: &mut [Finding]) {
    let share = |finding: &Finding| finding.share.as_ref().map_or(0.0, |share| share.percent);
    findings.sort_by(|a, b| (b.severity.cmp(&a.severity)).then(share(b).total_cmp(&share(a))));
}

fn nothing_hot(facts: &Facts<'_>) -> String {
    let vectors = facts
        .summary
        .softirq
        .iter()
        .map(|row| (row.vector.as_str(), row.cpu));
    let busiest = vectors
        .map(|(vector, cpu)| {
            let taken = facts
                .vector(vector)
                .into_iter()
                .find(|taken| taken.cpu == cpu);
            (taken.map_or(0.0, |taken| taken.percent), vector, cpu)
        })
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
    format!("Nothing is hot: {busiest}{wait}{drops}, in {window}.")
}

#[cfg(test)]
#[path = "engine_tests.rs"]
mod tests;
