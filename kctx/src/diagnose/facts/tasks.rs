//! The tasks that used CPUs most, and those of real-time policies: `tasks.tsv`.

use super::either;
use crate::capture::{evidence::Phase, evidence_set::EvidenceSet};

/// A line of names, then one a task, with tabs between.
pub(in crate::diagnose) const FILE: &str = "tasks.tsv";

/// One task.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::diagnose) struct Task {
    pub(in crate::diagnose) comm: String,
    pub(in crate::diagnose) pid: u32,
    /// `SCHED_FIFO` (1) or `SCHED_RR` (2) or `SCHED_DEADLINE` (6).
    pub(in crate::diagnose) real_time: bool,
    /// Of real-time tasks, 1 to 99.
    pub(in crate::diagnose) priority: u32,
    /// The CPU that it was on last.
    pub(in crate::diagnose) cpu: Option<u32>,
    /// Clock ticks that it ran between the samples.
    pub(in crate::diagnose) ticks: u64,
    /// Clock ticks that it was in the kernel for, since it began.
    system_ticks: Option<u64>,
}

pub(super) fn of(evidence: &EvidenceSet) -> Option<Vec<Task>> {
    parse(&either(evidence, FILE)?)
}

fn parse(text: &str) -> Option<Vec<Task>> {
    let mut lines = text.lines();
    let names: Vec<&str> = lines.next()?.split('\t').collect();
    let of_line = |line: &str| {
        let cells: Vec<&str> = line.split('\t').collect();
        let cell = |name: &str| {
            let column = names.iter().position(|known| *known == name)?;
            cells.get(column).copied()
        };
        let number = |name: &str| cell(name)?.parse::<u32>().ok();
        Some(Task {
            comm: cell("comm")?.to_owned(),
            pid: number("pid")?,
            real_time: matches!(cell("policy")?, "fifo" | "rr" | "deadline"),
            priority: number("rt_priority").unwrap_or(0),
            cpu: number("cpu"),
            ticks: cell("grown_ticks")
                .and_then(|ticks| ticks.parse().ok())
                .unwrap_or(0),
            system_ticks: cell("system_ticks").and_then(|ticks| ticks.parse().ok()),
        })
    };
    Some(lines.filter_map(of_line).collect())
}

/// A tick of USER_HZ, which is 100 on all architectures that there are (include/asm-generic/param.h).
const TICK_NS: u64 = 10_000_000;

impl Task {
    /// `udpf (pid 9014)`
    pub(in crate::diagnose) fn words(&self) -> String {
        format!("{} (pid {})", self.comm, self.pid)
    }

    /// Whether it ran for so long that it may have kept a CPU from others all that time.
    pub(in crate::diagnose) fn ran_for(&self, ns: u64) -> bool {
        self.ticks.saturating_mul(TICK_NS) >= ns
    }
}

impl super::Facts<'_> {
    /// Real-time tasks that were last on a CPU, kernel threads that the kernel itself makes so left out.
    pub(in crate::diagnose) fn real_time_tasks(&self, cpu: u32) -> Vec<&Task> {
        let tasks = self.tasks.iter().flatten();
        let kernel = [
            "migration/",
            "idle_inject/",
            "irq/",
            "watchdog",
            "rcu",
            "ktimers/",
            "cpuhp/",
            "stop",
        ];
        tasks
            .filter(|task| task.real_time && task.cpu.is_none_or(|last| last == cpu))
            .filter(|task| !kernel.iter().any(|start| task.comm.starts_with(start)))
            .collect()
    }

    /// Of the processes that both samples have: the one that was in the kernel most in between, and for which part of a CPU in per cent.
    pub(in crate::diagnose) fn most_in_kernel(&self) -> Option<(&Task, f64)> {
        let before = parse(&self.evidence.text(Phase::Before, FILE)?)?;
        let grown = self.tasks.iter().flatten().filter_map(|task| {
            let earlier = before.iter().find(|known| known.pid == task.pid)?;
            let ticks = task.system_ticks?.checked_sub(earlier.system_ticks?)?;
            Some((task, ticks))
        });
        let (task, ticks) = grown.max_by_key(|(_, ticks)| *ticks)?;
        let share = self.grown_percent(ticks.saturating_mul(TICK_NS));
        (share >= 1.0).then_some((task, share))
    }

    /// The task that ran most of those that were last on a CPU, if it ran for a tenth of the time between the samples.
    pub(in crate::diagnose) fn busiest_task(&self, cpu: u32) -> Option<&Task> {
        let enough = (self.apart * 1e8) as u64;
        let tasks = self
            .tasks
            .iter()
            .flatten()
            .filter(|task| task.cpu == Some(cpu));
        tasks
            .max_by_key(|task| task.ticks)
            .filter(|task| task.ticks.saturating_mul(TICK_NS) >= enough)
    }
}
