use super::{Outcome, Rule};
use crate::{
    aggregate::window::OriginKind,
    diagnose::{
        draft::Draft,
        facts::{Facts, works::Work},
        figures::{list, percent, rate, time},
        finding::{Confidence, Finding, Severity},
        harm::{BUSY, FULL, HOT},
        page::{Page, look_alike, owner, read, threshold},
    },
};

/// Executions of one function, a second.
const MANY: f64 = 2_000.0;

pub(super) static RULE: Rule = Rule {
    page: Page {
        id: "WQ-CHURN",
        title: "One work is queued again and again",
        means: "A work function runs thousands of times a second, each time for a moment. kworkers are what shows: `kworker/u8:3-events_unbound` by itself means \
                nothing, the function and who queues it do.",
        signals: &[
            "executions of a work function, a second",
            "its kworkers' time",
            "what queued it",
        ],
        thresholds: &[
            threshold(
                "executions of one function",
                "2,000/s",
                "kctx; measured: a writer to a pseudoterminal has 32,000/s",
            ),
            threshold(
                "time of the kworkers that run it",
                "10 % of a CPU; 30 % is a warning",
                "kctx",
            ),
        ],
        confused_with: &[
            look_alike("WQ-HOG", "few executions, each long on a CPU"),
            look_alike(
                "WQ-WB",
                "works that wait for a disk: much wall time, little CPU",
            ),
            look_alike("IRQ-GPE", "works of the firmware's events"),
        ],
        next: &[
            read(
                "See whose function it is.",
                "grep -w {function} /proc/kallsyms",
            ),
            read(
                "See what the process that queues it has open, and what it waits for.",
                "ls -l /proc/{pid}/fd ; cat /proc/{pid}/wchan",
            ),
            owner("Ask the owner of that process for fewer and larger pieces of work."),
        ],
        do_not: &["Look for a kworker to blame or to kill: they do what others queue."],
    },
    explained_by: &["IRQ-GPE", "WQ-CG", "WQ-WB"],
    judge,
};

fn judge(facts: &Facts<'_>) -> Outcome {
    let works = facts.works();
    let most = works.iter().max_by_key(|work| work.count);
    let busy = facts.busy_works(&works);
    let churns = busy.filter(|(work, _)| facts.rate(work.count) >= MANY);
    if let Some((work, share)) = churns.max_by(|a, b| a.1.total_cmp(&b.1)) {
        return Outcome::Found(vec![finding(facts, work, share)]);
    }
    match most {
        None => Outcome::Silent,
        Some(work) => Outcome::RuledOut(format!(
            "the most frequent work, {}, runs {} and takes {} of a CPU (threshold {} and {BUSY:.0} %)",
            work.function,
            rate(facts.rate(work.count)),
            percent(facts.percent(work.cpu_ns)),
            rate(MANY)
        )),
    }
}

fn finding(facts: &Facts<'_>, work: &Work<'_>, share: f64) -> Finding {
    let severity = match share {
        share if share >= HOT => Severity::Warn,
        _ => Severity::Info,
    };
    let threads: Vec<_> = (facts.summary.kthread.iter())
        .filter(|row| work.may_be_run_by(row) && facts.percent(row.cpu_ns) >= 1.0)
        .take(5)
        .map(|row| format!("{} {}", row.comm, percent(facts.percent(row.cpu_ns))))
        .collect();
    let by = work.most_queued_by();
    let mean = work.service_ns as f64 / work.count.max(1) as f64;
    let confidence = match work.queued_by() {
        Some(origin) if origin.kind != OriginKind::Unknown => Confidence::High,
        _ => Confidence::Medium,
    };
    let full = if share >= FULL { " in all" } else { "" };
    Draft::new(&RULE.page, severity, confidence)
        .title(format!("{} runs {} on {}", work.function, rate(facts.rate(work.count)), work.workqueue))
        .statement(format!(
            "kworkers spend {} of a CPU{full} on {} of the workqueue {}: it runs {} for {} each{by}.",
            percent(share),
            work.function,
            work.workqueue,
            rate(facts.rate(work.count)),
            time(mean)
        ))
        .function(work.function)
        .step("threads", list(&threads))
        .step("work", format!("{} of {}, {}", work.function, work.workqueue, rate(facts.rate(work.count))))
        .queued_by(work)
        .evidence(
            format!("summary.workqueue[function={}]", work.function),
            format!("{} executions, {} on CPUs", rate(facts.rate(work.count)), percent(facts.percent(work.cpu_ns))),
        )
        .done()
}

#[cfg(test)]
mod tests {
    use crate::{
        diagnose::{
            finding::{Confidence, Severity},
            fixture::{evidence, found, hardirq, kthread, of, percent, ruled_out, summary, work},
        },
        report::summary::Summary,
    };

    /// A work and the kworkers of its queue, in per cent of a CPU.
    fn churning(own: u64, threads: &[u64]) -> Summary {
        let mut summary = summary();
        summary.workqueue = vec![work(
            "events_unbound",
            "flush_to_ldisc",
            320_000,
            percent(own),
        )];
        let threads = threads.iter().map(|share| {
            let mut thread = kthread("kworker", "kworker/u8:1", percent(*share));
            thread.workqueue = "events_unbound".to_owned();
            thread
        });
        summary.kthread = threads.collect();
        summary
    }

    #[test]
    fn a_function_that_runs_all_the_time_is_told_with_who_queues_it() {
        let mut summary = churning(40, &[40, 24, 21, 18, 16]);
        let diagnosis = of(&summary, &evidence(&[]));
        let first = &diagnosis.findings[0];
        assert_eq!(
            (first.id.as_str(), first.severity, first.confidence),
            ("WQ-CHURN", Severity::Warn, Confidence::Medium)
        );
        assert_eq!(
            diagnosis.first_line,
            "kworkers spend 119 % of a CPU in all on flush_to_ldisc of the workqueue events_unbound: it runs 32,000/s for 12.5 µs \
             each; most are queued by ptywriter (pid 4711)."
        );
        summary.workqueue[0].count = 900;
        let diagnosis = of(&summary, &evidence(&[]));
        assert!(
            found(&diagnosis, "WQ-CHURN").is_none() && ruled_out(&diagnosis, "WQ-CHURN").is_some()
        );
    }

    /// Function calls to the CPUs of those that it wakes up are no news beside it.
    #[test]
    fn kworkers_that_are_busy_together_come_first() {
        let mut summary = churning(4, &[8, 7, 6]);
        summary.hardirq = vec![hardirq(None, "CAL", 1, 170_000, percent(6))];
        let diagnosis = of(&summary, &evidence(&[]));
        let ids: Vec<_> = (diagnosis.findings.iter())
            .map(|finding| finding.id.as_str())
            .collect();
        assert_eq!(ids, ["WQ-CHURN", "IRQ-IPI"]);
        assert!(
            diagnosis
                .first_line
                .starts_with("Busy, without harm: kworkers spend 21 % of a CPU"),
            "{}",
            diagnosis.first_line
        );
    }
}
