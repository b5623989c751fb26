//! irq:irq_handler_entry, irq:irq_handler_exit.
//!
//! One pair for each action of a line: the actions of a shared line run in sequence, with interrupts
//! off, so one slot a CPU holds the start.

use aya_ebpf::helpers::bpf_ktime_get_ns;
use kctx_common::{
    counters::HARDIRQ,
    record::{HardirqWords, head_with, kind},
    spill::SpillKey,
};

use crate::{
    emit::{self, Spilled},
    kernel::{IrqAction, Memory},
    maps, names,
};

twin!(
    "irq_handler_entry",
    irq_handler_entry,
    irq_handler_entry_raw,
    entry(0: u32, 1: *const u8)
);
twin!(
    "irq_handler_exit",
    irq_handler_exit,
    irq_handler_exit_raw,
    exit(0: u32, 1: *const u8, 2: u32)
);

#[inline(always)]
fn entry<M: Memory>(irq: u32, action: *const u8) {
    let Some(cpu) = maps::cpu_state() else { return };
    if cpu.hardirq_start_ns != 0 && maps::recording() {
        cpu.counters.family[HARDIRQ].start_without_end += 1;
    }
    cpu.hardirq_action = action as u64;
    cpu.hardirq_irq = u64::from(irq);
    // SAFETY: no arguments, no memory.
    cpu.hardirq_start_ns = unsafe { bpf_ktime_get_ns() };
}

#[inline(always)]
fn exit<M: Memory>(irq: u32, action: *const u8, ret: u32) {
    let Some(cpu) = maps::cpu_state() else { return };
    // SAFETY: no arguments, no memory.
    let now = unsafe { bpf_ktime_get_ns() };
    let start_ns = core::mem::replace(&mut cpu.hardirq_start_ns, 0);
    let paired = start_ns != 0 && cpu.hardirq_action == action as u64;
    let service_ns = now.saturating_sub(start_ns);
    cpu.hardirq_exit_ns = now;
    if paired {
        cpu.hardirq_total_ns += service_ns;
    }
    if !maps::recording() {
        return;
    }
    let counters = &mut cpu.counters.family[HARDIRQ];
    if !paired {
        counters.end_without_start += 1;
        return;
    }
    // SAFETY: a plain field. Read anew, since otherwise LLVM takes the typed pointer that it was found equal
    // to, and calculates with that.
    let address = unsafe { core::ptr::read_volatile(&raw const cpu.hardirq_action) };
    let name_id = names::action::<M>(IrqAction(action), address, now);
    let record: HardirqWords = [
        head_with(kind::HARDIRQ, ret as u8, 0, irq),
        now,
        service_ns,
        name_id,
    ];
    emit::emit(counters, HARDIRQ, service_ns, &record, || {
        (
            SpillKey {
                family: kind::HARDIRQ,
                unhandled: u8::from(ret == 0),
                number: irq,
                name_id,
                ..SpillKey::default()
            },
            Spilled {
                wait_ns: emit::NONE,
                service_ns,
                // What woke its thread, so that the spill keeps that count too.
                third_ns: if ret & 2 != 0 { service_ns } else { emit::NONE },
                fourth_ns: emit::NONE,
            },
        )
    });
}
