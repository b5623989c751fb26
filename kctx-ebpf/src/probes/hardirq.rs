//! irq:irq_handler_entry, irq:irq_handler_exit.
//!
//! One pair for each action of a line: the actions of a shared line run in sequence, with interrupts
//! off. A handler may call those of other lines (`vmd_irq`, drivers/pci/controller/vmd.c; GPIO controllers that
//! request their line), hence two slots a CPU; its time is its own, without theirs.

use aya_ebpf::helpers::bpf_ktime_get_ns;
use kctx_common::{
    counters::HARDIRQ,
    pairing::CpuState,
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
    if cpu.hardirq.start_ns != 0 {
        if cpu.outer_hardirq.start_ns != 0 && maps::recording() {
            cpu.counters.family[HARDIRQ].start_without_end += 1;
        }
        cpu.outer_hardirq = cpu.hardirq;
    }
    cpu.hardirq.action = action as u64;
    cpu.hardirq.irq = u64::from(irq);
    cpu.hardirq.base_ns = cpu.hardirq_total_ns;
    // SAFETY: no arguments, no memory.
    cpu.hardirq.start_ns = unsafe { bpf_ktime_get_ns() };
}

/// Back to the handler that called another.
#[inline(always)]
fn pop(cpu: &mut CpuState) {
    cpu.hardirq = cpu.outer_hardirq;
    cpu.outer_hardirq.start_ns = 0;
}

/// Drops starts whose ends were not seen. Called where no handler can be running.
#[inline(always)]
pub fn none_runs(cpu: &mut CpuState) {
    if cpu.hardirq.start_ns == 0 {
        return;
    }
    cpu.hardirq.start_ns = 0;
    cpu.outer_hardirq.start_ns = 0;
    if maps::recording() {
        cpu.counters.family[HARDIRQ].start_without_end += 1;
    }
}

#[inline(always)]
fn exit<M: Memory>(irq: u32, action: *const u8, ret: u32) {
    let Some(cpu) = maps::cpu_state() else { return };
    // SAFETY: no arguments, no memory.
    let now = unsafe { bpf_ktime_get_ns() };
    if cpu.outer_hardirq.start_ns != 0 && cpu.hardirq.action != action as u64 {
        // The end of the one that it called was not seen.
        pop(cpu);
        if maps::recording() {
            cpu.counters.family[HARDIRQ].start_without_end += 1;
        }
    }
    let start_ns = core::mem::replace(&mut cpu.hardirq.start_ns, 0);
    let paired = start_ns != 0 && cpu.hardirq.action == action as u64;
    let gross_ns = now.saturating_sub(start_ns);
    let called_ns = cpu.hardirq_total_ns.wrapping_sub(cpu.hardirq.base_ns);
    let service_ns = gross_ns - called_ns.min(gross_ns);
    cpu.hardirq_exit_ns = now;
    if paired {
        cpu.hardirq_total_ns += service_ns;
    }
    // SAFETY: a plain field. Read anew, since otherwise LLVM takes the typed pointer that it was found equal
    // to, and calculates with that.
    let address = unsafe { core::ptr::read_volatile(&raw const cpu.hardirq.action) };
    if cpu.outer_hardirq.start_ns != 0 {
        pop(cpu);
    }
    if !maps::recording() {
        return;
    }
    let counters = &mut cpu.counters.family[HARDIRQ];
    if !paired {
        counters.end_without_start += 1;
        return;
    }
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
