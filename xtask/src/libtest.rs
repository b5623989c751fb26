//! Reads what Rust's test harness prints.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, ExitStatus, Stdio};

use anyhow::{Context, Result};

use crate::command;

/// How many tests passed and failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
}

impl Counts {
    /// Adds what one line of output says.
    pub(crate) fn read(&mut self, line: &str) {
        if let Some(counts) = parse(line) {
            self.passed += counts.passed;
            self.failed += counts.failed;
        }
    }
}

/// The numbers of `test result: ok. 3 passed; 0 failed; ...`.
fn parse(line: &str) -> Option<Counts> {
    let (_, result) = line.split_once("test result: ")?;
    let (_, numbers) = result.split_once(". ")?;
    let number = |what: &str| {
        numbers.split(';').find_map(|part| {
            part.trim()
                .strip_suffix(what)
                .and_then(|number| number.trim().parse().ok())
        })
    };
    Some(Counts {
        passed: number("passed")?,
        failed: number("failed")?,
    })
}

/// How many failures of a group may be accidents.
const A_FEW: usize = 3;

/// What became of one test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Passed,
    Failed,
    Ignored,
}

/// What became of each test by its name, where they ran one at a time.
#[derive(Debug, Default)]
pub(crate) struct Verdicts {
    known: BTreeMap<String, Verdict>,
    /// The test that has begun. What it prints past the harness comes before its verdict.
    pending: Option<String>,
}

impl Verdicts {
    /// Takes what one line of output says.
    pub(crate) fn read(&mut self, line: &str) {
        let mut rest = line;
        if let Some((name, after)) = begun(line) {
            self.pending = Some(name.to_owned());
            rest = after;
        }
        if self.pending.is_some()
            && let Some(verdict) = verdict(rest)
            && let Some(name) = self.pending.take()
        {
            self.known.insert(name, verdict);
        }
    }

    /// The test that began and did not end.
    pub(crate) fn pending(&self) -> Option<&str> {
        self.pending.as_deref()
    }

    /// The few that failed, where they are worth a second try: tests of what the kernel does in time fail now and then on a
    /// machine that is not theirs alone. Nothing where it is more than a few, and then it is no accident.
    pub(crate) fn worth_a_second_try(&self) -> Vec<String> {
        let failed = self.with(Verdict::Failed);
        if failed.len() <= A_FEW {
            failed
        } else {
            Vec::new()
        }
    }

    /// The names of the tests with this verdict, sorted.
    pub(crate) fn with(&self, verdict: Verdict) -> Vec<String> {
        let tests = self.known.iter().filter(|(_, known)| **known == verdict);
        tests.map(|(name, _)| name.clone()).collect()
    }
}

/// `test NAME ... ` and what comes after it.
fn begun(line: &str) -> Option<(&str, &str)> {
    let (_, rest) = line.split_once("test ")?;
    let (name, after) = rest.split_once(" ...")?;
    let (name, _) = name.split_once(" - ").unwrap_or((name, ""));
    (!name.contains(' ')).then_some((name, after))
}

/// What a test prints may come before the verdict without a line's end.
fn verdict(text: &str) -> Option<Verdict> {
    if text.trim_start().starts_with("ignored") {
        return Some(Verdict::Ignored);
    }
    match text.trim_end().rsplit([' ', '.']).next() {
        Some("ok") => Some(Verdict::Passed),
        Some("FAILED") => Some(Verdict::Failed),
        _ => None,
    }
}

/// How a test starts a line that says what it could not ask of this machine (`kctx_tests::left_out`).
const LEFT_OUT: &str = "KCTX-LEFT-OUT ";

/// What a line says was left out: the test, and why.
pub(crate) fn left_out(line: &str) -> Option<String> {
    let (_, said) = line.split_once(LEFT_OUT)?;
    Some(said.trim().to_owned())
}

/// Those that pass of the few that failed first.
pub(crate) fn second_try(
    first: &Verdicts,
    run: impl FnOnce(&[String]) -> Result<Verdicts>,
) -> Vec<String> {
    let again = first.worth_a_second_try();
    if again.is_empty() {
        return again;
    }
    let mut passed = match run(&again) {
        Ok(second) => second.with(Verdict::Passed),
        Err(error) => {
            eprintln!("==> the second try: {error:#}");
            Vec::new()
        }
    };
    passed.retain(|test| again.contains(test));
    passed
}

/// What a run of tests said.
#[derive(Debug, Default)]
pub(crate) struct Ran {
    pub(crate) counts: Counts,
    pub(crate) verdicts: Verdicts,
    pub(crate) left_out: Vec<String>,
}

impl Ran {
    fn read(&mut self, line: &str) {
        self.counts.read(line);
        self.verdicts.read(line);
        self.left_out.extend(left_out(line));
    }
}

/// Runs tests with their output in view.
pub(crate) fn run(cargo: &mut Command) -> Result<(Ran, ExitStatus)> {
    let shown = command::shown(cargo);
    eprintln!("==> {shown}");
    let mut child = cargo
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start `{shown}`"))?;
    let mut ran = Ran::default();
    if let Some(stdout) = child.stdout.take() {
        let mut stdout = BufReader::new(stdout);
        let mut line = Vec::new();
        // A test may print any bytes.
        while stdout.read_until(b'\n', &mut line).is_ok_and(|n| n > 0) {
            ran.read(&String::from_utf8_lossy(&line));
            // Our own stdout may be closed, as under `| head`: the tests go on.
            let _ = std::io::stdout().write_all(&line);
            line.clear();
        }
    }
    let status = child
        .wait()
        .with_context(|| format!("cannot wait for `{shown}`"))?;
    Ok((ran, status))
}

#[cfg(test)]
mod tests {
    use anyhow::bail;

    use super::*;

    #[test]
    fn results_are_summed_over_targets() {
        let mut counts = Counts::default();
        for line in [
            "running 2 tests",
            "test a ... ok",
            "test result: ok. 12 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.01s",
            "test result: FAILED. 3 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out\r",
            "test says_result ... test result: nonsense",
            "test result: ok",
        ] {
            counts.read(line);
        }
        assert_eq!(
            counts,
            Counts {
                passed: 15,
                failed: 2
            }
        );
    }

    #[test]
    fn verdicts_are_found_behind_what_the_tests_print() {
        let mut verdicts = Verdicts::default();
        for line in [
            "running 5 tests",
            "test a::one ... ok",
            "test a::two ... FAILED",
            "test a::three ... ignored, not here",
            "test a::four ... .......",
            "............................",
            "....ok",
            "all is ok",
            "test a::five - should panic ... ok",
            "test a::six ... ",
            "test result: FAILED. 3 passed; 1 failed; 1 ignored; 0 measured",
        ] {
            verdicts.read(line);
        }
        assert_eq!(
            verdicts.with(Verdict::Passed),
            ["a::five", "a::four", "a::one"]
        );
        assert_eq!(verdicts.with(Verdict::Failed), ["a::two"]);
        assert_eq!(verdicts.with(Verdict::Ignored), ["a::three"]);
        assert_eq!(verdicts.pending(), Some("a::six"));
    }

    #[test]
    fn a_few_failures_are_worth_a_second_try_and_many_are_not() {
        assert!(verdicts(&[]).worth_a_second_try().is_empty());
        let mut some = verdicts(&[
            "test c ... FAILED",
            "test a ... FAILED",
            "test b ... FAILED",
            "test d ... ok",
        ]);
        assert_eq!(some.worth_a_second_try(), ["a", "b", "c"]);
        some.read("test e ... FAILED");
        assert!(some.worth_a_second_try().is_empty());
    }

    fn verdicts(lines: &[&str]) -> Verdicts {
        let mut verdicts = Verdicts::default();
        for line in lines {
            verdicts.read(line);
        }
        verdicts
    }

    #[test]
    fn what_fails_twice_has_failed() {
        let first = verdicts(&["test a ... FAILED", "test b ... ok", "test c ... FAILED"]);
        let tried = second_try(&first, |tests| {
            assert_eq!(tests, ["a", "c"]);
            Ok(verdicts(&[
                "test a ... ok",
                "test b ... ok",
                "test c ... FAILED",
            ]))
        });
        assert_eq!(tried, ["a"]);
        // Not begun, and not even started.
        assert!(second_try(&first, |_| Ok(verdicts(&["test a ... "]))).is_empty());
        assert!(second_try(&first, |_| bail!("no cargo")).is_empty());
        let good = verdicts(&["test a ... ok"]);
        assert!(second_try(&good, |_| panic!("nothing failed")).is_empty());
    }
}
