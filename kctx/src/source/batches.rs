//! A ring's committed entries as batches: the step of the drain that touches records.

use bytes::{Bytes, BytesMut};

use super::rings::Ring;

/// The most that goes into one batch.
pub const BATCH_BYTES: usize = 256 << 10;

/// Empties a ring once, and hands each batch on; how many bytes that were. `buffer` is where batches are made.
pub fn of_ring<E>(
    ring: &mut Ring,
    buffer: &mut BytesMut,
    mut take: impl FnMut(Bytes) -> Result<(), E>,
) -> Result<usize, E> {
    let mut total = 0;
    // Not more than a ring's worth, so that one busy CPU does not keep the others waiting for ever.
    while total < ring.size() {
        // No more than there is to take: many rings with little in them share an allocation, which is used again once all
        // batches split off it are gone.
        let limit = ring.filled().min(BATCH_BYTES);
        buffer.reserve(limit);
        let len = ring.drain(limit, buffer);
        if len == 0 {
            break;
        }
        total += len;
        take(buffer.split().freeze())?;
    }
    Ok(total)
}
