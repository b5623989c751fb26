//! In which context the CPU is: what raises a softirq or queues a work, and where a softirq runs.

use aya_ebpf::helpers::{
    bpf_get_current_comm, bpf_get_current_pid_tgid, bpf_get_current_task, bpf_ktime_get_ns,
};
use kctx_common::{
    pairing::{CpuState, origin_word, role},
    record::{context, origin},
};

use crate::{
    kernel::{Raw, Task},
    maps::{self, COMMS},
};

/// What runs on this CPU now, innermost first: an interrupt handler, a vector, a softirq, a task.
#[inline(always)]
pub fn here(cpu: &mut CpuState) -> u64 {
    if cpu.hardirq_start_ns != 0 {
        return origin_word(origin::IRQ, cpu.hardirq_irq as u32);
    }
    if cpu.vector_start_ns != 0 {
        return origin_word(origin::VECTOR, cpu.vector_class as u32);
    }
    if cpu.softirq.start_ns != 0 {
        return origin_word(origin::SOFTIRQ, cpu.softirq.vector as u32);
    }
    let pid = (bpf_get_current_pid_tgid() >> 32) as u32;
    if pid == 0 {
        return origin_word(origin::IDLE, 0);
    }
    if cpu.origin_pid != u64::from(pid) {
        cpu.origin_pid = u64::from(pid);
        note_comm(pid);
    }
    origin_word(origin::TASK, pid)
}

/// Userspace reads records later, when the process may be gone: its comm is kept.
#[inline(never)]
fn note_comm(pid: u32) -> u64 {
    let comm = comm();
    let _ = COMMS.insert(pid, comm, 0);
    0
}

#[inline(always)]
fn comm() -> [u64; 2] {
    let Ok(bytes) = bpf_get_current_comm() else {
        return [0; 2];
    };
    let mut words = [0; 2];
    for (word, bytes) in words.iter_mut().zip(bytes.as_chunks::<8>().0) {
        *word = u64::from_ne_bytes(*bytes);
    }
    words
}

/// An interrupt's tail follows its end at once. What lies between is the kernel's accounting and kctx's
/// own record of the interrupt, a fraction of this; emulated machines take longer, so that a multiple of
/// the shortest time seen here counts where that is more.
const TAIL_NS: u64 = 2_000;
const TAIL_FACTOR: u64 = 4;

/// Where the softirq runs that is entered now.
#[inline(always)]
pub fn place(cpu: &mut CpuState, now: u64, raised_by: u64, raised_ns: u64) -> u8 {
    let role = if cpu.role != role::UNKNOWN {
        cpu.role
    } else {
        learn(cpu)
    };
    // Asked, not remembered: some kernels leave switches untraced.
    // SAFETY: no arguments, no memory.
    let task = unsafe { bpf_get_current_task() };
    if cpu.ksoftirqd == task {
        return context::KSOFTIRQD;
    }
    match role {
        role::KSOFTIRQD if cpu.ksoftirqd == 0 => return context::KSOFTIRQD,
        role::KTIMERS => return context::KTIMERS,
        role::IRQ_THREAD => return context::IRQ_THREAD,
        role::NAPI_THREAD => return context::NAPI_THREAD,
        _ => {}
    }
    let interrupt_ns = cpu.hardirq_exit_ns;
    let after_interrupt = interrupt_ns > cpu.softirq_exit_ns;
    // A task that raised it after the last interrupt runs it itself, when it enables bottom halves.
    let by_task = raised_by >> 32 == u64::from(origin::TASK) && raised_ns > interrupt_ns;
    let since = now.saturating_sub(if after_interrupt {
        interrupt_ns
    } else {
        cpu.softirq_exit_ns
    });
    if after_interrupt && !by_task && (cpu.tail_gap_ns == 0 || since < cpu.tail_gap_ns) {
        cpu.tail_gap_ns = since;
    }
    let longest = cpu.tail_gap_ns.saturating_mul(TAIL_FACTOR);
    let longest = if longest > TAIL_NS { longest } else { TAIL_NS };
    // After the interrupt: its tail. After another softirq at a tail: the next vector of the same pass.
    let tail = after_interrupt || cpu.softirq_context == u64::from(context::IRQ_TAIL);
    if tail && !by_task && since <= longest {
        return context::IRQ_TAIL;
    }
    if bpf_get_current_pid_tgid() as u32 == 0 {
        context::IDLE
    } else {
        context::TASK
    }
}

/// What the running task is, before the first switch told: programs attach while tasks run.
#[inline(never)]
fn learn(cpu: &mut CpuState) -> u64 {
    // SAFETY: neither takes arguments or touches memory.
    let (task, now) = unsafe { (bpf_get_current_task() as *const u8, bpf_ktime_get_ns()) };
    let comm = comm();
    if !Task::known() || !maps::switches() {
        // Nobody would keep it true: asked each time. A user task may call itself anything, but then
        // that is all that it is taken for.
        return role::of(comm);
    }
    let role = if Task(task).kthread_pid::<Raw>() == 0 {
        role::REST
    } else {
        role::of(comm)
    };
    let tasks = &mut cpu.tasks;
    tasks.begun += 1;
    tasks.since_ns = now;
    tasks.hardirq_base_ns = cpu.hardirq_total_ns;
    tasks.softirq_base_ns = cpu.softirq_total_ns;
    tasks.role = role;
    tasks.task = if role == role::REST { 0 } else { task as u64 };
    tasks.finished = tasks.begun;
    cpu.role = role;
    if role == role::KSOFTIRQD {
        cpu.ksoftirqd = task as u64;
    }
    role
}

/// Learns what runs, if that is not known: from the frequent programs, so that it is known soon on each CPU.
#[inline(always)]
pub fn learn_if_unknown(cpu: &mut CpuState) {
    if cpu.role == role::UNKNOWN && maps::switches() {
        learn(cpu);
    }
}

/// Time that others took from what runs now: interrupts, and what ran while it was parked.
#[inline(always)]
pub fn taken_ns(cpu: &CpuState) -> u64 {
    // Volatile: a program that interrupts this one adds to it.
    // SAFETY: a plain field.
    unsafe { core::ptr::read_volatile(&raw const cpu.hardirq_total_ns) }
        .wrapping_add(cpu.softirq_away_ns)
}

/// The time, and what others have taken by then: read together, so that an interrupt between the two
/// does not count for what it interrupted.
#[inline(always)]
pub fn now_and_taken(cpu: &CpuState) -> (u64, u64) {
    let before = taken_ns(cpu);
    // SAFETY: no arguments, no memory.
    let now = unsafe { bpf_ktime_get_ns() };
    let after = taken_ns(cpu);
    if before == after {
        return (now, after);
    }
    // SAFETY: as above.
    (unsafe { bpf_ktime_get_ns() }, after)
}
