//! A software clock's samples: the kernel's stack, where a softirq or a kernel thread runs.
//!
//! The clock is a timer interrupt, so it sees what the interrupt fell into; interrupt handlers, and whatever
//! runs with interrupts off, it sees at their end at best.

use aya_ebpf::{
    macros::perf_event, programs::PerfEventContext, programs::tracing::StackIdContext as _,
};
use kctx_common::{
    counters::STACK,
    pairing::role,
    record::stack_context::{KTHREAD, SOFTIRQ},
};

use crate::maps::{self, STACK_COUNTS, STACKS};

#[perf_event]
pub fn cpu_clock(ctx: PerfEventContext) -> u32 {
    if !maps::recording() {
        return 0;
    }
    let Some(cpu) = maps::cpu_state() else {
        return 0;
    };
    let context = if cpu.softirq.start_ns != 0 {
        SOFTIRQ | cpu.softirq.vector
    } else if cpu.tasks.role > role::REST {
        KTHREAD | cpu.tasks.role
    } else {
        return 0;
    };
    let counters = &mut cpu.counters.family[STACK];
    let Ok(id) = ctx.get_stackid(&STACKS, 0) else {
        // Another stack has its place in the table.
        counters.stack_collision += 1;
        return 0;
    };
    counters.observed += 1;
    let key = context << 32 | u64::from(id as u32);
    if let Some(count) = STACK_COUNTS.get_ptr_mut(key) {
        // SAFETY: this CPU's element, and a sample does not fall into another.
        unsafe { *count += 1 };
        counters.streamed += 1;
    } else if STACK_COUNTS.insert(key, 1, 0).is_ok() {
        counters.streamed += 1;
    } else {
        counters.lost_no_spill_row += 1;
    }
    0
}
