use super::{Outcome, Rule};
use crate::diagnose::{
    draft::Draft,
    facts::{Facts, interrupts, lines::Line, stat},
    figures::{number, percent, rate},
    finding::{Confidence, Finding, Severity},
    harm::BUSY,
    page::{Page, look_alike, owner, read, threshold},
};

/// Function calls of a CPU by others, a second, that are worth a word.
const SOME: f64 = 5_000.0;
/// Those that cost: each takes a microsecond or two on both sides, and what they interrupt its cache.
const MANY: f64 = 20_000.0;
/// Part of a CPU in their handlers, for many of them to be a warning.
const COSTS: f64 = 5.0;
/// Expedited grace periods for each call, where most calls are theirs: one interrupts a CPU once at most (measured: 1.05).
const OF_GRACE_PERIODS: f64 = 0.7;
/// A CPU with so much system time may be the sender.
const SENDER: f64 = 40.0;

pub(super) static RULE: Rule = Rule {
    page: Page {
        id: "IRQ-IPI",
        title: "CPUs interrupt each other",
        means: "A CPU has others run a function (CAL) or look at their run queue (RES): to drop TLB entries when memory is unmapped, for memory barriers of a whole \
                process (JIT runtimes), to wake a task elsewhere, for RCU's expedited grace periods, or to change the kernel's own code. Who pays is not who causes it.",
        signals: &[
            "function-call interrupts (CAL) and reschedule interrupts (RES), a second",
            "the TLB row of /proc/interrupts, which tells flushes from other calls",
            "a CPU elsewhere with much system time: the sender",
        ],
        thresholds: &[threshold(
            "function calls of a CPU",
            "5,000/s; a warning from 20,000/s on where they take 5 % of it or a sender is seen, or from 10 % of it on",
            "kctx; at rest below 60/s, measured: munmap 53,000/s, membarrier 94,000/s",
        )],
        confused_with: &[
            look_alike(
                "NET-RPS",
                "calls that hand packets over: received_rps grows alike",
            ),
            look_alike(
                "WQ-CHURN",
                "wake-ups of kworkers: a work runs about as often",
            ),
            look_alike("SCHED-LB", "balancing kicks idle CPUs"),
            look_alike(
                "RCU-FLOOD",
                "expedited grace periods: RCU's thread for them, or wait_rcu_exp_gp, runs about as often",
            ),
        ],
        next: &[
            read(
                "See who sends them and why, for some seconds (Linux 6.4 or later).",
                "perf trace -a -e csd:csd_queue_cpu --max-events 200",
            ),
            read(
                "See whether NUMA balancing or huge pages move memory.",
                "grep -E 'numa_pages_migrated|thp_split|nr_tlb_remote_flush' /proc/vmstat",
            ),
            owner(
                "Ask the owner of the sender: an allocator that unmaps less, a runtime with fewer barriers.",
            ),
        ],
        do_not: &["Blame the task that runs on the CPU that is interrupted."],
    },
    explained_by: &["NET-RPS", "WQ-CHURN"],
    judge,
};

fn judge(facts: &Facts<'_>) -> Outcome {
    let lines = facts.lines();
    let calls = lines.iter().filter(|line| line.label == "CAL");
    let Some(most) = calls.max_by(|a, b| a.rate.total_cmp(&b.rate)) else {
        return Outcome::Silent;
    };
    let rescheduled = lines
        .iter()
        .find(|line| line.label == "RES" && line.cpu == most.cpu);
    if most.rate < SOME {
        return Outcome::RuledOut(format!(
            "CPU {} takes {} function calls from other CPUs and {} reschedules (less than {})",
            most.cpu,
            rate(most.rate),
            rate(rescheduled.map_or(0.0, |line| line.rate)),
            rate(SOME)
        ));
    }
    Outcome::Found(vec![finding(facts, most, rescheduled)])
}

/// Expedited grace periods, a second: stretches of RCU's thread for them, or its works where it has none
/// (`synchronize_rcu_expedited_queue_work`, kernel/rcu/tree_exp.h).
fn expedited(facts: &Facts<'_>) -> f64 {
    let threads = facts.summary.kthread.iter();
    let stretches = threads
        .filter(|row| row.comm.starts_with("rcu_exp_gp"))
        .map(|row| row.count);
    let works = facts.summary.workqueue.iter();
    let works = works
        .filter(|row| row.function == "wait_rcu_exp_gp")
        .map(|row| row.count);
    facts.rate(stretches.chain(works).sum())
}

fn finding(facts: &Facts<'_>, calls: &Line, rescheduled: Option<&Line>) -> Finding {
    let flushes = facts
        .interrupts
        .as_ref()
        .map(|known| known.rate("TLB", calls.cpu));
    let (why, confidence) = match flushes {
        Some(flushes) if flushes >= calls.rate / 2.0 => (
            format!(
                "{} of them drop TLB entries, for memory that a process unmaps or protects",
                rate(flushes)
            ),
            Confidence::High,
        ),
        Some(flushes) => {
            let few = match flushes {
                some if some < 1.0 => "none".to_owned(),
                some => format!("only {}", rate(some)),
            };
            let others = match expedited(facts) {
                periods if periods >= calls.rate * OF_GRACE_PERIODS => format!(
                    "most come with RCU's expedited grace periods, {}, which interrupt each CPU that is not idle",
                    rate(periods)
                ),
                _ => "they are wake-ups of tasks there, memory barriers of a process (membarrier) or code patching".to_owned(),
            };
            (
                format!("{few} of them drop TLB entries: {others}"),
                Confidence::Medium,
            )
        }
        None => ("what for is not known".to_owned(), Confidence::Low),
    };
    let sender = (facts.stat.iter().flatten())
        .filter(|(cpu, stat)| **cpu != calls.cpu && stat.system >= SENDER)
        .max_by(|a, b| a.1.system.total_cmp(&b.1.system));
    let from = sender.map_or(String::new(), |(cpu, stat)| {
        format!(
            "; CPU {cpu}, with {} system time, is the likely sender",
            percent(stat.system)
        )
    });
    let task = sender.and_then(|(cpu, _)| facts.busiest_task(*cpu));
    let severity = match calls.percent >= BUSY
        || calls.rate >= MANY && (calls.percent >= COSTS || sender.is_some())
    {
        true => Severity::Warn,
        false => Severity::Info,
    };
    let by = task.map_or(String::new(), |task| {
        format!(" ({}, pid {})", task.comm, task.pid)
    });
    let mut draft = Draft::new(&RULE.page, severity, confidence)
        .title(format!("CPU {} takes {} function calls/s from other CPUs", calls.cpu, number(calls.rate)))
        .statement(format!(
            "CPU {} takes {} function-call interrupts/s from other CPUs, {} of its time in their handlers: {why}{from}{by}.",
            calls.cpu,
            number(calls.rate),
            percent(calls.percent)
        ))
        .share(calls.cpu, "hardirq CAL", calls.percent)
        .cpu(calls.cpu)
        .irq("CAL")
        .step("CPU", format!("{}: {} in handlers of CAL", calls.cpu, percent(calls.percent)))
        .step("interrupt", format!("CAL {}, RES {}", rate(calls.rate), rate(rescheduled.map_or(0.0, |line| line.rate))))
        .step("function", &why)
        .step("sender", format!("{}{by}", from.trim_start_matches("; ")))
        .evidence(format!("summary.hardirq[name=CAL,cpu={}]", calls.cpu), rate(calls.rate))
        .missing("the function that is called: kctx does not trace it");
    if let Some(flushes) = flushes {
        draft = draft.evidence(
            format!("{}:TLB", facts.reference(interrupts::FILE)),
            rate(flushes),
        );
    }
    if let Some((cpu, sender)) = sender {
        draft = draft.evidence(
            facts.reference(stat::FILE),
            format!("cpu{cpu}: {} system", percent(sender.system)),
        );
    }
    if let Some(task) = task {
        draft = draft.process(&task.comm, task.pid);
    }
    draft.done()
}

#[cfg(test)]
mod tests {
    use crate::diagnose::{
        finding::{Confidence, Severity},
        fixture::{evidence, found, hardirq, kthread, of, percent, ruled_out, summary, work},
    };

    fn table(tlb: u64) -> String {
        format!("           CPU0       CPU1\n TLB:       {tlb}         0   TLB shootdowns\n")
    }

    #[test]
    fn tlb_flushes_are_told_from_other_calls_and_few_calls_are_nothing() {
        let mut summary = summary();
        summary.hardirq = vec![
            hardirq(None, "CAL", 0, 530_000, percent(9)),
            hardirq(None, "RES", 0, 90, 1),
        ];
        let files = |tlb| {
            evidence(&[
                ("before/proc/interrupts", &table(0)),
                ("after/proc/interrupts", &table(tlb)),
            ])
        };
        let diagnosis = of(&summary, &files(520_000));
        let first = &diagnosis.findings[0];
        assert_eq!(
            (first.id.as_str(), first.severity, first.confidence),
            ("IRQ-IPI", Severity::Warn, Confidence::High)
        );
        assert!(
            diagnosis
                .first_line
                .contains("52,000/s of them drop TLB entries"),
            "{}",
            diagnosis.first_line
        );
        assert_eq!(
            of(&summary, &files(12)).findings[0].confidence,
            Confidence::Medium
        );
        // A grace period after another.
        let mut rcu = kthread("rcu", "rcu_exp_gp_kthr", percent(5));
        for (stretches, is_rcu) in [(530_000, true), (900, false)] {
            rcu.count = stretches;
            summary.kthread = vec![rcu.clone()];
            let diagnosis = of(&summary, &files(12));
            let statement = &found(&diagnosis, "IRQ-IPI").unwrap().statement;
            assert_eq!(statement.contains("grace periods"), is_rcu, "{statement}");
        }
        summary.kthread.clear();
        // A kernel whose RCU has no thread for them.
        summary.workqueue = vec![work("rcu_gp", "wait_rcu_exp_gp", 520_000, percent(5))];
        let diagnosis = of(&summary, &files(12));
        let statement = &found(&diagnosis, "IRQ-IPI").unwrap().statement;
        assert!(statement.contains("grace periods, 52,000/s"), "{statement}");
        summary.workqueue.clear();
        // Many of which nobody takes any harm.
        summary.hardirq = vec![hardirq(None, "CAL", 0, 530_000, percent(3))];
        let cheap = of(&summary, &files(520_000));
        assert_eq!(found(&cheap, "IRQ-IPI").unwrap().severity, Severity::Info);
        let mut sent = files(520_000);
        for (phase, text) in [("before", "cpu1 0 0 0 0\n"), ("after", "cpu1 10 0 60 30\n")] {
            let path = format!("evidence/{phase}/proc/stat");
            sent.take(&path, text.as_bytes().to_vec()).unwrap();
        }
        assert_eq!(
            found(&of(&summary, &sent), "IRQ-IPI").unwrap().severity,
            Severity::Warn
        );
        summary.hardirq = vec![hardirq(None, "CAL", 0, 600, 1)];
        let diagnosis = of(&summary, &evidence(&[]));
        assert!(
            found(&diagnosis, "IRQ-IPI").is_none() && ruled_out(&diagnosis, "IRQ-IPI").is_some()
        );
    }
}
