//! Rings without a kernel behind them, read by the code that reads a live one.

use std::{fs::File, os::unix::fs::FileExt as _};

use kctx::source::rings::Ring;
use rustix::fs::MemfdFlags;

/// A ring that is full as often as it is asked to be.
pub(crate) struct FullRing {
    file: File,
    produced: u64,
    /// For the reader.
    pub(crate) ring: Ring,
}

impl FullRing {
    /// A ring with this data; entries must fill it to its end.
    pub(crate) fn new(data: &[u8]) -> anyhow::Result<Self> {
        let page = rustix::param::page_size() as u64;
        let file = File::from(rustix::fs::memfd_create("ring", MemfdFlags::CLOEXEC)?);
        file.set_len(2 * page + data.len() as u64)?;
        file.write_all_at(data, 2 * page)?;
        let ring = Ring::map_file(&file, data.len())?;
        Ok(Self {
            file,
            produced: 0,
            ring,
        })
    }

    /// The producer goes round once: all entries are there again.
    pub(crate) fn fill(&mut self) -> std::io::Result<()> {
        self.produced += self.ring.size() as u64;
        let page = rustix::param::page_size() as u64;
        self.file.write_all_at(&self.produced.to_ne_bytes(), page)
    }
}
