use super::{Outcome, Rule};
use crate::diagnose::{
    draft::Draft,
    facts::{Facts, works::Work},
    figures::{percent, time},
    finding::{Confidence, Finding, Severity},
    page::{Page, look_alike, owner, read, threshold},
};

/// Mean wait for a turn.
const WAIT_NS: u64 = 10_000_000;
/// Part of the wait that the queue's limit causes.
const OF_WAIT: f64 = 50.0;
/// Fewer are no queue.
const SOME: u64 = 10;
/// Works that wait at any time, on average.
const QUEUED: f64 = 0.5;

pub(super) static RULE: Rule = Rule {
    page: Page {
        id: "WQ-STALL",
        title: "Works wait for others of their queue",
        means: "A workqueue runs so many works at a time (max_active; ordered queues one). What comes beyond that waits until another of the same queue ends, \
                however idle CPUs are. Where that one sleeps, all sleep: for a device, a server or a lock. addrconf_dad_work, \
                linkwatch_event and cleanup_net want rtnl_lock, which each change of an interface, an address or a route holds.",
        signals: &[
            "time from queueing to activation, which is the queue's limit alone",
            "\"BUG: workqueue lockup\" and \"Showing busy workqueues\" in the kernel's log",
        ],
        thresholds: &[
            threshold(
                "mean time from queueing to start, of at least 10",
                "10 ms",
                "kctx",
            ),
            threshold("of that, before activation", "50 %", "kctx"),
            threshold(
                "works that wait at any time, on average",
                "half of one; one is a warning",
                "kctx: waits that hardly ever happen delay nobody",
            ),
            threshold(
                "a pool without progress",
                "30 s",
                "the kernel's workqueue watchdog",
            ),
        ],
        confused_with: &[
            look_alike("WQ-STARVE", "works are active, but no kworker gets a CPU"),
            look_alike("WQ-CG", "cleanup_net and its like: containers come and go"),
        ],
        next: &[
            read(
                "See what the work in flight waits for: its kworker's stack.",
                "for p in $(pgrep kworker); do s=$(cat /proc/$p/stack); [ -n \"$s\" ] && cat /proc/$p/comm && echo \"$s\"; done",
            ),
            read(
                "See the queue's limit.",
                "grep -H . /sys/devices/virtual/workqueue/*/max_active",
            ),
            owner("What the work waits for: a device, a lock, a server."),
        ],
        do_not: &[
            "Try to kill kworkers, or raise max_active of somebody's queue: its order may be meant.",
        ],
    },
    explained_by: &["WQ-CG", "RT-STARVE"],
    judge,
};

fn judge(facts: &Facts<'_>) -> Outcome {
    if let Some(line) = facts.logged(&["workqueue lockup"]) {
        let finding = Draft::new(&RULE.page, Severity::Crit, Confidence::High)
            .title("A pool of kworkers is stuck")
            .statement(format!(
                "The kernel reports a pool of kworkers without progress: \"{line}\"."
            ))
            .evidence("summary.log", line)
            .done();
        return Outcome::Found(vec![finding]);
    }
    let works = facts.works();
    let waits = works.iter().filter(|work| work.row.wait.count >= SOME);
    let Some(worst) = waits.max_by_key(|work| work.row.wait.mean_ns) else {
        return Outcome::Silent;
    };
    let limited = works.iter().filter(|work| {
        let wait = &work.row.wait;
        wait.count >= SOME
            && wait.mean_ns >= WAIT_NS
            && of_wait(work) >= OF_WAIT
            && waiting(facts, work) >= QUEUED
    });
    match limited.max_by_key(|work| work.row.wait.sum_ns) {
        Some(work) => Outcome::Found(vec![finding(facts, work)]),
        None => Outcome::RuledOut(format!(
            "{} waits longest, {} on average, {} of that for its queue (threshold {} and {OF_WAIT:.0} %)",
            worst.function,
            time(worst.row.wait.mean_ns as f64),
            percent(of_wait(worst)),
            time(WAIT_NS as f64)
        )),
    }
}

/// Part of the wait before activation, in per cent.
fn of_wait(work: &Work<'_>) -> f64 {
    work.row.activate.sum_ns as f64 * 100.0 / work.row.wait.sum_ns.max(1) as f64
}

/// Works that wait at any time, on average.
fn waiting(facts: &Facts<'_>, work: &Work<'_>) -> f64 {
    facts.percent(work.row.wait.sum_ns) / 100.0
}

fn finding(facts: &Facts<'_>, work: &Work<'_>) -> Finding {
    let row = work.row;
    let severity = match waiting(facts, work) >= 2.0 * QUEUED {
        true => Severity::Warn,
        false => Severity::Info,
    };
    Draft::new(&RULE.page, severity, Confidence::Medium)
        .title(format!("{} waits {} for its turn on {}", work.function, time(row.wait.mean_ns as f64), work.workqueue))
        .statement(format!(
            "{} waits {} on average (at most {}) before it runs, {} of it since the workqueue {} runs no more at a time; each takes up to {}, \
             {} of it on a CPU.",
            work.function,
            time(row.wait.mean_ns as f64),
            time(row.wait.max_ns as f64),
            percent(of_wait(work)),
            work.workqueue,
            time(row.service.max_ns as f64),
            percent(work.cpu_ns as f64 * 100.0 / work.service_ns.max(1) as f64)
        ))
        .function(work.function)
        .step("work", format!("{} of {}", work.function, work.workqueue))
        .step("wait", format!("{} on average, {} of it before activation", time(row.wait.mean_ns as f64), percent(of_wait(work))))
        .evidence(
            format!("summary.workqueue[function={}]", work.function),
            format!("wait {}, activate {} on average", time(row.wait.mean_ns as f64), time(row.activate.mean_ns as f64)),
        )
        .done()
}

#[cfg(test)]
mod tests {
    use crate::diagnose::fixture::{
        durations, evidence, found, of, percent, ruled_out, summary, work,
    };

    #[test]
    fn a_wait_for_the_queue_is_found_and_one_for_a_cpu_is_not() {
        let mut summary = summary();
        let mut row = work("dio/vda1", "iomap_dio_complete_work", 300, percent(1));
        row.wait = durations(300, percent(96), 64_000_000);
        row.activate = durations(300, percent(94), 64_000_000);
        summary.workqueue = vec![row];
        let diagnosis = of(&summary, &evidence(&[]));
        assert_eq!(
            found(&diagnosis, "WQ-STALL").unwrap().scope.functions,
            ["iomap_dio_complete_work"]
        );
        summary.workqueue[0].activate = durations(300, 1000, 0);
        let diagnosis = of(&summary, &evidence(&[]));
        assert!(
            found(&diagnosis, "WQ-STALL").is_none() && ruled_out(&diagnosis, "WQ-STALL").is_some()
        );
    }
}
