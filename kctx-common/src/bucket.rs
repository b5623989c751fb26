//! Value to spill bucket: log-linear, constant, pure; the same code in the kernel and outside.
//!
//! Values below [`LINEAR_TOP_NS`] fall into [`SUB`] equal buckets; from there each octave is cut into
//! [`SUB`] equal parts, up to 2^[`TOP_BITS`] ns (68.7 s), where the last bucket takes all above.
//! A bucket's width is at most 1/16 of its lower edge, so its midpoint is within 3.2 % of every
//! value in it; below 64 ns within 2 ns.

/// Bits of resolution within an octave.
pub const SUB_BITS: u32 = 4;
/// Buckets an octave.
pub const SUB: u64 = 1 << SUB_BITS;
/// The octaves start here: 64 ns.
pub const LINEAR_BITS: u32 = 6;
/// Below this, buckets are equally wide (4 ns).
pub const LINEAR_TOP_NS: u64 = 1 << LINEAR_BITS;
/// From 2^36 ns on, everything falls into the last bucket.
pub const TOP_BITS: u32 = 36;
/// Number of buckets.
pub const BUCKETS: usize = (SUB as usize) * (1 + (TOP_BITS - LINEAR_BITS) as usize);

/// The bucket of a duration in nanoseconds.
#[inline(always)]
#[must_use]
pub const fn index(ns: u64) -> usize {
    if ns < LINEAR_TOP_NS {
        return (ns >> (LINEAR_BITS - SUB_BITS)) as usize;
    }
    if ns >= 1 << TOP_BITS {
        return BUCKETS - 1;
    }
    let octave = floor_log2(ns);
    let sub = (ns >> (octave - SUB_BITS)) & (SUB - 1);
    ((octave - LINEAR_BITS + 1) as usize) * SUB as usize + sub as usize
}

/// Position of the highest set bit. By bisection: BPF has no instruction for it, and `leading_zeros`
/// lowers to a longer sequence.
#[inline(always)]
const fn floor_log2(mut v: u64) -> u32 {
    let mut log = 0;
    if v >> 32 != 0 {
        v >>= 32;
        log += 32;
    }
    if v >> 16 != 0 {
        v >>= 16;
        log += 16;
    }
    if v >> 8 != 0 {
        v >>= 8;
        log += 8;
    }
    if v >> 4 != 0 {
        v >>= 4;
        log += 4;
    }
    if v >> 2 != 0 {
        v >>= 2;
        log += 2;
    }
    if v >> 1 != 0 {
        log += 1;
    }
    log
}

/// Lowest value of a bucket, in nanoseconds.
#[must_use]
pub const fn lower_ns(index: usize) -> u64 {
    let octave = index as u64 / SUB;
    let sub = index as u64 % SUB;
    if octave == 0 {
        return sub << (LINEAR_BITS - SUB_BITS);
    }
    (SUB + sub) << (octave as u32 - 1 + LINEAR_BITS - SUB_BITS)
}

/// The value that stands for a bucket: its midpoint.
#[must_use]
pub const fn midpoint_ns(index: usize) -> u64 {
    let lower = lower_ns(index);
    if index + 1 >= BUCKETS {
        return lower;
    }
    lower + (lower_ns(index + 1) - lower) / 2
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn edges_are_contiguous_and_indexed_back() {
        for i in 0..BUCKETS {
            assert_eq!(index(lower_ns(i)), i);
            if i + 1 < BUCKETS {
                assert_eq!(index(lower_ns(i + 1) - 1), i);
            }
        }
        assert_eq!(index(u64::MAX), BUCKETS - 1);
    }

    proptest! {
        #[test]
        fn midpoint_is_within_the_stated_error(bits in 0u32..TOP_BITS, low in any::<u64>()) {
            let ns = (1u64 << bits) | (low & ((1 << bits) - 1));
            let mid = midpoint_ns(index(ns));
            let error = mid.abs_diff(ns);
            prop_assert!(error <= 2 || error as f64 <= ns as f64 * 0.032, "{ns} -> {mid}");
        }

        #[test]
        fn log2_agrees_with_the_library(v in 1u64..) {
            prop_assert_eq!(floor_log2(v), v.ilog2());
        }
    }
}
