use super::{Outcome, Rule};
use crate::diagnose::{
    draft::Draft,
    facts::{Facts, lines::Line},
    figures::{rate, time},
    finding::{Confidence, Finding, Severity},
    page::{Page, look_alike, owner, read, threshold},
};

/// A handler that is long.
const LONG_NS: u64 = 1_000_000;
/// One that delays what has to be on time.
const VERY_LONG_NS: u64 = 10_000_000;
/// Fewer calls have no 99th percentile: a single one may have been interrupted by a hypervisor.
const ENOUGH: u64 = 20;

pub(super) static RULE: Rule = Rule {
    page: Page {
        id: "IRQ-LONG",
        title: "An interrupt handler runs for long",
        means: "While a handler runs, nothing else does on that CPU: no other interrupt, no timer, no watchdog. Serial consoles that print, slow buses (I2C, \
                GPIO) and drivers that wait in their handler are the usual ones.",
        signals: &[
            "the 99th percentile of a line's handlers",
            "\"long duration of IRQ\" in the kernel's log (7.x with irqhandler.duration_warn_us)",
        ],
        thresholds: &[
            threshold("99th percentile of at least 20 calls", "1 ms", "kctx"),
            threshold("the same, critical", "10 ms", "kctx"),
        ],
        confused_with: &[
            look_alike(
                "VM-STEAL",
                "all handlers are long at once: the hypervisor had the CPU",
            ),
            look_alike("LOG", "lines that are printed to a serial console"),
        ],
        next: &[
            read(
                "See which driver's line it is.",
                "grep -w '{irq}:' /proc/interrupts",
            ),
            read(
                "See whether the console is serial and prints much.",
                "cat /proc/sys/kernel/printk /proc/consoles",
            ),
            owner("The driver's update, or threaded interrupts for it."),
        ],
        do_not: &["Judge by one call alone: a hypervisor that took the CPU looks the same."],
    },
    explained_by: &["VM-STEAL"],
    judge,
};

fn judge(facts: &Facts<'_>) -> Outcome {
    let logged = facts.logged(&["long duration of IRQ"]);
    let lines = facts.lines();
    let long = |line: &&Line| line.p99_ns >= LONG_NS && line.count >= ENOUGH;
    if let Some(line) = lines.iter().filter(long).max_by_key(|line| line.p99_ns) {
        return Outcome::Found(vec![finding(line, logged)]);
    }
    match lines.iter().max_by_key(|line| line.longest_ns) {
        None => Outcome::Silent,
        Some(line) => Outcome::RuledOut(format!(
            "the longest handler, of {} on CPU {}, took {}, and no line's 99th percentile {} or more",
            line.words(),
            line.cpu,
            time(line.longest_ns as f64),
            time(LONG_NS as f64)
        )),
    }
}

fn finding(line: &Line, logged: Option<&str>) -> Finding {
    let severity = if line.p99_ns >= VERY_LONG_NS {
        Severity::Crit
    } else {
        Severity::Warn
    };
    let mut draft = Draft::new(&RULE.page, severity, Confidence::Medium)
        .title(format!("Handlers of {} on CPU {} run for {}", line.words(), line.cpu, time(line.p99_ns as f64)))
        .statement(format!(
            "1 % of the handlers of {} on CPU {} take {} or more (at most {}, {} interrupts): nothing else runs there meanwhile.",
            line.words(),
            line.cpu,
            time(line.p99_ns as f64),
            time(line.longest_ns as f64),
            rate(line.rate)
        ))
        .share(line.cpu, "hardirq", line.percent)
        .cpu(line.cpu)
        .irq(&line.label)
        .step("interrupt", format!("{}, {}", line.words(), rate(line.rate)))
        .evidence(
            format!("summary.hardirq[irq={},cpu={}].service", line.label, line.cpu),
            format!("p99 {}, max {}", time(line.p99_ns as f64), time(line.longest_ns as f64)),
        );
    if let Some(line) = logged {
        draft = draft.evidence("summary.log", line);
    }
    draft.done()
}

#[cfg(test)]
mod tests {
    use crate::diagnose::{
        finding::Severity,
        fixture::{durations, evidence, found, hardirq, of, percent, ruled_out, summary},
    };

    #[test]
    fn handlers_that_are_long_again_and_again_are_found_and_a_single_one_is_not() {
        let mut summary = summary();
        summary.hardirq = vec![hardirq(Some(4), "ttyS0", 0, 500, percent(20))];
        let diagnosis = of(&summary, &evidence(&[]));
        let first = &diagnosis.findings[0];
        assert_eq!(
            (first.id.as_str(), first.severity, &first.scope.irqs[..]),
            ("IRQ-LONG", Severity::Warn, &["4".to_owned()][..])
        );
        summary.hardirq[0].service = durations(500, 1_000_000, 14_000_000);
        let diagnosis = of(&summary, &evidence(&[]));
        assert!(found(&diagnosis, "IRQ-LONG").is_none());
        assert!(
            ruled_out(&diagnosis, "IRQ-LONG")
                .unwrap()
                .contains("took 14.0 ms")
        );
    }
}
