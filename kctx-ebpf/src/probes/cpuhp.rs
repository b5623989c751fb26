//! cpuhp:cpuhp_enter: a step of a CPU's way up or down, on the CPU itself while it is up.
//!
//! What was pending on a CPU that goes down is run or moved elsewhere without a trace. Stamps that it leaves
//! behind would count, when it is back, as waits of the time that it was away.

use kctx_common::record::NR_SOFTIRQS;

use crate::{kernel::Memory, maps};

twin!("cpuhp_enter", cpuhp_enter, cpuhp_enter_raw, step());

#[inline(always)]
fn step<M: Memory>() {
    if let Some(cpu) = maps::cpu_state() {
        cpu.softirq_raised_ns = [0; NR_SOFTIRQS];
    }
}
