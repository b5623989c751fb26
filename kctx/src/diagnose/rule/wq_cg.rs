use super::{Outcome, Rule};
use crate::diagnose::{
    draft::Draft,
    facts::{Facts, origins, works::Work},
    figures::{list, percent, rate, time},
    finding::{Confidence, Finding, Severity},
    harm::BUSY,
    page::{Page, look_alike, owner, read, threshold},
};

/// Works that take down what containers leave.
const WORKS: [&str; 11] = [
    "cleanup_net",
    "css_killed_work_fn",
    "css_release_work_fn",
    "css_free_rwork_fn",
    "fqdir_work_fn",
    "fqdir_free_fn",
    "bpf_cgroup_release",
    "cgroup_bpf_release",
    "cgroup1_release_agent",
    "mem_cgroup_css_released",
    "net_free_work",
];
/// Mean wait for its turn.
const WAIT_NS: f64 = 10e6;

pub(super) static RULE: Rule = Rule {
    page: Page {
        id: "WQ-CG",
        title: "Namespaces and control groups come and go",
        means: "What a container leaves (network namespace, control groups) is taken down by works that run one at a time and mostly wait: for RCU, for rtnl, for \
                cgroup_mutex. When containers come and go faster than that, it queues up, and others wait for the same locks.",
        signals: &[
            "works such as cleanup_net and css_free_rwork_fn, their time and how long they wait for their turn",
            "RCU busy at the same time",
        ],
        thresholds: &[
            threshold(
                "wall time of such works",
                "10 % of the window",
                "kctx; measured: 135 namespaces/s have cleanup_net run all of it",
            ),
            threshold("mean wait for their turn, a warning", "10 ms", "kctx"),
        ],
        confused_with: &[
            look_alike("WQ-STALL", "another queue that runs one at a time"),
            look_alike("RCU-FLOOD", "callbacks of files and sockets"),
        ],
        next: &[
            read(
                "See what comes and goes: pods that crash, health checks that start a process.",
                "kubectl get pods -A --sort-by=.status.containerStatuses[0].restartCount 2>/dev/null | tail ; crictl ps -a 2>/dev/null | head -20",
            ),
            read(
                "Count namespaces twice.",
                "lsns -t net | wc -l ; ls /sys/fs/cgroup -R 2>/dev/null | grep -c :",
            ),
            owner("Have who starts them keep one for longer, or start fewer."),
        ],
        do_not: &["Raise max_active of such a queue: it runs one at a time for a reason."],
    },
    explained_by: &[],
    judge,
};

fn judge(facts: &Facts<'_>) -> Outcome {
    let works = facts.works();
    let churn: Vec<_> = works
        .iter()
        .filter(|work| WORKS.contains(&work.function))
        .collect();
    let Some(most) = churn.iter().max_by_key(|work| work.service_ns) else {
        return Outcome::Silent;
    };
    let share = facts.percent(most.service_ns);
    // A single container that ends is an event, and no churn.
    if share < BUSY || most.count < 5 {
        return Outcome::RuledOut(format!(
            "{} ran {} times for {} of the window (less than {BUSY:.0} % or 5 times)",
            most.function,
            most.count,
            percent(share)
        ));
    }
    Outcome::Found(vec![finding(facts, most, &churn)])
}

fn finding(facts: &Facts<'_>, most: &Work<'_>, churn: &[&Work<'_>]) -> Finding {
    let wait = &most.row.wait;
    let waits = wait.mean_ns as f64 >= WAIT_NS;
    let severity = if waits {
        Severity::Warn
    } else {
        Severity::Info
    };
    let queued = most.queued_by().map(origins::words).unwrap_or_default();
    let others: Vec<_> = churn
        .iter()
        .map(|work| format!("{} {}", work.function, rate(facts.rate(work.count))))
        .collect();
    let rcu = facts.vector("RCU").first().map_or(0.0, |taken| taken.rate);
    let draft = Draft::new(&RULE.page, severity, Confidence::High)
        .title(format!("{} has no end: namespaces or control groups come and go", most.function))
        .statement(format!(
            "{} of the workqueue {} runs for {} of the window ({} executions, {} at most, {} of a CPU), and waits {} for its turn on \
             average, at most {}: namespaces or control groups come and go faster than they are taken down.",
            most.function,
            most.workqueue,
            percent(facts.percent(most.service_ns)),
            rate(facts.rate(most.count)),
            time(most.row.service.max_ns as f64),
            percent(facts.percent(most.cpu_ns)),
            time(wait.mean_ns as f64),
            time(wait.max_ns as f64)
        ))
        .step("work", list(&others))
        .step("queued by", &queued)
        .step("RCU", format!("{} runs of its softirq on the busiest CPU", rate(rcu)))
        .evidence(
            format!("summary.workqueue[function={}]", most.function),
            format!("{} of the window, wait {} on average", percent(facts.percent(most.service_ns)), time(wait.mean_ns as f64)),
        );
    let draft = churn
        .iter()
        .fold(draft.function(most.function), |draft, work| {
            draft.function(work.function)
        });
    draft.done()
}

#[cfg(test)]
mod tests {
    use crate::diagnose::{
        finding::Severity,
        fixture::{durations, evidence, found, of, percent, ruled_out, summary, work},
    };

    #[test]
    fn namespaces_that_queue_up_are_found_and_one_that_ends_is_not() {
        let mut summary = summary();
        let mut row = work("netns", "cleanup_net", 400, percent(5));
        row.service = durations(400, percent(97), 64_000_000);
        row.wait = durations(400, percent(128), 64_000_000);
        row.activate = row.wait;
        summary.workqueue = vec![row];
        let diagnosis = of(&summary, &evidence(&[]));
        let first = &diagnosis.findings[0];
        assert_eq!(
            (first.id.as_str(), first.severity, diagnosis.findings.len()),
            ("WQ-CG", Severity::Warn, 1)
        );
        assert!(
            diagnosis
                .first_line
                .contains("and waits 32.0 ms for its turn on average, at most 64.0 ms"),
            "{}",
            diagnosis.first_line
        );
        summary.workqueue[0].count = 2;
        let diagnosis = of(&summary, &evidence(&[]));
        assert!(found(&diagnosis, "WQ-CG").is_none() && ruled_out(&diagnosis, "WQ-CG").is_some());
    }
}
