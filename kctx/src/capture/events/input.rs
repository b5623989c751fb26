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

    #[inline]
    pub(super) fn take(&mut self, len: usize) -> Result<&[u8], EventsError> {
        let end = self.at.checked_add(len).ok_or(EventsError::Short)?;
        let taken = self.bytes.get(self.at..end).ok_or(EventsError::Short)?;
        self.at = end;
        Ok(taken)
    }

    #[inline]
    pub(super) fn byte(&mut self) -> Result<u8, EventsError> {
        let byte = *self.bytes.get(self.at).ok_or(EventsError::Short)?;
        self.at += 1;
        Ok(byte)
    }

    #[inline]
    pub(super) fn u64(&mut self) -> Result<u64, EventsError> {
        let bytes = self.take(8)?.try_into().map_err(|_| EventsError::Short)?;
        Ok(u64::from_le_bytes(bytes))
    }

    #[inline]
    pub(super) fn u32(&mut self) -> Result<u32, EventsError> {
        u32::try_from(self.varint()?)
            .map_err(|_| EventsError::Damaged("a number of more than 32 bits"))
    }

    #[inline]
    pub(super) fn varint(&mut self) -> Result<u64, EventsError> {
        // Eight bytes at once, as long as there are: how long a number is cannot be guessed, and a wrong guess costs
        // more than all of this.
        let ahead = self.bytes.get(self.at..).and_then(<[u8]>::first_chunk);
        if let Some(&word) = ahead {
            let word = u64::from_le_bytes(word);
            let ends = !word & CONTINUES;
            if ends != 0 {
                self.at += ends.trailing_zeros() as usize / 8 + 1;
                return Ok(joined(word & (ends ^ (ends - 1))));
            }
        }
        self.long_varint()
    }

    /// Near the end, and numbers of more than eight bytes.
    #[cold]
    fn long_varint(&mut self) -> Result<u64, EventsError> {
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
    #[inline]
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
    #[inline]
    pub(super) fn end(&mut self, last_end_ns: &mut u64) -> Result<u64, EventsError> {
        let end_ns = unzigzag(self.varint()?).wrapping_add(*last_end_ns);
        *last_end_ns = end_ns;
        Ok(end_ns)
    }
}

/// The bit of each byte that says that another follows.
const CONTINUES: u64 = 0x8080_8080_8080_8080;

/// The seven low bits of eight bytes, put together: neighbours by two, by four, by eight.
#[inline]
fn joined(bytes: u64) -> u64 {
    let sevens = bytes & !CONTINUES;
    let by_two = (sevens & 0x007f_007f_007f_007f) | (sevens & 0x7f00_7f00_7f00_7f00) >> 1;
    let by_four = (by_two & 0x0000_3fff_0000_3fff) | (by_two & 0x3fff_0000_3fff_0000) >> 2;
    (by_four & 0x0fff_ffff) | (by_four & 0x0fff_ffff_0000_0000) >> 4
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::capture::events::put_varint;

    proptest! {
        #[test]
        fn numbers_of_any_length_come_back_wherever_they_lie(
            numbers in prop::collection::vec((any::<u64>(), 0_u32..64), 0..20)
        ) {
            let numbers: Vec<u64> = numbers.into_iter().map(|(n, shift)| n >> shift).collect();
            let mut bytes = Vec::new();
            for &number in &numbers {
                put_varint(&mut bytes, number);
            }
            let mut input = Input::new(Bytes::from(bytes), 0);
            for number in numbers {
                prop_assert_eq!(input.varint(), Ok(number));
            }
            prop_assert!(input.is_at_end());
            prop_assert_eq!(input.varint(), Err(EventsError::Short));
        }
    }

    #[test]
    fn a_number_of_more_than_64_bits_is_damage() {
        let mut input = Input::new(Bytes::from(vec![0xff; 16]), 0);
        let damage = EventsError::Damaged("a number of more than 64 bits");
        assert_eq!(input.varint(), Err(damage));
    }

    #[test]
    fn a_number_that_goes_on_after_the_end_is_short() {
        for length in 1..9 {
            let mut input = Input::new(Bytes::from(vec![0xff; length]), 0);
            assert_eq!(input.varint(), Err(EventsError::Short));
        }
    }
}
