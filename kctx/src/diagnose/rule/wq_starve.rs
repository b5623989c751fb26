use super::{Outcome, Rule};
use crate::diagnose::{
    draft::Draft,
    facts::Facts,
    figures::{cpus, percent, time},
    finding::{Confidence, Severity},
    page::{Page, look_alike, owner, read, threshold},
};

/// Mean wait of a work, and the 99th percentile of a kworker's for its CPU.
const WAIT_NS: u64 = 10_000_000;
/// Mean wait that is harm by itself: on CPUs that many tasks share fairly a kworker may wait for tens of milliseconds.
const HARM_NS: u64 = 100_000_000;
/// Part of the wait that is the queue's limit, at most.
const OF_LIMIT: f64 = 20.0;

pub(super) static RULE: Rule = Rule {
    page: Page {
        id: "WQ-STARVE",
        title: "kworkers do not get a CPU",
        means: "Works are ready, and so are their kworkers, but other tasks have the CPUs: real-time tasks, control groups of a high weight (kernel threads are in the root \
                group and compete with them), or an unbound queue that may use few CPUs only.",
        signals: &[
            "time from queueing to start, little of it before activation",
            "kworkers' waits for a CPU",
            "the CPUs that unbound workqueues may use",
        ],
        thresholds: &[
            threshold(
                "mean time from queueing to start, of at least 10",
                "10 ms; a warning from 100 ms on, or where unbound works may use a quarter of the CPUs or less",
                "kctx",
            ),
            threshold(
                "99th percentile of kworkers' waits for a CPU",
                "10 ms",
                "kctx",
            ),
        ],
        confused_with: &[
            look_alike("WQ-STALL", "the queue's own limit keeps them back"),
            look_alike("RT-STARVE", "ksoftirqd waits too: a real-time task"),
        ],
        next: &[
            read(
                "See weights of control groups.",
                "grep -H . /sys/fs/cgroup/*/cpu.weight",
            ),
            read(
                "See which CPUs unbound workqueues may use.",
                "cat /sys/devices/virtual/workqueue/cpumask",
            ),
            owner("Lower weights for the workload's groups, or more CPUs for unbound workqueues."),
        ],
        do_not: &["Make kworkers real-time threads."],
    },
    explained_by: &["RT-STARVE", "VM-STEAL"],
    judge,
};

fn judge(facts: &Facts<'_>) -> Outcome {
    let works = facts.works();
    let late = works.iter().filter(|work| {
        let (wait, activate) = (&work.row.wait, &work.row.activate);
        let of_limit = activate.sum_ns as f64 * 100.0 / wait.sum_ns.max(1) as f64;
        wait.count >= 10 && wait.mean_ns >= WAIT_NS && of_limit <= OF_LIMIT
    });
    let threads = facts
        .summary
        .kthread
        .iter()
        .filter(|row| row.role == "kworker" && !row.overflow);
    let Some(thread) = threads.max_by_key(|row| row.wait.p99_ns) else {
        return Outcome::Silent;
    };
    let (Some(work), true) = (
        late.max_by_key(|work| work.row.wait.sum_ns),
        thread.wait.p99_ns >= WAIT_NS,
    ) else {
        return Outcome::RuledOut(format!(
            "{}, of kworkers the one that waits longest for a CPU, waits {} or less in 99 % (threshold {})",
            thread.comm,
            time(thread.wait.p99_ns as f64),
            time(WAIT_NS as f64)
        ));
    };
    let mask = facts.cpu_mask("sys/devices/virtual/workqueue/cpumask");
    let narrow = mask.filter(|mask| mask.len() * 4 <= facts.summary.host.cpus_online as usize);
    let why = narrow.as_ref().map_or(String::new(), |mask| {
        format!("; unbound workqueues may use {} only", cpus(mask))
    });
    let confidence = if narrow.is_some() {
        Confidence::High
    } else {
        Confidence::Medium
    };
    let severity = if narrow.is_some() || work.row.wait.mean_ns >= HARM_NS {
        Severity::Warn
    } else {
        Severity::Info
    };
    let finding = Draft::new(&RULE.page, severity, confidence)
        .title(format!("kworkers wait for a CPU, {} the longest", thread.comm))
        .statement(format!(
            "{} waits {} on average before it runs, since kworkers wait for a CPU: {} for {} or more in 1 % of its waits{why}.",
            work.function,
            time(work.row.wait.mean_ns as f64),
            thread.comm,
            time(thread.wait.p99_ns as f64)
        ))
        .function(work.function)
        .process(&thread.comm, thread.pid)
        .step("work", format!("{} of {}", work.function, work.workqueue))
        .step("thread", format!("{} waited {} of the window for a CPU", thread.comm, percent(facts.percent(thread.wait.sum_ns))))
        .step("configuration", why.trim_start_matches("; "))
        .evidence(format!("summary.kthread[comm={}].wait", thread.comm), format!("p99 {}", time(thread.wait.p99_ns as f64)))
        .missing_if(narrow.is_none(), "weights of control groups: kctx does not read them")
        .done();
    Outcome::Found(vec![finding])
}

#[cfg(test)]
mod tests {
    use super::HARM_NS;
    use crate::diagnose::{
        finding::{Confidence, Severity},
        fixture::{durations, evidence, found, kthread, of, percent, ruled_out, summary, work},
    };

    #[test]
    fn kworkers_that_wait_for_a_cpu_are_found_and_a_limited_queue_is_not() {
        let mut summary = summary();
        let mut row = work("events", "vmstat_update", 100, 1000);
        row.wait = durations(100, percent(30), 90_000_000);
        row.activate = durations(100, 1000, 0);
        let mut thread = kthread("kworker", "kworker/0:1", 1000);
        thread.wait = durations(100, percent(29), 90_000_000);
        summary.workqueue = vec![row];
        summary.kthread = vec![thread];
        let files = evidence(&[("before/sys/devices/virtual/workqueue/cpumask", "1\n")]);
        let diagnosis = of(&summary, &files);
        let finding = found(&diagnosis, "WQ-STARVE").unwrap();
        assert_eq!(finding.confidence, Confidence::High);
        assert!(
            finding
                .statement
                .ends_with("unbound workqueues may use CPU 0 only."),
            "{}",
            finding.statement
        );
        // Where many share the CPUs that is no harm yet.
        let nothing = evidence(&[]);
        let shared = of(&summary, &nothing);
        let severity = found(&shared, "WQ-STARVE").unwrap().severity;
        assert_eq!(severity, Severity::Info);
        let late = durations(100, percent(30), 400_000_000);
        let mean_ns = std::mem::replace(&mut summary.workqueue[0].wait, late);
        summary.workqueue[0].wait.mean_ns = HARM_NS;
        let severity = found(&of(&summary, &nothing), "WQ-STARVE")
            .unwrap()
            .severity;
        assert_eq!(severity, Severity::Warn);
        summary.workqueue[0].wait = mean_ns;
        summary.workqueue[0].activate = summary.workqueue[0].wait;
        let diagnosis = of(&summary, &files);
        assert!(
            found(&diagnosis, "WQ-STARVE").is_none()
                && ruled_out(&diagnosis, "WQ-STARVE").is_some()
        );
    }
}
