//! What the rings hold: records on so many CPUs, laid out as the kernel's programs do.

use std::{collections::BTreeMap, path::Path};

use bytes::BytesMut;
use kctx::{
    decode::{self, DISCARD, HEADER_LEN, Record},
    source::{Control, Item, recorded::RecordedSource},
};
use kctx_common::record::{Softirq, SoftirqLong, kind};
use zerocopy::IntoBytes as _;

/// Softirqs go into a ring so many at a time (kctx-ebpf's stage).
const STAGED: usize = 8;

/// Bytes that what is staged, and all that one happening brings, may take in a ring.
const MOST_AT_ONCE: usize = 1 << 10;

/// Rings' contents, and what names them.
pub(crate) struct Load {
    /// One ring's data for each CPU, each of the same length.
    pub(crate) rings: Vec<Vec<u8>>,
    /// Records in all of them.
    pub(crate) records: u64,
    /// What a stream says before its records.
    pub(crate) names: Vec<Control>,
}

/// One ring, as it is filled.
pub(crate) struct Lane {
    entries: BytesMut,
    room: usize,
    staged: Vec<u8>,
    records: u64,
}

impl Lane {
    pub(crate) fn new(room: usize) -> Self {
        Self {
            entries: BytesMut::new(),
            room,
            staged: Vec::new(),
            records: 0,
        }
    }

    pub(crate) fn is_full(&self) -> bool {
        self.entries.len() + MOST_AT_ONCE > self.room
    }

    pub(crate) fn softirq(&mut self, record: &Softirq) {
        self.staged.extend_from_slice(record.as_bytes());
        self.records += 1;
        if self.staged.len() == STAGED * size_of::<Softirq>() {
            self.flush();
        }
    }

    pub(crate) fn other(&mut self, record: &[u8]) {
        decode::append(&mut self.entries, record);
        self.records += 1;
    }

    fn flush(&mut self) {
        if !self.staged.is_empty() {
            decode::append(&mut self.entries, &self.staged);
            self.staged.clear();
        }
    }

    /// The ring's data: what is left of it is an entry that was given up, so that it can be gone round.
    pub(crate) fn finish(mut self) -> (Vec<u8>, u64) {
        self.flush();
        let rest = self.room - self.entries.len();
        if rest > 0 {
            let given_up = self.entries.len() + 3;
            decode::append(&mut self.entries, &vec![0; rest - HEADER_LEN]);
            self.entries[given_up] |= (DISCARD >> 24) as u8;
        }
        (self.entries.to_vec(), self.records)
    }
}

impl Load {
    pub(crate) fn of(lanes: Vec<Lane>, names: Vec<Control>) -> Self {
        let mut load = Self {
            rings: Vec::new(),
            records: 0,
            names,
        };
        for lane in lanes {
            let (ring, records) = lane.finish();
            load.rings.push(ring);
            load.records += records;
        }
        load
    }

    /// A bundle's records, round and round until the rings are full. CPU n has what the bundle's CPU n modulo their
    /// number had; softirqs are in their short form again, and together as in a ring.
    pub(crate) fn of_bundle(bundle: &Path, cpus: u32, ring_bytes: usize) -> anyhow::Result<Self> {
        let mut source = RecordedSource::open(bundle)?;
        let mut names = Vec::new();
        let mut by_cpu: BTreeMap<u32, Vec<Record>> = BTreeMap::new();
        while let Some(item) = source.next_item()? {
            match item {
                Item::Records { cpu, batch } => {
                    by_cpu
                        .entry(cpu)
                        .or_default()
                        .extend(decode::records(&batch));
                }
                Item::Control(control) => {
                    let is_name = matches!(
                        *control,
                        Control::Name { .. } | Control::Function { .. } | Control::Comm { .. }
                    );
                    names.extend(is_name.then_some(*control));
                }
            }
        }
        let by_cpu: Vec<_> = by_cpu.into_values().filter(|all| !all.is_empty()).collect();
        anyhow::ensure!(!by_cpu.is_empty(), "{} has no records", bundle.display());
        let lanes = (0..cpus as usize).map(|cpu| {
            let mut lane = Lane::new(ring_bytes);
            let records = by_cpu[cpu % by_cpu.len()].iter().cycle();
            for record in records {
                if lane.is_full() {
                    break;
                }
                put(&mut lane, record);
            }
            lane
        });
        let lanes = lanes.collect();
        Ok(Self::of(lanes, names))
    }
}

fn put(lane: &mut Lane, record: &Record) {
    match record {
        Record::Softirq(run) => match shortened(run) {
            Some(short) => lane.softirq(&short),
            None => lane.other(run.as_bytes()),
        },
        Record::Hardirq(r) => lane.other(r.as_bytes()),
        Record::Work(r) => lane.other(r.as_bytes()),
        Record::Tasklet(r) => lane.other(r.as_bytes()),
        Record::Napi(r) => lane.other(r.as_bytes()),
        Record::Kthread(r) => lane.other(r.as_bytes()),
        // Rare, and in a ring of their own.
        Record::Module(_) | Record::Unknown => {}
    }
}

fn shortened(run: &SoftirqLong) -> Option<Softirq> {
    Some(Softirq {
        kind: kind::SOFTIRQ,
        vector: run.vector,
        flags: run.flags,
        place: run.place,
        nested_ns: u32::try_from(run.nested_ns).ok()?,
        end_ns: run.end_ns,
        wait_ns: u32::try_from(run.wait_ns).ok()?,
        service_ns: u32::try_from(run.service_ns).ok()?,
        origin: run.origin,
        reserved: 0,
    })
}
