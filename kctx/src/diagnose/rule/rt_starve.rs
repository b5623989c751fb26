use super::{Outcome, Rule};
use crate::diagnose::{
    draft::Draft,
    facts::{Facts, tasks::Task},
    figures::{list, number, percent, time},
    finding::{Confidence, Finding, Severity},
    harm::DROPS,
    page::{Page, look_alike, owner, read, threshold},
};
use crate::report::summary::KthreadSummary;

/// A single wait for the CPU.
const LONG_NS: u64 = 10_000_000;
/// One that is told without a real-time task seen: on a CPU that many tasks share fairly it may be no more than that.
const UNFAIR_NS: u64 = 100_000_000;
/// Part of the window that a thread waited: a CPU that is shared fairly has it wait for so long only with many others.
const MOSTLY: f64 = 50.0;
/// Threads that other work hangs on.
const ROLES: [&str; 3] = ["ksoftirqd", "ktimers", "rcu"];

pub(super) static RULE: Rule = Rule {
    page: Page {
        id: "RT-STARVE",
        title: "Real-time tasks keep kernel threads from running",
        means: "ksoftirqd, ktimers and RCU's threads are ready to run, but a task of a real-time policy has their CPU. ksoftirqd is of \
                nice 0 and loses to all of them. Until Linux 6.4 or so no softirq but TASKLET and HI runs at an interrupt's end while \
                ksoftirqd waits, so that its wait is the softirqs'; later kernels go on at interrupts' ends.",
        signals: &[
            "waits of ksoftirqd, ktimers and rcu threads for their CPU",
            "a task of SCHED_FIFO, SCHED_RR or SCHED_DEADLINE on it",
            "\"sched: RT throttling activated\" in the kernel's log",
        ],
        thresholds: &[
            threshold(
                "a wait, with a real-time task there that ran for as long",
                "10 ms",
                "kctx",
            ),
            threshold(
                "a wait, without",
                "100 ms; a warning where it waited for half of the window, or the kernel throttled",
                "kctx",
            ),
        ],
        confused_with: &[
            look_alike("VM-STEAL", "the hypervisor has the CPU"),
            look_alike("WQ-STARVE", "kworkers wait, for weights of control groups"),
        ],
        next: &[
            read(
                "Find real-time tasks and their priorities.",
                "ps -eLo pid,tid,cls,rtprio,psr,comm --sort=-rtprio | awk '$3 ~ /FF|RR|DLN/'",
            ),
            read(
                "See how much of each second real-time tasks may use.",
                "sysctl kernel.sched_rt_runtime_us kernel.sched_rt_period_us",
            ),
            owner(
                "Ask the owner of the real-time task why it does not sleep, or have it run on CPUs that are set apart.",
            ),
        ],
        do_not: &[
            "Make ksoftirqd a real-time thread as a rule: softirqs then keep out what has to be on time.",
        ],
    },
    explained_by: &["VM-STEAL"],
    judge,
};

fn judge(facts: &Facts<'_>) -> Outcome {
    let threads = facts.summary.kthread.iter();
    let threads = threads.filter(|row| ROLES.contains(&row.role.as_str()) && !row.overflow);
    let Some(longest) = threads.clone().max_by_key(|row| row.wait.max_ns) else {
        return Outcome::Silent;
    };
    let throttled = facts.logged(&["RT throttling activated"]);
    let kept = threads
        .filter(|row| row.wait.max_ns >= LONG_NS)
        .map(|row| (row, holders(facts, row)))
        .filter(|(row, tasks)| {
            throttled.is_some() || !tasks.is_empty() || row.wait.max_ns >= UNFAIR_NS
        });
    // Where it is known who keeps a thread waiting, that is the finding, and not a wait that is a little longer.
    let worst = kept.max_by_key(|(row, tasks)| (!tasks.is_empty(), row.wait.max_ns));
    match worst {
        Some((thread, tasks)) => {
            let finding = finding(facts, thread, &tasks, throttled);
            match is_likely(facts, thread, &tasks, throttled) {
                true => Outcome::Found(vec![finding]),
                // On a CPU that is merely busy it may be so too: that explains nothing.
                false => Outcome::FoundBeside(vec![finding]),
            }
        }
        None => Outcome::RuledOut(format!(
            "{} waited at most {} for its CPU (threshold {} with a real-time task there that ran for as long, else {})",
            longest.comm,
            time(longest.wait.max_ns as f64),
            time(LONG_NS as f64),
            time(UNFAIR_NS as f64)
        )),
    }
}

/// Whether it is more than a CPU that many share. Who holds it may be gone, or is not among the tasks of the evidence.
fn is_likely(
    facts: &Facts<'_>,
    thread: &KthreadSummary,
    tasks: &[&Task],
    throttled: Option<&str>,
) -> bool {
    !tasks.is_empty() || throttled.is_some() || facts.percent(thread.wait.sum_ns) >= MOSTLY
}

/// Real-time tasks of a thread's CPU that ran for as long as it waited: one that sleeps keeps nobody waiting.
fn holders<'a>(facts: &'a Facts<'_>, thread: &KthreadSummary) -> Vec<&'a Task> {
    let tasks = cpu_of(&thread.comm).map_or(Vec::new(), |cpu| facts.real_time_tasks(cpu));
    let mut tasks: Vec<_> = tasks
        .into_iter()
        .filter(|task| task.ran_for(thread.wait.max_ns))
        .collect();
    tasks.sort_by_key(|task| std::cmp::Reverse(task.ticks));
    tasks
}

/// `ksoftirqd/3` is bound to CPU 3.
fn cpu_of(comm: &str) -> Option<u32> {
    comm.rsplit_once('/')?.1.parse().ok()
}

fn finding(
    facts: &Facts<'_>,
    thread: &KthreadSummary,
    tasks: &[&Task],
    throttled: Option<&str>,
) -> Finding {
    let cpu = cpu_of(&thread.comm);
    let waited = facts.percent(thread.wait.sum_ns);
    let dropped = cpu
        .and_then(|cpu| facts.softnet.as_ref()?.get(&cpu))
        .map_or(0.0, |rate| rate.dropped);
    let who = match tasks {
        [] => "what was not seen, a real-time task or many others,".to_owned(),
        seen => {
            let named: Vec<_> = (seen.iter().take(3))
                .map(|task| match task.priority {
                    0 => task.words(),
                    priority => format!(
                        "{} (pid {}, real-time priority {priority})",
                        task.comm, task.pid
                    ),
                })
                .collect();
            list(&named)
        }
    };
    let confidence = match (tasks.is_empty(), throttled) {
        (false, _) => Confidence::High,
        (true, Some(_)) => Confidence::Medium,
        (true, None) => Confidence::Low,
    };
    let drops = if dropped >= DROPS {
        format!("; {} packets/s are dropped", number(dropped))
    } else {
        String::new()
    };
    let log = if throttled.is_some() {
        "; the kernel had to throttle real-time tasks"
    } else {
        ""
    };
    let likely = is_likely(facts, thread, tasks, throttled);
    let harmful = dropped >= DROPS || waited >= 10.0;
    let severity = match (tasks.is_empty(), likely) {
        (false, _) if harmful => Severity::Crit,
        (_, true) => Severity::Warn,
        (_, false) => Severity::Info,
    };
    let place = cpu.map_or("its CPU".to_owned(), |cpu| format!("CPU {cpu}"));
    let mut draft = Draft::new(&RULE.page, severity, confidence)
        .title(format!("{} is kept from running on {place}", thread.comm))
        .statement(format!(
            "{} was ready but kept from running for {} of {:.1} s, at most {} at a time: {who} held {place}{drops}{log}.",
            thread.comm,
            time(thread.wait.sum_ns as f64),
            facts.seconds,
            time(thread.wait.max_ns as f64)
        ))
        .step("thread", format!("{} (pid {}) waited {} of the window", thread.comm, thread.pid, percent(waited)))
        .step("held by", who)
        .evidence(
            format!("summary.kthread[comm={}]", thread.comm),
            format!("wait: {} in all, {} at most", time(thread.wait.sum_ns as f64), time(thread.wait.max_ns as f64)),
        )
        .missing_if(tasks.is_empty(), "a real-time task that ran for as long: others of its CPU may have kept it waiting");
    if let Some(cpu) = cpu {
        draft = draft.cpu(cpu);
        if likely {
            draft = draft.share(cpu, &format!("{} waiting", thread.comm), waited);
        }
    }
    for task in tasks.iter().take(3) {
        draft = draft.process(&task.comm, task.pid);
    }
    if let Some(line) = throttled {
        draft = draft.evidence("summary.log", line);
    }
    draft.done()
}

#[cfg(test)]
mod tests {
    use crate::diagnose::{
        finding::{Confidence, Severity},
        fixture::{durations, evidence, found, kthread, of, percent, ruled_out, summary},
    };

    #[test]
    fn a_thread_that_waits_for_a_real_time_task_is_found_and_a_busy_queue_is_not() {
        let mut summary = summary();
        let mut thread = kthread("ksoftirqd", "ksoftirqd/0", percent(3));
        thread.wait = durations(300, percent(38), 836_000_000);
        summary.kthread = vec![thread];
        let files = evidence(&[(
            "after/tasks.tsv",
            "pid\tcomm\tpolicy\trt_priority\tcpu\tgrown_ticks\n811\tstorms\tfifo\t50\t0\t95\n15\tmigration/0\tfifo\t99\t0\t900\n",
        )]);
        let diagnosis = of(&summary, &files);
        let first = &diagnosis.findings[0];
        assert_eq!(
            (first.id.as_str(), first.severity, first.confidence),
            ("RT-STARVE", Severity::Crit, Confidence::High)
        );
        assert_eq!(
            (&first.scope.cpus[..], &first.scope.comms[..]),
            (&[0][..], &["storms".to_owned()][..])
        );
        assert!(
            diagnosis
                .first_line
                .contains("storms (pid 811, real-time priority 50) held CPU 0"),
            "{}",
            diagnosis.first_line
        );
        // One that sleeps held nothing: then the wait is told, and nobody blamed for it.
        let asleep = evidence(&[(
            "after/tasks.tsv",
            "pid\tcomm\tpolicy\trt_priority\tcpu\tgrown_ticks\n811\tstorms\tfifo\t50\t0\t0\n",
        )]);
        let diagnosis = of(&summary, &asleep);
        let unknown = found(&diagnosis, "RT-STARVE").unwrap();
        assert_eq!(
            (
                unknown.severity,
                unknown.confidence,
                unknown.scope.comms.len()
            ),
            (Severity::Info, Confidence::Low, 0)
        );
        assert!(
            !unknown.statement.contains("storms"),
            "{}",
            unknown.statement
        );
        assert!(
            diagnosis.first_line.starts_with("Nothing is hot: "),
            "{}",
            diagnosis.first_line
        );
        // A real-time thread of a process is not seen in its process; that ksoftirqd hardly ever ran is.
        summary.kthread[0].wait = durations(300, percent(78), 942_000_000);
        let unseen = of(&summary, &asleep);
        summary.kthread[0].wait = durations(300, percent(38), 836_000_000);
        assert_eq!(
            found(&unseen, "RT-STARVE").unwrap().severity,
            Severity::Warn
        );
        // Who is known to be kept goes before who waits a little longer for an unknown reason.
        let mut other = kthread("ksoftirqd", "ksoftirqd/1", percent(3));
        other.wait = durations(300, percent(40), 900_000_000);
        summary.kthread.push(other);
        let diagnosis = of(&summary, &files);
        assert_eq!(found(&diagnosis, "RT-STARVE").unwrap().scope.cpus, [0]);
        summary.kthread.pop();
        // Waits of a run queue that is shared fairly, beside a real-time task that hardly runs.
        let short = evidence(&[(
            "after/tasks.tsv",
            "pid\tcomm\tpolicy\trt_priority\tcpu\tgrown_ticks\n811\tpipewire\tfifo\t50\t0\t2\n",
        )]);
        summary.kthread[0].wait = durations(300, percent(10), 24_000_000);
        let diagnosis = of(&summary, &short);
        assert!(
            found(&diagnosis, "RT-STARVE").is_none()
                && ruled_out(&diagnosis, "RT-STARVE").is_some()
        );
    }
}
