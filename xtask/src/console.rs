//! What a VM's console says of the kernel, of the tests, and of how it all ended.

use std::path::Path;

use crate::libtest::{self, Counts, Verdict, Verdicts};
use crate::record::Probe;

/// How the init script, and a test, start a line that is for xtask.
const MARKER: &str = "KCTX-VM ";

/// What the console has said so far.
#[derive(Default)]
pub(crate) struct Console {
    pub(crate) counts: Counts,
    pub(crate) verdicts: Verdicts,
    /// What tests could not ask there, and why.
    pub(crate) left_out: Vec<String>,
    /// `uname -r`
    pub(crate) release: Option<String>,
    /// `uname -v`
    pub(crate) version: Option<String>,
    /// Processors online.
    pub(crate) cpus: Option<u32>,
    /// Whether the VM has its kernel's BTF.
    pub(crate) btf: Option<bool>,
    pub(crate) probes: Vec<Probe>,
    exit: Option<i32>,
}

impl Console {
    pub(crate) fn read(&mut self, line: &str) {
        if let Some(what) = libtest::left_out(line) {
            self.left_out.push(what);
            return;
        }
        // A kernel message may come before it on the same line.
        let Some((_, said)) = line.split_once(MARKER) else {
            self.counts.read(line);
            self.verdicts.read(line);
            return;
        };
        let (what, value) = said.split_once(' ').unwrap_or((said, ""));
        let value = value.trim();
        match what {
            "kernel" => self.release = Some(value.to_owned()),
            "version" => self.version = Some(value.to_owned()),
            "cpus" => self.cpus = value.parse().ok(),
            "btf" => self.btf = Some(value == "yes"),
            // A line that the kernel broke into is no list of probes, and the record then has none.
            "probes" => self.probes = serde_json::from_str(value).unwrap_or_default(),
            "exit" => self.exit = value.parse().ok(),
            _ => {}
        }
    }

    /// What went wrong that no failed test tells, and where to read more.
    pub(crate) fn trouble(&self, log: &Path) -> Option<String> {
        let what = self.what_went_wrong()?;
        Some(format!("{what}; the console is in {}", log.display()))
    }

    /// The same without the machine's paths.
    pub(crate) fn what_went_wrong(&self) -> Option<String> {
        match self.exit {
            None => Some(match (self.verdicts.pending(), &self.release) {
                (Some(test), _) => format!("the VM ended during {test}"),
                (None, Some(_)) => "the VM ended during the tests".to_owned(),
                (None, None) => "the VM did not get to the tests".to_owned(),
            }),
            Some(0) if self.counts == Counts::default() => Some("no test was run".to_owned()),
            Some(0) => None,
            Some(_) if self.counts.failed > 0 => None,
            Some(code) => Some(format!("the test program ended with {code}")),
        }
    }

    /// The tests with this verdict, sorted.
    pub(crate) fn tests(&self, verdict: Verdict) -> Vec<String> {
        self.verdicts.with(verdict)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn console(lines: &[&str]) -> Console {
        let mut console = Console::default();
        for line in lines {
            console.read(line);
        }
        console
    }

    const OK: &str = "test result: ok. 2 passed; 0 failed; 0 ignored; 0 measured";
    const BAD: &str = "test result: FAILED. 1 passed; 1 failed; 0 ignored; 0 measured";

    #[test]
    fn only_a_marker_of_success_with_tests_is_good() {
        let log = Path::new("log");
        let good = console(&["KCTX-VM kernel 6.1", OK, "[ 1.2] noiseKCTX-VM exit 0"]);
        assert_eq!(good.trouble(log), None);
        assert_eq!(
            good.counts,
            Counts {
                passed: 2,
                failed: 0
            }
        );
        assert_eq!(
            console(&["KCTX-VM kernel 6.1", BAD, "KCTX-VM exit 101"]).trouble(log),
            None
        );
        for (lines, says) in [
            (&["SeaBIOS"][..], "did not get to"),
            (&["KCTX-VM kernel 6.1", OK][..], "ended during the tests"),
            (
                &["KCTX-VM kernel 6.1", "test a::b ... "][..],
                "ended during a::b",
            ),
            (&["KCTX-VM kernel 6.1", "KCTX-VM exit 0"][..], "no test"),
            (&["KCTX-VM kernel 6.1", "KCTX-VM exit 139"][..], "with 139"),
        ] {
            let trouble = console(lines).trouble(log).unwrap_or_default();
            assert!(trouble.contains(says), "{trouble}");
        }
    }

    #[test]
    fn the_kernels_facts_and_probes_are_read() {
        let probes = r#"KCTX-VM probes [{"name":"irq:softirq_raise","family":"softirq","attached":true,"mechanism":"tp_btf"}]"#;
        let seen = console(&[
            "KCTX-VM kernel 6.12.1-rt",
            "KCTX-VM version #1 SMP PREEMPT_RT Debian 6.12.1-1",
            "KCTX-VM cpus 16",
            "KCTX-VM btf no",
            "test vm::probes ... ",
            "KCTX-LEFT-OUT vm::probes: no tasklets\r",
            probes,
            "ok",
        ]);
        assert_eq!(seen.release.as_deref(), Some("6.12.1-rt"));
        assert_eq!((seen.cpus, seen.btf), (Some(16), Some(false)));
        assert_eq!(seen.left_out, ["vm::probes: no tasklets"]);
        assert_eq!(seen.probes.len(), 1);
        assert_eq!(seen.probes[0].mechanism.as_deref(), Some("tp_btf"));
        assert_eq!(seen.tests(Verdict::Passed), ["vm::probes"]);
        let cut = console(&["KCTX-VM probes [{\"name\":"]);
        assert!(cut.probes.is_empty());
    }
}
