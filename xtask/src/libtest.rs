//! Reads what Rust's test harness prints.

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

/// Runs tests with their output in view, and counts.
pub(crate) fn run(cargo: &mut Command) -> Result<(Counts, ExitStatus)> {
    let shown = command::shown(cargo);
    eprintln!("==> {shown}");
    let mut child = cargo
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start `{shown}`"))?;
    let mut counts = Counts::default();
    if let Some(stdout) = child.stdout.take() {
        let mut stdout = BufReader::new(stdout);
        let mut line = Vec::new();
        // A test may print any bytes.
        while stdout.read_until(b'\n', &mut line).is_ok_and(|n| n > 0) {
            counts.read(&String::from_utf8_lossy(&line));
            // Our own stdout may be closed, as under `| head`: the tests go on.
            let _ = std::io::stdout().write_all(&line);
            line.clear();
        }
    }
    let status = child
        .wait()
        .with_context(|| format!("cannot wait for `{shown}`"))?;
    Ok((counts, status))
}

#[cfg(test)]
mod tests {
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
}
