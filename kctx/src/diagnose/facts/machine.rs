//! How CPUs are set apart: the kernel's command line and /sys/devices/system/cpu.

use super::either;
use crate::{capture::evidence_set::EvidenceSet, host::cpus::parse_cpu_list};

/// CPUs that were meant to be left alone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::diagnose) struct Machine {
    /// By `isolcpus=` or an isolated cpuset.
    pub(in crate::diagnose) isolated: Vec<u32>,
    /// By `nohz_full=`.
    pub(in crate::diagnose) nohz_full: Vec<u32>,
    /// Handlers of interrupts are threads.
    pub(in crate::diagnose) threadirqs: bool,
}

impl Machine {
    pub(super) fn of(evidence: &EvidenceSet) -> Self {
        let line = either(evidence, "proc/cmdline").unwrap_or_default();
        let of = |file: &str, option: &str| {
            let listed = either(evidence, &format!("sys/devices/system/cpu/{file}"));
            let listed = listed.and_then(|text| parse_cpu_list(text.trim()).ok());
            listed
                .filter(|cpus| !cpus.is_empty())
                .unwrap_or_else(|| from_line(&line, option))
        };
        Self {
            isolated: of("isolated", "isolcpus="),
            nohz_full: of("nohz_full", "nohz_full="),
            threadirqs: line.split_whitespace().any(|word| word == "threadirqs"),
        }
    }

    /// All of them.
    pub(in crate::diagnose) fn set_apart(&self) -> Vec<u32> {
        let mut cpus = [&self.isolated[..], &self.nohz_full[..]].concat();
        cpus.sort_unstable();
        cpus.dedup();
        cpus
    }
}

/// `isolcpus=managed_irq,domain,2-5`: flags, then the list.
fn from_line(line: &str, option: &str) -> Vec<u32> {
    let value = line
        .split_whitespace()
        .find_map(|word| word.strip_prefix(option));
    let value = value.unwrap_or_default();
    let list: Vec<&str> = value
        .split(',')
        .filter(|part| part.starts_with(|c: char| c.is_ascii_digit()))
        .collect();
    parse_cpu_list(&list.join(",")).unwrap_or_default()
}
