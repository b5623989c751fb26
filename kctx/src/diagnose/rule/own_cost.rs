use super::{Outcome, Rule};
use crate::{
    diagnose::{
        draft::Draft,
        facts::Facts,
        figures::percent,
        finding::{Confidence, Severity},
        harm::{BUSY, HOT},
        page::{Page, look_alike, read, reversible, threshold},
    },
    meter::Basis,
};

pub(super) static RULE: Rule = Rule {
    page: Page {
        id: "SELF",
        title: "kctx itself is part of what is measured",
        means: "A tracer's programs run inside of what it measures. What kctx's own take is told first, so that nobody has to ask; \
                it is a finding where it is a part that matters.",
        signals: &[
            "CPU time of kctx's threads",
            "run time of its programs, counted by the kernel or estimated",
        ],
        thresholds: &[threshold(
            "threads and programs together",
            "10 % of a CPU",
            "kctx; its limit is 2 % by default",
        )],
        confused_with: &[look_alike("NET-BPF", "programs of others")],
        next: &[
            read(
                "See what kctx would cost here.",
                "kctx doctor --estimate 10s",
            ),
            reversible(
                "Measure fewer families: `[probes]` in its configuration.",
                "",
            ),
        ],
        do_not: &[
            "Take durations of some hundred nanoseconds for the kernel's alone while this is found.",
        ],
    },
    explained_by: &[],
    judge,
};

fn judge(facts: &Facts<'_>) -> Outcome {
    let Some(cost) = &facts.summary.own_cost else {
        return Outcome::Silent;
    };
    let threads: u64 = cost.threads.iter().map(|thread| thread.cpu_ns).sum();
    let programs: u64 = cost.bpf.programs.iter().map(|program| program.run_ns).sum();
    let share = facts.percent(threads.saturating_add(programs));
    let programs = match cost.bpf.basis {
        Basis::Unknown => "an unknown part".to_owned(),
        Basis::Counted | Basis::Scaled => percent(facts.percent(programs)),
    };
    let words = format!(
        "kctx used {} of a CPU in its threads and {programs} in its programs",
        percent(facts.percent(threads))
    );
    if share < BUSY {
        return Outcome::RuledOut(format!("{words} (less than {BUSY:.0} %)"));
    }
    let severity = if share >= HOT {
        Severity::Warn
    } else {
        Severity::Info
    };
    let finding = Draft::new(&RULE.page, severity, Confidence::High)
        .title(format!("kctx itself takes {} of a CPU", percent(share)))
        .statement(format!("{words}: that is in the figures."))
        .comm("kctx")
        .evidence("summary.own_cost", words)
        .done();
    Outcome::Found(vec![finding])
}

#[cfg(test)]
mod tests {
    use crate::{
        diagnose::fixture::{evidence, found, of, percent, ruled_out, summary},
        meter::{OwnCost, ThreadTime},
    };

    fn with(ns: u64) -> crate::diagnose::Diagnosis {
        let mut summary = summary();
        summary.own_cost = Some(OwnCost {
            threads: vec![ThreadTime {
                thread: "kctx-drain".to_owned(),
                cpu_ns: ns,
            }],
            ..OwnCost::default()
        });
        of(&summary, &evidence(&[]))
    }

    #[test]
    fn what_kctx_costs_is_told_first_and_found_where_it_matters() {
        let small = with(percent(1));
        assert_eq!(small.ruled_out[0].id, "SELF");
        assert!(
            ruled_out(&small, "SELF")
                .unwrap()
                .contains("1.0 % of a CPU")
        );
        assert!(found(&with(percent(12)), "SELF").is_some());
    }
}
