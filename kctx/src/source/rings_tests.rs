use std::{fs::File, os::unix::fs::FileExt as _};

use bytes::{Bytes, BytesMut};
use rustix::fs::MemfdFlags;

use super::*;
use crate::{
    decode,
    source::batches::{self, BATCH_BYTES},
};

const SIZE: usize = 1 << 16;

/// A ring whose producer is this test.
struct Written {
    file: File,
    ring: Ring,
    size: usize,
    produced: usize,
}

impl Written {
    fn new(size: usize) -> Self {
        let file = File::from(rustix::fs::memfd_create("ring", MemfdFlags::CLOEXEC).unwrap());
        file.set_len((2 * rustix::param::page_size() + size) as u64)
            .unwrap();
        let ring = Ring::map_file(&file, size).unwrap();
        Self {
            file,
            ring,
            size,
            produced: 0,
        }
    }

    /// Writes an entry as the kernel does, over the data's end too; its header has `flags`.
    fn put(&mut self, record: &[u8], flags: u32) {
        let header = (record.len() as u32 | flags).to_ne_bytes();
        let entry = [&header, &[0; 4], record].concat();
        let at = self.produced & (self.size - 1);
        let (before_end, after_end) = entry.split_at(entry.len().min(self.size - at));
        self.write(at, before_end);
        self.write(0, after_end);
        self.produced += entry_len(record.len());
    }

    fn write(&self, at: usize, bytes: &[u8]) {
        let at = 2 * rustix::param::page_size() + at;
        self.file.write_all_at(bytes, at as u64).unwrap();
    }

    /// The entries become the consumer's to look at.
    fn produce(&self) {
        let position = (self.produced as u64).to_ne_bytes();
        let page = rustix::param::page_size() as u64;
        self.file.write_all_at(&position, page).unwrap();
    }

    fn commit(&self, position: usize, len: u32) {
        self.write(position & (self.size - 1), &len.to_ne_bytes());
    }

    /// What the kernel sees of how far it was read.
    fn consumed(&self) -> u64 {
        let mut position = [0; 8];
        self.file.read_exact_at(&mut position, 0).unwrap();
        u64::from_ne_bytes(position)
    }

    fn drain(&mut self, limit: usize) -> Bytes {
        let mut out = BytesMut::new();
        let len = self.ring.drain(limit, &mut out);
        assert_eq!(len, out.len());
        out.freeze()
    }
}

/// A record of a kind that there is not: as long as wanted, and told from any other.
fn record(number: u8, len: usize) -> Vec<u8> {
    (0..len).map(|i| number.wrapping_add(i as u8)).collect()
}

fn bodies(batch: &[u8]) -> Vec<Vec<u8>> {
    let mut rest = batch;
    let mut bodies = Vec::new();
    while let Some((header, after)) = rest.split_first_chunk::<4>() {
        let header = u32::from_ne_bytes(*header);
        let len = (header & !DISCARD) as usize;
        if header & DISCARD == 0 {
            bodies.push(after[4..4 + len].to_vec());
        }
        rest = &rest[entry_len(len)..];
    }
    bodies
}

#[test]
fn entries_come_out_as_they_were_put_in_round_and_round() {
    let mut ring = Written::new(SIZE);
    let mut number = 0_u8;
    // Lengths that do not divide the ring: entries lie over its end in many ways.
    for _ in 0..200 {
        let mut put = Vec::new();
        for len in [32, 40, 256, 7, 112, 1000] {
            number = number.wrapping_add(1);
            put.push(record(number, len));
        }
        for record in &put {
            ring.put(record, 0);
        }
        ring.produce();
        assert_eq!(bodies(&ring.drain(usize::MAX)), put);
        assert_eq!(ring.consumed(), ring.produced as u64);
    }
    assert!(ring.produced > 4 * SIZE);
    assert_eq!(ring.drain(usize::MAX).len(), 0);
}

#[test]
fn what_is_not_committed_yet_holds_up_what_comes_after_it() {
    let mut ring = Written::new(SIZE);
    ring.put(&record(1, 32), 0);
    let busy = ring.produced;
    ring.put(&record(2, 32), BUSY);
    ring.put(&record(3, 32), 0);
    ring.produce();
    assert_eq!(bodies(&ring.drain(usize::MAX)), [record(1, 32)]);
    assert_eq!(ring.consumed(), busy as u64);
    assert_eq!(ring.drain(usize::MAX).len(), 0);
    ring.commit(busy, 32);
    let rest = bodies(&ring.drain(usize::MAX));
    assert_eq!(rest, [record(2, 32), record(3, 32)]);
}

#[test]
fn what_was_given_up_is_passed_over() {
    let mut ring = Written::new(SIZE);
    ring.put(&record(1, 32), DISCARD);
    ring.put(&record(2, 32), 0);
    ring.produce();
    let batch = ring.drain(usize::MAX);
    assert_eq!(batch.len(), ring.produced);
    assert_eq!(bodies(&batch), [record(2, 32)]);
    assert_eq!(decode::records(&batch).count(), 1);
}

#[test]
fn a_limit_is_kept_to_an_entry() {
    let mut ring = Written::new(SIZE);
    for number in 0..4 {
        ring.put(&record(number, 32), 0);
    }
    ring.produce();
    assert_eq!(ring.drain(41).len(), 80);
    assert_eq!(ring.drain(1).len(), 40);
    assert_eq!(bodies(&ring.drain(usize::MAX)), [record(3, 32)]);
}

#[test]
fn a_ring_with_more_than_a_batch_comes_in_batches_of_whole_entries() {
    let mut ring = Written::new(4 * BATCH_BYTES);
    let put: Vec<_> = (0..3 * BATCH_BYTES / 264)
        .map(|number| record(number as u8, 256))
        .collect();
    for record in &put {
        ring.put(record, 0);
    }
    ring.produce();
    let (mut buffer, mut batches, mut seen) = (BytesMut::new(), 0, Vec::new());
    let total = batches::of_ring(&mut ring.ring, &mut buffer, |batch| {
        batches += 1;
        seen.extend(bodies(&batch));
        Ok::<_, ()>(())
    });
    assert_eq!(total, Ok(ring.produced));
    assert_eq!(batches, 3);
    assert_eq!(seen, put);
}

#[test]
fn a_file_that_is_no_ring_is_refused() {
    let file = File::from(rustix::fs::memfd_create("ring", MemfdFlags::CLOEXEC).unwrap());
    file.set_len(SIZE as u64).unwrap();
    for size in [SIZE, 3 << 12, 2048] {
        assert!(Ring::map_file(&file, size).is_err(), "{size}");
    }
}
