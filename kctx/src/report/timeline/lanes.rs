//! One CPU's time by context, slot by slot.

use kctx_common::record::NR_SOFTIRQS;

use super::axis::{Axis, halve};
use crate::{
    aggregate::window::ContextTimes,
    decode::Record,
    report::stretch::Stretch,
    resolve::role::{Role, role_of},
};

/// Where a CPU's time went, as the records say. None of it is in two lanes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::report) enum Lane {
    /// Interrupt handlers and vectors.
    Hardirq,
    /// A softirq vector, without interrupts.
    Softirq(u8),
    /// ksoftirqd, outside of softirqs and interrupts.
    Ksoftirqd,
    /// Other kernel threads, likewise.
    Kthread,
}

/// How many lanes there are.
pub(in crate::report) const LANES: usize = NR_SOFTIRQS + 3;

impl Lane {
    /// All of them, in the order of a slot's sums.
    pub(in crate::report) fn all() -> impl Iterator<Item = Self> {
        let vectors = (0..NR_SOFTIRQS as u8).map(Self::Softirq);
        [Self::Hardirq]
            .into_iter()
            .chain(vectors)
            .chain([Self::Ksoftirqd, Self::Kthread])
    }

    fn index(self) -> Option<usize> {
        match self {
            Self::Hardirq => Some(0),
            Self::Softirq(vector) => {
                let vector = usize::from(vector);
                (vector < NR_SOFTIRQS).then_some(1 + vector)
            }
            Self::Ksoftirqd => Some(1 + NR_SOFTIRQS),
            Self::Kthread => Some(2 + NR_SOFTIRQS),
        }
    }

    /// The lane of a thread.
    pub(super) fn of_thread(comm: &str) -> Self {
        match role_of(comm) {
            Role::Ksoftirqd => Self::Ksoftirqd,
            _ => Self::Kthread,
        }
    }
}

/// What a record says of its CPU's time. Works, tasklets and polls are parts of threads' and softirqs' time.
pub(super) fn of_record(record: &Record) -> Option<(Lane, Stretch)> {
    match record {
        Record::Softirq(r) => {
            let own_ns = r.service_ns.saturating_sub(r.nested_ns);
            let stretch = Stretch::ended(r.end_ns, r.service_ns, own_ns);
            Some((Lane::Softirq(r.vector), stretch))
        }
        Record::Hardirq(r) => {
            let stretch = Stretch::ended(r.end_ns, r.service_ns, r.service_ns);
            Some((Lane::Hardirq, stretch))
        }
        Record::Kthread(r) => {
            let len = r.comm.iter().position(|&b| b == 0);
            let comm = String::from_utf8_lossy(&r.comm[..len.unwrap_or(r.comm.len())]);
            let stretch = Stretch::ended(r.end_ns, r.service_ns, r.net_ns);
            Some((Lane::of_thread(&comm), stretch))
        }
        _ => None,
    }
}

/// One CPU's slots.
#[derive(Clone, Debug, Default)]
pub(in crate::report) struct Lanes(Vec<[u64; LANES]>);

impl Lanes {
    /// Adds what of a stretch lies between the bounds. The axis reaches to its end.
    pub(super) fn add(&mut self, axis: &Axis, lane: Lane, stretch: &Stretch, bounds: (u64, u64)) {
        let (from_ns, to_ns) = (stretch.start_ns.max(bounds.0), stretch.end_ns.min(bounds.1));
        let Some(lane) = lane.index() else {
            return;
        };
        if to_ns < from_ns || stretch.end_ns < bounds.0 || stretch.start_ns >= bounds.1 {
            return;
        }
        let (Some(first), Some(last)) = (axis.slot(from_ns), axis.slot(to_ns)) else {
            return;
        };
        if last >= self.0.len() {
            self.0.resize(last + 1, [0; LANES]);
        }
        for slot in first..=last {
            let begin_ns = if slot == first {
                from_ns
            } else {
                axis.begin_ns(slot)
            };
            let end_ns = if slot == last {
                to_ns
            } else {
                axis.begin_ns(slot + 1)
            };
            let sum = &mut self.0[slot][lane];
            *sum = sum.saturating_add(stretch.own_within(begin_ns, end_ns));
        }
    }

    pub(super) fn halve(&mut self) {
        halve(&mut self.0, |sum, slot| {
            for (lane, more) in sum.iter_mut().zip(slot) {
                *lane = lane.saturating_add(more);
            }
        });
    }

    /// The sums of each slot, in nanoseconds, in the order of [`Lane::all`].
    pub(in crate::report) fn slots(&self) -> &[[u64; LANES]] {
        &self.0
    }

    /// All of it, by context; the rest of so long a time is user tasks and idle.
    pub(super) fn contexts(&self, cpu: u32, whole_ns: u64, threads: bool) -> ContextTimes {
        let mut sums = [0_u64; LANES];
        for slot in &self.0 {
            for (sum, lane) in sums.iter_mut().zip(slot) {
                *sum = sum.saturating_add(*lane);
            }
        }
        let hardirq_ns = sums[0];
        let softirq_ns = sums[1..=NR_SOFTIRQS].iter().sum();
        let [ksoftirqd_ns, kthread_ns] = [sums[LANES - 2], sums[LANES - 1]];
        let known = hardirq_ns + softirq_ns + ksoftirqd_ns + kthread_ns;
        ContextTimes {
            cpu,
            hardirq_ns,
            softirq_ns,
            ksoftirqd_ns: threads.then_some(ksoftirqd_ns),
            kthread_ns: threads.then_some(kthread_ns),
            rest_ns: threads.then_some(whole_ns.saturating_sub(known)),
        }
    }
}
