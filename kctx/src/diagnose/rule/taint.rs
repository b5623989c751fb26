use super::{Outcome, Rule};
use crate::diagnose::{
    draft::Draft,
    facts::Facts,
    figures::list,
    finding::{Confidence, Severity},
    page::{Page, look_alike, owner, read, threshold},
};

/// Flags of something that went wrong: died, bad page, machine check, soft lockup, warning.
const WRONG: [char; 5] = ['D', 'B', 'M', 'L', 'W'];

pub(super) static RULE: Rule = Rule {
    page: Page {
        id: "TAINT",
        title: "The kernel became tainted",
        means: "A taint is no cause. Its flags say that something happened (an oops, a warning, a machine check, a lockup), or that a module came whose code is not the kernel's. What else is \
                found has to be read with that in mind, and the first line of the log that belongs to it before all else.",
        signals: &[
            "changes of /proc/sys/kernel/tainted in the window",
            "modules that brought them",
        ],
        thresholds: &[
            threshold(
                "a flag D, B, M, L or W that is new",
                "one",
                "Documentation/admin-guide/tainted-kernels.rst",
            ),
            threshold(
                "another flag that is new, for information",
                "one",
                "the same",
            ),
        ],
        confused_with: &[look_alike(
            "MOD-LOOP",
            "a module that comes and goes, and taints each time",
        )],
        next: &[
            read(
                "Read the first such line, not the last.",
                "dmesg --level=emerg,alert,crit,err,warn | head -40",
            ),
            read(
                "See which modules taint.",
                "grep -H . /sys/module/*/taint | grep -v ':$'",
            ),
            owner("Whoever supports a kernel with foreign modules in it."),
        ],
        do_not: &["Take a taint for the cause of load."],
    },
    explained_by: &["MOD-LOOP"],
    judge,
};

fn judge(facts: &Facts<'_>) -> Outcome {
    let changes = &facts.summary.taint.changes;
    let added: String = changes
        .iter()
        .flat_map(|change| change.added.chars())
        .collect();
    if added.is_empty() {
        return match facts.summary.taint.value {
            Some(value) => {
                Outcome::RuledOut(format!("the taint did not change in the window ({value})"))
            }
            None => Outcome::Silent,
        };
    }
    let wrong = added.chars().any(|letter| WRONG.contains(&letter));
    let severity = if wrong {
        Severity::Crit
    } else {
        Severity::Info
    };
    let meanings: Vec<_> = (facts.summary.taint.flags.iter())
        .filter(|flag| added.contains(flag.letter))
        .map(|flag| format!("{} ({})", flag.letter, flag.name))
        .collect();
    let what = if meanings.is_empty() {
        added.clone()
    } else {
        list(&meanings)
    };
    let first = facts
        .summary
        .log
        .lines
        .iter()
        .find(|line| line.level <= 4 && !line.fragment)
        .map(|line| line.text.as_str());
    let log = first.map_or(String::new(), |line| {
        format!("; the first line of the log then is \"{line}\"")
    });
    let mut draft = Draft::new(&RULE.page, severity, Confidence::High)
        .title(format!("The kernel became tainted by {what}"))
        .statement(format!(
            "The kernel became tainted by {what} in the window{log}."
        ))
        .evidence("summary.taint.changes", format!("{added} added"));
    if let Some(line) = first {
        draft = draft.evidence("summary.log", line);
    }
    Outcome::Found(vec![draft.done()])
}

#[cfg(test)]
mod tests {
    use crate::{
        aggregate::window::TaintRow,
        diagnose::{
            finding::Severity,
            fixture::{evidence, found, of, ruled_out, summary},
        },
        report::summary::TaintSummary,
    };

    fn tainted(after: u64, added: &str) -> crate::diagnose::Diagnosis {
        let mut summary = summary();
        let changes = (!added.is_empty()).then(|| TaintRow {
            time_unix_ns: 0,
            before: 1,
            after,
            added: added.to_owned(),
        });
        summary.taint = TaintSummary::new(Some(after), changes.into_iter().collect());
        of(&summary, &evidence(&[]))
    }

    #[test]
    fn a_new_warning_is_critical_a_foreign_module_is_told_and_an_old_taint_is_a_caveat() {
        let warned = tainted(1 << 9, "W");
        assert_eq!(
            (warned.findings[0].id.as_str(), warned.findings[0].severity),
            ("TAINT", Severity::Crit)
        );
        assert_eq!(
            found(&tainted(1 << 12, "O"), "TAINT").unwrap().severity,
            Severity::Info
        );
        let old = tainted(1 << 9, "");
        assert!(found(&old, "TAINT").is_none());
        assert_eq!(
            ruled_out(&old, "TAINT"),
            Some("the taint did not change in the window (512)")
        );
        assert!(
            old.caveats
                .iter()
                .any(|caveat| caveat.contains("tainted by W")),
            "{:?}",
            old.caveats
        );
    }
}
