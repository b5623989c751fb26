//! Works by function: one function may be on more than one workqueue.

use std::collections::BTreeMap;

use super::{Facts, origins};
use crate::{
    diagnose::harm::BUSY,
    report::summary::{KthreadSummary, OriginSummary, WorkqueueSummary},
};

/// A work function's executions, of all its workqueues.
#[derive(Clone, Debug)]
pub(in crate::diagnose) struct Work<'a> {
    pub(in crate::diagnose) function: &'a str,
    /// The workqueue with most of them.
    pub(in crate::diagnose) workqueue: &'a str,
    pub(in crate::diagnose) count: u64,
    /// In wall time.
    pub(in crate::diagnose) service_ns: u64,
    /// On CPUs.
    pub(in crate::diagnose) cpu_ns: u64,
    /// The row with most executions: its waits.
    pub(in crate::diagnose) row: &'a WorkqueueSummary,
}

impl Facts<'_> {
    /// By time on CPUs, the most first. Those in softirqs are left out, for they are in a vector; so is what a flush waits for.
    pub(in crate::diagnose) fn works(&self) -> Vec<Work<'_>> {
        let mut by_function: BTreeMap<&str, Work<'_>> = BTreeMap::new();
        let rows = self.summary.workqueue.iter();
        let is_work = |row: &&WorkqueueSummary| {
            !row.overflow && row.bh < row.count.max(1) && row.function != "wq_barrier_func"
        };
        for row in rows.filter(is_work) {
            let work = by_function.entry(&row.function).or_insert(Work {
                function: &row.function,
                workqueue: &row.workqueue,
                count: 0,
                service_ns: 0,
                cpu_ns: 0,
                row,
            });
            work.count = work.count.saturating_add(row.count);
            work.service_ns = work.service_ns.saturating_add(row.service.sum_ns);
            work.cpu_ns = work.cpu_ns.saturating_add(row.service_net.sum_ns);
            if row.count > work.row.count {
                (work.row, work.workqueue) = (row, &row.workqueue);
            }
        }
        let mut works: Vec<_> = by_function.into_values().collect();
        works.sort_by(|a, b| b.cpu_ns.cmp(&a.cpu_ns).then(a.function.cmp(b.function)));
        works
    }

    /// Those of `works` that take a tenth of a CPU, and how much in per cent: with their kworkers' way to it where it is most of
    /// what those do.
    pub(in crate::diagnose) fn busy_works<'w>(
        &self,
        works: &'w [Work<'w>],
    ) -> impl Iterator<Item = (&'w Work<'w>, f64)> {
        let all: u64 = works.iter().map(|work| work.count).sum();
        let share = move |work: &Work<'_>| {
            let own = self.percent(work.cpu_ns);
            if work.count < all / 2 {
                return own;
            }
            let threads = (self.summary.kthread.iter()).filter(|row| work.may_be_run_by(row));
            own.max(self.percent(threads.map(|row| row.cpu_ns).sum()))
        };
        (works.iter())
            .map(move |work| (work, share(work)))
            .filter(|(_, share)| *share >= BUSY)
    }
}

impl<'a> Work<'a> {
    /// Whether a thread is a kworker of its queue, or of one that is not known.
    pub(in crate::diagnose) fn may_be_run_by(&self, row: &KthreadSummary) -> bool {
        row.role == "kworker" && (row.workqueue == self.workqueue || row.workqueue.is_empty())
    }

    /// The same for a sentence about it: empty where nothing is known to have queued it.
    pub(in crate::diagnose) fn most_queued_by(&self) -> String {
        let words = self.queued_by().map(origins::words).unwrap_or_default();
        match words.is_empty() {
            true => words,
            false => format!("; most are queued by {words}"),
        }
    }

    /// What queued it most.
    pub(in crate::diagnose) fn queued_by(&self) -> Option<&'a OriginSummary> {
        self.row.queued_by.first().map(|queued| &queued.origin)
    }
}
