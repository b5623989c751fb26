//! The recorded form of the stream: segments of delta-encoded records and of controls.
//!
//! A segment stands alone: its dictionary and deltas start afresh, so that a bundle cut short loses no
//! more than the segment it was cut in. It is a magic word, then frames:
//!
//! - `0`, length, that many bytes of JSON: a [`Control`];
//! - CPU + 1, number of records, the records: each a tag byte and varints (LEB128). Times are
//!   differences to the CPU's previous record in the segment, zigzag-coded; 64-bit ids and addresses are
//!   indexes into a dictionary that grows as they first appear.
//!
//! A record comes back as it was, but for reserved bytes, and a softirq always in its long form.

use bytes::{Bytes, BytesMut};
use kctx_common::record::{Hardirq, Module, SoftirqLong, Work, flags, kind};
use rustc_hash::FxHashMap;
use zerocopy::{FromBytes as _, IntoBytes as _};

use crate::{
    decode::{self, Record},
    source::{Control, Item},
};

/// First bytes of a segment; the last is the format's version.
const MAGIC: &[u8; 8] = b"KCTXEVT\x01";

/// A frame holds no more records than this, so that a reader can bound what it makes of one.
const FRAME_RECORDS: usize = 4096;

/// Why a segment could not be read.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum EventsError {
    /// Not a segment, or of a later version.
    #[error("not an event segment of a version this kctx reads")]
    Magic,
    /// Ends in the middle of something.
    #[error("event segment is cut short")]
    Short,
    /// Holds what no writer writes.
    #[error("event segment is damaged: {0}")]
    Damaged(&'static str),
}

/// Builds segments.
#[derive(Debug)]
pub struct Encoder {
    out: Vec<u8>,
    last_end_ns: FxHashMap<u32, u64>,
    dictionary: FxHashMap<u64, u64>,
    frame: Vec<u8>,
    records: u64,
}

impl Default for Encoder {
    fn default() -> Self {
        Self {
            out: MAGIC.to_vec(),
            last_end_ns: FxHashMap::default(),
            dictionary: FxHashMap::default(),
            frame: Vec::new(),
            records: 0,
        }
    }
}

impl Encoder {
    /// Bytes of the segment so far.
    #[must_use]
    pub fn len(&self) -> usize {
        self.out.len()
    }

    /// Records in the segment so far.
    #[must_use]
    pub fn record_count(&self) -> u64 {
        self.records
    }

    /// Whether nothing was put in.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.out.len() == MAGIC.len()
    }

    /// The segment; the encoder starts another.
    pub fn finish(&mut self) -> Vec<u8> {
        std::mem::take(self).out
    }

    /// Adds a control.
    pub fn control(&mut self, control: &Control) {
        // A Control has string keys only and no map that could fail.
        let json = serde_json::to_vec(control).unwrap_or_default();
        put_varint(&mut self.out, 0);
        put_varint(&mut self.out, json.len() as u64);
        self.out.extend_from_slice(&json);
    }

    /// Adds a batch; how many of its records were taken. Those that cannot be decoded are not.
    pub fn records(&mut self, cpu: u32, batch: &[u8]) -> u64 {
        let mut last = self.last_end_ns.get(&cpu).copied().unwrap_or(0);
        let mut total = 0;
        let mut in_frame = 0;
        let mut frame = std::mem::take(&mut self.frame);
        for record in decode::records(batch) {
            if !self.put_record(&mut frame, &mut last, &record) {
                continue;
            }
            in_frame += 1;
            total += 1;
            if in_frame == FRAME_RECORDS {
                self.put_frame(cpu, in_frame, &mut frame);
                in_frame = 0;
            }
        }
        if in_frame > 0 {
            self.put_frame(cpu, in_frame, &mut frame);
        }
        self.frame = frame;
        self.last_end_ns.insert(cpu, last);
        self.records += total;
        total
    }

    fn put_frame(&mut self, cpu: u32, records: usize, frame: &mut Vec<u8>) {
        put_varint(&mut self.out, u64::from(cpu) + 1);
        put_varint(&mut self.out, records as u64);
        self.out.append(frame);
    }

    fn put_record(&mut self, out: &mut Vec<u8>, last: &mut u64, record: &Record) -> bool {
        let mut put_end = |out: &mut Vec<u8>, end_ns: u64| {
            put_varint(out, zigzag(end_ns.wrapping_sub(*last)));
            *last = end_ns;
        };
        // Tag: the kind in the low three bits, five bits of its own above.
        match record {
            Record::Softirq(r) => {
                if r.vector > 15 {
                    return false;
                }
                let wait = r.flags & flags::WAIT;
                out.push(kind::SOFTIRQ | (r.vector << 3) | (wait << 7));
                put_end(out, r.end_ns);
                if wait != 0 {
                    put_varint(out, r.wait_ns);
                }
                put_varint(out, r.service_ns);
                put_varint(out, r.hardirq_ns);
            }
            Record::Hardirq(r) => {
                out.push(kind::HARDIRQ | ((r.ret & 3) << 3));
                put_end(out, r.end_ns);
                put_varint(out, u64::from(r.irq));
                put_varint(out, r.service_ns);
                self.put_id(out, r.name_id);
            }
            Record::Work(r) => {
                out.push(kind::WORK | ((r.flags & 7) << 3));
                put_end(out, r.end_ns);
                if r.flags & flags::WAIT != 0 {
                    put_varint(out, r.wait_ns);
                }
                if r.flags & flags::ACTIVATE != 0 {
                    put_varint(out, r.activate_ns);
                }
                put_varint(out, r.service_ns);
                self.put_id(out, r.function);
                self.put_id(out, r.workqueue_id);
            }
            Record::Module(r) => {
                out.push(kind::MODULE);
                out.extend_from_slice(r.as_bytes());
            }
            Record::Unknown => return false,
        }
        true
    }

    fn put_id(&mut self, out: &mut Vec<u8>, id: u64) {
        let next = self.dictionary.len() as u64;
        let index = *self.dictionary.entry(id).or_insert(next);
        put_varint(out, index);
        if index == next {
            out.extend_from_slice(&id.to_le_bytes());
        }
    }
}

/// Reads a segment's items, in order.
#[derive(Debug)]
pub struct Decoder {
    bytes: Bytes,
    at: usize,
    last_end_ns: FxHashMap<u32, u64>,
    dictionary: Vec<u64>,
}

impl Decoder {
    /// Looks at the magic only.
    pub fn new(bytes: Bytes) -> Result<Self, EventsError> {
        if !bytes.starts_with(MAGIC) {
            return Err(EventsError::Magic);
        }
        Ok(Self {
            bytes,
            at: MAGIC.len(),
            last_end_ns: FxHashMap::default(),
            dictionary: Vec::new(),
        })
    }

    /// The next item; `None` at the end.
    pub fn next_item(&mut self) -> Result<Option<Item>, EventsError> {
        if self.at >= self.bytes.len() {
            return Ok(None);
        }
        let head = self.varint()?;
        if head == 0 {
            let len = usize::try_from(self.varint()?).map_err(|_| EventsError::Short)?;
            let json = self.take(len)?;
            let control = serde_json::from_slice(&json)
                .map_err(|_| EventsError::Damaged("a control is no valid JSON"))?;
            return Ok(Some(Item::Control(control)));
        }
        let cpu =
            u32::try_from(head - 1).map_err(|_| EventsError::Damaged("CPU number out of range"))?;
        let records = self.varint()?;
        if records > FRAME_RECORDS as u64 {
            return Err(EventsError::Damaged("a frame has too many records"));
        }
        let mut last = self.last_end_ns.get(&cpu).copied().unwrap_or(0);
        let mut batch = BytesMut::with_capacity(records as usize * 48);
        for _ in 0..records {
            self.record(&mut batch, &mut last)?;
        }
        self.last_end_ns.insert(cpu, last);
        Ok(Some(Item::Records {
            cpu,
            batch: batch.freeze(),
        }))
    }

    fn record(&mut self, batch: &mut BytesMut, last: &mut u64) -> Result<(), EventsError> {
        let tag = self.take(1)?[0];
        let (which, bits) = (tag & 7, tag >> 3);
        if which == kind::MODULE {
            let bytes = self.take(size_of::<Module>())?;
            let module = Module::read_from_bytes(&bytes)
                .map_err(|_| EventsError::Damaged("a module record"))?;
            if module.kind != kind::MODULE {
                return Err(EventsError::Damaged("a module record of another kind"));
            }
            decode::append(batch, module.as_bytes());
            return Ok(());
        }
        let end_ns = last.wrapping_add(unzigzag(self.varint()?));
        *last = end_ns;
        match which {
            kind::SOFTIRQ => {
                let wait = bits >> 4;
                let record = SoftirqLong {
                    kind: kind::SOFTIRQ_LONG,
                    vector: bits & 15,
                    flags: wait,
                    end_ns,
                    wait_ns: if wait != 0 { self.varint()? } else { 0 },
                    service_ns: self.varint()?,
                    hardirq_ns: self.varint()?,
                    ..SoftirqLong::default()
                };
                decode::append(batch, record.as_bytes());
            }
            kind::HARDIRQ => {
                let record = Hardirq {
                    kind: which,
                    ret: bits & 3,
                    end_ns,
                    irq: u32::try_from(self.varint()?)
                        .map_err(|_| EventsError::Damaged("interrupt number out of range"))?,
                    service_ns: self.varint()?,
                    name_id: self.id()?,
                    ..Hardirq::default()
                };
                decode::append(batch, record.as_bytes());
            }
            kind::WORK => {
                let record = Work {
                    kind: which,
                    flags: bits & 7,
                    end_ns,
                    wait_ns: if bits & flags::WAIT != 0 {
                        self.varint()?
                    } else {
                        0
                    },
                    activate_ns: if bits & flags::ACTIVATE != 0 {
                        self.varint()?
                    } else {
                        0
                    },
                    service_ns: self.varint()?,
                    function: self.id()?,
                    workqueue_id: self.id()?,
                    ..Work::default()
                };
                decode::append(batch, record.as_bytes());
            }
            _ => return Err(EventsError::Damaged("a record of unknown kind")),
        }
        Ok(())
    }

    fn take(&mut self, len: usize) -> Result<Bytes, EventsError> {
        let end = self.at.checked_add(len).ok_or(EventsError::Short)?;
        if end > self.bytes.len() {
            return Err(EventsError::Short);
        }
        let taken = self.bytes.slice(self.at..end);
        self.at = end;
        Ok(taken)
    }

    fn id(&mut self) -> Result<u64, EventsError> {
        let index = self.varint()?;
        let next = self.dictionary.len() as u64;
        if index < next {
            return Ok(self.dictionary[index as usize]);
        }
        if index > next {
            return Err(EventsError::Damaged("a dictionary index out of range"));
        }
        let bytes = self.take(8)?;
        let id = u64::from_le_bytes(bytes[..].try_into().map_err(|_| EventsError::Short)?);
        self.dictionary.push(id);
        Ok(id)
    }

    fn varint(&mut self) -> Result<u64, EventsError> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = *self.bytes.get(self.at).ok_or(EventsError::Short)?;
            self.at += 1;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(EventsError::Damaged("a number of more than 64 bits"))
    }
}

fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Small differences of either sign to small numbers.
fn zigzag(difference: u64) -> u64 {
    (difference << 1) ^ (((difference as i64) >> 63) as u64)
}

fn unzigzag(coded: u64) -> u64 {
    (coded >> 1) ^ (coded & 1).wrapping_neg()
}

#[cfg(test)]
#[path = "events_tests.rs"]
mod tests;
