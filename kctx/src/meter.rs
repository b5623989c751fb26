//! What kctx itself costs: in the kernel, where its programs run, and in userspace, where its threads do.
//!
//! The kernel counts a program's runs and their time while somebody holds a `BPF_ENABLE_STATS` descriptor (bpf(2);
//! since 5.8), and only then. That costs two reads of the clock a run, of every program on the machine
//! (`__bpf_prog_run`, include/linux/filter.h), and taking it needs `CAP_SYS_ADMIN` (`bpf_enable_stats`,
//! kernel/bpf/syscall.c), which kctx gives up once it is attached. So `kctx run` takes it before that and holds it for
//! the first seconds only. From there on the time is scaled: what a family's programs cost in the sample for each
//! of its executions, times the executions, which are always counted.

pub mod estimate;
mod join;
pub mod process;
pub mod programs;

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::aggregate::window::Family;

/// For how long the kernel is asked to count the run time of programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sample {
    /// Not at all, for this reason.
    Never(&'static str),
    /// From the first window's start on, for so long.
    For(Duration),
    /// As long as the programs are attached.
    Throughout,
}

/// What kctx used in a window.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnCost {
    /// CPU time by thread; together it is the process's.
    pub threads: Vec<ThreadTime>,
    /// Memory that is resident at the window's end; `None` where it could not be read.
    pub memory_bytes: Option<u64>,
    /// Bytes that came through the rings.
    pub ring_bytes: u64,
    /// How full the fullest ring was found, in millionths.
    pub fullest_ring_ppm: u32,
    /// The same of each CPU's ring in which something was found; nothing in a stream of a version that does not tell.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rings: Vec<RingFill>,
    /// What the programs used in the kernel.
    pub bpf: BpfCost,
}

/// How full a ring was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RingFill {
    /// Whose ring.
    pub cpu: u32,
    /// At its fullest, in millionths.
    pub fullest_ppm: u32,
}

/// CPU time of one thread.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ThreadTime {
    /// `main`, or its name; [`process::OTHER`] of those without a name of kctx's.
    pub thread: String,
    /// CPU time.
    pub cpu_ns: u64,
}

/// What the programs used.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BpfCost {
    /// How it is known.
    pub basis: Basis,
    /// Why it is not known.
    pub reason: Option<String>,
    /// Programs that ran.
    pub programs: Vec<ProgramCost>,
    /// CPUs that they ran on, each family's time by its executions there.
    pub cpus: Vec<CpuTime>,
    /// Families with executions now and none in the sample: what they cost is not in here.
    pub unsampled: Vec<Family>,
}

/// How the programs' time is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Basis {
    /// It is not.
    #[default]
    Unknown,
    /// The kernel counted it.
    Counted,
    /// From what the kernel counted before, times the executions now; in part or wholly.
    Scaled,
}

/// One program's part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProgramCost {
    /// Its name.
    pub program: String,
    /// What it serves.
    pub family: Family,
    /// Runs.
    pub runs: u64,
    /// Their time.
    pub run_ns: u64,
}

/// The programs' time on one CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CpuTime {
    /// The CPU.
    pub cpu: u32,
    /// Their time there.
    pub run_ns: u64,
}

/// Runs and their time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Runs {
    /// How many.
    pub runs: u64,
    /// How long they took together.
    pub run_ns: u64,
}

impl Runs {
    fn add(&mut self, runs: u64, run_ns: u64) {
        self.runs = self.runs.saturating_add(runs);
        self.run_ns = self.run_ns.saturating_add(run_ns);
    }
}

impl OwnCost {
    /// CPU time of all threads.
    #[must_use]
    pub fn cpu_ns(&self) -> u64 {
        let threads = self.threads.iter().map(|thread| thread.cpu_ns);
        threads.fold(0, u64::saturating_add)
    }
}

impl BpfCost {
    /// All programs' runs; `None` where they are not known.
    #[must_use]
    pub fn total(&self) -> Option<Runs> {
        (self.basis != Basis::Unknown).then(|| {
            let mut sum = Runs::default();
            for program in &self.programs {
                sum.add(program.runs, program.run_ns);
            }
            sum
        })
    }

    /// The runs of one family's programs.
    #[must_use]
    pub fn of(&self, family: Family) -> Runs {
        let mut sum = Runs::default();
        for program in self.programs.iter().filter(|one| one.family == family) {
            sum.add(program.runs, program.run_ns);
        }
        sum
    }

    /// The CPU on which they took the longest.
    #[must_use]
    pub fn busiest(&self) -> Option<CpuTime> {
        let cpus = self.cpus.iter().copied();
        cpus.max_by_key(|one| (one.run_ns, std::cmp::Reverse(one.cpu)))
    }
}
