use super::{Outcome, Rule};
use crate::diagnose::{
    draft::Draft,
    facts::Facts,
    figures::rate,
    finding::{Confidence, Severity},
    page::{Page, look_alike, owner, read, threshold},
};

/// Lines a second.
const MANY: f64 = 100.0;

pub(super) static RULE: Rule = Rule {
    page: Page {
        id: "LOG",
        title: "The kernel logs without end",
        means: "Each line takes time with locks held, and on a serial console with interrupts off: a line of 80 characters is 7 ms at 115,200 baud. What is logged is as a rule the \
                symptom, and who logs it the place to look.",
        signals: &["lines of the kernel's log, a second", "the first of them"],
        thresholds: &[threshold("lines", "100/s", "kctx")],
        confused_with: &[look_alike(
            "IRQ-LONG",
            "handlers that are long, maybe since they print",
        )],
        next: &[
            read(
                "Read what it is, the most frequent first.",
                "dmesg | cut -c16-80 | sort | uniq -c | sort -n | tail",
            ),
            read(
                "See what goes to which console.",
                "cat /proc/consoles /proc/sys/kernel/printk",
            ),
            owner("Cure what is logged; a lower console log level until then."),
        ],
        do_not: &["Turn logging off before somebody has read it."],
    },
    explained_by: &["IRQ-SPURIOUS"],
    judge,
};

fn judge(facts: &Facts<'_>) -> Outcome {
    let lines = facts.rate(facts.log_lines());
    if lines < MANY {
        return Outcome::RuledOut(format!(
            "the kernel logs {} lines (less than {})",
            rate(lines),
            rate(MANY)
        ));
    }
    let first = facts
        .summary
        .log
        .lines
        .first()
        .map_or("", |line| line.text.as_str());
    let begins = if first.is_empty() {
        String::new()
    } else {
        format!(", beginning with \"{first}\"")
    };
    let finding = Draft::new(&RULE.page, Severity::Warn, Confidence::High)
        .title(format!("The kernel logs {} lines", rate(lines)))
        .statement(format!("The kernel logs {} lines{begins}.", rate(lines)))
        .evidence("summary.log.by_level", rate(lines))
        .done();
    Outcome::Found(vec![finding])
}

#[cfg(test)]
mod tests {
    use crate::diagnose::fixture::{evidence, found, of, ruled_out, summary};

    #[test]
    fn a_flood_of_lines_is_found_and_a_few_are_not() {
        let mut summary = summary();
        summary.log.by_level[4] = 20_000;
        assert!(found(&of(&summary, &evidence(&[])), "LOG").is_some());
        summary.log.by_level[4] = 20;
        let diagnosis = of(&summary, &evidence(&[]));
        assert_eq!(
            ruled_out(&diagnosis, "LOG"),
            Some("the kernel logs 2.0/s lines (less than 100/s)")
        );
    }
}
