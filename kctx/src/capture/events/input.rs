//! Bytes, numbers and times of a segment, none beyond its end.

use bytes::Bytes;

use super::{EventsError, unzigzag};

/// The bytes, and how far they were read.
#[derive(Debug)]
pub(super) struct Input {
    bytes: Bytes,
    at: usize,
}

impl Input {
    /// Reads from `at` on.
    pub(super) fn new(bytes: Bytes, at: usize) -> Self {
        Self { bytes, at }
    }

    pub(super) fn is_at_end(&self) -> bool {
        self.at >= self.bytes.len()
    }

    pub(super) fn take(&mut self, len: usize) -> Result<&[u8], EventsError> {
        let end = self.at.checked_add(len).ok_or(EventsError::Short)?;
        let taken = self.bytes.get(self.at..end).ok_or(EventsError::Short)?;
        self.at = end;
        Ok(taken)
    }

    pub(super) fn byte(&mut self) -> Result<u8, EventsError> {
        let byte = *self.bytes.get(self.at).ok_or(EventsError::Short)?;
        self.at += 1;
        Ok(byte)
    }

    pub(super) fn u64(&mut self) -> Result<u64, EventsError> {
        let bytes = self.take(8)?.try_into().map_err(|_| EventsError::Short)?;
        Ok(u64::from_le_bytes(bytes))
    }

    pub(super) fn u32(&mut self) -> Result<u32, EventsError> {
        u32::try_from(self.varint()?)
            .map_err(|_| EventsError::Damaged("a number of more than 32 bits"))
    }

    pub(super) fn varint(&mut self) -> Result<u64, EventsError> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(EventsError::Damaged("a number of more than 64 bits"))
    }

    /// When it ended and how long it took, from where it began.
    pub(super) fn end_and_time(
        &mut self,
        last_end_ns: &mut u64,
    ) -> Result<(u64, u64), EventsError> {
        let start_ns = unzigzag(self.varint()?).wrapping_add(*last_end_ns);
        let took_ns = self.varint()?;
        let end_ns = start_ns.wrapping_add(took_ns);
        *last_end_ns = end_ns;
        Ok((end_ns, took_ns))
    }

    /// When it ended, from where the one before did.
    pub(super) fn end(&mut self, last_end_ns: &mut u64) -> Result<u64, EventsError> {
        let end_ns = unzigzag(self.varint()?).wrapping_add(*last_end_ns);
        *last_end_ns = end_ns;
        Ok(end_ns)
    }
}
