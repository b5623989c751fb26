//! Bytes to typed records: pure, total, and without a copy of more than the record itself.
//!
//! A batch is a run of entries as the kernel's ring buffer lays them out (kernel/bpf/ringbuf.c,
//! `struct bpf_ringbuf_hdr`): a word with the length and two flag bits, a word for the kernel, then the
//! record, padded to 8 bytes. The recorded form is expanded to the same.

use kctx_common::record::{
    Hardirq, Kthread, Module, Napi, Softirq, SoftirqLong, Tasklet, Work, kind,
};
use zerocopy::{FromBytes, Immutable, Unalign};

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

/// An entry of a batch, where it lies: nothing is copied.
#[derive(Clone, Copy)]
pub enum Entry<'a> {
    /// Short softirq runs, which come several in one.
    Softirqs(&'a [Unalign<Softirq>]),
    /// A long softirq run.
    SoftirqLong(&'a Unalign<SoftirqLong>),
    /// An interrupt handler's call.
    Hardirq(&'a Unalign<Hardirq>),
    /// A work item's execution.
    Work(&'a Unalign<Work>),
    /// A module event.
    Module(&'a Unalign<Module>),
    /// A tasklet's run.
    Tasklet(&'a Unalign<Tasklet>),
    /// A NAPI's poll.
    Napi(&'a Unalign<Napi>),
    /// A kernel thread's time on a CPU.
    Kthread(&'a Unalign<Kthread>),
    /// None of these, or not as long as its kind: counted by whoever reads it.
    Unknown,
}

impl<'a> Entry<'a> {
    #[inline]
    fn of(body: &'a [u8]) -> Self {
        #[inline]
        fn one<T: FromBytes + Immutable>(body: &[u8]) -> Option<&Unalign<T>> {
            Unalign::ref_from_prefix(body)
                .ok()
                .map(|(record, _)| record)
        }
        let known = match body.first() {
            Some(&kind::SOFTIRQ) => {
                let runs: Option<&[Unalign<Softirq>]> = FromBytes::ref_from_bytes(body).ok();
                let all = |runs: &&[Unalign<Softirq>]| {
                    // Without a branch for each.
                    let others = runs.iter().map(|run| run.get().kind ^ kind::SOFTIRQ);
                    others.fold(0, |any, other| any | other) == 0
                };
                runs.filter(all).map(Self::Softirqs)
            }
            Some(&kind::SOFTIRQ_LONG) => one(body).map(Self::SoftirqLong),
            Some(&kind::HARDIRQ) => one(body).map(Self::Hardirq),
            Some(&kind::WORK) => one(body).map(Self::Work),
            Some(&kind::MODULE) => one(body).map(Self::Module),
            Some(&kind::TASKLET) => one(body).map(Self::Tasklet),
            Some(&kind::NAPI) => one(body).map(Self::Napi),
            Some(&kind::KTHREAD) => one(body).map(Self::Kthread),
            _ => None,
        };
        known.unwrap_or(Self::Unknown)
    }
}

/// The entries of a batch, in order, without those that were given up.
#[must_use]
pub fn entries(batch: &[u8]) -> Entries<'_> {
    Entries { rest: batch }
}

/// Iterator over a batch's entries.
#[derive(Debug)]
pub struct Entries<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Entries<'a> {
    type Item = Entry<'a>;

    #[inline]
    fn next(&mut self) -> Option<Entry<'a>> {
        loop {
            let Ok((header, after)) = Unalign::<[u32; 2]>::ref_from_prefix(self.rest) else {
                let tail = std::mem::take(&mut self.rest);
                return (!tail.is_empty()).then_some(Entry::Unknown);
            };
            let [header, _] = header.get();
            let len = (header & !(BUSY | DISCARD)) as usize;
            let Some(body) = after.get(..len) else {
                // A length that leads outside the batch: nothing after it can be trusted.
                self.rest = &[];
                return Some(Entry::Unknown);
            };
            self.rest = after.get(entry_len(len) - HEADER_LEN..).unwrap_or(&[]);
            if header & DISCARD == 0 {
                return Some(Entry::of(body));
            }
        }
    }
}

/// The records of a batch, in order.
#[must_use]
pub fn records(batch: &[u8]) -> Records<'_> {
    Records {
        entries: entries(batch),
        softirqs: [].iter(),
    }
}

/// Iterator over a batch's records.
pub struct Records<'a> {
    entries: Entries<'a>,
    /// What is left of the entry at hand.
    softirqs: std::slice::Iter<'a, Unalign<Softirq>>,
}

impl Iterator for Records<'_> {
    type Item = Record;

    #[inline]
    fn next(&mut self) -> Option<Record> {
        loop {
            if let Some(run) = self.softirqs.next() {
                return Some(Record::Softirq(run.get().widen()));
            }
            return Some(match self.entries.next()? {
                Entry::Softirqs(runs) => {
                    self.softirqs = runs.iter();
                    continue;
                }
                Entry::SoftirqLong(r) => Record::Softirq(r.get()),
                Entry::Hardirq(r) => Record::Hardirq(r.get()),
                Entry::Work(r) => Record::Work(r.get()),
                Entry::Module(r) => Record::Module(r.get()),
                Entry::Tasklet(r) => Record::Tasklet(r.get()),
                Entry::Napi(r) => Record::Napi(r.get()),
                Entry::Kthread(r) => Record::Kthread(r.get()),
                Entry::Unknown => Record::Unknown,
            });
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
        let (mut batch, mut none) = (bytes::BytesMut::new(), 0);
        // A softirq and a half, too.
        for bytes in [
            &[kind::SOFTIRQ; 31][..],
            &[kind::SOFTIRQ; 48],
            &[kind::NAPI; 39],
            &[],
            &[200; 64],
        ] {
            append(&mut batch, bytes);
            none += 1;
        }
        append(&mut batch, softirq(3, 100).as_bytes());
        let read: Vec<_> = records(&batch).collect();
        assert_eq!(read[..none], vec![Record::Unknown; none]);
        assert_eq!(read[none..], [Record::Softirq(softirq(3, 100).widen())]);
    }

    #[test]
    fn softirqs_with_something_else_among_them_are_unknown() {
        let mut several = [softirq(3, 1), softirq(3, 2), softirq(3, 3)];
        several[1].kind = kind::HARDIRQ;
        let mut batch = bytes::BytesMut::new();
        append(&mut batch, several.as_bytes());
        let read: Vec<_> = records(&batch).collect();
        assert_eq!(read, [Record::Unknown]);
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
