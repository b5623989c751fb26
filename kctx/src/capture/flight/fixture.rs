//! A stream of some windows through the pipeline and the recorder, and dumps of it through a pipeline of their own.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use kctx_common::record::{Hardirq, kind};
use zerocopy::{FromZeros as _, IntoBytes as _};

use super::*;
use crate::{
    aggregate::{
        table::RowLimits,
        window::{ContextTimes, FAMILIES, Family, FamilyAccounting, Window},
    },
    capture::events::Decoder,
    decode,
    host::HostIdentity,
    meter::OwnCost,
    pipeline::Pipeline,
    resolve::{Lookup, Recorded, Resolver},
    source::{Control, Item, SpillDelta, SpilledDurations},
};

pub(super) const SECOND: u64 = 1_000_000_000;
const NAME: u64 = 77;

/// Knows names by their ids.
struct Names;

impl Lookup for Names {
    fn name(&mut self, id: u64) -> Option<String> {
        Some(format!("action-{id}"))
    }
    fn function(&mut self, _address: u64) -> Option<String> {
        None
    }
    fn comm(&mut self, _pid: u32) -> Option<String> {
        None
    }
}

/// A daemon without a kernel.
pub(super) struct Daemon {
    pub(super) pipeline: Pipeline,
    pub(super) recorder: FlightRecorder,
    pub(super) handle: FlightHandle,
    pub(super) now_ns: u64,
    pub(super) windows: Vec<Window>,
    cuts: Arc<AtomicU64>,
}

impl Daemon {
    pub(super) fn new(length: Duration, bytes: usize) -> Self {
        let cuts = Arc::<AtomicU64>::default();
        let counted = Arc::clone(&cuts);
        let (handle, orders) = FlightHandle::new(Arc::new(move || {
            counted.fetch_add(1, Ordering::Relaxed);
        }));
        let mut daemon = Self {
            pipeline: Pipeline::new(RowLimits::default(), Resolver::new(Box::new(Names))),
            recorder: FlightRecorder::new(FlightLimits { length, bytes }, orders),
            handle,
            now_ns: 100 * SECOND,
            windows: Vec::new(),
            cuts,
        };
        daemon.control(Control::Start {
            monotonic_ns: daemon.now_ns,
            unix_ns: daemon.now_ns + 5,
            probes: Vec::new(),
            host: Box::new(HostIdentity::default()),
        });
        daemon.control(Control::Running(Vec::new()));
        daemon
    }

    /// How often the drain was asked to close its window.
    pub(super) fn cuts(&self) -> u64 {
        self.cuts.load(Ordering::Relaxed)
    }

    pub(super) fn item(&mut self, item: &Item) {
        let window = self.pipeline.take(item);
        let learnt = self.pipeline.take_learnt();
        let progress = self.pipeline.progress();
        self.recorder.item(learnt, item, &progress);
        self.windows.extend(window);
    }

    pub(super) fn control(&mut self, control: Control) {
        self.item(&Item::Control(Box::new(control)));
    }

    pub(super) fn interrupts(&mut self, records: u64) {
        let mut batch = BytesMut::new();
        for i in 0..records {
            let record = Hardirq {
                kind: kind::HARDIRQ,
                ret: 1,
                irq: 9,
                name_id: NAME,
                end_ns: self.now_ns + i,
                service_ns: 100 + i,
                ..Hardirq::new_zeroed()
            };
            decode::append(&mut batch, record.as_bytes());
        }
        let batch: Bytes = batch.freeze();
        self.item(&Item::Records { cpu: 1, batch });
    }

    pub(super) fn spill(&mut self, count: u64) {
        self.control(Control::Spill(Box::new(SpillDelta {
            cpu: 1,
            family: kind::HARDIRQ,
            unhandled: false,
            overflow: false,
            context: 0,
            number: 9,
            name_id: NAME,
            function: 0,
            wait: SpilledDurations::default(),
            service: SpilledDurations {
                count,
                sum_ns: count,
                max_ns: 1,
                buckets: Vec::new(),
            },
            third: SpilledDurations::default(),
            fourth: SpilledDurations::default(),
        })));
    }

    /// A second is over, in which so many interrupts were counted as streamed and as spilled.
    pub(super) fn close(&mut self, streamed: u64, spilled: u64) {
        self.now_ns += SECOND;
        let mut counted: [FamilyAccounting; FAMILIES] = Default::default();
        counted[Family::Hardirq as usize] = FamilyAccounting {
            observed: streamed + spilled,
            streamed,
            spilled,
            ..FamilyAccounting::default()
        };
        self.control(Control::Contexts(vec![ContextTimes {
            cpu: 1,
            hardirq_ns: 10,
            rest_ns: Some(SECOND - 10),
            ksoftirqd_ns: Some(0),
            kthread_ns: Some(0),
            ..ContextTimes::default()
        }]));
        self.control(Control::Running(Vec::new()));
        self.control(Control::Counted(Box::new(counted)));
        self.control(Control::OwnCost(Box::new(OwnCost {
            ring_bytes: 8,
            ..OwnCost::default()
        })));
        self.control(Control::WindowEnd {
            monotonic_ns: self.now_ns,
            unix_ns: self.now_ns + 5,
            taint: Some(self.now_ns),
        });
    }

    pub(super) fn window(&mut self, records: u64) {
        self.interrupts(records);
        self.close(records, 0);
    }
}

/// All that is there of a dump.
async fn pieces(mut subscription: Subscription) -> (Vec<Bytes>, Option<Ending>) {
    let mut segments = Vec::new();
    loop {
        match subscription.next().await {
            Some(Piece::Segment(segment)) => segments.push(segment),
            Some(Piece::End(ending)) => return (segments, Some(ending)),
            Some(Piece::GivenUp) | None => return (segments, None),
        }
    }
}

pub(super) fn taken(subscription: Subscription) -> (Vec<Bytes>, Option<Ending>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    runtime.block_on(pieces(subscription))
}

/// The one window of a dump.
pub(super) fn replayed(segments: &[Bytes]) -> Window {
    let mut pipeline = Pipeline::new(RowLimits::default(), Resolver::new(Box::new(Recorded)));
    let mut windows = Vec::new();
    for segment in segments {
        let mut decoder = Decoder::new(segment.clone()).unwrap();
        while let Some(item) = decoder.next_item().unwrap() {
            windows.extend(pipeline.take(&item));
        }
    }
    assert_eq!(windows.len(), 1);
    windows.remove(0)
}
