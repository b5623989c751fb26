//! What the kernel spilled, into the same rows as what came through the rings.

use kctx_common::{
    record::{context, kind, origin},
    spill::PACKET_NS,
};

use super::{
    Aggregator,
    table::{add_spilled, napi::NapiKey},
    window::Family,
};
use crate::{
    resolve::Resolver,
    source::{SpillDelta, SpilledOrigin},
};

/// [`SpillDelta::context`] of an interrupt vector that has no number.
const VECTOR: u8 = 1;

impl Aggregator {
    pub(super) fn spill(&mut self, delta: &SpillDelta, names: &mut Resolver) {
        let count = delta.service.count;
        match delta.family {
            kind::SOFTIRQ => {
                let rows = self.softirq.of_cpu(delta.cpu);
                let vector = u8::try_from(delta.number).ok();
                let row = rows.zip(vector);
                let row = row.and_then(|(rows, vector)| rows.row(vector, delta.context));
                let Some(row) = row else {
                    self.undecoded += 1;
                    return;
                };
                row.count = row.count.saturating_add(count);
                row.wait_unknown =
                    (row.wait_unknown).saturating_add(count.saturating_sub(delta.wait.count));
                add_spilled(&mut row.wait, &delta.wait);
                add_spilled(row.service.gross(), &delta.service);
                add_spilled(row.service.net(), &delta.third);
            }
            kind::HARDIRQ => self.spilled_hardirq(delta, names),
            kind::WORK => {
                let key = (!delta.overflow).then_some((delta.name_id, delta.function));
                let (open, overflow) = self.workqueue.row(key, self.limits.workqueue, names);
                add_spilled(&mut open.wait, &delta.wait);
                add_spilled(&mut open.activate, &delta.third);
                add_spilled(&mut open.service, &delta.service);
                add_spilled(&mut open.service_net, &delta.fourth);
                let row = &mut open.row;
                row.count = row.count.saturating_add(count);
                row.wait_unknown =
                    (row.wait_unknown).saturating_add(count.saturating_sub(delta.wait.count));
                (open.queued_by).add(origin::UNKNOWN, 0, count, names);
                self.overflowed(Family::Workqueue, overflow, count);
            }
            kind::TASKLET => {
                let function = (!delta.overflow).then_some(delta.function);
                let (row, overflow) = self.tasklet.row(function, self.limits.tasklet, names);
                row.row.count = row.row.count.saturating_add(count);
                add_spilled(row.service.gross(), &delta.service);
                add_spilled(row.service.net(), &delta.third);
                self.overflowed(Family::Tasklet, overflow, count);
            }
            kind::NAPI => self.spilled_napi(delta, names),
            kind::KTHREAD => {
                let overflow = self.kthread.spilled(delta, self.limits.kthread, names);
                self.overflowed(Family::Kthread, overflow, count);
            }
            _ => self.undecoded += 1,
        }
    }

    fn spilled_hardirq(&mut self, delta: &SpillDelta, names: &mut Resolver) {
        let count = delta.service.count;
        let (open, overflow) = if delta.context == VECTOR && !delta.overflow {
            let Some(row) = self.hardirq.vector(delta.number, delta.cpu) else {
                self.undecoded += 1;
                return;
            };
            (row, false)
        } else {
            let irq = (!delta.overflow).then_some(delta.number);
            let limit = self.limits.hardirq;
            self.hardirq
                .row(irq, delta.name_id, delta.cpu, limit, names)
        };
        let row = &mut open.row;
        if delta.unhandled {
            row.unhandled = row.unhandled.saturating_add(count);
        } else {
            row.count = row.count.saturating_add(count);
            row.woke_thread = row.woke_thread.saturating_add(delta.third.count);
            add_spilled(&mut open.service, &delta.service);
        }
        self.overflowed(Family::Hardirq, overflow, count);
    }

    /// The number of polls is that of their packet counts: a poll's time is not always known.
    fn spilled_napi(&mut self, delta: &SpillDelta, names: &mut Resolver) {
        let (open, overflow) = if delta.overflow {
            (self.napi.overflow(delta.cpu), true)
        } else {
            let key = NapiKey {
                name_id: delta.name_id,
                napi_id: delta.number,
                cpu: delta.cpu,
                context: known_context(delta.context),
            };
            self.napi.row(key, self.limits.napi, names)
        };
        add_spilled(&mut open.service, &delta.service);
        let row = &mut open.row;
        let polls = delta.third.count;
        row.count = row.count.saturating_add(polls);
        row.exhausted = row.exhausted.saturating_add(delta.wait.count);
        row.packets = row.packets.saturating_add(delta.third.sum_ns / PACKET_NS);
        row.packets_max = row.packets_max.max(delta.third.max_ns / PACKET_NS);
        self.overflowed(Family::Napi, overflow, polls);
    }

    pub(super) fn spilled_origin(&mut self, spilled: &SpilledOrigin, names: &mut Resolver) {
        let (vector, kind, number) = (spilled.vector, spilled.kind, spilled.number);
        let counted = (self.origins.of_cpu(spilled.cpu))
            .is_some_and(|origins| origins.add(vector, kind, number, spilled.count, names));
        if !counted {
            self.undecoded += 1;
        }
    }

    #[inline]
    pub(super) fn overflowed(&mut self, family: Family, overflow: bool, count: u64) {
        if overflow {
            let counts = &mut self.accounting.by_family[family as usize];
            counts.overflowed = counts.overflowed.saturating_add(count);
        }
    }
}

/// A context that there is: a key must not tell apart what a row does not.
#[inline]
pub(super) fn known_context(number: u8) -> u8 {
    if number <= context::NAPI_THREAD {
        number
    } else {
        context::UNKNOWN
    }
}
