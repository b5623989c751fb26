//! kctx's programs: one file for each family of tracepoints, and what they share.
//!
//! Each hot program comes twice, as `tp_btf` (typed arguments, fields loaded directly and checked by
//! the verifier) and as `raw_tp` for kernels without BTF; both call one inlined body. Userspace loads
//! one of the two.
#![no_std]
#![no_main]

mod emit;
mod kernel;
mod maps;
mod names;
mod origin;
mod probes;

#[cfg(not(test))]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    // The verifier refuses a program that could get here: an endless loop is never accepted.
    loop {}
}

/// The helpers that read kernel memory are for GPL-compatible programs only.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
