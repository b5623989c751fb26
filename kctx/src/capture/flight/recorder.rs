//! The recorder itself, on the pipeline's thread.

use std::{collections::VecDeque, mem};

use bytes::Bytes;

use super::{
    EndReason, Ending, FlightLimits, Orders,
    edge::{Edge, Joined, Transit},
    head::{Head, Told},
    subscription::{Order, Refused, Subscriber},
};
use crate::{
    aggregate::window::FAMILIES,
    capture::events::Encoder,
    heap,
    source::{Control, Item},
};

/// A segment is closed when it has grown to this, and at each window's end.
const SEGMENT_BYTES: usize = 256 << 10;

/// What may wait for a receiver beyond what is kept.
const WAITING_BYTES: usize = 16 << 20;

/// Less that was kept is not given back: looking through the heap costs more than it is worth.
const WORTH_GIVING_BACK: usize = 4 << 20;

/// What the pipeline knows after it took a piece of the stream.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// Records that came through the rings since the start, by family.
    pub received: [u64; FAMILIES],
    /// How often functions were forgotten.
    pub functions_forgotten: u64,
}

/// A closed window.
struct Kept {
    segments: Vec<Bytes>,
    bytes: usize,
    told: Vec<Told>,
    edge: Edge,
    transit: Transit,
}

/// The window that is open.
#[derive(Default)]
struct Open {
    segments: Vec<Bytes>,
    bytes: usize,
    told: Vec<Told>,
    edge: Edge,
    /// It had no place in the bounds: its segments are not kept.
    over: bool,
}

/// A dump under way.
struct Dump {
    to: Subscriber,
    start_ns: u64,
    before: Transit,
    joined: Joined,
    memory_full: bool,
}

/// See [`super`].
pub struct FlightRecorder {
    limits: FlightLimits,
    orders: Orders,
    encoder: Encoder,
    /// The state at the oldest kept window's start; `None` before the stream's.
    head: Option<Head>,
    /// What was on its way then, and is now.
    transit_at_head: Transit,
    transit: Transit,
    kept: VecDeque<Kept>,
    open: Open,
    bytes: usize,
    received: [u64; FAMILIES],
    functions_forgotten: u64,
    baseline_due: bool,
    dumps: Vec<Dump>,
    /// Who asked while the open window was not kept: they begin with the next.
    early: Vec<Subscriber>,
    dropped_receivers: u64,
    /// The end of the latest window that had to go for want of memory.
    short_since_ns: u64,
    /// The most that was kept since memory was given back.
    most_bytes: usize,
}

impl FlightRecorder {
    /// An empty one.
    #[must_use]
    pub fn new(limits: FlightLimits, orders: Orders) -> Self {
        Self {
            limits,
            orders,
            encoder: Encoder::default(),
            head: None,
            transit_at_head: Transit::default(),
            transit: Transit::default(),
            kept: VecDeque::new(),
            open: Open::default(),
            bytes: 0,
            received: [0; FAMILIES],
            functions_forgotten: 0,
            baseline_due: false,
            dumps: Vec::new(),
            early: Vec::new(),
            dropped_receivers: 0,
            short_since_ns: 0,
            most_bytes: 0,
        }
    }

    /// Bytes of segments that are kept.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Bytes of the open segment.
    #[cfg(test)]
    pub(super) fn open_bytes(&self) -> usize {
        self.encoder.len()
    }

    /// How long the windows took that are kept, in nanoseconds; the open one not among them.
    #[must_use]
    pub fn kept_ns(&self) -> u64 {
        let start = self.head.as_ref().map(|head| head.monotonic_ns);
        let end = self.kept.back().map(|window| window.edge.monotonic_ns);
        start
            .zip(end)
            .map_or(0, |(start, end)| end.saturating_sub(start))
    }

    /// Windows that are kept, the open one not among them.
    #[must_use]
    pub fn windows(&self) -> usize {
        self.kept.len()
    }

    /// Receivers of dumps that were too slow, since the start.
    #[must_use]
    pub fn dropped_receivers(&self) -> u64 {
        self.dropped_receivers
    }

    /// Takes a piece of the stream, after the pipeline did, with what was learnt from it.
    pub fn item(&mut self, learnt: Vec<Control>, item: &Item, progress: &Progress) {
        self.take_orders();
        if self.functions_forgotten != progress.functions_forgotten {
            self.functions_forgotten = progress.functions_forgotten;
            self.open.told.push(Told::FunctionsForgotten);
        }
        let wanted = self.is_wanted();
        for control in learnt {
            if wanted {
                self.encoder.control(&control);
            }
            if !matches!(control, Control::FunctionsRenewed) {
                self.open.told.push(Told::Control(control));
            }
        }
        match item {
            Item::Records { cpu, batch } => {
                if wanted {
                    self.encoder.records(*cpu, batch);
                }
            }
            Item::Control(control) => self.control(control, wanted, progress),
        }
        if self.encoder.len() >= SEGMENT_BYTES {
            self.flush();
        }
    }

    /// Whether somebody will read what comes now.
    fn is_wanted(&self) -> bool {
        !self.dumps.is_empty() || (!self.limits.length.is_zero() && !self.open.over)
    }

    fn control(&mut self, control: &Control, wanted: bool, progress: &Progress) {
        match control {
            Control::Start {
                monotonic_ns,
                unix_ns,
                probes,
                host,
            } => {
                self.head = Some(Head::new(*monotonic_ns, *unix_ns, probes, host));
                self.baseline_due = true;
                self.open.over = self.limits.length.is_zero();
            }
            Control::Running(running) => match &mut self.head {
                Some(head) if mem::take(&mut self.baseline_due) => head.baseline(running),
                _ => self.open.edge.running.clone_from(running),
            },
            Control::Contexts(contexts) => self.open.edge.contexts.clone_from(contexts),
            Control::OwnCost(cost) => self.open.edge.own_cost = Some(cost.clone()),
            Control::Counted(counted) => {
                self.transit.counted(counted);
                for (sum, one) in self.open.edge.counted.iter_mut().zip(counted.iter()) {
                    sum.add(one);
                }
            }
            Control::WindowEnd {
                monotonic_ns,
                unix_ns,
                taint,
            } => {
                let edge = &mut self.open.edge;
                (edge.monotonic_ns, edge.unix_ns, edge.taint) = (*monotonic_ns, *unix_ns, *taint);
                self.close_window(progress);
            }
            Control::Governor { .. } | Control::GovernorHelpless { .. } => {
                self.open.told.push(Told::Control(control.clone()));
                self.encode(control, wanted);
            }
            Control::Spill(delta) => {
                self.transit.spill_came(delta);
                self.encode(control, wanted);
            }
            _ => self.encode(control, wanted),
        }
    }

    fn encode(&mut self, control: &Control, wanted: bool) {
        if wanted {
            self.encoder.control(control);
        }
    }

    /// Closes the segment, and hands it to who waits for it.
    fn flush(&mut self) {
        if self.encoder.is_empty() {
            return;
        }
        let mut segment = self.encoder.finish();
        segment.shrink_to_fit();
        let segment = Bytes::from(segment);
        let limit = self.waiting_limit();
        let mut slow = 0;
        self.dumps
            .retain(|dump| match dump.to.segment(&segment, limit) {
                Ok(()) => true,
                Err(why) => {
                    slow += u64::from(why == Refused::TooSlow);
                    false
                }
            });
        self.dropped_receivers += slow;
        if slow > 0 {
            tracing::warn!("a capture through this daemon was too slow, and was given up");
        }
        if !self.open.over {
            self.open.bytes += segment.len();
            self.bytes += segment.len();
            self.open.segments.push(segment);
            self.keep_within_bytes();
        }
    }

    /// More than is kept at once may wait, so that a dump of it can begin.
    fn waiting_limit(&self) -> usize {
        self.limits.bytes.saturating_add(WAITING_BYTES)
    }

    fn keep_within_bytes(&mut self) {
        while self.bytes > self.limits.bytes && !self.kept.is_empty() {
            self.drop_oldest();
            self.short_since_ns = self.head.as_ref().map_or(0, |head| head.monotonic_ns);
        }
        if self.bytes > self.limits.bytes {
            self.open.over = true;
            self.bytes -= mem::take(&mut self.open.bytes);
            self.open.segments = Vec::new();
        }
    }

    fn drop_oldest(&mut self) {
        if let (Some(window), Some(head)) = (self.kept.pop_front(), &mut self.head) {
            head.advance(&window.told, &window.edge);
            self.transit_at_head = window.transit;
            self.bytes -= window.bytes;
        }
    }

    fn close_window(&mut self, progress: &Progress) {
        let came = std::array::from_fn(|i| progress.received[i].wrapping_sub(self.received[i]));
        self.received = progress.received;
        self.transit.came(&came);
        self.flush();
        let open = mem::take(&mut self.open);
        self.end_dumps(&open.edge);
        let end_ns = open.edge.monotonic_ns;
        self.kept.push_back(Kept {
            segments: open.segments,
            bytes: open.bytes,
            told: open.told,
            edge: open.edge,
            transit: self.transit,
        });
        if open.over {
            // What is kept has no gap.
            while !self.kept.is_empty() {
                self.drop_oldest();
            }
            self.short_since_ns = end_ns;
        }
        let since_ns = end_ns.saturating_sub(self.length_ns());
        while (self.kept.front()).is_some_and(|window| window.edge.monotonic_ns <= since_ns) {
            self.drop_oldest();
        }
        self.open.over = self.limits.length.is_zero();
        for subscriber in mem::take(&mut self.early) {
            // What closed a window for it was this one: it waits for no interval either.
            if subscriber.finish_ns.is_some() {
                (self.orders.cut)();
            }
            self.begin(subscriber);
        }
        self.give_back();
    }

    fn length_ns(&self) -> u64 {
        u64::try_from(self.limits.length.as_nanos()).unwrap_or(u64::MAX)
    }

    /// After a load the heap would stay as large as it was.
    fn give_back(&mut self) {
        self.most_bytes = self.most_bytes.max(self.bytes);
        if self.most_bytes >= WORTH_GIVING_BACK && self.bytes < self.most_bytes / 2 {
            heap::give_back();
            self.most_bytes = self.bytes;
        }
    }

    fn take_orders(&mut self) {
        while let Ok(order) = self.orders.ordered.try_recv() {
            match order {
                Order::Subscribe(subscriber) => {
                    // Of what it closes the open window may lose its place.
                    self.flush();
                    if self.head.is_none() || self.open.over {
                        self.early.push(subscriber);
                    } else {
                        self.begin(subscriber);
                    }
                }
                Order::Finish { id, not_before_ns } => {
                    let dumps = self.dumps.iter_mut().map(|dump| &mut dump.to);
                    for to in dumps.chain(&mut self.early).filter(|to| to.id == id) {
                        to.finish_ns = Some(not_before_ns);
                    }
                }
            }
        }
    }

    /// Begins a dump with what is kept; the segment is closed.
    fn begin(&mut self, to: Subscriber) {
        let Some(head) = &self.head else {
            return;
        };
        let limit = self.waiting_limit();
        let memory_full = !self.limits.length.is_zero()
            && self.short_since_ns > to.asked_ns.saturating_sub(self.length_ns());
        let mut joined = Joined::from(head.monotonic_ns);
        let mut given = to.segment(&Bytes::from(head.segment()), usize::MAX);
        for window in &self.kept {
            joined.add(&window.edge);
        }
        let closed = self.kept.iter().flat_map(|window| &window.segments);
        for segment in closed.chain(&self.open.segments) {
            given = given.and_then(|()| to.segment(segment, limit.saturating_mul(2)));
        }
        if given.is_ok() {
            self.dumps.push(Dump {
                start_ns: head.monotonic_ns,
                to,
                before: self.transit_at_head,
                joined,
                memory_full,
            });
        }
    }

    /// A window ended there: dumps that were asked to end do.
    fn end_dumps(&mut self, edge: &Edge) {
        for dump in &mut self.dumps {
            dump.joined.add(edge);
        }
        let transit = self.transit;
        let due = |dump: &mut Dump| (dump.to.finish_ns).is_some_and(|ns| edge.monotonic_ns >= ns);
        for dump in self.dumps.extract_if(.., due) {
            dump.end(EndReason::Asked, edge.monotonic_ns, &transit);
        }
    }

    /// The stream is over: so are all dumps.
    pub fn finish(mut self) {
        self.take_orders();
        let transit = self.transit;
        for dump in mem::take(&mut self.dumps) {
            let end_ns = dump.joined.end_ns();
            dump.end(EndReason::DaemonEnded, end_ns, &transit);
        }
    }
}

impl Dump {
    fn end(self, reason: EndReason, end_ns: u64, after: &Transit) {
        let tail = Bytes::from(self.joined.segment(&self.before, after));
        if self.to.segment(&tail, usize::MAX).is_err() {
            return;
        }
        let ending = Ending {
            reason,
            before_ns: self.to.asked_ns.saturating_sub(self.start_ns),
            duration_ns: end_ns.saturating_sub(self.start_ns),
            memory_full: self.memory_full,
            in_transit_before: (&self.before).into(),
            in_transit_after: after.into(),
        };
        self.to.end(ending);
    }
}
