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
/// Part of that, in per cent, that makes a process the one.
const MOST: f64 = 80.0;

pub(super) static RULE: Rule = Rule {
    page: Page {
        id: "SYSCALL",
        title: "Tasks spend a CPU in the kernel for themselves",
        means: "The CPU is in the kernel, but in no softirq, no interrupt and no kernel thread: a task called it or touched memory that was not there, or is a thread \
                that works for one (`iou-sqp-*` and `iou-wrk-*` of io_uring; from Linux 6.4 on `vhost-*`). kctx does not look into \
                that; it only rules the rest out.",
        signals: &[
            "system time of a CPU in /proc/stat",
            "at most what softirqs, interrupts and kernel threads left of the window, less user time and idle",
            "the process with most system time in between",
        ],
        thresholds: &[
            threshold("of a CPU", "50 %", "kctx"),
            threshold("of that in one process, to be sure of it", "80 %", "kctx"),
        ],
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
                "See which system calls the process makes, and how long they take.",
                "perf trace -s -p {pid} -- sleep 5",
            ),
            owner("Ask the owner of that process what it does so often."),
        ],
        do_not: &["Attach strace to a busy process: it stops it twice at each call."],
    },
    // What the tasks do shows there, where it shows on that CPU.
    explained_by: &[
        "RT-STARVE",
        "NET-FW",
        "NET-CT",
        "NET-BPF",
        "NET-TX",
        "NET-FLOW",
        "NET-RPS",
        "NET-BUDGET",
        "NET-VIRT",
        "NET-LO",
        "NET-NAPI-THREAD",
        "TMR-HARD",
        "TMR-SOFT",
        "TMR-HRSOFT",
        "IRQ-IPI",
        "RCU-FLOOD",
        "BLK-DONE",
        "TASK-TASKLET",
    ],
    judge,
};

fn judge(facts: &Facts<'_>) -> Outcome {
    let Some(stats) = facts.stat.as_ref().filter(|_| facts.samples_span_window()) else {
        return Outcome::Silent;
    };
    // Where the kernel counts by ticks, an interrupt's time is in what it fell into: then what is left of the window is less.
    let own = (facts.summary.cpu.iter()).filter_map(|times| {
        let stat = stats.get(&times.cpu)?;
        let left = facts.percent(times.rest_ns?) - stat.user - stat.idle;
        Some((times.cpu, stat.system.min(left)))
    });
    let mut own: Vec<(u32, f64)> = own.collect();
    own.sort_by(|a, b| b.1.total_cmp(&a.1));
    let Some(&(cpu, most)) = own.first() else {
        return Outcome::Silent;
    };
    if most < MUCH {
        return Outcome::RuledOut(format!(
            "tasks are in the kernel for themselves for at most {} of a CPU (CPU {cpu}; less than {MUCH:.0} %)",
            percent(most.max(0.0))
        ));
    }
    let process = facts.most_in_kernel();
    let sure = (process.as_ref()).is_some_and(|(_, share)| *share >= most * MOST / 100.0);
    let confidence = match sure {
        true => Confidence::High,
        false => Confidence::Medium,
    };
    let most_by = process.map(|(task, share)| (task.words(), percent(share)));
    let (title, statement) = match &most_by {
        None => (String::new(), String::new()),
        Some((name, share)) => (
            format!("; most by {name}"),
            format!("; of processes, {name} is there most, for {share} of a CPU"),
        ),
    };
    // No share: it is none of what kctx measures, and all of that comes first.
    let draft = Draft::new(&RULE.page, Severity::Info, confidence)
        .title(format!(
            "CPU {cpu} spends {} in the kernel for tasks{title}",
            percent(most)
        ))
        .statement(format!(
            "CPU {cpu} spends {} of its time in the kernel for tasks (system calls, page faults), in no softirq, no interrupt and no kernel \
             thread{statement}.",
            percent(most)
        ))
        .cpus((own.iter()).filter(|(_, own)| *own >= MUCH).map(|(cpu, _)| *cpu))
        .step(
            "place",
            format!("CPU {cpu}: {} in system calls and page faults", percent(most)),
        )
        .step(
            "process",
            most_by.map_or(String::new(), |(name, share)| format!("{name}, {share} of a CPU in the kernel")),
        )
        .evidence(
            facts.reference(stat::FILE),
            format!("cpu{cpu}: {} system", percent(stats.get(&cpu).map_or(0.0, |stat| stat.system))),
        )
        .missing_if(process.is_none(), tasks::FILE)
        .missing("stacks of system calls: kctx does not sample them");
    let draft = match process {
        Some((task, _)) => draft.process(&task.comm, task.pid),
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

    const COLUMNS: &str =
        "pid\tcomm\tpolicy\trt_priority\tcpu\tuser_ticks\tsystem_ticks\tgrown_ticks\n";

    #[test]
    fn a_tasks_own_time_in_the_kernel_is_told_and_that_of_interrupts_is_not() {
        let mut summary = summary();
        for times in &mut summary.cpu {
            times.rest_ns = Some(percent(99));
        }
        let tasks = |server: u64, spinner: u64| {
            format!(
                "{COLUMNS}77\tserver\tother\t0\t3\t5\t{server}\t-\n78\tspinner\tother\t0\t1\t{spinner}\t1\t-\n"
            )
        };
        let (before, after) = (tasks(100, 0), tasks(1090, 5000));
        let files = evidence(&[
            ("before/proc/stat", "cpu1 0 0 0 0 0 0 0 0\n"),
            ("after/proc/stat", "cpu1 5 0 990 5 0 0 0 0\n"),
            ("before/tasks.tsv", &before),
            ("after/tasks.tsv", &after),
        ]);
        let diagnosis = of(&summary, &files);
        let finding = found(&diagnosis, "SYSCALL").unwrap();
        assert_eq!(
            (
                &finding.scope.cpus[..],
                &finding.scope.comms[..],
                finding.confidence
            ),
            (&[1][..], &["server".to_owned()][..], Confidence::High)
        );
        assert_eq!(diagnosis.verdict, Verdict::NothingHot);
        assert!(
            diagnosis.first_line.ends_with(
                "Also seen: CPU 1 spends 98 % in the kernel for tasks; most by server (pid 77)."
            ),
            "{}",
            diagnosis.first_line
        );
        // Samples that are no edges of the window say nothing of it.
        let index = |ns: u64| {
            format!(
                r#"[{{"path": "proc/stat", "realtime_ns": {ns}, "monotonic_ns": {ns}, "took_ns": 1}}]"#
            )
        };
        let (early, late) = (index(1_000_000_000), index(8_000_000_000));
        let apart = evidence(&[
            ("before/proc/stat", "cpu1 0 0 0 0 0 0 0 0\n"),
            ("after/proc/stat", "cpu1 5 0 990 5 0 0 0 0\n"),
            ("before/index.json", &early),
            ("after/index.json", &late),
        ]);
        assert!(apart.apart_ns().is_some());
        assert!(found(&of(&summary, &apart), "SYSCALL").is_none());
        // The kernel takes them for system time, and it was interrupts, or kernel threads.
        summary.cpu[1].rest_ns = Some(percent(40));
        let diagnosis = of(&summary, &files);
        assert!(found(&diagnosis, "SYSCALL").is_none());
        assert!(ruled_out(&diagnosis, "SYSCALL").is_some());
        // Where switches are not followed, nobody knows.
        summary.cpu[1].rest_ns = None;
        assert!(found(&of(&summary, &files), "SYSCALL").is_none());
    }
}
