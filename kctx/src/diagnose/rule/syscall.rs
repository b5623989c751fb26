use super::{Outcome, Rule};
use crate::diagnose::{
    draft::Draft,
    facts::{Facts, stat, tasks},
    figures::percent,
    finding::{Confidence, Severity},
    page::{Page, look_alike, owner, read, threshold},
};

/// Part of a CPU.
const MUCH: f64 = 50.0;

pub(super) static RULE: Rule = Rule {
    page: Page {
        id: "SYSCALL",
        title: "Tasks spend a CPU in system calls of their own",
        means: "The CPU is in the kernel, but in no softirq, no interrupt and no kernel thread: a task called it, or is a thread that works for one (`iou-sqp-*`, `iou-wrk-*` of io_uring, \
                `vhost-*`). kctx does not look into system calls; it only rules the rest out.",
        signals: &[
            "system time of a CPU in /proc/stat, which has neither softirqs nor interrupts in it",
            "less what kernel threads took of that CPU",
            "the task that ran most of those that were there last",
        ],
        thresholds: &[threshold(
            "of a CPU in system time, kernel threads left out",
            "50 %",
            "kctx",
        )],
        confused_with: &[
            look_alike(
                "NET-LO",
                "packets that a sender receives itself: softirqs, although they run in its system calls",
            ),
            look_alike("IRQ-IPI", "what the calls do to other CPUs"),
        ],
        next: &[
            read(
                "See the code: functions of that CPU (q ends it).",
                "perf top -C {cpu} -F 99",
            ),
            read(
                "See which of its threads it is, and which system call that is in.",
                "ps -L -o tid,time,wchan:24,comm -p {pid} --sort=-time | head ; grep -H . /proc/{pid}/task/*/syscall",
            ),
            owner("Ask the owner of that process what it does so often."),
        ],
        do_not: &["Attach strace to a busy process: it stops it twice at each call."],
    },
    explained_by: &[],
    judge,
};

fn judge(facts: &Facts<'_>) -> Outcome {
    let Some(stats) = &facts.stat else {
        return Outcome::Silent;
    };
    let times = facts.summary.cpu.iter();
    let own = times.filter_map(|times| {
        let system = stats.get(&times.cpu)?.system;
        let threads = times.kthread_ns?.saturating_add(times.ksoftirqd_ns?);
        Some((times.cpu, system - facts.percent(threads)))
    });
    let mut own: Vec<(u32, f64)> = own.collect();
    own.sort_by(|a, b| b.1.total_cmp(&a.1));
    let Some(&(cpu, most)) = own.first() else {
        return Outcome::Silent;
    };
    if most < MUCH {
        return Outcome::RuledOut(format!(
            "tasks spend at most {} of a CPU in system calls (CPU {cpu}; less than {MUCH:.0} %)",
            percent(most.max(0.0))
        ));
    }
    let task = facts.busiest_task(cpu);
    let words = task.map_or("tasks".to_owned(), |task| {
        format!("{} (pid {})", task.comm, task.pid)
    });
    // No share: it is none of what kctx measures, and all of that comes first.
    let draft = Draft::new(&RULE.page, Severity::Info, match task {
        Some(_) => Confidence::High,
        None => Confidence::Medium,
    })
    .title(format!(
        "CPU {cpu} spends {} in system calls of {words}",
        percent(most)
    ))
    .statement(format!(
        "CPU {cpu} spends {} of its time in the kernel for tasks, {words} most of those that were there: in no softirq, no interrupt and no kernel thread.",
        percent(most)
    ))
    .cpus((own.iter()).filter(|(_, own)| *own >= MUCH).map(|(cpu, _)| *cpu))
    .step("place", format!("{words}: {} of CPU {cpu} in system time", percent(most)))
    .evidence(facts.reference(stat::FILE), format!("cpu{cpu}: {} system", percent(stats.get(&cpu).map_or(0.0, |stat| stat.system))))
    .missing_if(task.is_none(), tasks::FILE)
    .missing("stacks of system calls: kctx does not sample them");
    let draft = match task {
        Some(task) => draft.process(&task.comm, task.pid),
        None => draft,
    };
    Outcome::Found(vec![draft.done()])
}

#[cfg(test)]
mod tests {
    use crate::diagnose::{
        finding::{Confidence, Verdict},
        fixture::{evidence, found, of, percent, ruled_out, summary},
    };

    const TASKS: &str = "pid\ttid\tcomm\tpolicy\trt_priority\tcpu\tgrown_ticks\n\
                         77\t77\tiou-sqp-70\tother\t0\t1\t990\n";

    #[test]
    fn a_tasks_own_time_in_the_kernel_is_told_and_a_kernel_threads_is_not() {
        let mut summary = summary();
        for times in &mut summary.cpu {
            (times.kthread_ns, times.ksoftirqd_ns) = (Some(percent(1)), Some(0));
        }
        let files = evidence(&[
            ("before/proc/stat", "cpu1 0 0 0 0 0 0 0 0\n"),
            ("after/proc/stat", "cpu1 5 0 990 5 0 0 0 0\n"),
            ("after/tasks.tsv", TASKS),
        ]);
        let diagnosis = of(&summary, &files);
        let finding = found(&diagnosis, "SYSCALL").unwrap();
        assert_eq!(
            (
                &finding.scope.cpus[..],
                &finding.scope.comms[..],
                finding.confidence
            ),
            (&[1][..], &["iou-sqp-70".to_owned()][..], Confidence::High)
        );
        assert_eq!(diagnosis.verdict, Verdict::NothingHot);
        assert!(
            diagnosis
                .first_line
                .ends_with("Also seen: CPU 1 spends 98 % in system calls of iou-sqp-70 (pid 77)."),
            "{}",
            diagnosis.first_line
        );
        summary.cpu[1].kthread_ns = Some(percent(60));
        let diagnosis = of(&summary, &files);
        assert!(found(&diagnosis, "SYSCALL").is_none());
        assert!(ruled_out(&diagnosis, "SYSCALL").is_some());
        // Where switches are not followed, nobody knows what kernel threads took.
        summary.cpu[1].kthread_ns = None;
        assert!(found(&of(&summary, &files), "SYSCALL").is_none());
    }
}
