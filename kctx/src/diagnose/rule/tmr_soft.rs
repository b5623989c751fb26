use super::{Outcome, Rule, vectors::Busy};
use crate::diagnose::{
    facts::Facts,
    page::{Page, look_alike, owner, read, threshold},
};

pub(super) static RULE: Rule = Rule {
    page: Page {
        id: "TMR-SOFT",
        title: "Timers take a CPU in softirqs",
        means: "The TIMER softirq calls the functions of timers that are due: time-outs of sockets, retransmissions, delayed works, \
                neighbours. One run may call very many, so that how often it runs says little: what it takes and its longest run do. \
                All vectors behind it wait meanwhile.",
        signals: &[
            "TIMER's share of a CPU",
            "its longest run",
            "what `call_timer_fn` calls in the stacks sampled there",
        ],
        thresholds: &[threshold(
            "of a CPU in TIMER",
            "10 %",
            "kctx; at rest it is far below 1 %, 4 to 30 runs/s",
        )],
        confused_with: &[
            look_alike(
                "TMR-HARD",
                "high-resolution timers run in the interrupt itself, and in no softirq",
            ),
            look_alike("TMR-HRSOFT", "the HRTIMER softirq: pacing of TCP, sound"),
        ],
        next: &[
            read(
                "See which functions they are: the stacks of a capture.",
                "kctx capture --window 10s -o t.kctx.tar.zst && kctx report t.kctx.tar.zst",
            ),
            owner(
                "Ask the owner of what sets them: shorter time-outs than needed, or too many sockets with one each.",
            ),
        ],
        do_not: &["Blame timers without the function that they call."],
    },
    explained_by: &["NET-TX"],
    judge,
};

fn judge(facts: &Facts<'_>) -> Outcome {
    let busy = Busy {
        page: &RULE.page,
        vector: "TIMER",
        what: "timers that are due",
        code: facts.stacks.called_by("TIMER", &["call_timer_fn"]),
        defect: true,
    };
    busy.outcome(facts)
}

#[cfg(test)]
mod tests {
    use crate::diagnose::{
        finding::Severity,
        fixture::{evidence, found, of, percent, ruled_out, softirq, stack, summary},
    };

    #[test]
    fn timers_that_take_much_are_found_by_what_they_call_and_many_runs_alone_are_not() {
        let mut summary = summary();
        summary.softirq = vec![softirq("TIMER", 2, "irq_tail", 2500, percent(45))];
        summary.stack = vec![stack(
            "softirq:TIMER",
            &["run_timer_softirq", "call_timer_fn", "tcp_keepalive_timer"],
            40,
        )];
        let diagnosis = of(&summary, &evidence(&[]));
        let first = &diagnosis.findings[0];
        assert_eq!(
            (first.id.as_str(), first.severity, &first.scope.cpus[..]),
            ("TMR-SOFT", Severity::Warn, &[2][..])
        );
        assert_eq!(first.scope.functions, ["tcp_keepalive_timer"]);
        assert!(
            diagnosis
                .first_line
                .starts_with("CPU 2 spends 45 % of its time in timers that are due"),
            "{}",
            diagnosis.first_line
        );
        summary.softirq = vec![softirq("TIMER", 2, "irq_tail", 250_000, percent(4))];
        let diagnosis = of(&summary, &evidence(&[]));
        assert!(
            found(&diagnosis, "TMR-SOFT").is_none() && ruled_out(&diagnosis, "TMR-SOFT").is_some()
        );
    }
}
