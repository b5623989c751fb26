//! The ABI that kctx's eBPF programs and its userspace compile alike.
//!
//! Everything here is `#[repr(C)]`, free of padding, and little- or big-endian as the host is: both
//! sides run on the same machine. A bundle on disk has an encoding of its own (`kctx::capture`).
#![cfg_attr(not(test), no_std)]

/// A struct that goes from the kernel to userspace as it lies in memory: `repr(C)`, and in userspace read from
/// bytes by zerocopy, which refuses padding.
macro_rules! shared {
    ($(#[$attribute:meta])* $visibility:vis struct $name:ident $fields:tt) => {
        $(#[$attribute])*
        #[repr(C)]
        #[cfg_attr(
            feature = "user",
            derive(
                zerocopy::FromBytes,
                zerocopy::IntoBytes,
                zerocopy::Immutable,
                zerocopy::KnownLayout
            )
        )]
        $visibility struct $name $fields
    };
}

pub mod bucket;
pub mod counters;
pub mod globals;
pub mod name;
pub mod pairing;
pub mod record;
pub mod spill;
