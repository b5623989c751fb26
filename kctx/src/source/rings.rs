//! One CPU's ring buffer, read in whole runs of committed entries.
//!
//! The kernel's contract: kernel/bpf/ringbuf.c (6.18). The consumer's position is a page of its own,
//! writable; the producer's page and the data behind it are read-only. The kernel would map the data twice in a row, so
//! that nothing lies over its end; once is enough for a copy in two parts, and is half the memory that this process is
//! said to have.
#![allow(unsafe_code)]

use std::{
    os::fd::{AsFd, BorrowedFd},
    sync::atomic::{AtomicU32, AtomicU64, Ordering},
};

use bytes::BytesMut;
use rustix::mm::{MapFlags, ProtFlags};

use crate::decode::{BUSY, DISCARD, entry_len};

/// A mapped ring.
#[derive(Debug)]
pub struct Ring {
    consumer: Mapping,
    producer: Mapping,
    page: usize,
    size: usize,
    position: u64,
}

/// A memory mapping, unmapped when dropped.
#[derive(Debug)]
struct Mapping {
    address: *mut core::ffi::c_void,
    len: usize,
}

// SAFETY: the mapping is this value's own; the pages are shared with the kernel alone, and are read and
// written through atomics, or below the producer's position, where the kernel does not write.
unsafe impl Send for Mapping {}

impl Mapping {
    fn new(
        fd: BorrowedFd<'_>,
        offset: u64,
        len: usize,
        prot: ProtFlags,
    ) -> rustix::io::Result<Self> {
        // SAFETY: a fresh shared mapping at an address of the kernel's choice touches no other memory.
        let address = unsafe {
            rustix::mm::mmap(
                core::ptr::null_mut(),
                len,
                prot,
                MapFlags::SHARED,
                fd,
                offset,
            )?
        };
        Ok(Self { address, len })
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: mapped by `new` with this length, and nothing borrows from it any more.
        let _ = unsafe { rustix::mm::munmap(self.address, self.len) };
    }
}

impl Ring {
    /// Maps a ring buffer map of `size` bytes.
    pub fn map(ring: &impl AsFd, size: usize) -> rustix::io::Result<Self> {
        let page = rustix::param::page_size();
        let fd = ring.as_fd();
        Ok(Self {
            consumer: Mapping::new(fd, 0, page, ProtFlags::READ | ProtFlags::WRITE)?,
            producer: Mapping::new(fd, page as u64, page + size, ProtFlags::READ)?,
            page,
            size,
            position: 0,
        })
    }

    /// Maps a file that is laid out as a ring buffer map of `size` bytes: the consumer's page, the producer's page, the
    /// data once. A ring that needs no kernel behind it: of what was written there, read as if it were a live one.
    pub fn map_file(file: &impl AsFd, size: usize) -> rustix::io::Result<Self> {
        let page = rustix::param::page_size();
        if !size.is_power_of_two() || !size.is_multiple_of(page) {
            return Err(rustix::io::Errno::INVAL);
        }
        if rustix::fs::fstat(file)?.st_size < (2 * page + size) as i64 {
            // A page beyond the file's end is there, but is not to be touched (SIGBUS).
            return Err(rustix::io::Errno::INVAL);
        }
        Self::map(file, size)
    }

    /// Bytes that the ring holds at most.
    #[must_use]
    pub fn size(&self) -> usize {
        self.size
    }

    /// Bytes that lie in the ring, of entries that are not committed yet too.
    #[must_use]
    pub fn filled(&self) -> usize {
        (self.producer_position() - self.position) as usize
    }

    fn consumer_position(&self) -> &AtomicU64 {
        // SAFETY: the first word of a page that stays mapped as long as `self`, aligned, and accessed
        // atomically by the kernel too.
        unsafe { AtomicU64::from_ptr(self.consumer.address.cast()) }
    }

    /// The kernel pairs its store with this acquire load (`bpf_ringbuf_commit`, smp_store_release in
    /// `__bpf_ringbuf_reserve`): all entries below it have their headers written.
    fn producer_position(&self) -> u64 {
        // SAFETY: as above; the page is mapped read-only and only loaded from.
        unsafe { AtomicU64::from_ptr(self.producer.address.cast()) }.load(Ordering::Acquire)
    }

    fn header(&self, position: u64) -> u32 {
        let offset = (position as usize) & (self.size - 1);
        // SAFETY: an entry starts at each position that is walked to, on an 8-byte boundary inside the
        // data area. The kernel sets the header last, with a release (xchg).
        let header = unsafe {
            let data = self.producer.address.cast::<u8>().add(self.page);
            AtomicU32::from_ptr(data.add(offset).cast())
        };
        header.load(Ordering::Acquire)
    }

    /// Moves committed entries, at most about `limit` bytes, to the end of `out`: one copy for all of
    /// them, and one store that gives the room back. Returns how many bytes that were.
    pub fn drain(&mut self, limit: usize, out: &mut BytesMut) -> usize {
        let start = self.position;
        let produced = self.producer_position();
        while self.position < produced && ((self.position - start) as usize) < limit {
            let header = self.header(self.position);
            if header & BUSY != 0 {
                break;
            }
            self.position += entry_len((header & !DISCARD) as usize) as u64;
        }
        let len = (self.position - start) as usize;
        if len == 0 {
            return 0;
        }
        let offset = (start as usize) & (self.size - 1);
        let before_end = len.min(self.size - offset);
        for (offset, len) in [(offset, before_end), (0, len - before_end)] {
            // SAFETY: the range lies in the data area, is committed, and the kernel does not write there until the
            // consumer's position has moved past it.
            let committed = unsafe {
                let data = self.producer.address.cast::<u8>().add(self.page + offset);
                core::slice::from_raw_parts(data, len)
            };
            out.extend_from_slice(committed);
        }
        // Pairs with the kernel's acquire load in `__bpf_ringbuf_reserve`.
        self.consumer_position()
            .store(self.position, Ordering::Release);
        len
    }
}

#[cfg(test)]
#[path = "rings_tests.rs"]
mod tests;
