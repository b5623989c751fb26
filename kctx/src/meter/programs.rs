//! From what the kernel counts of the programs to what they cost in a window: by counting while it counts, by
//! scaling after that. Pure; integers only.

use std::sync::Arc;

use super::{Basis, BpfCost, CpuTime, ProgramCost, Runs};
use crate::aggregate::window::{FAMILIES, Family};

/// What is known of the programs at one moment. All numbers only ever grow.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// `CLOCK_MONOTONIC` in nanoseconds.
    pub monotonic_ns: u64,
    /// Each program, always in the same order.
    pub programs: Vec<Counted>,
    /// Each CPU that may ever be, always in the same order.
    pub cpus: Vec<Drivers>,
}

/// What the kernel has counted of a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counted {
    /// Its name.
    pub program: Arc<str>,
    /// What it serves.
    pub family: Family,
    /// Its runs while they were counted.
    pub runs: u64,
    /// Their time.
    pub run_ns: u64,
}

/// What makes the programs run, on one CPU: counted at all times.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Drivers {
    /// The CPU.
    pub cpu: u32,
    /// By family: executions; of kernel threads, switches between tasks of any kind; of stacks, nanoseconds that
    /// their clock ticked.
    pub counts: [u64; FAMILIES],
}

/// The account of all programs.
#[derive(Debug, Default)]
pub struct Programs {
    last: Option<Reading>,
    /// By program, while the kernel counted.
    sampled: Vec<Runs>,
    /// By family, meanwhile.
    drivers_sampled: [u64; FAMILIES],
    /// By family, since then.
    drivers_since: [u64; FAMILIES],
    /// By program, what of that is in a window already.
    scaled: Vec<Runs>,
    open: Open,
}

/// The window that is open.
#[derive(Debug, Default)]
struct Open {
    programs: Vec<Runs>,
    cpus: Vec<u64>,
    has_counted: bool,
    has_scaled: bool,
    unsampled: [bool; FAMILIES],
}

impl Programs {
    /// Takes a reading; `counting`: the kernel has counted all the time since the one before.
    pub fn look(&mut self, now: Reading, counting: bool) {
        let Some(before) = self.last.replace(now) else {
            return;
        };
        let Some(now) = &self.last else { return };
        let n = now.programs.len();
        for runs in [&mut self.sampled, &mut self.scaled, &mut self.open.programs] {
            runs.resize(n, Runs::default());
        }
        let by_cpu = grown(&before, now);
        let mut drivers = [0_u64; FAMILIES];
        for counts in &by_cpu {
            for (sum, count) in drivers.iter_mut().zip(counts) {
                *sum = sum.saturating_add(*count);
            }
        }
        let mut families = [Runs::default(); FAMILIES];
        if counting {
            self.open.has_counted = true;
            add(&mut self.drivers_sampled, &drivers);
            for (i, (now, before)) in now.programs.iter().zip(&before.programs).enumerate() {
                let runs = now.runs.saturating_sub(before.runs);
                let run_ns = now.run_ns.saturating_sub(before.run_ns);
                self.sampled[i].add(runs, run_ns);
                self.open.programs[i].add(runs, run_ns);
                families[now.family as usize].add(runs, run_ns);
            }
        } else {
            self.open.has_scaled = true;
            add(&mut self.drivers_since, &drivers);
            for (i, program) in now.programs.iter().enumerate() {
                let family = program.family as usize;
                let of = |sampled| {
                    let (since, then) = (self.drivers_since[family], self.drivers_sampled[family]);
                    scale(sampled, since, then)
                };
                // All of it since the sample, less what was given before: a program that runs more seldom than there
                // are windows is not rounded away.
                let (runs, run_ns) = (of(self.sampled[i].runs), of(self.sampled[i].run_ns));
                let more = Runs {
                    runs: runs.saturating_sub(self.scaled[i].runs),
                    run_ns: run_ns.saturating_sub(self.scaled[i].run_ns),
                };
                self.scaled[i].add(more.runs, more.run_ns);
                self.open.programs[i].add(more.runs, more.run_ns);
                families[family].add(more.runs, more.run_ns);
            }
            for (family, unsampled) in self.open.unsampled.iter_mut().enumerate() {
                *unsampled |= drivers[family] > 0 && self.drivers_sampled[family] == 0;
            }
        }
        self.open.cpus.resize(by_cpu.len(), 0);
        for (sum, counts) in self.open.cpus.iter_mut().zip(&by_cpu) {
            for (family, runs) in families.iter().enumerate() {
                let its = scale(runs.run_ns, counts[family], drivers[family]);
                *sum = sum.saturating_add(its);
            }
        }
    }

    /// What they cost since this was asked last. Without a sample nothing is known, for this `reason`.
    pub fn take(&mut self, reason: Option<&str>) -> BpfCost {
        let open = std::mem::take(&mut self.open);
        let Some(last) = &self.last else {
            return BpfCost::default();
        };
        let sampled = self.drivers_sampled.iter().any(|drivers| *drivers > 0);
        let basis = match (open.has_counted, open.has_scaled) {
            (true, false) => Basis::Counted,
            (_, true) if sampled => Basis::Scaled,
            _ => Basis::Unknown,
        };
        if basis == Basis::Unknown {
            let reason = reason.unwrap_or("nothing happened while the kernel counted");
            return BpfCost {
                reason: Some(reason.to_owned()),
                ..BpfCost::default()
            };
        }
        let programs = last.programs.iter().zip(&open.programs);
        let cpus = last.cpus.iter().zip(&open.cpus);
        BpfCost {
            basis,
            reason: None,
            programs: programs
                .filter(|(_, runs)| runs.runs > 0 || runs.run_ns > 0)
                .map(|(program, runs)| ProgramCost {
                    program: program.program.as_ref().to_owned(),
                    family: program.family,
                    runs: runs.runs,
                    run_ns: runs.run_ns,
                })
                .collect(),
            cpus: cpus
                .filter(|(_, run_ns)| **run_ns > 0)
                .map(|(drivers, run_ns)| CpuTime {
                    cpu: drivers.cpu,
                    run_ns: *run_ns,
                })
                .collect(),
            unsampled: (Family::ALL.into_iter())
                .filter(|family| open.unsampled[*family as usize])
                .collect(),
        }
    }
}

/// How the drivers grew, by CPU.
fn grown(before: &Reading, now: &Reading) -> Vec<[u64; FAMILIES]> {
    (now.cpus.iter().zip(&before.cpus))
        .map(|(now, before)| {
            std::array::from_fn(|i| now.counts[i].saturating_sub(before.counts[i]))
        })
        .collect()
}

fn add(sums: &mut [u64; FAMILIES], more: &[u64; FAMILIES]) {
    for (sum, more) in sums.iter_mut().zip(more) {
        *sum = sum.saturating_add(*more);
    }
}

/// `value` times `part` over `whole`; 0 of nothing.
fn scale(value: u64, part: u64, whole: u64) -> u64 {
    let scaled = (u128::from(value) * u128::from(part)).checked_div(u128::from(whole));
    u64::try_from(scaled.unwrap_or(0)).unwrap_or(u64::MAX)
}

#[cfg(test)]
#[path = "programs_tests.rs"]
mod tests;
