use super::{Outcome, Rule};
use crate::diagnose::{
    draft::Draft,
    facts::{Facts, lines::of_thread},
    figures::time,
    finding::{Confidence, Severity},
    page::{Page, look_alike, owner, read, threshold},
};

/// A 99th percentile of waits.
const LATE_NS: u64 = 1_000_000;
/// A wait that needs no second.
const VERY_LATE_NS: u64 = 10_000_000;

pub(super) static RULE: Rule = Rule {
    page: Page {
        id: "IRQ-THREAD",
        title: "An interrupt's thread has to wait",
        means: "A threaded handler does its work in `irq/N-name`, a real-time thread of priority 50. It waits only for tasks of at least that priority, or while \
                real-time tasks are throttled: its device is slow meanwhile.",
        signals: &[
            "waits of irq/* threads for a CPU",
            "real-time tasks of priority 50 and more",
            "\"RT throttling activated\"",
        ],
        thresholds: &[
            threshold("99th percentile of the waits of a thread", "1 ms", "kctx"),
            threshold("a single wait", "10 ms", "kctx"),
        ],
        confused_with: &[
            look_alike("RT-STARVE", "ksoftirqd or RCU's threads wait"),
            look_alike("VM-STEAL", "the hypervisor has the CPU"),
        ],
        next: &[
            read(
                "See real-time tasks of priority 50 and more.",
                "ps -eLo pid,tid,cls,rtprio,psr,comm --sort=-rtprio | awk '$4 >= 50'",
            ),
            owner("A lower priority of those tasks, or other CPUs for the line or for them."),
        ],
        do_not: &[
            "Raise the priority of interrupt threads blindly: what they need (ksoftirqd, locks) stays below.",
        ],
    },
    explained_by: &["VM-STEAL"],
    judge,
};

fn judge(facts: &Facts<'_>) -> Outcome {
    let threads = facts
        .summary
        .kthread
        .iter()
        .filter(|row| row.role == "irq" && !row.overflow);
    let Some(worst) = threads.max_by_key(|row| row.wait.max_ns) else {
        return Outcome::Silent;
    };
    let often = worst.wait.count >= 100 && worst.wait.p99_ns >= LATE_NS;
    if worst.wait.max_ns < VERY_LATE_NS && !often {
        return Outcome::RuledOut(format!(
            "{} waited at most {} for a CPU (threshold {})",
            worst.comm,
            time(worst.wait.max_ns as f64),
            time(VERY_LATE_NS as f64)
        ));
    }
    let throttled = facts.logged(&["RT throttling activated"]);
    let confidence = if throttled.is_some() {
        Confidence::High
    } else {
        Confidence::Medium
    };
    let why = match throttled {
        Some(_) => "; the kernel throttled real-time tasks",
        None => "",
    };
    let mut draft = Draft::new(&RULE.page, Severity::Warn, confidence)
        .title(format!("{} waits up to {} for a CPU", worst.comm, time(worst.wait.max_ns as f64)))
        .statement(format!(
            "The interrupt thread {} (pid {}) waited up to {} for a CPU, {} on average{why}: its device is slow meanwhile.",
            worst.comm,
            worst.pid,
            time(worst.wait.max_ns as f64),
            time(worst.wait.mean_ns as f64)
        ))
        .process(&worst.comm, worst.pid)
        .step("thread", format!("{} (pid {})", worst.comm, worst.pid))
        .evidence(format!("summary.kthread[comm={}].wait", worst.comm), format!("max {}", time(worst.wait.max_ns as f64)));
    if let Some((number, _)) = of_thread(&worst.comm) {
        draft = draft.irq(number);
    }
    if let Some(line) = throttled {
        draft = draft.evidence("summary.log", line);
    }
    Outcome::Found(vec![draft.done()])
}

#[cfg(test)]
mod tests {
    use crate::diagnose::fixture::{durations, evidence, found, kthread, of, ruled_out, summary};

    #[test]
    fn a_thread_that_waits_long_is_found_and_one_that_waits_little_is_not() {
        let mut summary = summary();
        let mut thread = kthread("irq", "irq/36-nvme0q1", 1000);
        thread.wait = durations(1000, 90_000_000, 42_000_000);
        summary.kthread = vec![thread];
        let diagnosis = of(&summary, &evidence(&[]));
        let finding = found(&diagnosis, "IRQ-THREAD").unwrap();
        assert_eq!(finding.scope.irqs, ["36"]);
        summary.kthread[0].wait = durations(1000, 9_000_000, 800_000);
        let diagnosis = of(&summary, &evidence(&[]));
        assert!(
            found(&diagnosis, "IRQ-THREAD").is_none()
                && ruled_out(&diagnosis, "IRQ-THREAD").is_some()
        );
    }
}
