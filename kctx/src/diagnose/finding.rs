//! What a diagnosis says.

use serde::{Deserialize, Serialize};

/// The schema of this version's diagnoses.
pub const DIAGNOSIS_SCHEMA: &str = "kctx.diagnosis.v1";

/// A diagnosis: the answer, what supports it, and what it is not.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Diagnosis {
    /// [`DIAGNOSIS_SCHEMA`]
    pub schema: String,
    /// The answer.
    pub verdict: Verdict,
    /// One sentence that answers alone.
    pub first_line: String,
    /// By severity, then share of a CPU; at most [`MAX_FINDINGS`].
    pub findings: Vec<Finding>,
    /// Findings beyond those, in the same order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub also_seen: Vec<AlsoSeen>,
    /// What it is not, with the number that says so.
    pub ruled_out: Vec<RuledOut>,
    /// What lowers the confidence in all of this, in words.
    pub caveats: Vec<String>,
}

/// Findings that are told in full.
pub const MAX_FINDINGS: usize = 5;

/// A finding of which only this is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlsoSeen {
    /// As in [`Finding::id`].
    pub id: String,
    /// As in [`Finding::severity`].
    pub severity: Severity,
    /// As in [`Finding::title`].
    pub title: String,
}

/// The answer in a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Something is hot, and the findings say what.
    Hot,
    /// Nothing is.
    NothingHot,
    /// That cannot be said, and the first line says why.
    Inconclusive,
}

/// How bad it is: by harm, not by share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Busy, and healthy as far as was seen.
    Info,
    /// Hot.
    Warn,
    /// It does harm.
    Crit,
}

/// How sure it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Confidence {
    /// Only the share was seen, or evidence is missing.
    Low,
    /// The mechanism was seen, not what configures it.
    Medium,
    /// The mechanism and the configuration that explains it were seen.
    High,
}

/// One cause.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// Stable: `NET-FW`, `RT-STARVE` and so on.
    pub id: String,
    /// How bad.
    pub severity: Severity,
    /// How sure.
    pub confidence: Confidence,
    /// At most 80 characters, with CPU and device.
    pub title: String,
    /// One sentence with the numbers, their units and the window.
    pub statement: String,
    /// The largest share of a CPU that this context took.
    pub share: Option<Share>,
    /// Where.
    pub scope: Scope,
    /// From what is seen to what causes it.
    pub chain: Vec<Step>,
    /// What the sentence rests on.
    pub evidence: Vec<EvidenceRef>,
    /// What was not there, and what that does to the confidence.
    pub missing: Vec<String>,
    /// What to do next.
    pub next: Vec<NextStep>,
    /// What not to do.
    pub do_not: Vec<String>,
    /// Its page in the documentation.
    pub doc: String,
}

/// A share of one CPU.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Share {
    /// The CPU.
    pub cpu: u32,
    /// Of what: `softirq NET_RX`, `ksoftirqd`, `hardirq` and so on.
    pub context: String,
    /// Of the window, in per cent.
    pub percent: f64,
}

/// What a finding is about; empty where it is not about such a thing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scope {
    /// CPUs.
    pub cpus: Vec<u32>,
    /// Network or block devices.
    pub devices: Vec<String>,
    /// Softirq vectors.
    pub vectors: Vec<String>,
    /// Interrupts, as /proc/interrupts names them.
    pub irqs: Vec<String>,
    /// Kernel functions.
    pub functions: Vec<String>,
    /// Processes.
    pub comms: Vec<String>,
}

/// One step of the chain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// `CPU`, `place`, `vector`, `raised by`, `NAPI`, `code`, `configuration`.
    pub step: String,
    /// What was seen.
    pub value: String,
}

/// Where a number comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EvidenceRef {
    /// A row of the summary (`summary.softirq[cpu=3,vector=NET_RX]`), or a file of evidence and its line
    /// (`evidence/after/proc/net/softnet_stat:4`); where a member holds many files, the one in it
    /// (`evidence/before/tree/net.tsv:sys/class/net/eth0/threaded`).
    pub reference: String,
    /// What it says.
    pub value: String,
}

/// Something to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NextStep {
    /// In words.
    pub what: String,
    /// A command, where one helps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    /// How safe it is on a production host.
    pub safety: Safety,
}

/// How safe a step is on a production host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Safety {
    /// It only reads.
    ReadOnly,
    /// It changes something that can be changed back at once.
    Reversible,
    /// The owner of what it changes decides.
    OwnerDecision,
}

impl Safety {
    /// In a word or two.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::ReadOnly => "read-only",
            Self::Reversible => "reversible",
            Self::OwnerDecision => "owner's decision",
        }
    }
}

/// A cause that it is not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuledOut {
    /// As in [`Finding::id`].
    pub id: String,
    /// Why, with the number and the threshold.
    pub because: String,
}
