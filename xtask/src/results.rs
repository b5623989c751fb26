//! The table at the end of a test run.

use std::fmt::Write;
use std::process::ExitCode;
use std::time::Duration;

use crate::libtest::Counts;

/// With this set to 1, a group that was not run is a failure.
const REQUIRE_VARIABLE: &str = "KCTX_REQUIRE_LIVE";

/// What became of a group of tests.
#[derive(Debug)]
pub(crate) enum Outcome {
    Ran {
        counts: Counts,
        took: Duration,
        /// Why the group failed, where the counts do not say it.
        note: Option<String>,
        /// What tests that passed could not ask of this machine, and why.
        left_out: Vec<String>,
        /// Tests that failed first, and passed when they were run alone.
        at_second_try: Vec<String>,
    },
    NotRun(String),
    /// The same where nothing that xtask does could change it: never a failure.
    LeftOut(String),
}

/// A row of the table.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) name: String,
    pub(crate) outcome: Outcome,
}

impl Group {
    pub(crate) fn not_run(name: &str, reason: String) -> Self {
        Self {
            name: name.to_owned(),
            outcome: Outcome::NotRun(reason),
        }
    }

    pub(crate) fn left_out(name: &str, reason: String) -> Self {
        Self {
            name: name.to_owned(),
            outcome: Outcome::LeftOut(reason),
        }
    }

    /// A group that ended; `trouble` is what went wrong besides the tests that say so themselves.
    pub(crate) fn ran(
        name: &str,
        mut counts: Counts,
        took: Duration,
        trouble: Option<String>,
    ) -> Self {
        // Trouble without a failed test is a failure all the same.
        if trouble.is_some() && counts.failed == 0 {
            counts.failed = 1;
        }
        Self {
            name: name.to_owned(),
            outcome: Outcome::Ran {
                counts,
                took,
                note: trouble,
                left_out: Vec::new(),
                at_second_try: Vec::new(),
            },
        }
    }

    /// The same with what its tests left out.
    pub(crate) fn with_left_out(mut self, mut what: Vec<String>) -> Self {
        if let Outcome::Ran { left_out, .. } = &mut self.outcome {
            what.sort();
            what.dedup();
            *left_out = what;
        }
        self
    }

    /// The same after those that failed were run once more, alone: these passed, and count as that. They are named.
    pub(crate) fn with_second_try(mut self, passed: Vec<String>) -> Self {
        if let Outcome::Ran {
            counts,
            at_second_try,
            ..
        } = &mut self.outcome
        {
            let number = counts.failed.min(passed.len() as u64);
            counts.failed -= number;
            counts.passed += number;
            *at_second_try = passed;
        }
        self
    }
}

/// Prints the table and decides the exit status; `strict` makes NOT RUN a failure.
pub(crate) fn finish(groups: &[Group], strict: bool) -> ExitCode {
    print!("{}", table(groups));
    if is_good(groups, strict) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// True if the environment asks for every group to run.
pub(crate) fn all_required() -> bool {
    std::env::var(REQUIRE_VARIABLE).is_ok_and(|value| value == "1")
}

fn is_good(groups: &[Group], strict: bool) -> bool {
    groups.iter().all(|group| match &group.outcome {
        Outcome::Ran { counts, .. } => counts.failed == 0,
        Outcome::NotRun(_) => !strict,
        Outcome::LeftOut(_) => true,
    })
}

fn table(groups: &[Group]) -> String {
    let width = groups.iter().map(|group| group.name.len()).max();
    let width = width.unwrap_or(0).max("group".len());
    let mut text = format!("\n{:width$}  passed  failed  seconds\n", "group");
    let (mut total, mut not_run) = (Counts::default(), 0);
    for group in groups {
        // Writing to a String cannot fail.
        let _ = match &group.outcome {
            Outcome::Ran {
                counts, took, note, ..
            } => {
                total.passed += counts.passed;
                total.failed += counts.failed;
                writeln!(
                    text,
                    "{:width$}  {:6}  {:6}  {:7}  {}",
                    group.name,
                    counts.passed,
                    counts.failed,
                    took.as_secs(),
                    note.as_deref().unwrap_or("")
                )
            }
            Outcome::NotRun(reason) | Outcome::LeftOut(reason) => {
                not_run += 1;
                writeln!(text, "{:width$}  NOT RUN: {reason}", group.name)
            }
        };
    }
    text = text.lines().fold(String::new(), |mut all, line| {
        all.push_str(line.trim_end());
        all.push('\n');
        all
    });
    text.push_str(&footnotes(groups));
    if not_run > 0 {
        let _ = writeln!(text, "\n{not_run} of {} groups NOT RUN", groups.len());
    }
    let Counts { passed, failed } = total;
    let _ = writeln!(text, "\n{passed} passed, {failed} failed");
    text
}

/// What tests that passed did not ask, and which did not pass at once, so that nobody takes them for more than they are.
fn footnotes(groups: &[Group]) -> String {
    let mut text = String::new();
    for group in groups {
        if let Outcome::Ran {
            left_out,
            at_second_try,
            ..
        } = &group.outcome
        {
            for (what, list) in [
                ("left out", left_out),
                ("failed first, and passed at the second try", at_second_try),
            ] {
                if !list.is_empty() {
                    let _ = writeln!(text, "\n{what}, {}", group.name);
                }
                for item in list {
                    let _ = writeln!(text, "  {item}");
                }
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_left_out_is_listed_once() {
        let ran = |name| Group::ran(name, counts(3, 0), Duration::ZERO, None);
        let what = ["b: no nft", "a: one CPU", "b: no nft"].map(str::to_owned);
        let groups = [ran("e2e"), ran("live").with_left_out(what.to_vec())];
        let text = table(&groups);
        assert!(
            text.contains("\nleft out, live\n  a: one CPU\n  b: no nft\n\n6 passed"),
            "{text}"
        );
        assert!(is_good(&groups, true));
    }

    #[test]
    fn what_passed_at_the_second_try_is_named() {
        let live = Group::ran("live", counts(3, 2), Duration::ZERO, None);
        let groups = [live.with_second_try(vec!["a::b".to_owned()])];
        let text = table(&groups);
        assert!(
            text.ends_with(
                "failed first, and passed at the second try, live\n  a::b\n\n4 passed, 1 failed\n"
            ),
            "{text}"
        );
        assert!(!is_good(&groups, true));
    }

    fn counts(passed: u64, failed: u64) -> Counts {
        Counts { passed, failed }
    }

    #[test]
    fn the_last_line_sums_the_groups() {
        let groups = [
            Group::ran("unit", counts(10, 0), Duration::from_secs(5), None),
            Group::ran("live", counts(3, 1), Duration::from_secs(61), None),
            Group::not_run("VM 6.1", "no QEMU".to_owned()),
        ];
        let expected = "\n\
            group   passed  failed  seconds\n\
            unit        10       0        5\n\
            live         3       1       61\n\
            VM 6.1  NOT RUN: no QEMU\n\
            \n1 of 3 groups NOT RUN\n\
            \n13 passed, 1 failed\n";
        assert_eq!(table(&groups), expected);
        assert!(!is_good(&groups, false));
    }

    #[test]
    fn a_group_not_run_fails_only_a_strict_run() {
        let groups = [Group::not_run("live", "not root".to_owned())];
        assert!(is_good(&groups, false));
        assert!(!is_good(&groups, true));
    }

    #[test]
    fn trouble_without_a_failed_test_fails() {
        let group = Group::ran("e2e", counts(4, 0), Duration::ZERO, Some("crashed".into()));
        assert!(!is_good(&[group], false));
    }
}
