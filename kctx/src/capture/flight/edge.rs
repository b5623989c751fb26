//! Where a dump ends: what the windows' ends said, as one.

use std::collections::BTreeMap;

use kctx_common::record::kind;
use serde::{Deserialize, Serialize};

use crate::{
    aggregate::window::{ContextTimes, FAMILIES, Family, FamilyAccounting},
    capture::events::Encoder,
    meter::OwnCost,
    source::{Control, RunningThread, SpillDelta},
};

/// What a window's end says of the window.
#[derive(Clone, Debug, Default)]
pub(super) struct Edge {
    pub(super) monotonic_ns: u64,
    pub(super) unix_ns: u64,
    pub(super) taint: Option<u64>,
    pub(super) contexts: Vec<ContextTimes>,
    pub(super) running: Vec<RunningThread>,
    pub(super) counted: [FamilyAccounting; FAMILIES],
    pub(super) own_cost: Option<Box<OwnCost>>,
}

/// Records that were counted by an edge and had not come by then, by family and way. Where what the counters say was read
/// earlier than what came, it is below 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Transit {
    streamed: [i64; FAMILIES],
    spilled: [i64; FAMILIES],
}

/// Records on their way at an edge, over all families.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InTransit {
    /// Counted, and still in a ring.
    pub streamed: i64,
    /// Counted as spilled, and not read yet.
    pub spilled: i64,
}

impl From<&Transit> for InTransit {
    fn from(transit: &Transit) -> Self {
        Self {
            streamed: transit.streamed.iter().sum(),
            spilled: transit.spilled.iter().sum(),
        }
    }
}

impl Transit {
    pub(super) fn counted(&mut self, counted: &[FamilyAccounting; FAMILIES]) {
        for (i, family) in counted.iter().enumerate() {
            self.streamed[i] = self.streamed[i].wrapping_add_unsigned(family.streamed);
            self.spilled[i] = self.spilled[i].wrapping_add_unsigned(family.spilled);
        }
    }

    /// So many came through the rings since they were asked for last.
    pub(super) fn came(&mut self, records: &[u64; FAMILIES]) {
        for (left, records) in self.streamed.iter_mut().zip(records) {
            *left = left.wrapping_sub_unsigned(*records);
        }
    }

    pub(super) fn spill_came(&mut self, delta: &SpillDelta) {
        let (family, count) = match delta.family {
            kind::SOFTIRQ | kind::SOFTIRQ_LONG => (Family::Softirq, delta.service.count),
            kind::HARDIRQ => (Family::Hardirq, delta.service.count),
            kind::WORK => (Family::Workqueue, delta.service.count),
            kind::TASKLET => (Family::Tasklet, delta.service.count),
            // Not each has a duration, but each has packets.
            kind::NAPI => (Family::Napi, delta.third.count),
            kind::KTHREAD => (Family::Kthread, delta.service.count),
            _ => return,
        };
        let left = &mut self.spilled[family as usize];
        *left = left.wrapping_sub_unsigned(count);
    }
}

/// Several windows' ends as the end of one window.
#[derive(Clone, Debug, Default)]
pub(super) struct Joined {
    start_ns: u64,
    last: Edge,
    contexts: BTreeMap<u32, (ContextTimes, u64)>,
}

impl Joined {
    /// Nothing yet, from `start_ns` on.
    pub(super) fn from(start_ns: u64) -> Self {
        Self {
            start_ns,
            last: Edge {
                monotonic_ns: start_ns,
                ..Edge::default()
            },
            contexts: BTreeMap::new(),
        }
    }

    /// When the last window that was added ended.
    pub(super) fn end_ns(&self) -> u64 {
        self.last.monotonic_ns
    }

    /// Adds the next window's end.
    pub(super) fn add(&mut self, edge: &Edge) {
        let took_ns = edge.monotonic_ns.saturating_sub(self.last.monotonic_ns);
        for time in &edge.contexts {
            let (sum, seen_ns) = self.contexts.entry(time.cpu).or_default();
            *seen_ns = seen_ns.saturating_add(took_ns);
            add_times(sum, time);
        }
        for (sum, counted) in self.last.counted.iter_mut().zip(&edge.counted) {
            sum.add(counted);
        }
        match (&mut self.last.own_cost, &edge.own_cost) {
            (Some(sum), Some(cost)) => sum.add(cost),
            (sum @ None, cost) => sum.clone_from(cost),
            (Some(_), None) => {}
        }
        self.last.monotonic_ns = edge.monotonic_ns;
        self.last.unix_ns = edge.unix_ns;
        self.last.taint = edge.taint;
        self.last.running.clone_from(&edge.running);
    }

    /// As the last segment of a dump that began and ends with so much on its way. What is counted is what came in it: what
    /// was on its way when it began, and not what still is.
    pub(super) fn segment(mut self, before: &Transit, after: &Transit) -> Vec<u8> {
        let mut encoder = Encoder::default();
        encoder.control(&Control::Contexts(self.times()));
        encoder.control(&Control::Running(std::mem::take(&mut self.last.running)));
        for (i, counted) in self.last.counted.iter_mut().enumerate() {
            correct(
                counted,
                before.streamed[i].wrapping_sub(after.streamed[i]),
                before.spilled[i].wrapping_sub(after.spilled[i]),
            );
        }
        encoder.control(&Control::Counted(Box::new(self.last.counted)));
        if let Some(cost) = self.last.own_cost {
            encoder.control(&Control::OwnCost(cost));
        }
        encoder.control(&Control::WindowEnd {
            monotonic_ns: self.last.monotonic_ns,
            unix_ns: self.last.unix_ns,
            taint: self.last.taint,
        });
        encoder.finish()
    }

    /// Of a CPU of which some window has nothing, that window was user tasks and idle, where switches are followed: as in
    /// a window of its own.
    fn times(&self) -> Vec<ContextTimes> {
        let all_ns = self.last.monotonic_ns.saturating_sub(self.start_ns);
        let of_cpu = |(cpu, (sum, seen_ns)): (&u32, &(ContextTimes, u64))| ContextTimes {
            cpu: *cpu,
            rest_ns: sum
                .rest_ns
                .map(|rest| rest.saturating_add(all_ns.saturating_sub(*seen_ns))),
            ..*sum
        };
        self.contexts.iter().map(of_cpu).collect()
    }
}

fn correct(counted: &mut FamilyAccounting, streamed: i64, spilled: i64) {
    counted.streamed = counted.streamed.saturating_add_signed(streamed);
    counted.spilled = counted.spilled.saturating_add_signed(spilled);
    counted.governed = counted.governed.min(counted.spilled);
    let both = streamed.saturating_add(spilled);
    counted.observed = counted.observed.saturating_add_signed(both);
}

fn add_times(sum: &mut ContextTimes, time: &ContextTimes) {
    sum.hardirq_ns = sum.hardirq_ns.saturating_add(time.hardirq_ns);
    sum.softirq_ns = sum.softirq_ns.saturating_add(time.softirq_ns);
    for (sum, time) in [
        (&mut sum.ksoftirqd_ns, time.ksoftirqd_ns),
        (&mut sum.kthread_ns, time.kthread_ns),
        (&mut sum.rest_ns, time.rest_ns),
    ] {
        if let Some(ns) = time {
            *sum = Some(sum.unwrap_or(0).saturating_add(ns));
        }
    }
}
