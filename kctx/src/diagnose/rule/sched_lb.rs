use super::{Outcome, Rule, vectors::Busy};
use crate::diagnose::{
    facts::Facts,
    page::{Page, look_alike, owner, read, threshold},
};

pub(super) static RULE: Rule = Rule {
    page: Page {
        id: "SCHED-LB",
        title: "Balancing load between CPUs takes a CPU",
        means: "The SCHED softirq looks for tasks to move. It costs with the number of CPUs in a domain and of runnable tasks, and is run for \
                idle CPUs too. Up to HZ runs a second on each CPU are ordinary; their time is not.",
        signals: &[
            "SCHED's share of a CPU",
            "its longest run",
            "the number of runnable tasks (/proc/loadavg)",
        ],
        thresholds: &[threshold(
            "of a CPU in SCHED",
            "10 %",
            "kctx; at rest it is far below 1 %",
        )],
        confused_with: &[
            look_alike("IRQ-IPI", "wake-ups of tasks on other CPUs"),
            look_alike(
                "ISO",
                "CPUs that were set apart and are balanced all the same",
            ),
        ],
        next: &[
            read(
                "See how many tasks are runnable.",
                "cat /proc/loadavg ; vmstat 1 5",
            ),
            owner("Smaller scheduling domains: cpusets or isolated CPUs for what need not move."),
        ],
        do_not: &["Turn the scheduler's debug knobs on nodes of a cluster."],
    },
    explained_by: &[],
    judge,
};

fn judge(facts: &Facts<'_>) -> Outcome {
    let busy = Busy {
        page: &RULE.page,
        vector: "SCHED",
        what: "balancing load between CPUs",
        code: facts
            .stacks
            .in_softirq("SCHED", |function| function.contains("balance"))
            .filter(|through| through.samples > 0),
        defect: true,
    };
    busy.outcome(facts)
}

#[cfg(test)]
mod tests {
    use crate::diagnose::fixture::{evidence, found, of, percent, ruled_out, softirq, summary};

    #[test]
    fn its_time_is_found_and_ordinary_runs_are_not() {
        let mut summary = summary();
        summary.softirq = vec![softirq("SCHED", 3, "irq_tail", 2500, percent(35))];
        let diagnosis = of(&summary, &evidence(&[]));
        assert_eq!(
            (
                diagnosis.findings[0].id.as_str(),
                &diagnosis.findings[0].scope.cpus[..]
            ),
            ("SCHED-LB", &[3][..])
        );
        summary.softirq = vec![softirq("SCHED", 3, "irq_tail", 2500, percent(1))];
        let diagnosis = of(&summary, &evidence(&[]));
        assert!(
            found(&diagnosis, "SCHED-LB").is_none() && ruled_out(&diagnosis, "SCHED-LB").is_some()
        );
    }
}
