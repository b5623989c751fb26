//! What is hot and no rule knows why: it looks at what the others found, and says what is left.

use std::collections::BTreeMap;

use super::{Outcome, vectors::Busy};
use crate::diagnose::{
    draft::Draft,
    facts::{Facts, origins},
    figures::{percent, rate, time},
    finding::{Confidence, Finding, Severity},
    harm::{FULL, HOT},
    page::{Page, look_alike, owner, read, threshold},
    takers::{Taker, Takers, What},
};

pub(in crate::diagnose) static PAGE: Page = Page {
    id: "HOT",
    title: "Something takes a CPU, and no cause of it was found",
    means: "A softirq, an interrupt line, a kernel thread or a work takes much of a CPU, and none of the other causes is about it. It may be what the machine is for. \
            Where it runs, what raised it and its stacks are what there is to go on from.",
    signals: &[
        "the largest of vectors and interrupt lines on each CPU",
        "CPU time of kernel threads and of works, without interrupts and softirqs",
        "what other findings are about",
    ],
    thresholds: &[
        threshold("of a CPU, and no other finding about it", "30 %", "kctx"),
        threshold("the same, a warning", "80 %", "kctx"),
    ],
    confused_with: &[
        look_alike(
            "NET-SAT",
            "receiving with full polls: more comes than the CPU can take",
        ),
        look_alike("WQ-HOG", "a work that does not let go of its CPU"),
    ],
    next: &[
        read(
            "See what runs in it: the stacks of a capture.",
            "kctx capture --window 10s -o hot.kctx.tar.zst && kctx report hot.kctx.tar.zst",
        ),
        read(
            "See how often which vectors and lines run, on which CPUs.",
            "cat /proc/softirqs /proc/interrupts",
        ),
        owner("Ask who works on this machine what it does just now."),
    ],
    do_not: &["Tune anything before it is known what it is."],
};

/// What is left over from the others' findings.
pub(in crate::diagnose) fn judge(
    facts: &Facts<'_>,
    takers: &Takers,
    others: &[Finding],
) -> Outcome {
    let Some(largest) = takers.largest() else {
        return Outcome::Silent;
    };
    if largest.percent < HOT {
        return Outcome::RuledOut(format!(
            "the largest, {}, takes {} of a CPU (less than {HOT:.0} %)",
            largest.words(),
            percent(largest.percent)
        ));
    }
    let known = |taker: &Taker| others.iter().any(|finding| taker.is_in(finding));
    // The same on several CPUs is one finding; of each CPU the largest is told.
    let mut cpus = Vec::new();
    let mut left: BTreeMap<&What, Vec<&Taker>> = BTreeMap::new();
    for taker in takers.busy() {
        let first = taker.cpu.is_none_or(|cpu| !cpus.contains(&cpu));
        if taker.percent >= HOT && first && !known(taker) {
            cpus.extend(taker.cpu);
            left.entry(&taker.what).or_default().push(taker);
        }
    }
    let findings: Vec<_> = left
        .iter()
        .filter_map(|(what, takers)| finding(facts, what, takers))
        .collect();
    match findings.is_empty() {
        true => Outcome::Silent,
        false => Outcome::FoundBeside(findings),
    }
}

fn finding(facts: &Facts<'_>, what: &What, takers: &[&Taker]) -> Option<Finding> {
    let most = takers.first()?;
    let severity = match most.percent >= FULL {
        true => Severity::Warn,
        false => Severity::Info,
    };
    let draft = || Draft::new(&PAGE, severity, Confidence::Low);
    let cpus: Vec<u32> = takers.iter().filter_map(|taker| taker.cpu).collect();
    let share = percent(most.percent);
    let draft = match what {
        What::Vector(vector) => {
            let busy = Busy {
                page: &PAGE,
                vector,
                what: "a softirq of which no cause was found",
                code: facts.stacks.running(&format!("softirq:{vector}")),
                defect: false,
            };
            let mut taken = facts.vector(vector).into_iter();
            let taken = taken.find(|taken| Some(taken.cpu) == most.cpu)?;
            busy.about(facts, &taken, &cpus, (severity, Confidence::Low))
        }
        What::Line(label) => {
            let lines = facts.lines();
            let line =
                (lines.iter()).find(|line| line.label == *label && Some(line.cpu) == most.cpu)?;
            draft()
                .title(format!("CPU {}: {share} in {}", line.cpu, line.words()))
                .statement(format!(
                    "CPU {} spends {share} of its time in the handlers of {}, of which no cause was found: {} of {} each.",
                    line.cpu,
                    line.words(),
                    rate(line.rate),
                    time(line.percent * 1e7 / line.rate.max(1.0))
                ))
                .share(line.cpu, "hardirq", line.percent)
                .cpu(line.cpu)
                .cpus(cpus)
                .irq(label)
                .step("interrupt", format!("{}, {}", line.words(), rate(line.rate)))
                .evidence(format!("summary.hardirq[irq={label},cpu={}]", line.cpu), &share)
        }
        What::Thread(comm, pid, _) => {
            let rows = facts.summary.kthread.iter();
            let row = rows
                .clone()
                .find(|row| row.comm == *comm && row.pid == *pid)?;
            draft()
                .title(format!("{comm} takes {share} of a CPU"))
                .statement(format!(
                    "The kernel thread {comm} (pid {pid}) takes {share} of a CPU, {} at most at a time, and no cause of it was found.",
                    time(row.service_net.max_ns as f64)
                ))
                .process(comm, *pid)
                .step("thread", format!("{comm} (pid {pid}), {} stretches", rate(facts.rate(row.count))))
                .step("code", facts.stacks.running(&format!("kthread:{}", row.role)).map_or(String::new(), |code| code.words()))
                .evidence(format!("summary.kthread[comm={comm}]"), &share)
        }
        What::Work(function) => {
            let works = facts.works();
            let work = works.iter().find(|work| work.function == function)?;
            let by = work.queued_by().map(origins::words).unwrap_or_default();
            draft()
                .title(format!("{function} takes {share} of a CPU"))
                .statement(format!(
                    "The work {function} of the workqueue {} takes {share} of a CPU, {} executions of {} at most, and no cause of it was found.",
                    work.workqueue,
                    rate(facts.rate(work.count)),
                    time(work.row.service_net.max_ns as f64)
                ))
                .function(function)
                .step("work", format!("{function} of {}", work.workqueue))
                .step("queued by", by)
                .evidence(format!("summary.workqueue[function={function}]"), &share)
        }
    };
    Some(draft.done())
}

#[cfg(test)]
mod tests {
    use crate::diagnose::{
        finding::{Confidence, Severity, Verdict},
        fixture::{
            evidence, found, hardirq, kthread, napi, of, percent, ruled_out, saturated, softirq,
            stack, summary, work,
        },
    };

    #[test]
    fn receiving_that_no_rule_knows_is_one_finding_of_both_cpus() {
        let mut summary = summary();
        summary.softirq = vec![
            softirq("NET_RX", 0, "irq_tail", 90_000, percent(90)),
            softirq("NET_RX", 1, "irq_tail", 90_000, percent(88)),
            softirq("TIMER", 1, "irq_tail", 90, percent(2)),
        ];
        summary.napi = vec![
            napi("eth0", 8193, 0, 90_000, 0, 900_000),
            napi("eth0", 8194, 1, 90_000, 0, 900_000),
        ];
        summary.stack = vec![stack(
            "softirq:NET_RX",
            &["net_rx_action", "ixgbe_poll"],
            40,
        )];
        let diagnosis = of(&summary, &evidence(&[]));
        assert_eq!(
            (diagnosis.verdict, diagnosis.findings.len()),
            (Verdict::Hot, 1)
        );
        let first = &diagnosis.findings[0];
        assert_eq!(
            (
                first.id.as_str(),
                first.severity,
                first.confidence,
                &first.scope.cpus[..]
            ),
            ("HOT", Severity::Warn, Confidence::Low, &[0, 1][..])
        );
        assert_eq!(first.scope.functions, ["ixgbe_poll"]);
        assert!(first.chain.iter().any(|step| step.step == "place"));
        // Where a rule knows why, that is the finding.
        let known = of(&saturated(0), &evidence(&[]));
        assert!(found(&known, "NET-SAT").is_some() && found(&known, "HOT").is_none());
    }

    #[test]
    fn threads_works_and_lines_are_told_by_their_own_time() {
        let mut summary = summary();
        summary.kthread = vec![
            kthread("other", "kswapd0", percent(95)),
            kthread("ksoftirqd", "ksoftirqd/0", percent(99)),
        ];
        let diagnosis = of(&summary, &evidence(&[]));
        assert_eq!(diagnosis.verdict, Verdict::Hot);
        assert_eq!(found(&diagnosis, "HOT").unwrap().scope.comms, ["kswapd0"]);
        // Softirqs on its back are not its own.
        summary.kthread[0].cpu_net_ns = percent(9);
        assert!(found(&of(&summary, &evidence(&[])), "HOT").is_none());
        summary.kthread = vec![kthread("kworker", "kworker/0:1", percent(80))];
        summary.workqueue = vec![work("events", "some_work", 9_000, percent(75))];
        let diagnosis = of(&summary, &evidence(&[]));
        let of_works: Vec<_> = diagnosis
            .findings
            .iter()
            .map(|finding| {
                (
                    finding.id.as_str(),
                    &finding.scope.functions[..],
                    &finding.scope.comms[..],
                )
            })
            .collect();
        assert_eq!(of_works, [("HOT", &["some_work".to_owned()][..], &[][..])]);
        assert!(
            diagnosis
                .first_line
                .starts_with("Busy, without harm: The work some_work"),
            "{}",
            diagnosis.first_line
        );
        // Many works that take little each: then it is the thread.
        summary.workqueue = (0..8)
            .map(|at| work("events", &format!("work_{at}"), 900, percent(9)))
            .collect();
        let diagnosis = of(&summary, &evidence(&[]));
        assert_eq!(
            found(&diagnosis, "HOT").unwrap().scope.comms,
            ["kworker/0:1"]
        );
        (summary.kthread, summary.workqueue) = (Vec::new(), Vec::new());
        summary.hardirq = vec![hardirq(Some(19), "ehci_hcd", 2, 90_000, percent(40))];
        let diagnosis = of(&summary, &evidence(&[]));
        let line = found(&diagnosis, "HOT").unwrap();
        assert_eq!(
            (&line.scope.irqs[..], &line.scope.cpus[..]),
            (&["19".to_owned()][..], &[2][..])
        );
        summary.hardirq = vec![hardirq(Some(19), "ehci_hcd", 2, 90_000, percent(20))];
        let diagnosis = of(&summary, &evidence(&[]));
        assert_eq!(
            ruled_out(&diagnosis, "HOT"),
            Some("the largest, interrupt 19 on CPU 2, takes 20 % of a CPU (less than 30 %)")
        );
    }
}
