//! What `kctx run` would cost if it were left on, from the windows of a bounded run: `kctx doctor --estimate`. Pure.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Basis, BpfCost, Runs};
use crate::{
    aggregate::window::{Family, ProbeStatus, Window},
    governor::{CpuShare, PPM},
};

/// Schema of the JSON form.
pub const SCHEMA: &str = "kctx.estimate.v1";

/// What the figures are, and what they are not. In the kernel's terms: include/linux/filter.h (`__bpf_prog_run`) and
/// kernel/trace/bpf_trace.c (`__bpf_trace_run`), 6.18.
pub const NOTES: [&str; 6] = [
    "a program's time is what the kernel counts: it contains about one of the two clock reads of the counting \
     (sched_clock), and whatever interrupted the program",
    "it leaves out the other clock read and the counters, which are not there once nobody counts, and the way from \
     the tracepoint to the program, which is: some nanoseconds a run",
    "the busiest CPU is by each family's executions there, at the family's mean",
    "userspace is without the first window, in which functions' names are read, once",
    "what the programs do to caches of what they interrupt is in no figure; neither is an OTLP export, which was not \
     running",
    "it holds for the load that was there",
];

/// The estimate. Shares are of one CPU: 1 is all of it.
#[derive(Clone, Debug, Serialize)]
pub struct Estimate {
    /// [`SCHEMA`]
    pub schema: &'static str,
    /// This kctx.
    pub kctx_version: &'static str,
    /// How long was measured.
    pub duration_ns: u64,
    /// A signal ended it before its time.
    pub interrupted: bool,
    /// In the kernel.
    pub bpf: BpfEstimate,
    /// In userspace.
    pub userspace: UserspaceEstimate,
    /// Through the rings.
    pub rings: RingsEstimate,
    /// What the governor did meanwhile.
    pub governor: GovernorEstimate,
    /// Probes that are not attached: nothing of theirs is in here.
    pub not_attached: Vec<ProbeStatus>,
    /// [`NOTES`]
    pub notes: [&'static str; 6],
}

/// What the programs cost.
#[derive(Clone, Debug, Serialize)]
pub struct BpfEstimate {
    /// Whether the kernel counted it.
    pub known: bool,
    /// Why not.
    pub reason: Option<String>,
    /// All programs.
    pub total: ProgramEstimate,
    /// The busiest CPU.
    pub busiest_cpu: Option<CpuEstimate>,
    /// By family, the most expensive first.
    pub families: Vec<FamilyEstimate>,
    /// By program, the most expensive first.
    pub programs: Vec<NamedEstimate>,
}

/// Runs of one program or several.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct ProgramEstimate {
    /// Runs in the time measured.
    pub runs: u64,
    /// Their time.
    pub run_ns: u64,
    /// Runs a second.
    pub runs_per_second: f64,
    /// Time of one run.
    pub mean_ns: u64,
    /// Share of one CPU.
    pub cpu_share: f64,
}

/// One family's.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct FamilyEstimate {
    /// The family.
    pub family: Family,
    /// What its programs observed: an execution takes one to three runs.
    pub observed: u64,
    /// Its programs together.
    #[serde(flatten)]
    pub programs: ProgramEstimate,
}

/// One program's.
#[derive(Clone, Debug, Serialize)]
pub struct NamedEstimate {
    /// Its name.
    pub program: String,
    /// What it serves.
    pub family: Family,
    /// Its runs.
    #[serde(flatten)]
    pub runs: ProgramEstimate,
}

/// One CPU's.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct CpuEstimate {
    /// The CPU.
    pub cpu: u32,
    /// Its share that the programs took.
    pub cpu_share: f64,
}

/// What kctx's threads cost. Where there was more than one window, shares are without the first: in it functions'
/// names are read, once.
#[derive(Clone, Debug, Serialize)]
pub struct UserspaceEstimate {
    /// Share of one CPU.
    pub cpu_share: f64,
    /// CPU time in the first window.
    pub first_window_cpu_ns: u64,
    /// By thread, the most expensive first.
    pub threads: Vec<ThreadEstimate>,
    /// Resident memory, at most.
    pub memory_bytes: Option<u64>,
}

/// One thread's.
#[derive(Clone, Debug, Serialize)]
pub struct ThreadEstimate {
    /// Its name.
    pub thread: String,
    /// CPU time.
    pub cpu_ns: u64,
    /// Share of one CPU.
    pub cpu_share: f64,
}

/// What came through the rings.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct RingsEstimate {
    /// Bytes a second.
    pub bytes_per_second: f64,
    /// Records a second.
    pub records_per_second: f64,
    /// How full the fullest was found; 1 is full.
    pub fullest: f64,
    /// Records that went into the kernel's histograms.
    pub spilled: u64,
    /// Records that went nowhere.
    pub lost: u64,
}

/// What the governor did.
#[derive(Clone, Debug, Serialize)]
pub struct GovernorEstimate {
    /// What kctx may use of one CPU; 0: no limit.
    pub limit: f64,
    /// Whether it acted.
    pub acted: bool,
    /// What it limited, in order.
    pub limited: Vec<Limited>,
    /// What it said when nothing was left to limit.
    pub helpless: Option<String>,
}

/// A family that was limited.
#[derive(Clone, Debug, Serialize)]
pub struct Limited {
    /// The family.
    pub family: Family,
    /// How long after the start.
    pub after_ns: u64,
    /// Why.
    pub reason: String,
}

/// CPU time by thread, in so much time.
#[derive(Debug, Default)]
struct Threads {
    used: BTreeMap<String, u64>,
    wall_ns: u64,
}

/// Sums windows up.
#[derive(Debug, Default)]
pub struct Tally {
    start_unix_ns: Option<u64>,
    duration_ns: u64,
    unknown: bool,
    reason: Option<String>,
    programs: BTreeMap<String, (Option<Family>, Runs)>,
    cpus: BTreeMap<u32, u64>,
    /// In the first window, and in the others.
    first: Threads,
    others: Threads,
    memory_bytes: Option<u64>,
    ring_bytes: u64,
    fullest_ppm: u32,
    observed: BTreeMap<Family, u64>,
    streamed: u64,
    spilled: u64,
    lost: u64,
    limited: BTreeMap<(u64, Family), String>,
    helpless: Option<String>,
    not_attached: Vec<ProbeStatus>,
}

impl Tally {
    /// Adds a closed window.
    pub fn add(&mut self, window: &Window) {
        let threads = match self.start_unix_ns {
            None => &mut self.first,
            Some(_) => &mut self.others,
        };
        threads.wall_ns = threads.wall_ns.saturating_add(window.duration_ns);
        for one in window.own_cost.iter().flat_map(|cost| &cost.threads) {
            *threads.used.entry(one.thread.clone()).or_default() += one.cpu_ns;
        }
        self.start_unix_ns.get_or_insert(window.start_unix_ns);
        self.duration_ns = self.duration_ns.saturating_add(window.duration_ns);
        for (family, counts) in Family::ALL.iter().zip(&window.accounting.by_family) {
            *self.observed.entry(*family).or_default() += counts.observed;
            self.streamed += counts.streamed;
            self.spilled += counts.spilled;
            self.lost += counts.lost.values().sum::<u64>();
        }
        for row in &window.governor {
            self.limited
                .entry((row.since_unix_ns, row.family))
                .or_insert_with(|| row.reason.clone());
        }
        if let Some(helpless) = &window.governor_helpless {
            self.helpless.get_or_insert_with(|| helpless.reason.clone());
        }
        let missing = window.probes.iter().filter(|probe| !probe.attached);
        self.not_attached = missing.cloned().collect();
        let Some(cost) = &window.own_cost else { return };
        self.memory_bytes = self.memory_bytes.max(cost.memory_bytes);
        self.ring_bytes += cost.ring_bytes;
        self.fullest_ppm = self.fullest_ppm.max(cost.fullest_ring_ppm);
        self.add_bpf(&cost.bpf);
    }

    fn add_bpf(&mut self, bpf: &BpfCost) {
        // It is an estimate already: one that rests on another is none.
        if bpf.basis != Basis::Counted {
            self.unknown = true;
            self.reason = self.reason.take().or_else(|| bpf.reason.clone());
        }
        for one in &bpf.programs {
            let (family, runs) = self.programs.entry(one.program.clone()).or_default();
            *family = Some(one.family);
            runs.add(one.runs, one.run_ns);
        }
        for one in &bpf.cpus {
            *self.cpus.entry(one.cpu).or_default() += one.run_ns;
        }
    }

    /// The estimate, under this limit.
    #[must_use]
    pub fn finish(self, limit: CpuShare, interrupted: bool) -> Estimate {
        let wall_ns = self.duration_ns;
        let threads = match self.others.wall_ns {
            0 => &self.first,
            _ => &self.others,
        };
        let of_threads = |cpu_ns| over(cpu_ns, threads.wall_ns);
        Estimate {
            schema: SCHEMA,
            kctx_version: env!("CARGO_PKG_VERSION"),
            duration_ns: wall_ns,
            interrupted,
            bpf: self.bpf(),
            userspace: UserspaceEstimate {
                cpu_share: of_threads(threads.used.values().sum()),
                first_window_cpu_ns: self.first.used.values().sum(),
                threads: dearest(
                    threads.used.iter().map(|(thread, cpu_ns)| ThreadEstimate {
                        thread: thread.clone(),
                        cpu_ns: *cpu_ns,
                        cpu_share: of_threads(*cpu_ns),
                    }),
                    |one| one.cpu_ns,
                ),
                memory_bytes: self.memory_bytes,
            },
            rings: RingsEstimate {
                bytes_per_second: a_second(self.ring_bytes, wall_ns),
                records_per_second: a_second(self.streamed, wall_ns),
                fullest: f64::from(self.fullest_ppm) / f64::from(PPM),
                spilled: self.spilled,
                lost: self.lost,
            },
            governor: GovernorEstimate {
                limit: f64::from(limit.ppm()) / f64::from(PPM),
                acted: !self.limited.is_empty() || self.helpless.is_some(),
                limited: (self.limited.into_iter())
                    .map(|((since, family), reason)| Limited {
                        family,
                        after_ns: since.saturating_sub(self.start_unix_ns.unwrap_or(since)),
                        reason,
                    })
                    .collect(),
                helpless: self.helpless,
            },
            not_attached: self.not_attached,
            notes: NOTES,
        }
    }

    fn bpf(&self) -> BpfEstimate {
        let wall_ns = self.duration_ns;
        let known = !self.unknown && !self.programs.is_empty();
        let mut total = Runs::default();
        let mut families: BTreeMap<Family, Runs> = BTreeMap::new();
        let mut programs = Vec::new();
        for (name, (family, runs)) in &self.programs {
            let Some(family) = *family else { continue };
            total.add(runs.runs, runs.run_ns);
            let sum = families.entry(family).or_default();
            sum.add(runs.runs, runs.run_ns);
            programs.push(NamedEstimate {
                program: name.clone(),
                family,
                runs: runs.estimate(wall_ns),
            });
        }
        let busiest = (self.cpus.iter()).max_by_key(|(cpu, ns)| (**ns, std::cmp::Reverse(**cpu)));
        let families = families.into_iter().map(|(family, runs)| FamilyEstimate {
            family,
            observed: self.observed.get(&family).copied().unwrap_or(0),
            programs: runs.estimate(wall_ns),
        });
        let why = || {
            let reason = self.reason.clone();
            reason.unwrap_or_else(|| "it ended before the kernel had counted anything".to_owned())
        };
        BpfEstimate {
            known,
            reason: (!known).then(why),
            total: total.estimate(wall_ns),
            busiest_cpu: busiest.map(|(cpu, run_ns)| CpuEstimate {
                cpu: *cpu,
                cpu_share: over(*run_ns, wall_ns),
            }),
            families: dearest(families, |one| one.programs.run_ns),
            programs: dearest(programs.into_iter(), |one| one.runs.run_ns),
        }
    }
}

impl Runs {
    fn estimate(self, wall_ns: u64) -> ProgramEstimate {
        ProgramEstimate {
            runs: self.runs,
            run_ns: self.run_ns,
            runs_per_second: a_second(self.runs, wall_ns),
            mean_ns: self.run_ns.checked_div(self.runs).unwrap_or(0),
            cpu_share: over(self.run_ns, wall_ns),
        }
    }
}

/// The most expensive first; those that cost the same in the order that they have.
fn dearest<T>(rows: impl Iterator<Item = T>, cost: impl Fn(&T) -> u64) -> Vec<T> {
    let mut rows: Vec<T> = rows.collect();
    rows.sort_by_key(|row| std::cmp::Reverse(cost(row)));
    rows
}

/// A part of a time; 0 of none.
fn over(part_ns: u64, whole_ns: u64) -> f64 {
    if whole_ns == 0 {
        return 0.0;
    }
    part_ns as f64 / whole_ns as f64
}

fn a_second(count: u64, wall_ns: u64) -> f64 {
    over(count, wall_ns) * 1e9
}

#[cfg(test)]
#[path = "estimate_tests.rs"]
mod tests;
