use super::{Outcome, Rule};
use crate::{
    capture::evidence::Phase,
    diagnose::{
        draft::Draft,
        facts::Facts,
        figures::{percent, time},
        finding::{Confidence, Severity},
        page::{Page, look_alike, owner, read, reversible, threshold},
    },
    report::summary::KthreadSummary,
};

const PRESSURE: &str = "proc/pressure/memory";
const LOAD: &str = "proc/loadavg";
/// Time of rescuers in the window: they are woken for nothing now and then.
const TIME_NS: u64 = 10_000_000;
/// Part of the window in which all tasks waited for memory.
const STALLED: f64 = 1.0;
/// Per cent of a limit that counts as reached: threads come and go.
const REACHED: u64 = 95;

pub(super) static RULE: Rule = Rule {
    page: Page {
        id: "WQ-RESCUE",
        title: "Rescuers work, since no kworker can be made",
        means: "A workqueue that memory is freed by has a thread in reserve (`kworker/R-name`; before 6.12 named as the queue). It works only when no new kworker could be made: \
                memory is short, or there are as many threads as there may be.",
        signals: &[
            "time of kworker/R-* threads, before 6.12 of those that are named as the queue whose works they execute",
            "pressure of memory (/proc/pressure/memory)",
            "how many threads there are (/proc/loadavg) and may be (kernel.threads-max, kernel.pid_max)",
        ],
        thresholds: &[
            threshold("time of rescuers", "10 ms in the window", "kctx"),
            threshold(
                "all tasks stalled for memory, to be a warning",
                "1 % of the window",
                "kctx",
            ),
            threshold(
                "threads, from which on they are the reason (critical)",
                "95 % of kernel.threads-max or kernel.pid_max",
                "kctx; a new one fails at the limit (copy_process, kernel/fork.c)",
            ),
        ],
        confused_with: &[look_alike(
            "WQ-STARVE",
            "kworkers are there, and get no CPU",
        )],
        next: &[
            read(
                "See how short memory is.",
                "cat /proc/pressure/memory ; free -m ; vmstat 1 5",
            ),
            read(
                "See how many threads there are, and may be: with what the shell does itself, where no program can be started.",
                "for f in /proc/loadavg /proc/sys/kernel/threads-max /proc/sys/kernel/pid_max; do read -r x <$f; echo \"$f $x\"; done",
            ),
            read(
                "See which processes have a hundred threads or more, likewise.",
                "for f in /proc/[0-9]*/status; do while read -r k v; do [ \"$k\" = Threads: ] && [ \"$v\" -ge 100 ] && echo \"$f $v\"; done <$f; done",
            ),
            reversible(
                "Raise the limit for the time being, by the shell's own echo, to be able to start programs at all.",
                "",
            ),
            owner("More memory, or less use of it; the process that has so many threads."),
        ],
        do_not: &["Look for the cause in the workqueue."],
    },
    explained_by: &[],
    judge,
};

fn judge(facts: &Facts<'_>) -> Outcome {
    let rescuers = (facts.summary.kthread.iter()).filter(|row| is_rescuer(row));
    let Some(most) = rescuers.clone().max_by_key(|row| row.cpu_ns) else {
        return Outcome::Silent;
    };
    let time_ns: u64 = rescuers.map(|row| row.cpu_ns).sum();
    let stalled = stalled(facts);
    if time_ns < TIME_NS {
        return Outcome::RuledOut(format!(
            "rescuers ran for {} (less than {})",
            time(time_ns as f64),
            time(TIME_NS as f64)
        ));
    }
    let short = stalled.is_some_and(|stalled| stalled >= STALLED);
    let limit = reached(facts);
    let (severity, confidence) = match (&limit, short) {
        // Nobody else can start anything either.
        (Some(_), _) => (Severity::Crit, Confidence::High),
        (None, true) => (Severity::Warn, Confidence::High),
        (None, false) => (Severity::Info, Confidence::Medium),
    };
    let memory = stalled.map_or(String::new(), |stalled| {
        format!(
            "; all tasks waited for memory for {} of the window",
            percent(stalled)
        )
    });
    let threads = limit.as_ref().map_or(String::new(), |limit| {
        format!(
            "; there are {} threads, and {} is {}",
            limit.threads, limit.name, limit.most
        )
    });
    let mut draft = Draft::new(&RULE.page, severity, confidence)
        .title(format!("The rescuer {} works", most.comm))
        .statement(format!(
            "Rescuers of workqueues, {} most, ran for {}{memory}{threads}: kworkers could not be made.",
            most.comm,
            time(time_ns as f64)
        ))
        .process(&most.comm, most.pid)
        .step("thread", &most.comm)
        .evidence(
            format!("summary.kthread[comm={}]", most.comm),
            time(time_ns as f64),
        )
        .missing_if(stalled.is_none(), PRESSURE);
    if let Some(stalled) = stalled {
        draft = draft.evidence(
            facts.reference(PRESSURE),
            format!("full: {} of the window", percent(stalled)),
        );
    }
    if let Some(limit) = limit {
        draft = draft.evidence(facts.reference(LOAD), format!("{} threads", limit.threads));
    }
    Outcome::Found(vec![draft.done()])
}

/// Part of the window in which all tasks were stalled, by the growth of `full total=`, microseconds.
fn stalled(facts: &Facts<'_>) -> Option<f64> {
    let total = |phase| {
        let text = facts.evidence.text(phase, PRESSURE)?;
        let line = text.lines().find(|line| line.starts_with("full"))?;
        line.rsplit_once("total=")?.1.trim().parse::<u64>().ok()
    };
    let grown = total(Phase::After)?.saturating_sub(total(Phase::Before)?);
    Some(facts.grown_percent(grown.saturating_mul(1000)))
}

/// Bytes of a thread's name (TASK_COMM_LEN less its end).
const COMM: usize = 15;

/// Whether a thread is one that a workqueue has in reserve: by its name, or since it is called as the queue is whose works it
/// executed (`init_rescuer`, kernel/workqueue.c).
fn is_rescuer(row: &KthreadSummary) -> bool {
    let queue = row.workqueue.as_bytes();
    let named_as_queue =
        !queue.is_empty() && row.comm.as_bytes() == &queue[..queue.len().min(COMM)];
    row.comm.starts_with("kworker/R-") || named_as_queue
}

/// A limit of threads.
struct Limit {
    threads: u64,
    name: &'static str,
    most: u64,
}

/// The limit that is reached, as threads come and go.
fn reached(facts: &Facts<'_>) -> Option<Limit> {
    let threads = [Phase::Before, Phase::After].map(|phase| {
        // `0.32 0.85 1.07 2/87 1234`: of all threads, 2 are runnable.
        let text = facts.evidence.text(phase, LOAD)?;
        let (_, all) = text.split_whitespace().nth(3)?.split_once('/')?;
        all.parse::<u64>().ok()
    });
    let threads = threads.into_iter().flatten().max()?;
    ["kernel.threads-max", "kernel.pid_max"]
        .into_iter()
        .find_map(|name| {
            let most = facts.sysctls.number(name)?;
            let reached = threads.saturating_mul(100) >= most.saturating_mul(REACHED);
            (most > 0 && reached).then_some(Limit {
                threads,
                name,
                most,
            })
        })
}

#[cfg(test)]
mod tests {
    use crate::diagnose::{
        finding::Severity,
        fixture::{evidence, found, kthread, of, ruled_out, summary},
    };

    #[test]
    fn rescuers_that_work_under_pressure_are_found_and_idle_ones_are_not() {
        let mut summary = summary();
        summary.kthread = vec![kthread("kworker", "kworker/R-xfs-c", 400_000_000)];
        let full = |total: u64| {
            format!("some avg10=0 total=5\nfull avg10=0.00 avg60=0.00 avg300=0.00 total={total}\n")
        };
        let files = evidence(&[
            ("before/proc/pressure/memory", &full(10)),
            ("after/proc/pressure/memory", &full(3_000_010)),
        ]);
        let diagnosis = of(&summary, &files);
        let finding = found(&diagnosis, "WQ-RESCUE").unwrap();
        assert_eq!(finding.severity, Severity::Warn);
        assert!(
            finding
                .statement
                .contains("waited for memory for 30 % of the window"),
            "{}",
            finding.statement
        );
        let threads = |threads: u64| {
            let load = format!("0.32 0.85 1.07 2/{threads} 1234\n");
            let files = evidence(&[
                ("before/sysctl.txt", "kernel.threads-max = 1000\n"),
                ("after/proc/loadavg", &load),
            ]);
            let diagnosis = of(&summary, &files);
            let finding = found(&diagnosis, "WQ-RESCUE").unwrap();
            (finding.severity, finding.statement.clone())
        };
        let (severity, statement) = threads(990);
        assert_eq!(severity, Severity::Crit);
        assert!(
            statement.contains("there are 990 threads, and kernel.threads-max is 1000"),
            "{statement}"
        );
        assert_eq!(threads(200).0, Severity::Info);
        // Before 6.12.
        let mut named = kthread("other", "ext4-rsv-conver", 400_000_000);
        named.workqueue = "ext4-rsv-conversion".to_owned();
        summary.kthread = vec![named];
        assert!(found(&of(&summary, &files), "WQ-RESCUE").is_some());
        summary.kthread[0].workqueue.clear();
        assert!(found(&of(&summary, &files), "WQ-RESCUE").is_none());
        summary.kthread = vec![kthread("kworker", "kworker/R-xfs-c", 4_000)];
        let diagnosis = of(&summary, &files);
        assert!(
            found(&diagnosis, "WQ-RESCUE").is_none()
                && ruled_out(&diagnosis, "WQ-RESCUE").is_some()
        );
    }
}
