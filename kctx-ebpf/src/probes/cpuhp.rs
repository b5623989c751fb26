//! cpuhp:cpuhp_enter: a step of a CPU's way up or down, on the CPU itself while it is up, else on the one that
//! directs it.
//!
//! What was pending on a CPU that goes down is run or moved elsewhere without a trace. Stamps that it leaves
//! behind would count, when it is back, as waits of the time that it was away.

use aya_ebpf::helpers::{bpf_get_smp_processor_id, bpf_ktime_get_ns};
use kctx_common::record::NR_SOFTIRQS;

use crate::{
    kernel::Memory,
    maps::{self, CPU_STEPS},
};

twin!("cpuhp_enter", cpuhp_enter, cpuhp_enter_raw, step(0: u32));

#[inline(always)]
fn step<M: Memory>(of: u32) {
    if let Some(cpu) = maps::cpu_state() {
        cpu.softirq_raised_ns = [0; NR_SOFTIRQS];
    }
    if let Some(at) = CPU_STEPS.get_ptr_mut(of) {
        // SAFETY: one word, of which any CPU's last time is as good as another's. The helper takes no arguments.
        unsafe { core::ptr::write_volatile(at, bpf_ktime_get_ns()) };
    }
}

/// Whether this CPU went or came since then. It may run softirqs that were raised in its last moment before the first
/// step that it takes itself when it is back, since those before that are taken while it is not online, and not traced.
#[inline(never)]
pub fn has_stepped_since(ns: u64) -> u64 {
    // SAFETY: no arguments, no memory.
    let this = unsafe { bpf_get_smp_processor_id() };
    match CPU_STEPS.get_ptr_mut(this) {
        // SAFETY: as above.
        Some(at) => u64::from(unsafe { core::ptr::read_volatile(at) } > ns),
        None => 0,
    }
}
