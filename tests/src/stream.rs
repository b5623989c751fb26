//! Streams made by hand: records of which every number is known, and what the stages make of them.

use std::{collections::HashMap, path::Path};

use anyhow::{Context as _, Result};
use bytes::BytesMut;
use kctx::{
    aggregate::{
        table::RowLimits,
        window::{FAMILIES, FamilyAccounting, Window},
    },
    capture::{bundle::WriteLimits, recorder::Recorder},
    decode,
    host::HostIdentity,
    pipeline::Pipeline,
    report::summary::Summary,
    resolve::{Lookup, Recorded, Resolver},
    source::{
        Control, Item, RunningThread, SpillDelta, SpilledDurations, recorded::RecordedSource,
    },
};
use kctx_common::{
    bucket,
    record::{
        Hardirq, Kthread, Module, Napi, Softirq, SoftirqLong, Tasklet, Work, flags, kind, place,
        vector_class,
    },
};
use zerocopy::IntoBytes as _;

/// When hand-made streams start, by `CLOCK_MONOTONIC`.
pub const START_NS: u64 = 5_000_000_000;
/// The same, since the Unix epoch.
pub const START_UNIX_NS: u64 = 1_700_000_000_000_000_000;

/// The start of a stream.
#[must_use]
pub fn start() -> Item {
    control(Control::Start {
        monotonic_ns: START_NS,
        unix_ns: START_UNIX_NS,
        probes: Vec::new(),
        host: Box::new(HostIdentity::default()),
    })
}

/// The end of a window, so long after the start.
#[must_use]
pub fn window_end(after_ns: u64) -> Item {
    control(Control::WindowEnd {
        monotonic_ns: START_NS.wrapping_add(after_ns),
        unix_ns: START_UNIX_NS.wrapping_add(after_ns),
        taint: Some(0),
    })
}

/// What the probes counted, as if all had been streamed: in the order of the families, the rest 0.
#[must_use]
pub fn counted<const N: usize>(streamed: [u64; N]) -> Item {
    let mut families: [FamilyAccounting; FAMILIES] = std::array::from_fn(|_| Default::default());
    for (family, n) in families.iter_mut().zip(streamed) {
        family.observed = n;
        family.streamed = n;
    }
    control(Control::Counted(Box::new(families)))
}

/// A control as a piece of a stream.
#[must_use]
pub fn control(control: Control) -> Item {
    Item::Control(Box::new(control))
}

/// A record as its probe writes it.
pub trait Written {
    /// Its bytes.
    fn written(&self) -> Vec<u8>;
}

impl Written for SoftirqLong {
    /// The short form where the durations fit it.
    fn written(&self) -> Vec<u8> {
        let short = |ns: u64| u32::try_from(ns).ok();
        let durations = (
            short(self.nested_ns),
            short(self.wait_ns),
            short(self.service_ns),
        );
        let (Some(nested_ns), Some(wait_ns), Some(service_ns)) = durations else {
            return self.as_bytes().to_vec();
        };
        let record = Softirq {
            kind: kind::SOFTIRQ,
            vector: self.vector,
            flags: self.flags,
            place: self.place,
            nested_ns,
            end_ns: self.end_ns,
            wait_ns,
            service_ns,
            origin: self.origin,
            reserved: 0,
        };
        record.as_bytes().to_vec()
    }
}

macro_rules! written_as_they_are {
    ($($record:ty),*) => {
        $(impl Written for $record {
            fn written(&self) -> Vec<u8> {
                self.as_bytes().to_vec()
            }
        })*
    };
}

written_as_they_are!(Hardirq, Work, Module, Tasklet, Napi, Kthread);

/// A batch of one CPU.
#[must_use]
pub fn batch<R: Written>(cpu: u32, records: &[R]) -> Item {
    let mut batch = BytesMut::new();
    for record in records {
        decode::append(&mut batch, &record.written());
    }
    Item::Records {
        cpu,
        batch: batch.freeze(),
    }
}

/// A softirq run.
#[must_use]
pub fn softirq(vector: u8, end_ns: u64, wait_ns: Option<u64>, service_ns: u64) -> SoftirqLong {
    SoftirqLong {
        kind: kind::SOFTIRQ_LONG,
        vector,
        flags: if wait_ns.is_some() { flags::WAIT } else { 0 },
        end_ns,
        wait_ns: wait_ns.unwrap_or(0),
        service_ns,
        ..SoftirqLong::default()
    }
}

/// The same run, at this place and raised by this.
#[must_use]
pub fn raised_by(run: SoftirqLong, context: u8, (kind, number): (u8, u32)) -> SoftirqLong {
    SoftirqLong {
        place: place(context, kind),
        origin: number,
        ..run
    }
}

/// A handler's call.
#[must_use]
pub fn hardirq(irq: u32, name_id: u64, ret: u8, end_ns: u64, service_ns: u64) -> Hardirq {
    Hardirq {
        kind: kind::HARDIRQ,
        ret,
        irq,
        end_ns,
        service_ns,
        name_id,
        ..Hardirq::default()
    }
}

/// A local timer's interrupt.
#[must_use]
pub fn timer(end_ns: u64, service_ns: u64) -> Hardirq {
    Hardirq {
        flags: flags::VECTOR,
        ..hardirq(vector_class::LOC, 0, 1, end_ns, service_ns)
    }
}

/// A tasklet's run.
#[must_use]
pub fn tasklet(function: u64, end_ns: u64, service_ns: u64, nested_ns: u64) -> Tasklet {
    Tasklet {
        kind: kind::TASKLET,
        end_ns,
        service_ns,
        nested_ns,
        function,
        ..Tasklet::default()
    }
}

/// A poll of which the beginning is known, with a budget of 64.
#[must_use]
pub fn napi(name_id: u64, napi_id: u32, end_ns: u64, work: u32, duration_ns: u64) -> Napi {
    Napi {
        kind: kind::NAPI,
        flags: flags::DURATION,
        context: kctx_common::record::context::IRQ_TAIL,
        napi_id,
        end_ns,
        work,
        budget: 64,
        duration_ns,
        name_id,
        ..Napi::default()
    }
}

/// A kernel thread's stretch, of which interrupts and softirqs took a tenth.
#[must_use]
pub fn kthread(pid: u32, comm: &str, end_ns: u64, wait_ns: u64, service_ns: u64) -> Kthread {
    let mut record = Kthread {
        kind: kind::KTHREAD,
        flags: flags::WAIT,
        pid,
        end_ns,
        wait_ns,
        service_ns,
        net_ns: service_ns - service_ns / 10,
        ..Kthread::default()
    };
    record.comm[..comm.len()].copy_from_slice(comm.as_bytes());
    record
}

/// The same thread while it still runs, so long after it began.
#[must_use]
pub fn running(cpu: u32, whole: &Kthread, service_ns: u64) -> RunningThread {
    let end = whole
        .comm
        .iter()
        .position(|b| *b == 0)
        .unwrap_or(whole.comm.len());
    RunningThread {
        cpu,
        pid: whole.pid,
        comm: String::from_utf8_lossy(&whole.comm[..end]).into_owned(),
        workqueue_id: whole.workqueue_id,
        start_ns: whole.end_ns - whole.service_ns,
        service_ns,
        net_ns: service_ns - service_ns / 10,
    }
}

/// A spill row of a family that has grown by nothing yet.
#[must_use]
pub fn spill_delta(family: u8, cpu: u32) -> SpillDelta {
    SpillDelta {
        cpu,
        family,
        unhandled: false,
        overflow: false,
        context: 0,
        number: 0,
        name_id: 0,
        function: 0,
        wait: spilled(&[]),
        service: spilled(&[]),
        third: spilled(&[]),
        fourth: spilled(&[]),
    }
}

/// An execution of a work whose queueing was seen.
#[must_use]
pub fn work(workqueue_id: u64, function: u64, end_ns: u64, wait_ns: u64, service_ns: u64) -> Work {
    Work {
        kind: kind::WORK,
        flags: flags::WAIT,
        end_ns,
        wait_ns,
        service_ns,
        function,
        workqueue_id,
        ..Work::default()
    }
}

/// A module event.
#[must_use]
pub fn module(event: u8, name: &str, taints: u32, time_ns: u64) -> Module {
    let mut record = Module {
        kind: kind::MODULE,
        event,
        reserved: [0; 2],
        taints,
        pid: 4242,
        cpu: 1,
        time_ns,
        comm: [0; 16],
        name: [0; 56],
        init_ns: 0,
        ret: 0,
        reserved2: 0,
    };
    record.comm[..6].copy_from_slice(b"insmod");
    record.name[..name.len()].copy_from_slice(name.as_bytes());
    record
}

/// Durations as the kernel side would have spilled them.
#[must_use]
pub fn spilled(durations: &[u64]) -> SpilledDurations {
    let mut buckets = std::collections::BTreeMap::new();
    for ns in durations {
        *buckets.entry(bucket::index(*ns) as u16).or_insert(0_u32) += 1;
    }
    SpilledDurations {
        count: durations.len() as u64,
        sum_ns: durations.iter().sum(),
        max_ns: durations.iter().copied().max().unwrap_or(0),
        buckets: buckets.into_iter().collect(),
    }
}

/// A kernel's names, for a stream that is not recorded yet. What a function's address means changes with
/// each module event.
#[derive(Clone, Debug, Default)]
pub struct Names {
    /// By id.
    pub names: HashMap<u64, String>,
    /// Comms by process id.
    pub comms: HashMap<u32, String>,
    /// By address, before the first module event, after it, and so on.
    pub functions: Vec<HashMap<u64, String>>,
    events: usize,
    /// For so many pieces of the stream after a module event nobody knows what an address means.
    pub blind: usize,
    blind_left: usize,
}

impl Names {
    /// These names, and these functions for ever.
    #[must_use]
    pub fn new(names: &[(u64, &str)], functions: &[&[(u64, &str)]]) -> Self {
        let map = |pairs: &[(u64, &str)]| {
            let owned = pairs.iter().map(|(key, text)| (*key, (*text).to_owned()));
            owned.collect::<HashMap<_, _>>()
        };
        Self {
            names: map(names),
            comms: HashMap::new(),
            functions: functions.iter().map(|pairs| map(pairs)).collect(),
            events: 0,
            blind: 0,
            blind_left: 0,
        }
    }

    /// And these comms.
    #[must_use]
    pub fn with_comms(mut self, comms: &[(u32, &str)]) -> Self {
        let owned = comms.iter().map(|(pid, comm)| (*pid, (*comm).to_owned()));
        self.comms.extend(owned);
        self
    }
}

impl Lookup for Names {
    fn name(&mut self, id: u64) -> Option<String> {
        self.names.get(&id).cloned()
    }

    fn function(&mut self, address: u64) -> Option<String> {
        if self.blind_left > 0 {
            return None;
        }
        let known = self.functions.get(self.events).or(self.functions.last())?;
        known.get(&address).cloned()
    }

    fn comm(&mut self, pid: u32) -> Option<String> {
        self.comms.get(&pid).cloned()
    }

    fn modules_changed(&mut self) {
        self.events += 1;
        self.blind_left = self.blind;
    }

    fn renew(&mut self) -> bool {
        let was_blind = self.blind_left > 0;
        self.blind_left = self.blind_left.saturating_sub(1);
        was_blind && self.blind_left == 0
    }
}

/// What a stream yields live: its windows, summed up.
#[must_use]
pub fn live(items: &[Item], names: &Names, limits: RowLimits) -> Vec<Summary> {
    let mut pipeline = Pipeline::new(limits, Resolver::new(Box::new(names.clone())));
    let mut summaries = Vec::new();
    for item in items {
        let window = pipeline.take(item);
        summaries.extend(window.map(|window| sum_up(&window, &pipeline)));
    }
    summaries
}

/// What it yields once it went into a bundle and was read from there.
pub fn recorded(items: &[Item], names: &Names, limits: RowLimits) -> Result<Vec<Summary>> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("made.kctx.tar.zst");
    record(items, names, &path)?;
    let mut source = RecordedSource::open(&path)?;
    let mut pipeline = Pipeline::new(limits, Resolver::new(Box::new(Recorded)));
    let mut summaries = Vec::new();
    while let Some(item) = source.next_item()? {
        let window = pipeline.take(&item);
        summaries.extend(window.map(|window| sum_up(&window, &pipeline)));
    }
    Ok(summaries)
}

/// Records a stream as a capture does.
pub fn record(items: &[Item], names: &Names, path: &Path) -> Result<Summary> {
    let mut pipeline = Pipeline::new(RowLimits::default(), Resolver::new(Box::new(names.clone())));
    let mut recorder = Recorder::create(path, WriteLimits::default())?;
    let mut window = None;
    for item in items {
        window = pipeline.take(item).or(window);
        recorder.item(&pipeline.take_learnt(), item)?;
    }
    let summary = sum_up(&window.context("the stream closes no window")?, &pipeline);
    recorder.finish(&summary, false)?;
    Ok(summary)
}

fn sum_up(window: &Window, pipeline: &Pipeline) -> Summary {
    let host = pipeline.aggregator().host().clone();
    let taint = host.taint;
    // An export has the window alone.
    assert_eq!(window.taint_value, taint);
    Summary::from_window(window, host, taint)
}
