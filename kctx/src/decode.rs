//! Bytes to typed records: pure, total, and without a copy of more than the record itself.
//!
//! A batch is a run of entries as the kernel's ring buffer lays them out (kernel/bpf/ringbuf.c,
//! `struct bpf_ringbuf_hdr`): a word with the length and two flag bits, a word for the kernel, then the
//! record, padded to 8 bytes. The recorded form is expanded to the same.

use kctx_common::record::{
    Hardirq, Kthread, Module, Napi, Softirq, SoftirqLong, Tasklet, Work, kind,
};
use zerocopy::FromBytes as _;

/// Bytes before each record.
pub const HEADER_LEN: usize = 8;
/// The producer has not committed the entry yet.
pub const BUSY: u32 = 1 << 31;
/// The producer gave the entry up.
pub const DISCARD: u32 = 1 << 30;

/// Bytes that an entry with a record of this length takes.
#[must_use]
pub const fn entry_len(record_len: usize) -> usize {
    (record_len + HEADER_LEN + 7) & !7
}

/// A decoded record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Record {
    /// A softirq run.
    Softirq(SoftirqLong),
    /// An interrupt handler's call.
    Hardirq(Hardirq),
    /// A work item's execution.
    Work(Work),
    /// A module event.
    Module(Module),
    /// A tasklet's run.
    Tasklet(Tasklet),
    /// A NAPI's poll.
    Napi(Napi),
    /// A kernel thread's time on a CPU.
    Kthread(Kthread),
    /// None of these, or too short for its kind: counted by whoever reads it.
    Unknown,
}

/// Decodes one record.
#[inline]
#[must_use]
pub fn record(bytes: &[u8]) -> Record {
    match bytes.first() {
        Some(&kind::SOFTIRQ) => Softirq::read_from_prefix(bytes)
            .map_or(Record::Unknown, |(r, _)| Record::Softirq(r.widen())),
        Some(&kind::SOFTIRQ_LONG) => SoftirqLong::read_from_prefix(bytes)
            .map_or(Record::Unknown, |(r, _)| Record::Softirq(r)),
        Some(&kind::HARDIRQ) => {
            Hardirq::read_from_prefix(bytes).map_or(Record::Unknown, |(r, _)| Record::Hardirq(r))
        }
        Some(&kind::WORK) => {
            Work::read_from_prefix(bytes).map_or(Record::Unknown, |(r, _)| Record::Work(r))
        }
        Some(&kind::MODULE) => {
            Module::read_from_prefix(bytes).map_or(Record::Unknown, |(r, _)| Record::Module(r))
        }
        Some(&kind::TASKLET) => {
            Tasklet::read_from_prefix(bytes).map_or(Record::Unknown, |(r, _)| Record::Tasklet(r))
        }
        Some(&kind::NAPI) => {
            Napi::read_from_prefix(bytes).map_or(Record::Unknown, |(r, _)| Record::Napi(r))
        }
        Some(&kind::KTHREAD) => {
            Kthread::read_from_prefix(bytes).map_or(Record::Unknown, |(r, _)| Record::Kthread(r))
        }
        _ => Record::Unknown,
    }
}

/// The records of a batch, in order.
#[must_use]
pub fn records(batch: &[u8]) -> Records<'_> {
    Records {
        rest: batch,
        entry: &[],
    }
}

/// Iterator over a batch.
#[derive(Debug)]
pub struct Records<'a> {
    rest: &'a [u8],
    /// What is left of the entry at hand: softirq records come several in one.
    entry: &'a [u8],
}

impl Iterator for Records<'_> {
    type Item = Record;

    #[inline]
    fn next(&mut self) -> Option<Record> {
        loop {
            if !self.entry.is_empty() {
                let first = self.entry;
                self.entry = match first.first() {
                    Some(&kind::SOFTIRQ) => first.get(size_of::<Softirq>()..).unwrap_or(&[]),
                    _ => &[],
                };
                return Some(record(first));
            }
            let header = u32::from_ne_bytes(self.rest.get(..4)?.try_into().ok()?);
            let len = (header & !(BUSY | DISCARD)) as usize;
            let Some(body) = self.rest.get(HEADER_LEN..HEADER_LEN + len) else {
                // A length that leads outside the batch: nothing after it can be trusted.
                self.rest = &[];
                return Some(Record::Unknown);
            };
            self.rest = self.rest.get(entry_len(len)..).unwrap_or(&[]);
            if header & DISCARD == 0 {
                if body.is_empty() {
                    return Some(Record::Unknown);
                }
                self.entry = body;
            }
        }
    }
}

/// Appends a record to a batch, as the kernel would have laid it out.
pub fn append(batch: &mut bytes::BytesMut, record: &[u8]) {
    use bytes::BufMut as _;
    batch.put_u32_ne(record.len() as u32);
    batch.put_u32_ne(0);
    batch.put_slice(record);
    batch.put_bytes(0, entry_len(record.len()) - HEADER_LEN - record.len());
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use zerocopy::IntoBytes as _;

    use super::*;

    fn softirq(vector: u8, end_ns: u64) -> Softirq {
        Softirq {
            kind: kind::SOFTIRQ,
            vector,
            flags: 1,
            end_ns,
            wait_ns: 7,
            service_ns: 11,
            nested_ns: 3,
            origin: 36,
            ..Softirq::default()
        }
    }

    #[test]
    fn a_batch_reads_back_in_order_without_discarded_entries() {
        let mut batch = bytes::BytesMut::new();
        append(&mut batch, softirq(3, 100).as_bytes());
        let discarded = batch.len();
        append(&mut batch, softirq(4, 200).as_bytes());
        batch[discarded + 3] |= 0x40;
        let hardirq = Hardirq {
            kind: kind::HARDIRQ,
            ret: 1,
            irq: 30,
            end_ns: 300,
            service_ns: 5,
            name_id: 9,
            ..Hardirq::default()
        };
        append(&mut batch, hardirq.as_bytes());
        let read: Vec<_> = records(&batch).collect();
        assert_eq!(
            read,
            [
                Record::Softirq(softirq(3, 100).widen()),
                Record::Hardirq(hardirq)
            ]
        );
    }

    #[test]
    fn a_record_too_short_for_its_kind_is_unknown() {
        assert_eq!(record(&[kind::SOFTIRQ; 31]), Record::Unknown);
        assert_eq!(record(&[]), Record::Unknown);
        assert_eq!(record(&[200; 64]), Record::Unknown);
    }

    proptest! {
        #[test]
        fn any_bytes_decode_without_panic_and_to_an_end(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
            // Each step takes at least a header, so there can't be more records than that.
            prop_assert!(records(&bytes).count() <= bytes.len() / HEADER_LEN + 1);
        }

        #[test]
        fn softirqs_that_share_an_entry_all_come_out(count in 1u64..9) {
            let several: Vec<u8> = (0..count)
                .flat_map(|i| softirq(3, 100 + i).as_bytes().to_vec())
                .collect();
            let mut batch = bytes::BytesMut::new();
            append(&mut batch, &several);
            append(&mut batch, softirq(4, 5).as_bytes());
            let ends: Vec<u64> = records(&batch)
                .map(|record| match record {
                    Record::Softirq(run) => run.end_ns,
                    _ => 0,
                })
                .collect();
            let expected: Vec<u64> = (0..count).map(|i| 100 + i).chain([5]).collect();
            prop_assert_eq!(ends, expected);
        }
    }
}
