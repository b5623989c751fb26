use super::{Outcome, Rule};
use crate::diagnose::{
    draft::Draft,
    facts::{Facts, lines::Line},
    figures::{list, number, percent, rate},
    finding::{Confidence, Finding, Severity},
    page::{Page, look_alike, owner, read, threshold},
};

/// Part of a line's interrupts that nobody claims: some are ordinary on a shared line (they raced).
const PART: f64 = 50.0;
/// The same, of a line that the kernel will turn off (kernel/irq/spurious.c: 99,900 of 100,000).
const NEARLY_ALL: f64 = 99.0;
/// Interrupts a second: fewer are no load.
const SOME: f64 = 100.0;

pub(super) static RULE: Rule = Rule {
    page: Page {
        id: "IRQ-SPURIOUS",
        title: "Interrupts that no driver claims",
        means: "All handlers of a line say that it was not their device (IRQ_NONE). When 99,900 of 100,000 are so, the kernel turns the line off and polls it \
                ten times a second: its devices become slow. On a shared line a healthy driver says so of the other's interrupts; only what \
                nobody claims counts.",
        signals: &[
            "calls of a line's handlers, and how many claimed one",
            "`spurious` of the line in /proc/irq, at both edges",
            "\"nobody cared\" and \"Disabling IRQ\" in the kernel's log",
        ],
        thresholds: &[
            threshold(
                "unclaimed of a line's interrupts",
                "50 %, at 100/s or more",
                "kctx",
            ),
            threshold(
                "unclaimed, so that the line is about to be turned off",
                "99 %",
                "kernel/irq/spurious.c has 99.9 %",
            ),
        ],
        confused_with: &[look_alike(
            "IRQ-STORM",
            "the interrupts are claimed, and there are too many",
        )],
        next: &[
            read(
                "See what shares the line.",
                "grep -w '{irq}:' /proc/interrupts ; ls /proc/irq/{irq} ; cat /proc/irq/{irq}/spurious",
            ),
            read(
                "See whether the kernel turned it off.",
                "dmesg | grep -iE 'nobody cared|Disabling IRQ'",
            ),
            owner("No sharing (MSI), or new firmware of the device that raises it."),
        ],
        do_not: &[
            "Take irqpoll or noirqdebug for a cure: they hide it, and cost time at each tick.",
        ],
    },
    explained_by: &[],
    judge,
};

fn judge(facts: &Facts<'_>) -> Outcome {
    let logged = facts
        .logged(&["nobody cared"])
        .or_else(|| facts.logged(&["Disabling IRQ"]));
    let lines: Vec<_> = facts
        .lines()
        .into_iter()
        .filter(Line::is_numbered)
        .collect();
    let worst = (lines.iter())
        .filter(|line| line.unclaimed >= PART && line.rate >= SOME)
        .max_by(|a, b| (a.rate * a.unclaimed).total_cmp(&(b.rate * b.unclaimed)));
    match (worst, logged, lines.is_empty()) {
        (Some(line), logged, _) => Outcome::Found(vec![finding(line, logged)]),
        (None, Some(line), _) => Outcome::Found(vec![disabled(line)]),
        (None, None, true) => Outcome::Silent,
        (None, None, false) => {
            let most = lines
                .iter()
                .map(|line| line.rate * line.unclaimed / 100.0)
                .fold(0.0, f64::max);
            Outcome::RuledOut(format!(
                "at most {} interrupts of a line were claimed by nobody (threshold {} and {PART:.0} %)",
                rate(most),
                rate(SOME)
            ))
        }
    }
}

fn finding(line: &Line, logged: Option<&str>) -> Finding {
    let nearly_all = line.unclaimed >= NEARLY_ALL;
    let severity = if nearly_all || logged.is_some() {
        Severity::Crit
    } else {
        Severity::Warn
    };
    let sharers = match line.actions.len() {
        1 => format!("its one handler is {}'s", line.actions[0]),
        _ => format!("{} share it", list(&line.actions)),
    };
    let end = match (logged, nearly_all) {
        (Some(_), _) => "; the kernel has turned the line off",
        (None, true) => "; the kernel turns such a line off after 100,000",
        (None, false) => "",
    };
    let mut draft = Draft::new(&RULE.page, severity, Confidence::High)
        .title(format!(
            "Interrupt {}: {} claimed by no handler",
            line.label,
            percent(line.unclaimed)
        ))
        .statement(format!(
            "Interrupt {}: no handler claimed {} of {} interrupts/s on CPU {} ({sharers}){end}.",
            line.label,
            percent(line.unclaimed),
            number(line.rate),
            line.cpu
        ))
        .share(line.cpu, "hardirq", line.percent)
        .cpu(line.cpu)
        .irq(&line.label)
        .step(
            "interrupt",
            format!(
                "{}: {}, {} unclaimed",
                line.words(),
                rate(line.rate),
                percent(line.unclaimed)
            ),
        )
        .evidence(
            format!(
                "summary.hardirq[irq={},cpu={}].unhandled",
                line.label, line.cpu
            ),
            percent(line.unclaimed),
        );
    for action in &line.actions {
        draft = draft.device(action);
    }
    if let Some(line) = logged {
        draft = draft.evidence("summary.log", line);
    }
    draft.done()
}

fn disabled(line: &str) -> Finding {
    Draft::new(&RULE.page, Severity::Crit, Confidence::Medium)
        .title("The kernel turned an interrupt line off")
        .statement(format!("The kernel turned an interrupt line off that nobody claimed, and polls it now: \"{line}\"."))
        .evidence("summary.log", line)
        .done()
}

#[cfg(test)]
mod tests {
    use crate::diagnose::{
        finding::Severity,
        fixture::{evidence, found, hardirq, of, ruled_out, summary},
    };

    #[test]
    fn only_what_no_sharer_claims_counts() {
        let mut summary = summary();
        let mut first = hardirq(Some(19), "i801_smbus", 1, 400, 1);
        let mut second = hardirq(Some(19), "ehci_hcd", 1, 0, 1);
        (first.unhandled, second.unhandled) = (409_600, 410_000);
        summary.hardirq = vec![first, second];
        let diagnosis = of(&summary, &evidence(&[]));
        let finding = &diagnosis.findings[0];
        assert_eq!(
            (
                finding.id.as_str(),
                finding.severity,
                &finding.scope.cpus[..]
            ),
            ("IRQ-SPURIOUS", Severity::Crit, &[1][..])
        );
        assert_eq!(
            diagnosis.first_line,
            "Interrupt 19: no handler claimed 100 % of 41,000 interrupts/s on CPU 1 (i801_smbus and ehci_hcd share it); the kernel \
             turns such a line off after 100,000."
        );
        // Each claims its own, and none of the other's.
        for (row, claimed) in summary.hardirq.iter_mut().zip([200_000, 210_000]) {
            (row.count, row.unhandled) = (claimed, 410_000 - claimed);
        }
        let diagnosis = of(&summary, &evidence(&[]));
        assert!(
            found(&diagnosis, "IRQ-SPURIOUS").is_none()
                && ruled_out(&diagnosis, "IRQ-SPURIOUS").is_some()
        );
    }
}
