//! What happened when: one pass over the records, into as many slots whatever the window.
//!
//! Memory is bounded by the CPUs, the interrupt lines and the devices, and by a bound on each. A record's time is laid
//! where it ran; its duration counts where it ended.

mod axis;
mod heat;
mod lanes;

use std::collections::BTreeMap;

use kctx_common::record::{NR_SOFTIRQS, flags};
use rustc_hash::FxHashMap;

use self::axis::{Axis, halve};
pub(super) use self::{
    heat::{BUCKETS, Heat, SLOTS_A_COLUMN, lowest_ns},
    lanes::{LANES, Lane, Lanes},
};
use super::{
    narrow::{Spanned, Which, end_of},
    stretch::Stretch,
};
use crate::{
    aggregate::window::ContextTimes,
    decode::{self, Record},
    source::{Control, Item, RunningThread},
};

/// Slots where the machine has not many CPUs.
const SLOTS: usize = 600;

/// Slots of all CPUs together, where it has.
const CELLS: usize = 40_000;

/// Slots at least.
const FEWEST_SLOTS: usize = 96;

/// CPUs that have slots; what ran on others is counted.
const CPUS: usize = 1024;

/// Interrupt lines that have a heatmap; the others are one.
const LINES: usize = 64;

/// Devices that have a series; the others are one.
const DEVICES: usize = 32;

/// An interrupt's line: whether it is a vector without a number, its number, and its action's name id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct LineKey {
    pub(super) is_vector: bool,
    pub(super) number: u32,
    pub(super) name_id: u64,
}

/// Packets and polls of a slot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Polled {
    pub(super) packets: u64,
    pub(super) polls: u64,
}

/// What happened when.
#[derive(Debug)]
pub(super) struct Timeline {
    axis: Axis,
    slots: usize,
    /// What lies outside is not in it, by `CLOCK_MONOTONIC`.
    bounds: (u64, u64),
    span: Option<Spanned>,
    lanes: BTreeMap<u32, Lanes>,
    waits: [Heat; NR_SOFTIRQS],
    services: [Heat; NR_SOFTIRQS],
    lines: FxHashMap<LineKey, Heat>,
    other_lines: Heat,
    devices: FxHashMap<u64, Vec<Polled>>,
    other_devices: Vec<Polled>,
    /// Lists of threads that run were seen.
    lists: usize,
    cpus_left_out: u64,
    latest_ns: u64,
}

impl Timeline {
    /// An empty one of a machine with so many CPUs. `start_ns` is when its window opened.
    pub(super) fn new(start_ns: u64, cpus: usize, span: Option<Spanned>) -> Self {
        let begin_ns = span.map_or(start_ns, |span| span.begin_ns());
        let end_ns = span.and_then(|span| span.to_ns).unwrap_or(u64::MAX);
        // A whole number of columns, an even one: they are joined in pairs.
        let slots = (CELLS / cpus.max(1)).clamp(FEWEST_SLOTS, SLOTS);
        let slots = slots - slots % (2 * SLOTS_A_COLUMN);
        Self {
            axis: Axis::new(begin_ns, slots),
            slots,
            bounds: (begin_ns, end_ns),
            span,
            lanes: BTreeMap::new(),
            waits: Default::default(),
            services: Default::default(),
            lines: FxHashMap::default(),
            other_lines: Heat::default(),
            devices: FxHashMap::default(),
            other_devices: Vec::new(),
            lists: 0,
            cpus_left_out: 0,
            latest_ns: begin_ns,
        }
    }

    /// Takes a piece of the stream. Durations are those of the wanted vectors; time is of all.
    pub(super) fn item(&mut self, item: &Item, which: &Which) {
        match item {
            Item::Records { cpu, batch } => {
                for record in decode::records(batch) {
                    self.record(*cpu, &record, which);
                }
            }
            Item::Control(control) => {
                if let Control::Running(threads) = &**control {
                    self.running(threads);
                }
            }
        }
    }

    /// Threads that run when a window ends: no record says so. Those that ran when it began will have one.
    fn running(&mut self, threads: &[RunningThread]) {
        self.lists += 1;
        if self.lists < 2 {
            return;
        }
        for thread in threads {
            let stretch = Stretch {
                start_ns: thread.start_ns,
                end_ns: thread.start_ns.saturating_add(thread.service_ns),
                own_ns: thread.net_ns,
            };
            self.lay(thread.cpu, Lane::of_thread(&thread.comm), &stretch);
        }
    }

    fn record(&mut self, cpu: u32, record: &Record, which: &Which) {
        if let Some((lane, stretch)) = lanes::of_record(record) {
            self.lay(cpu, lane, &stretch);
        }
        let end_ns = end_of(record);
        if matches!(record, Record::Unknown | Record::Module(_))
            || !self.span.is_none_or(|span| span.has(end_ns))
        {
            return;
        }
        let slot = self.reach(end_ns);
        match record {
            Record::Softirq(r) if which.has_vector(r.vector) => {
                let vector = usize::from(r.vector);
                if let Some(heat) = self.services.get_mut(vector) {
                    heat.add(slot, r.service_ns.saturating_sub(r.nested_ns));
                }
                if r.flags & flags::WAIT != 0
                    && let Some(heat) = self.waits.get_mut(vector)
                {
                    heat.add(slot, r.wait_ns);
                }
            }
            // What was another device's says nothing of this one.
            Record::Hardirq(r) if which.has_interrupts() && (r.ret != 0 || is_vector(r.flags)) => {
                let key = LineKey {
                    is_vector: is_vector(r.flags),
                    number: r.irq,
                    name_id: r.name_id,
                };
                let has_room = self.lines.len() < LINES || self.lines.contains_key(&key);
                let heat = match has_room {
                    true => self.lines.entry(key).or_default(),
                    false => &mut self.other_lines,
                };
                heat.add(slot, r.service_ns);
            }
            Record::Napi(r) => {
                let has_room =
                    self.devices.len() < DEVICES || self.devices.contains_key(&r.name_id);
                let series = match has_room {
                    true => self.devices.entry(r.name_id).or_default(),
                    false => &mut self.other_devices,
                };
                if slot >= series.len() {
                    series.resize(slot + 1, Polled::default());
                }
                series[slot].packets += u64::from(r.work);
                series[slot].polls += 1;
            }
            _ => {}
        }
    }

    fn lay(&mut self, cpu: u32, lane: Lane, stretch: &Stretch) {
        if stretch.end_ns < self.bounds.0 || stretch.start_ns >= self.bounds.1 {
            return;
        }
        self.reach(stretch.end_ns.min(self.bounds.1));
        if self.lanes.len() >= CPUS && !self.lanes.contains_key(&cpu) {
            self.cpus_left_out += 1;
            return;
        }
        let lanes = self.lanes.entry(cpu).or_default();
        lanes.add(&self.axis, lane, stretch, self.bounds);
    }

    /// The slot of a moment, after what it takes to have one.
    fn reach(&mut self, at_ns: u64) -> usize {
        self.latest_ns = self.latest_ns.max(at_ns);
        loop {
            if let Some(slot) = self.axis.slot(at_ns) {
                return slot;
            }
            self.double();
        }
    }

    #[cold]
    fn double(&mut self) {
        self.axis.double();
        self.lanes.values_mut().for_each(Lanes::halve);
        let heats = (self.waits.iter_mut())
            .chain(&mut self.services)
            .chain(self.lines.values_mut())
            .chain([&mut self.other_lines]);
        heats.for_each(Heat::halve);
        let series = self.devices.values_mut().chain([&mut self.other_devices]);
        for one in series {
            halve(one, |sum, slot| {
                sum.packets += slot.packets;
                sum.polls += slot.polls;
            });
        }
    }

    /// The span's time in each context, as the records have it. Where switches are not followed nobody knows of
    /// threads.
    pub(super) fn contexts(&self, whole_ns: u64, threads: bool) -> Vec<ContextTimes> {
        let lanes = self.lanes.iter();
        lanes
            .map(|(cpu, lanes)| lanes.contexts(*cpu, whole_ns, threads))
            .collect()
    }

    /// Length of a slot.
    pub(super) fn slot_ns(&self) -> u64 {
        self.axis.slot_ns()
    }

    /// Slots that are used at most.
    pub(super) fn slots(&self) -> usize {
        self.slots
    }

    /// Each CPU's slots.
    pub(super) fn lanes(&self) -> &BTreeMap<u32, Lanes> {
        &self.lanes
    }

    /// Records of CPUs that have no slots.
    pub(super) fn cpus_left_out(&self) -> u64 {
        self.cpus_left_out
    }

    /// Waits and service times of a vector, net of interrupts.
    pub(super) fn vector(&self, vector: usize) -> Option<(&Heat, &Heat)> {
        self.waits.get(vector).zip(self.services.get(vector))
    }

    /// Service times of each interrupt line, and of those that have no place of their own.
    pub(super) fn lines(&self) -> (&FxHashMap<LineKey, Heat>, &Heat) {
        (&self.lines, &self.other_lines)
    }

    /// What each device polled, by name id, and what others did.
    pub(super) fn devices(&self) -> (&FxHashMap<u64, Vec<Polled>>, &[Polled]) {
        (&self.devices, &self.other_devices)
    }
}

fn is_vector(record_flags: u8) -> bool {
    record_flags & flags::VECTOR != 0
}

#[cfg(test)]
mod tests;
