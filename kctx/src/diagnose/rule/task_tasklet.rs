use super::{Outcome, Rule, vectors::Busy};
use crate::diagnose::{
    facts::Facts,
    figures::{percent, rate},
    page::{Page, look_alike, owner, read, threshold},
};

pub(super) static RULE: Rule = Rule {
    page: Page {
        id: "TASK-TASKLET",
        title: "Tasklets or works in softirqs take a CPU",
        means: "The TASKLET and HI softirqs run drivers' tasklets, one after the other on a CPU. Since Linux 6.9 they run works of BH workqueues too \
                (`events_bh`), which look like tasklets and are none: kctx names their function and queue.",
        signals: &[
            "TASKLET's or HI's share of a CPU",
            "time by tasklet function",
            "works that ran in softirqs, by function",
        ],
        thresholds: &[threshold("of a CPU in TASKLET or HI", "10 %", "kctx")],
        confused_with: &[
            look_alike(
                "NET-TX",
                "`tcp_tsq_workfn` and `tcp_tasklet_func` follow a queue that holds back",
            ),
            look_alike(
                "IRQ-STORM",
                "the handler and not its tasklet takes the time",
            ),
        ],
        next: &[
            read(
                "See which driver the function is of.",
                "grep -w {function} /proc/kallsyms",
            ),
            read(
                "See its version and firmware.",
                "dmesg | grep -i firmware | tail ; cat /proc/modules | head -50",
            ),
            owner("A driver's or firmware's update, or its interrupts on other CPUs."),
        ],
        do_not: &["Look for a tasklet where the function is a work's: there is none."],
    },
    explained_by: &["NET-TX"],
    judge,
};

fn judge(facts: &Facts<'_>) -> Outcome {
    let mut silent = true;
    let mut because = None;
    for vector in ["TASKLET", "HI"] {
        let busy = Busy {
            page: &RULE.page,
            vector,
            what: "tasklets",
            code: None,
            defect: true,
        };
        if let Some((_, mut draft)) = busy.draft(facts) {
            let (name, words) = heaviest(facts);
            if !name.is_empty() {
                draft = draft
                    .function(&name)
                    .step("code", &words)
                    .evidence("summary.tasklet, summary.workqueue", words);
            }
            return Outcome::Found(vec![draft.done()]);
        }
        silent &= busy.not(facts).is_none();
        because = because.or_else(|| busy.not(facts));
    }
    match (silent, because) {
        (false, Some(because)) => Outcome::RuledOut(because),
        _ => Outcome::Silent,
    }
}

/// The function with most time, and words about it.
fn heaviest(facts: &Facts<'_>) -> (String, String) {
    let tasklet = facts
        .summary
        .tasklet
        .iter()
        .max_by_key(|row| row.service_net.sum_ns);
    let works = facts.summary.workqueue.iter().filter(|row| row.bh > 0);
    let work = works.max_by_key(|row| row.service_net.sum_ns);
    let of_tasklet = tasklet.map_or(0, |row| row.service_net.sum_ns);
    let of_work = work.map_or(0, |row| row.service_net.sum_ns);
    match (tasklet, work) {
        (_, Some(row)) if of_work >= of_tasklet => (
            row.function.clone(),
            format!(
                "the work {} of the BH workqueue {}: {} of a CPU, {} runs",
                row.function,
                row.workqueue,
                percent(facts.percent(of_work)),
                rate(facts.rate(row.count))
            ),
        ),
        (Some(row), _) => (
            row.function.clone(),
            format!(
                "the tasklet {}: {} of a CPU, {} runs",
                row.function,
                percent(facts.percent(of_tasklet)),
                rate(facts.rate(row.count))
            ),
        ),
        _ => (String::new(), String::new()),
    }
}

#[cfg(test)]
mod tests {
    use crate::diagnose::{
        finding::Severity,
        fixture::{evidence, found, of, percent, ruled_out, softirq, summary, work},
    };

    #[test]
    fn works_in_softirqs_are_called_works_and_a_quiet_vector_is_not_found() {
        let mut summary = summary();
        summary.softirq = vec![softirq("TASKLET", 1, "irq_tail", 9000, percent(40))];
        let mut bh = work("events_bh", "usb_giveback_urb_bh", 9000, percent(39));
        bh.bh = bh.count;
        summary.workqueue = vec![bh];
        let diagnosis = of(&summary, &evidence(&[]));
        let first = &diagnosis.findings[0];
        assert_eq!(
            (first.id.as_str(), first.severity, &first.scope.cpus[..]),
            ("TASK-TASKLET", Severity::Warn, &[1][..])
        );
        assert!(first.chain.iter().any(|step| {
            step.value
                .starts_with("the work usb_giveback_urb_bh of the BH workqueue events_bh")
        }));
        summary.softirq = vec![softirq("TASKLET", 1, "irq_tail", 9000, percent(2))];
        let diagnosis = of(&summary, &evidence(&[]));
        assert!(
            found(&diagnosis, "TASK-TASKLET").is_none()
                && ruled_out(&diagnosis, "TASK-TASKLET").is_some()
        );
    }
}
