//! irq_vectors:*: x86's interrupts that have no number: local timer, rescheduling, function calls, irq work.
//!
//! They run with interrupts off, so one slot a CPU holds the start of whichever runs. A handler that
//! fell into one (none does today) is not counted twice.

use aya_ebpf::helpers::bpf_ktime_get_ns;
use kctx_common::{
    counters::HARDIRQ,
    record::{HardirqWords, flags, head_with, kind, vector_class},
    spill::SpillKey,
};

use crate::{
    emit::{self, Spilled},
    kernel::Memory,
    maps, origin,
};

macro_rules! vector {
    ($class:ident, $module:ident, $entry:literal, $entry_btf:ident, $entry_raw:ident,
     $exit:literal, $exit_btf:ident, $exit_raw:ident) => {
        mod $module {
            use super::*;

            twin!($entry, $entry_btf, $entry_raw, started());
            twin!($exit, $exit_btf, $exit_raw, ended());

            #[inline(always)]
            fn started<M: Memory>() {
                entry(vector_class::$class);
            }

            #[inline(always)]
            fn ended<M: Memory>() {
                exit(vector_class::$class);
            }
        }
    };
}

vector!(
    LOC,
    local_timer,
    "local_timer_entry",
    local_timer_entry,
    local_timer_entry_raw,
    "local_timer_exit",
    local_timer_exit,
    local_timer_exit_raw
);
vector!(
    RES,
    reschedule,
    "reschedule_entry",
    reschedule_entry,
    reschedule_entry_raw,
    "reschedule_exit",
    reschedule_exit,
    reschedule_exit_raw
);
vector!(
    CAL,
    call_function,
    "call_function_entry",
    call_function_entry,
    call_function_entry_raw,
    "call_function_exit",
    call_function_exit,
    call_function_exit_raw
);
vector!(
    CAL,
    call_function_single,
    "call_function_single_entry",
    call_function_single_entry,
    call_function_single_entry_raw,
    "call_function_single_exit",
    call_function_single_exit,
    call_function_single_exit_raw
);
vector!(
    IWI,
    irq_work,
    "irq_work_entry",
    irq_work_entry,
    irq_work_entry_raw,
    "irq_work_exit",
    irq_work_exit,
    irq_work_exit_raw
);

#[inline(always)]
fn entry(class: u32) {
    let Some(cpu) = maps::cpu_state() else { return };
    if cpu.vector_start_ns != 0 && maps::recording() {
        cpu.counters.family[HARDIRQ].start_without_end += 1;
    }
    cpu.vector_class = u64::from(class);
    cpu.vector_hardirq_base_ns = cpu.hardirq_total_ns;
    // SAFETY: no arguments, no memory.
    let now = unsafe { bpf_ktime_get_ns() };
    origin::learn_if_unknown(cpu, now);
    cpu.vector_start_ns = now;
}

#[inline(always)]
fn exit(class: u32) {
    let Some(cpu) = maps::cpu_state() else { return };
    // SAFETY: no arguments, no memory.
    let now = unsafe { bpf_ktime_get_ns() };
    let start_ns = core::mem::replace(&mut cpu.vector_start_ns, 0);
    let paired = start_ns != 0 && cpu.vector_class == u64::from(class);
    let service_ns = now.saturating_sub(start_ns);
    // The rescheduling interrupt is the one that has no softirqs at its tail
    // (DEFINE_IDTENTRY_SYSVEC_SIMPLE, arch/x86/kernel/smp.c).
    if class != vector_class::RES {
        cpu.hardirq_exit_ns = now;
    }
    if paired {
        let nested_ns = cpu
            .hardirq_total_ns
            .wrapping_sub(cpu.vector_hardirq_base_ns);
        cpu.hardirq_total_ns += service_ns.saturating_sub(nested_ns);
    }
    if !maps::recording() {
        return;
    }
    let counters = &mut cpu.counters.family[HARDIRQ];
    if !paired {
        counters.end_without_start += 1;
        return;
    }
    let record: HardirqWords = [
        // IRQ_HANDLED
        head_with(kind::HARDIRQ, 1, flags::VECTOR, class),
        now,
        service_ns,
        0,
    ];
    emit::emit(counters, HARDIRQ, service_ns, &record, || {
        (
            SpillKey {
                family: kind::HARDIRQ,
                context: 1,
                number: class,
                ..SpillKey::default()
            },
            Spilled {
                wait_ns: emit::NONE,
                service_ns,
                third_ns: emit::NONE,
                fourth_ns: emit::NONE,
            },
        )
    });
}
