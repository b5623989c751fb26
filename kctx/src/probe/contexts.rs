//! From a CPU's state to its time in each context, at any moment: pure.

use kctx_common::pairing::{CpuState, role};

use crate::{aggregate::window::ContextTimes, governor::CpuShare};

/// Time in each context on one CPU since the programs were loaded. Only differences mean something.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ContextTotals {
    hardirq_ns: u64,
    softirq_ns: u64,
    ksoftirqd_ns: u64,
    kthread_ns: u64,
    rest_ns: u64,
    /// Which task runs was known.
    known: bool,
    at_ns: u64,
}

impl ContextTotals {
    /// The totals at `now_ns`, with what is still going on then.
    #[must_use]
    pub fn at(state: &CpuState, now_ns: u64) -> Self {
        let hardirq_ns = state.hardirq_total_ns + open_hardirq_ns(state, now_ns);
        let softirq_ns = state.softirq_total_ns + open_softirq_ns(state, now_ns, hardirq_ns);
        let tasks = &state.tasks;
        let mut totals = Self {
            hardirq_ns,
            softirq_ns,
            ksoftirqd_ns: tasks.ksoftirqd_ns,
            kthread_ns: tasks.kthread_ns,
            rest_ns: tasks.rest_ns,
            known: tasks.since_ns != 0,
            at_ns: now_ns,
        };
        if totals.known {
            let open_ns = open_task_ns(state, now_ns, hardirq_ns, softirq_ns);
            match tasks.role {
                role::REST | role::UNKNOWN => totals.rest_ns += open_ns,
                role::KSOFTIRQD => totals.ksoftirqd_ns += open_ns,
                _ => totals.kthread_ns += open_ns,
            }
        }
        totals
    }

    /// What softirqs and kernel threads took of the CPU since `before`.
    #[must_use]
    pub fn sampled_share_since(&self, before: &Self) -> CpuShare {
        let grown = |of: fn(&Self) -> u64| u128::from(of(self).saturating_sub(of(before)));
        let sampled_ns = grown(|totals| totals.softirq_ns)
            + grown(|totals| totals.ksoftirqd_ns)
            + grown(|totals| totals.kthread_ns);
        CpuShare::of(sampled_ns, self.at_ns.saturating_sub(before.at_ns))
    }

    /// The time in each context since `before`. The parts add up to the time between the two; where it was not
    /// known at first what runs, the rest is what is left of it.
    #[must_use]
    pub fn since(&self, before: &Self, cpu: u32, switches: bool) -> ContextTimes {
        let wall_ns = self.at_ns.saturating_sub(before.at_ns);
        let hardirq_ns = self.hardirq_ns.saturating_sub(before.hardirq_ns);
        let softirq_ns = self.softirq_ns.saturating_sub(before.softirq_ns);
        let ksoftirqd_ns = self.ksoftirqd_ns.saturating_sub(before.ksoftirqd_ns);
        let kthread_ns = self.kthread_ns.saturating_sub(before.kthread_ns);
        let rest_ns = if before.known && self.known {
            self.rest_ns.saturating_sub(before.rest_ns)
        } else {
            wall_ns.saturating_sub(hardirq_ns + softirq_ns + ksoftirqd_ns + kthread_ns)
        };
        let followed = |ns| switches.then_some(ns);
        ContextTimes {
            cpu,
            hardirq_ns,
            softirq_ns,
            ksoftirqd_ns: followed(ksoftirqd_ns),
            kthread_ns: followed(kthread_ns),
            rest_ns: followed(rest_ns),
        }
    }
}

/// What a CPU's state is while it is offline: nothing runs. Its last switch, from the thread that takes it down, is
/// not traced, since tracepoints are for CPUs that are online.
pub fn gone(state: &mut CpuState) {
    state.tasks.role = role::REST;
    state.tasks.task = 0;
    state.kthread.task = 0;
}

fn open_hardirq_ns(state: &CpuState, now_ns: u64) -> u64 {
    let outermost = if state.outer_hardirq.start_ns != 0 {
        &state.outer_hardirq
    } else {
        &state.hardirq
    };
    if outermost.start_ns != 0 {
        let called_ns = state.hardirq_total_ns.saturating_sub(outermost.base_ns);
        return now_ns
            .saturating_sub(outermost.start_ns)
            .saturating_sub(called_ns);
    }
    if state.vector_start_ns != 0 {
        let handlers_ns = state
            .hardirq_total_ns
            .saturating_sub(state.vector_hardirq_base_ns);
        return now_ns
            .saturating_sub(state.vector_start_ns)
            .saturating_sub(handlers_ns);
    }
    0
}

fn open_softirq_ns(state: &CpuState, now_ns: u64, hardirq_ns: u64) -> u64 {
    let softirq = &state.softirq;
    if softirq.start_ns == 0 {
        return 0;
    }
    let taken_ns = hardirq_ns
        .wrapping_add(softirq.away_ns)
        .saturating_sub(softirq.taken_ns);
    now_ns
        .saturating_sub(softirq.start_ns)
        .saturating_sub(taken_ns)
        .saturating_sub(softirq.flushed_ns)
}

/// Net time of the task that runs, since the account was brought up to date.
fn open_task_ns(state: &CpuState, now_ns: u64, hardirq_ns: u64, softirq_ns: u64) -> u64 {
    let tasks = &state.tasks;
    now_ns
        .saturating_sub(tasks.since_ns)
        .saturating_sub(hardirq_ns.saturating_sub(tasks.hardirq_base_ns))
        .saturating_sub(softirq_ns.saturating_sub(tasks.softirq_base_ns))
}

/// Net time so far of the kernel thread that runs, which was switched to when the account was last brought up
/// to date.
#[must_use]
pub fn running_net_ns(state: &CpuState, now_ns: u64) -> u64 {
    let hardirq_ns = state.hardirq_total_ns + open_hardirq_ns(state, now_ns);
    let softirq_ns = state.softirq_total_ns + open_softirq_ns(state, now_ns, hardirq_ns);
    open_task_ns(state, now_ns, hardirq_ns, softirq_ns)
}

#[cfg(test)]
mod tests {
    use super::*;
    use kctx_common::pairing::{RunningHardirq, RunningSoftirq, TaskTime};

    fn state() -> CpuState {
        CpuState::default()
    }

    fn sum(times: &ContextTimes) -> u64 {
        times.hardirq_ns
            + times.softirq_ns
            + times.ksoftirqd_ns.unwrap_or(0)
            + times.kthread_ns.unwrap_or(0)
            + times.rest_ns.unwrap_or(0)
    }

    /// ksoftirqd runs since 1000, in a softirq since 2000, in an interrupt since 2900; before that were
    /// 100 in interrupts of which 40 fell into the softirq.
    fn busy() -> CpuState {
        CpuState {
            hardirq_total_ns: 100,
            hardirq: RunningHardirq {
                start_ns: 2900,
                base_ns: 100,
                ..RunningHardirq::default()
            },
            softirq: RunningSoftirq {
                start_ns: 2000,
                taken_ns: 60,
                ..RunningSoftirq::default()
            },
            tasks: TaskTime {
                since_ns: 1000,
                role: role::KSOFTIRQD,
                rest_ns: 500,
                ..TaskTime::default()
            },
            ..state()
        }
    }

    #[test]
    fn what_is_going_on_counts_for_the_innermost() {
        let totals = ContextTotals::at(&busy(), 3000);
        assert_eq!(totals.hardirq_ns, 200);
        assert_eq!(totals.softirq_ns, 1000 - 40 - 100);
        assert_eq!(totals.ksoftirqd_ns, 2000 - 200 - 860);
        assert_eq!(totals.rest_ns, 500);
    }

    #[test]
    fn what_can_be_sampled_are_softirqs_and_kernel_threads() {
        let at = |at_ns, softirq_ns, ksoftirqd_ns, kthread_ns| ContextTotals {
            softirq_ns,
            ksoftirqd_ns,
            kthread_ns,
            hardirq_ns: at_ns,
            rest_ns: at_ns,
            at_ns,
            ..ContextTotals::default()
        };
        let share = at(2000, 110, 20, 7).sampled_share_since(&at(1000, 100, 0, 2));
        assert_eq!(share, CpuShare::from_ppm(35_000));
        assert_eq!(
            at(2000, 1, 1, 1)
                .sampled_share_since(&at(2000, 1, 1, 1))
                .ppm(),
            0
        );
    }

    #[test]
    fn the_parts_add_up_at_any_moment() {
        let before = ContextTotals::at(&busy(), 2950);
        for now in [2950, 2960, 3000, 10_000] {
            let times = ContextTotals::at(&busy(), now).since(&before, 3, true);
            assert_eq!(sum(&times), now - 2950, "{times:?}");
        }
    }

    #[test]
    fn a_handler_and_the_one_that_it_called_are_one_time() {
        // Entered at 2900, it called one for 20 until 2930, and another at 2950.
        let state = CpuState {
            hardirq_total_ns: 120,
            outer_hardirq: RunningHardirq {
                start_ns: 2900,
                base_ns: 100,
                ..RunningHardirq::default()
            },
            hardirq: RunningHardirq {
                start_ns: 2950,
                base_ns: 120,
                ..RunningHardirq::default()
            },
            ..state()
        };
        assert_eq!(ContextTotals::at(&state, 3000).hardirq_ns, 100 + 100);
    }

    #[test]
    fn without_a_known_start_the_rest_is_what_is_left() {
        let before = ContextTotals::at(&state(), 1_000);
        let times = ContextTotals::at(&busy(), 3_000).since(&before, 0, true);
        assert_eq!(sum(&times), 2_000, "{times:?}");
        let unfollowed = ContextTotals::at(&busy(), 3_000).since(&before, 0, false);
        assert_eq!(unfollowed.rest_ns, None);
    }
}
