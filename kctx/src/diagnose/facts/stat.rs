//! /proc/stat twice: what each CPU did, as the kernel's accounting has it (`show_stat`, fs/proc/stat.c).

use std::collections::BTreeMap;

use super::both;
use crate::capture::evidence_set::EvidenceSet;

pub(in crate::diagnose) const FILE: &str = "proc/stat";

/// Parts of a CPU's time in per cent.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(in crate::diagnose) struct CpuStat {
    pub(in crate::diagnose) user: f64,
    pub(in crate::diagnose) system: f64,
    pub(in crate::diagnose) idle: f64,
    pub(in crate::diagnose) irq: f64,
    pub(in crate::diagnose) softirq: f64,
    pub(in crate::diagnose) steal: f64,
}

pub(super) fn of(evidence: &EvidenceSet) -> Option<BTreeMap<u32, CpuStat>> {
    let (before, after) = both(evidence, FILE, parse)?;
    let parts = after.iter().filter_map(|(cpu, now)| {
        let then = before.get(cpu)?;
        // Idle and iowait may go back (cpu_idle ticks are estimates on nohz): no time, then.
        let grown: Vec<f64> = (now.iter().zip(then))
            .map(|(now, then)| now.saturating_sub(*then) as f64)
            .collect();
        let all: f64 = grown.iter().sum();
        let part = |columns: &[usize]| {
            let ticks: f64 = columns.iter().filter_map(|at| grown.get(*at)).sum();
            if all > 0.0 { ticks * 100.0 / all } else { 0.0 }
        };
        let stat = CpuStat {
            user: part(&[0, 1]),
            system: part(&[2]),
            idle: part(&[3, 4]),
            irq: part(&[5]),
            softirq: part(&[6]),
            steal: part(&[7]),
        };
        Some((*cpu, stat))
    });
    Some(parts.collect())
}

/// Switches between tasks in between, on all CPUs.
pub(super) fn switches(evidence: &EvidenceSet) -> Option<u64> {
    let (before, after) = both(evidence, FILE, |text| {
        let mut lines = text.lines();
        lines.find_map(|line| line.strip_prefix("ctxt ")?.trim().parse::<u64>().ok())
    })?;
    Some(after?.saturating_sub(before?))
}

/// The first eight columns by CPU: user, nice, system, idle, iowait, irq, softirq, steal. Guests' time is in the first two.
fn parse(text: &str) -> BTreeMap<u32, Vec<u64>> {
    let lines = text.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        let cpu = words.next()?.strip_prefix("cpu")?.parse().ok()?;
        let columns: Vec<u64> = words.take(8).map_while(|word| word.parse().ok()).collect();
        Some((cpu, columns))
    });
    lines.collect()
}
