//! Which CPUs and vectors: the same stream with less in it.

use std::collections::BTreeSet;

use bytes::{Bytes, BytesMut};
use kctx_common::record::{NET_RX, context, flags, kind};
use zerocopy::IntoBytes as _;

use super::Narrowing;
use crate::{
    aggregate::window::{StackRow, UNKNOWN},
    decode::{self, Record},
    resolve::SOFTIRQ_VECTORS,
    source::{Control, Item, SpillDelta},
};

/// `HI_SOFTIRQ` and `TASKLET_SOFTIRQ` (include/linux/interrupt.h), which run tasklets and BH workqueues.
const TASKLETS: [u8; 2] = [0, 6];

/// Picks by CPU and vector.
#[derive(Clone, Debug)]
pub(in crate::report) struct Which {
    cpus: Option<BTreeSet<u32>>,
    vectors: Option<BTreeSet<u8>>,
    /// Samples of stacks that were left out since nobody knows on which CPU they were taken.
    stacks_left_out: u64,
}

impl Which {
    pub(in crate::report) fn new(narrowing: &Narrowing) -> Self {
        Self {
            cpus: narrowing.cpus.clone(),
            vectors: narrowing.vectors.clone(),
            stacks_left_out: 0,
        }
    }

    /// Samples of stacks that have no CPU, and so no place in some CPUs' part.
    pub(in crate::report) fn stacks_left_out(&self) -> u64 {
        self.stacks_left_out
    }

    /// The piece of the stream but for what is of other CPUs; `None` where nothing is left.
    pub(in crate::report) fn of_cpus(&mut self, item: &Item) -> Option<Item> {
        let Some(cpus) = &self.cpus else {
            return Some(item.clone());
        };
        let control = match item {
            // Module events have no CPU of their own, and are the whole machine's.
            Item::Records { cpu, batch } => {
                let is_of = cpus.contains(cpu);
                let batch = match is_of {
                    true => batch.clone(),
                    false => picked(batch, |record| matches!(record, Record::Module(_))),
                };
                return (!batch.is_empty()).then_some(Item::Records { cpu: *cpu, batch });
            }
            Item::Control(control) => control,
        };
        let control = match &**control {
            Control::Spill(delta) if !cpus.contains(&delta.cpu) => return None,
            Control::SpilledOrigins(origins) => {
                let of = origins.iter().filter(|one| cpus.contains(&one.cpu));
                Control::SpilledOrigins(of.copied().collect())
            }
            Control::Contexts(times) => {
                let of = times.iter().filter(|one| cpus.contains(&one.cpu));
                Control::Contexts(of.copied().collect())
            }
            Control::Running(threads) => {
                let of = threads.iter().filter(|one| cpus.contains(&one.cpu));
                Control::Running(of.cloned().collect())
            }
            Control::Stacks(rows) => {
                self.stacks_left_out += rows.iter().map(|row| row.count).sum::<u64>();
                return None;
            }
            // The CPUs that nothing is said of are not of this part.
            Control::Start {
                monotonic_ns,
                unix_ns,
                probes,
                host,
            } => {
                let list: Vec<u32> = cpus.iter().copied().collect();
                let mut host = host.clone();
                host.cpu_list = crate::host::cpus::format_cpu_list(&list);
                Control::Start {
                    monotonic_ns: *monotonic_ns,
                    unix_ns: *unix_ns,
                    probes: probes.clone(),
                    host,
                }
            }
            _ => return Some(item.clone()),
        };
        Some(Item::Control(Box::new(control)))
    }

    /// The piece of the stream but for what is not of the vectors; `None` where nothing is left.
    pub(in crate::report) fn of_vectors(&self, item: Item) -> Option<Item> {
        let Some(vectors) = &self.vectors else {
            return Some(item);
        };
        let control = match item {
            Item::Records { cpu, batch } => {
                let batch = picked(&batch, |record| is_of_vectors(vectors, record));
                return (!batch.is_empty()).then_some(Item::Records { cpu, batch });
            }
            Item::Control(control) => control,
        };
        let control = match *control {
            Control::Spill(delta) if !spill_is_of(vectors, &delta) => return None,
            Control::SpilledOrigins(mut origins) => {
                origins.retain(|one| vectors.contains(&one.vector));
                Control::SpilledOrigins(origins)
            }
            Control::Running(_) => return None,
            Control::Stacks(mut rows) => {
                rows.retain(|row| stack_is_of(vectors, row));
                Control::Stacks(rows)
            }
            other => other,
        };
        Some(Item::Control(Box::new(control)))
    }

    /// Whether a vector is wanted.
    pub(in crate::report) fn has_vector(&self, vector: u8) -> bool {
        (self.vectors.as_ref()).is_none_or(|vectors| vectors.contains(&vector))
    }

    /// Whether interrupts are.
    pub(in crate::report) fn has_interrupts(&self) -> bool {
        self.vectors.is_none()
    }
}

/// The records of a batch that are wanted.
pub(super) fn picked(batch: &Bytes, wanted: impl Fn(&Record) -> bool) -> Bytes {
    let mut kept = BytesMut::new();
    for record in decode::records(batch).filter(wanted) {
        match &record {
            Record::Softirq(r) => decode::append(&mut kept, r.as_bytes()),
            Record::Hardirq(r) => decode::append(&mut kept, r.as_bytes()),
            Record::Work(r) => decode::append(&mut kept, r.as_bytes()),
            Record::Module(r) => decode::append(&mut kept, r.as_bytes()),
            Record::Tasklet(r) => decode::append(&mut kept, r.as_bytes()),
            Record::Napi(r) => decode::append(&mut kept, r.as_bytes()),
            Record::Kthread(r) => decode::append(&mut kept, r.as_bytes()),
            Record::Unknown => {}
        }
    }
    kept.freeze()
}

fn runs_tasklets(vectors: &BTreeSet<u8>) -> bool {
    TASKLETS.iter().any(|vector| vectors.contains(vector))
}

/// Where a NAPI was polled in a NET_RX run: not in a thread of its own, nor by a task that polls itself.
fn is_polled_in_softirq(place: u8) -> bool {
    !matches!(place, context::NAPI_THREAD)
}

fn is_of_vectors(vectors: &BTreeSet<u8>, record: &Record) -> bool {
    match record {
        Record::Softirq(run) => vectors.contains(&run.vector),
        Record::Napi(poll) => vectors.contains(&NET_RX) && is_polled_in_softirq(poll.context),
        Record::Tasklet(_) => runs_tasklets(vectors),
        Record::Work(work) => work.flags & flags::BH != 0 && runs_tasklets(vectors),
        Record::Module(_) => true,
        Record::Hardirq(_) | Record::Kthread(_) | Record::Unknown => false,
    }
}

fn spill_is_of(vectors: &BTreeSet<u8>, delta: &SpillDelta) -> bool {
    match delta.family {
        kind::SOFTIRQ => u8::try_from(delta.number).is_ok_and(|number| vectors.contains(&number)),
        kind::NAPI => vectors.contains(&NET_RX) && is_polled_in_softirq(delta.context),
        kind::TASKLET => runs_tasklets(vectors),
        _ => false,
    }
}

fn stack_is_of(vectors: &BTreeSet<u8>, row: &StackRow) -> bool {
    let vector = row.context.strip_prefix("softirq:").unwrap_or(UNKNOWN);
    vectors
        .iter()
        .any(|number| SOFTIRQ_VECTORS.get(usize::from(*number)) == Some(&vector))
}
