//! The ABI that kctx's eBPF programs and its userspace compile alike.
//!
//! Everything here is `#[repr(C)]`, free of padding, and little- or big-endian as the host is: both
//! sides run on the same machine. A bundle on disk has an encoding of its own (`kctx::capture`).
#![cfg_attr(not(test), no_std)]

pub mod bucket;
pub mod counters;
pub mod globals;
pub mod name;
pub mod pairing;
pub mod record;
pub mod spill;
