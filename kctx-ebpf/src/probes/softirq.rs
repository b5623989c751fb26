//! irq:softirq_raise, irq:softirq_entry, irq:softirq_exit.
//!
//! Keyed by CPU and vector: a softirq is raised on the CPU that will run it, and never nests on one
//! (outside PREEMPT_RT). The wait counts from the first raise since the last entry; the stamp is taken
//! at entry, so that a raise during the run belongs to the next.

use aya_ebpf::helpers::bpf_ktime_get_ns;
use kctx_common::{
    counters::SOFTIRQ,
    pairing::{CpuState, NO_WAIT, STAGED, STAGED_NS},
    record::{SoftirqLongWords, SoftirqWords, flags, head, head_with, kind, pair},
    spill::SpillKey,
};

use crate::{
    emit::{self, Spilled},
    kernel::{self, Memory},
    maps,
};

twin!("softirq_raise", softirq_raise, softirq_raise_raw, raise(0: u32));
twin!("softirq_entry", softirq_entry, softirq_entry_raw, entry(0: u32));
twin!("softirq_exit", softirq_exit, softirq_exit_raw, exit(0: u32));

#[inline(always)]
fn raise<M: Memory>(vector: u32) {
    if !kernel::wanted(vector) {
        return;
    }
    let Some(cpu) = maps::cpu_state() else { return };
    let vector = core::hint::black_box(vector as usize);
    let Some(raised) = cpu.softirq_raised_ns.get_mut(vector) else {
        return;
    };
    if *raised == 0 {
        // SAFETY: no arguments, no memory.
        *raised = unsafe { bpf_ktime_get_ns() };
    }
}

#[inline(always)]
fn entry<M: Memory>(vector: u32) {
    if !kernel::wanted(vector) {
        return;
    }
    let Some(cpu) = maps::cpu_state() else { return };
    // SAFETY: no arguments, no memory.
    let now = unsafe { bpf_ktime_get_ns() };
    let index = core::hint::black_box(vector as usize);
    let Some(raised) = cpu.softirq_raised_ns.get_mut(index) else {
        return;
    };
    let raised_ns = core::mem::replace(raised, 0);
    if cpu.softirq_start_ns != 0 && maps::recording() {
        cpu.counters.family[SOFTIRQ].start_without_end += 1;
    }
    cpu.softirq_wait_ns = if raised_ns == 0 {
        NO_WAIT
    } else {
        now.saturating_sub(raised_ns)
    };
    cpu.softirq_hardirq_base_ns = cpu.hardirq_total_ns;
    cpu.softirq_vector = u64::from(vector);
    cpu.softirq_start_ns = now;
}

#[inline(always)]
fn exit<M: Memory>(vector: u32) {
    if !kernel::wanted(vector) {
        return;
    }
    let Some(cpu) = maps::cpu_state() else { return };
    let hardirq_total_ns = cpu.hardirq_total_ns;
    // SAFETY: no arguments, no memory.
    let now = unsafe { bpf_ktime_get_ns() };
    let start_ns = core::mem::replace(&mut cpu.softirq_start_ns, 0);
    if !maps::recording() {
        return;
    }
    if start_ns == 0 || cpu.softirq_vector != u64::from(vector) {
        cpu.counters.family[SOFTIRQ].end_without_start += 1;
        return;
    }
    let service_ns = now.saturating_sub(start_ns);
    let known = cpu.softirq_wait_ns != NO_WAIT;
    let hardirq_ns = hardirq_total_ns
        .wrapping_sub(cpu.softirq_hardirq_base_ns)
        .min(service_ns);
    let wait_ns = if known { cpu.softirq_wait_ns } else { 0 };
    let flags = if known { flags::WAIT } else { 0 };
    if (wait_ns | service_ns) >> 32 == 0 {
        let record: SoftirqWords = [
            head_with(kind::SOFTIRQ, vector as u8, flags, hardirq_ns as u32),
            now,
            pair(wait_ns as u32, service_ns as u32),
        ];
        stage(cpu, record, now);
        return;
    }
    let record: SoftirqLongWords = [
        head(kind::SOFTIRQ_LONG, vector as u8, flags),
        now,
        wait_ns,
        service_ns,
        hardirq_ns,
    ];
    let wait_ns = if known { wait_ns } else { emit::NONE };
    emit::emit(&mut cpu.counters.family[SOFTIRQ], &record, || {
        spilled(vector, wait_ns, service_ns, hardirq_ns)
    });
}

fn spilled(vector: u32, wait_ns: u64, service_ns: u64, hardirq_ns: u64) -> (SpillKey, Spilled) {
    (
        SpillKey {
            family: kind::SOFTIRQ,
            number: vector,
            ..SpillKey::default()
        },
        Spilled {
            wait_ns,
            service_ns,
            third_ns: service_ns - hardirq_ns,
        },
    )
}

/// Puts a record with those that wait for the ring, and all of them there when they are enough or have
/// waited long enough. Only this program touches them, and it does not nest in itself; what is left
/// when a window closes userspace takes from here.
#[inline(always)]
fn stage(cpu: &mut CpuState, record: SoftirqWords, now: u64) {
    cpu.counters.family[SOFTIRQ].observed += 1;
    let slot = core::hint::black_box(cpu.staged as usize);
    let Some(place) = cpu.stage.get_mut(slot) else {
        // Not possible: a full stage has been emptied.
        cpu.staged = 0;
        return;
    };
    *place = record;
    if slot == 0 {
        cpu.staged_ns = now;
    }
    cpu.staged = slot as u64 + 1;
    if slot + 1 < STAGED && now.wrapping_sub(cpu.staged_ns) < STAGED_NS {
        return;
    }
    cpu.staged = 0;
    let count = slot as u64 + 1;
    if emit::stream(
        cpu.stage.as_ptr().cast(),
        count * size_of::<SoftirqWords>() as u64,
    ) {
        cpu.counters.family[SOFTIRQ].streamed += count;
    } else {
        spill_stage(cpu, count);
    }
}

/// The ring is full: each record into its row.
#[inline(never)]
fn spill_stage(cpu: &mut CpuState, count: u64) {
    for i in 0..STAGED {
        if i as u64 >= count {
            break;
        }
        let [head, _, durations] = cpu.stage[i];
        let [_, vector, flags, _, a, b, c, d] = head.to_ne_bytes();
        let [e, f, g, h, j, k, l, m] = durations.to_ne_bytes();
        let service_ns = u64::from(u32::from_ne_bytes([j, k, l, m]));
        let wait_ns = if flags & flags::WAIT != 0 {
            u64::from(u32::from_ne_bytes([e, f, g, h]))
        } else {
            emit::NONE
        };
        let hardirq_ns = u64::from(u32::from_ne_bytes([a, b, c, d]));
        let (key, durations) = spilled(u32::from(vector), wait_ns, service_ns, hardirq_ns);
        emit::spill_or_lose(&mut cpu.counters.family[SOFTIRQ], key, durations);
    }
}
