use super::{Outcome, Rule};
use crate::diagnose::{
    draft::Draft,
    facts::{Facts, works::Work},
    figures::{percent, rate, time},
    finding::{Confidence, Finding, Severity},
    harm::HOT,
    page::{Page, look_alike, owner, read, threshold},
};

/// On a CPU without sleeping (`workqueue.cpu_intensive_thresh_us`).
const LONG_NS: u64 = 10_000_000;

pub(super) static RULE: Rule = Rule {
    page: Page {
        id: "WQ-HOG",
        title: "One work keeps a CPU for itself",
        means: "A work runs for more than 10 ms on its CPU. On a queue that is bound to CPUs all that waits there for a kworker waits for it.",
        signals: &[
            "the longest time of a work on its CPU, interrupts and softirqs taken out",
            "\"hogged CPU for >10000us\" in the kernel's log",
        ],
        thresholds: &[
            threshold(
                "one execution on a CPU",
                "10 ms",
                "workqueue.cpu_intensive_thresh_us",
            ),
            threshold(
                "such a work's time, to be a warning",
                "30 % of a CPU",
                "kctx",
            ),
        ],
        confused_with: &[
            look_alike("WQ-CHURN", "many short executions"),
            look_alike("WQ-WB", "wall time that is a wait for a disk"),
            look_alike("WQ-STALL", "what waits behind it"),
        ],
        next: &[
            read(
                "See whose function it is.",
                "grep -w {function} /proc/kallsyms",
            ),
            read(
                "See what the kernel logged of it.",
                "dmesg | grep 'hogged CPU'",
            ),
            owner(
                "Report it to who maintains that driver or file system; a newer version may do it in pieces.",
            ),
        ],
        do_not: &[
            "Change a workqueue's flags: \"consider switching to WQ_UNBOUND\" is said to its developers.",
        ],
    },
    explained_by: &["WQ-CG", "WQ-WB", "VM-STEAL"],
    judge,
};

fn judge(facts: &Facts<'_>) -> Outcome {
    let logged = facts.logged(&["hogged CPU"]);
    let works = facts.works();
    let longest = works.iter().max_by_key(|work| work.row.service_net.max_ns);
    let hogs = |work: &&Work<'_>| {
        work.row.service_net.max_ns >= LONG_NS && facts.percent(work.cpu_ns) >= HOT
    };
    let hog = works.iter().filter(hogs).max_by_key(|work| work.cpu_ns);
    if let Some(work) = hog {
        return Outcome::Found(vec![finding(facts, work, logged)]);
    }
    if let Some(line) = logged {
        let finding = Draft::new(&RULE.page, Severity::Warn, Confidence::Medium)
            .title("The kernel logged a work that keeps its CPU")
            .statement(format!(
                "The kernel logged a work that keeps its CPU for long: \"{line}\"."
            ))
            .function(line.split_whitespace().nth(1).unwrap_or_default())
            .evidence("summary.log", line)
            .done();
        return Outcome::Found(vec![finding]);
    }
    match longest {
        None => Outcome::Silent,
        Some(work) => Outcome::RuledOut(format!(
            "the longest work on a CPU, {}, took {} at most and {} of a CPU (threshold {} and {HOT:.0} %)",
            work.function,
            time(work.row.service_net.max_ns as f64),
            percent(facts.percent(work.cpu_ns)),
            time(LONG_NS as f64)
        )),
    }
}

fn finding(facts: &Facts<'_>, work: &Work<'_>, logged: Option<&str>) -> Finding {
    let confidence = if logged.is_some() {
        Confidence::High
    } else {
        Confidence::Medium
    };
    let mut draft = Draft::new(&RULE.page, Severity::Warn, confidence)
        .title(format!("{} keeps a CPU for up to {}", work.function, time(work.row.service_net.max_ns as f64)))
        .statement(format!(
            "{} of the workqueue {} keeps a CPU for up to {} at a time, {} of one in all ({} executions){}.",
            work.function,
            work.workqueue,
            time(work.row.service_net.max_ns as f64),
            percent(facts.percent(work.cpu_ns)),
            rate(facts.rate(work.count)),
            work.most_queued_by()
        ))
        .function(work.function)
        .step("work", format!("{} of {}", work.function, work.workqueue))
        .queued_by(work)
        .evidence(
            format!("summary.workqueue[function={}].service_net", work.function),
            format!("max {}, {} of a CPU", time(work.row.service_net.max_ns as f64), percent(facts.percent(work.cpu_ns))),
        );
    if let Some(line) = logged {
        draft = draft.evidence("summary.log", line);
    }
    draft.done()
}

#[cfg(test)]
mod tests {
    use crate::diagnose::fixture::{
        durations, evidence, found, of, percent, ruled_out, summary, work,
    };

    #[test]
    fn long_on_a_cpu_is_found_and_long_asleep_is_not() {
        let mut summary = summary();
        let mut hog = work("events", "drm_fb_helper_damage_work", 200, percent(45));
        hog.service_net = durations(200, percent(45), 40_000_000);
        summary.workqueue = vec![hog];
        let diagnosis = of(&summary, &evidence(&[]));
        let finding = found(&diagnosis, "WQ-HOG").unwrap();
        assert_eq!(finding.scope.functions, ["drm_fb_helper_damage_work"]);
        assert!(
            finding
                .statement
                .ends_with("; most are queued by ptywriter (pid 4711)."),
            "{}",
            finding.statement
        );
        // All of it was sleep.
        summary.workqueue[0].service_net = durations(200, percent(1), 1_000_000);
        let diagnosis = of(&summary, &evidence(&[]));
        assert!(found(&diagnosis, "WQ-HOG").is_none() && ruled_out(&diagnosis, "WQ-HOG").is_some());
    }
}
