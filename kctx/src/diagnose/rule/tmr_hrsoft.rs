use super::{Outcome, Rule, vectors::Busy};
use crate::diagnose::{
    facts::Facts,
    page::{Page, look_alike, owner, read, threshold},
};

pub(super) static RULE: Rule = Rule {
    page: Page {
        id: "TMR-HRSOFT",
        title: "High-resolution timers take a CPU in softirqs",
        means: "The HRTIMER softirq calls those high-resolution timers that may not run in an interrupt: TCP's own pacing (`tcp_pace_kick`, \
                with BBR), queueing disciplines, sound. Pacing sets one for every few packets of each flow.",
        signals: &[
            "HRTIMER's share of a CPU",
            "what `__hrtimer_run_queues` calls in the stacks sampled there",
        ],
        thresholds: &[threshold(
            "of a CPU in HRTIMER",
            "10 %",
            "kctx; measured: 17,700 runs/s with BBR over veth",
        )],
        confused_with: &[
            look_alike("TMR-HARD", "timers that run in the interrupt"),
            look_alike("TMR-SOFT", "the timer wheel's"),
        ],
        next: &[
            read(
                "See whether TCP paces by itself.",
                "sysctl net.ipv4.tcp_congestion_control net.core.default_qdisc",
            ),
            owner(
                "With fq as the device's queueing discipline pacing needs no timer of each socket.",
            ),
        ],
        do_not: &["Disable high-resolution timers: everything else that sleeps gets coarser."],
    },
    explained_by: &["NET-TX"],
    judge,
};

fn judge(facts: &Facts<'_>) -> Outcome {
    let busy = Busy {
        page: &RULE.page,
        vector: "HRTIMER",
        what: "high-resolution timers",
        code: facts
            .stacks
            .called_by("HRTIMER", &["__hrtimer_run_queues", "__run_hrtimer"]),
        defect: true,
    };
    busy.outcome(facts)
}

#[cfg(test)]
mod tests {
    use crate::diagnose::fixture::{evidence, found, of, percent, softirq, stack, summary};

    #[test]
    fn pacing_is_found_by_its_function_and_the_timer_wheel_is_not_it() {
        let mut summary = summary();
        summary.softirq = vec![softirq("HRTIMER", 1, "irq_tail", 177_000, percent(20))];
        summary.stack = vec![stack(
            "softirq:HRTIMER",
            &[
                "hrtimer_run_softirq",
                "__hrtimer_run_queues",
                "tcp_pace_kick",
            ],
            12,
        )];
        let diagnosis = of(&summary, &evidence(&[]));
        let finding = found(&diagnosis, "TMR-HRSOFT").unwrap();
        assert_eq!(finding.scope.functions, ["tcp_pace_kick"]);
        summary.softirq = vec![softirq("TIMER", 1, "irq_tail", 177_000, percent(20))];
        let diagnosis = of(&summary, &evidence(&[]));
        assert!(
            found(&diagnosis, "TMR-HRSOFT").is_none() && found(&diagnosis, "TMR-SOFT").is_some()
        );
    }
}
