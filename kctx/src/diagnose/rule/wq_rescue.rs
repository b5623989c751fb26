use super::{Outcome, Rule};
use crate::{
    capture::evidence::Phase,
    diagnose::{
        draft::Draft,
        facts::Facts,
        figures::{percent, time},
        finding::{Confidence, Severity},
        page::{Page, look_alike, owner, read, threshold},
    },
};

const PRESSURE: &str = "proc/pressure/memory";
/// Time of rescuers in the window: they are woken for nothing now and then.
const TIME_NS: u64 = 10_000_000;
/// Part of the window in which all tasks waited for memory.
const STALLED: f64 = 1.0;

pub(super) static RULE: Rule = Rule {
    page: Page {
        id: "WQ-RESCUE",
        title: "Rescuers work, since no kworker can be made",
        means: "A workqueue that memory is freed by has a thread in reserve (`kworker/R-name`; before 6.12 named as the queue). It works only when no new kworker could be made: \
                memory is short.",
        signals: &[
            "time of kworker/R-* threads",
            "pressure of memory (/proc/pressure/memory)",
        ],
        thresholds: &[
            threshold("time of rescuers", "10 ms in the window", "kctx"),
            threshold(
                "all tasks stalled for memory, to be a warning",
                "1 % of the window",
                "kctx",
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
            owner("More memory, or less use of it."),
        ],
        do_not: &["Look for the cause in the workqueue."],
    },
    explained_by: &[],
    judge,
};

fn judge(facts: &Facts<'_>) -> Outcome {
    let rescuers = facts
        .summary
        .kthread
        .iter()
        .filter(|row| row.role == "kworker" && row.comm.starts_with("kworker/R-"));
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
    let severity = if short {
        Severity::Warn
    } else {
        Severity::Info
    };
    let confidence = if short {
        Confidence::High
    } else {
        Confidence::Medium
    };
    let memory = stalled.map_or(String::new(), |stalled| {
        format!(
            "; all tasks waited for memory for {} of the window",
            percent(stalled)
        )
    });
    let mut draft = Draft::new(&RULE.page, severity, confidence)
        .title(format!("The rescuer {} works", most.comm))
        .statement(format!(
            "Rescuers of workqueues, {} most, ran for {}{memory}: kworkers could not be made.",
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
        summary.kthread = vec![kthread("kworker", "kworker/R-xfs-c", 4_000)];
        let diagnosis = of(&summary, &files);
        assert!(
            found(&diagnosis, "WQ-RESCUE").is_none()
                && ruled_out(&diagnosis, "WQ-RESCUE").is_some()
        );
    }
}
