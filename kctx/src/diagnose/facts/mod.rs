//! What the rules reason about: figures of the summary, and the evidence parsed, once for all of them.
//!
//! Any file of evidence may be missing or hold anything; what makes no sense is passed over.

pub(super) mod affinity;
pub(super) mod devices;
mod hardware;
pub(super) mod interrupts;
pub(super) mod lines;
pub(super) mod log;
pub(super) mod machine;
pub(super) mod netfilter;
pub(super) mod origins;
pub(super) mod packets;
pub(super) mod programs;
pub(super) mod qdiscs;
pub(super) mod receive;
pub(super) mod shares;
pub(super) mod softnet;
pub(super) mod stacks;
pub(super) mod stat;
pub(super) mod sysctls;
pub(super) mod tasks;
pub(super) mod works;

use std::collections::BTreeMap;

use self::{
    devices::Device, interrupts::Interrupts, machine::Machine, netfilter::Netfilter,
    packets::Packets, programs::Program, qdiscs::Qdisc, receive::Receive, softnet::SoftnetRate,
    stacks::Stacks, stat::CpuStat, sysctls::Sysctls, tasks::Task,
};
use super::Case;
use crate::{
    aggregate::window::Family,
    capture::{evidence::Phase, evidence_set::EvidenceSet},
    report::summary::Summary,
};

/// What is known of a window, ready to be judged. What evidence does not have is `None` or empty.
pub(super) struct Facts<'a> {
    pub(super) summary: &'a Summary,
    pub(super) evidence: &'a EvidenceSet,
    /// Length of the window; not 0.
    pub(super) seconds: f64,
    /// Between the two samples of evidence, which need not be the window's edges; not 0.
    apart: f64,
    /// CPUs that receive packets, the busiest first.
    pub(super) receive: Vec<Receive>,
    /// By CPU.
    pub(super) softnet: Option<BTreeMap<u32, SoftnetRate>>,
    pub(super) interrupts: Option<Interrupts>,
    /// By CPU.
    pub(super) stat: Option<BTreeMap<u32, CpuStat>>,
    /// Between tasks, on all CPUs.
    pub(super) switches: Option<u64>,
    pub(super) stacks: Stacks<'a>,
    pub(super) packets: BTreeMap<String, Packets>,
    pub(super) devices: BTreeMap<String, Device>,
    pub(super) netfilter: Option<Netfilter>,
    pub(super) programs: Option<Vec<Program>>,
    pub(super) qdiscs: Vec<Qdisc>,
    pub(super) sysctls: Sysctls,
    pub(super) tasks: Option<Vec<Task>>,
    pub(super) machine: Machine,
    /// Texts of the kernel's log in the window.
    pub(super) log: Vec<String>,
}

impl<'a> Facts<'a> {
    pub(super) fn of(case: &Case<'a>) -> Self {
        let (summary, evidence) = (case.summary, case.evidence);
        let seconds = (summary.window.duration_ns as f64 / 1e9).max(1e-3);
        let apart_ns = evidence.apart_ns().unwrap_or(summary.window.duration_ns);
        let apart = (apart_ns as f64 / 1e9).max(1e-3);
        let softnet = softnet::of(evidence, apart);
        let sysctls = Sysctls::of(evidence);
        Self {
            summary,
            evidence,
            seconds,
            apart,
            receive: receive::of(summary, softnet.as_ref()),
            softnet,
            interrupts: Interrupts::of(evidence, apart),
            stat: stat::of(evidence),
            switches: stat::switches(evidence),
            stacks: Stacks(&summary.stack),
            packets: packets::of(evidence, apart),
            devices: devices::of(evidence),
            netfilter: Netfilter::of(evidence),
            programs: programs::of(evidence),
            qdiscs: qdiscs::of(evidence, apart),
            sysctls,
            tasks: tasks::of(evidence),
            machine: Machine::of(evidence),
            log: log::of(summary, evidence),
        }
    }

    /// A part of one CPU's window in per cent.
    pub(super) fn percent(&self, ns: u64) -> f64 {
        ns as f64 / 1e7 / self.seconds
    }

    /// A count by seconds.
    pub(super) fn rate(&self, count: u64) -> f64 {
        count as f64 / self.seconds
    }

    /// What grew from one sample of evidence to the other, in per cent of the time between them: of one CPU.
    pub(super) fn grown_percent(&self, ns: u64) -> f64 {
        ns as f64 / 1e7 / self.apart
    }

    /// The same of a count, by seconds.
    pub(super) fn grown_rate(&self, count: u64) -> f64 {
        count as f64 / self.apart
    }

    /// Whether the time between the two samples of evidence is the window's, so that what either tells can be set against the other: the
    /// records of a capture through a daemon begin before its first sample.
    pub(super) fn samples_span_window(&self) -> bool {
        (self.apart - self.seconds).abs() <= self.seconds / 10.0
    }

    /// Where a file of evidence is, for a finding to refer to.
    pub(super) fn reference(&self, file: &str) -> String {
        let known = self.evidence.reference(file);
        known.unwrap_or_else(|| format!("{}/{file}", Phase::After.folder()))
    }

    /// One period of the timer interrupt; 4 ms where the kernel's HZ is not known.
    pub(super) fn jiffy_ns(&self) -> f64 {
        1e9 / f64::from(self.summary.host.hz.unwrap_or(250).max(1))
    }

    /// Whether all of a family's probes are attached.
    pub(super) fn measured(&self, family: Family) -> bool {
        let mut probes = (self.summary.probes.iter()).filter(|probe| probe.family == family.into());
        probes.all(|probe| probe.attached)
    }
}

/// Both samples of a file, parsed.
fn both<T>(evidence: &EvidenceSet, file: &str, parse: impl Fn(&str) -> T) -> Option<(T, T)> {
    let sample = |phase| evidence.text(phase, file).map(|text| parse(&text));
    Some((sample(Phase::Before)?, sample(Phase::After)?))
}

/// A file that need not be there twice, from the later sample that has it.
fn either<'a>(evidence: &'a EvidenceSet, file: &str) -> Option<std::borrow::Cow<'a, str>> {
    (evidence.text(Phase::After, file)).or_else(|| evidence.text(Phase::Before, file))
}

#[cfg(test)]
#[path = "facts_tests.rs"]
mod tests;
