//! In which context the CPU is: what raises a softirq or queues a work, and where a softirq runs.

use aya_ebpf::helpers::{
    bpf_get_current_comm, bpf_get_current_pid_tgid, bpf_get_current_task, bpf_ktime_get_ns,
};
use kctx_common::{
    pairing::{CpuState, SeenTask, origin_word, role},
    record::{context, origin},
};

use crate::{
    kernel::{Raw, Task},
    maps::{self, COMMS},
};

/// What runs on this CPU now, innermost first: an interrupt handler, a vector, a softirq, a task.
#[inline(always)]
pub fn here(cpu: &mut CpuState, now: u64) -> u64 {
    if cpu.hardirq.start_ns != 0 {
        return origin_word(origin::IRQ, cpu.hardirq.irq as u32);
    }
    if cpu.vector_start_ns != 0 {
        return origin_word(origin::VECTOR, cpu.vector_class as u32);
    }
    if cpu.softirq.start_ns != 0 {
        return origin_word(origin::SOFTIRQ, cpu.softirq.vector as u32);
    }
    look(cpu, now);
    if cpu.seen.role == role::IDLE {
        return origin_word(origin::IDLE, 0);
    }
    if cpu.seen.noted == 0 {
        cpu.seen.noted = 1;
        note_comm(cpu.seen.pid as u32);
    }
    origin_word(origin::TASK, cpu.seen.pid as u32)
}

/// What was found of a task holds for so long: it may have another name by then, or another task its place in
/// memory (which is free after a grace period of RCU at the earliest).
const SEEN_NS: u64 = 10_000_000;

/// Sees to it that what was seen last is the task that runs now. Asked, not remembered from the last switch: some
/// kernels leave switches untraced, and switches may not be followed at all.
#[inline(always)]
fn look(cpu: &mut CpuState, now: u64) {
    // SAFETY: no arguments, no memory.
    let task = unsafe { bpf_get_current_task() };
    if cpu.seen.task != task || now.wrapping_sub(cpu.seen.seen_ns) > SEEN_NS {
        see(cpu, task, now);
    }
}

/// Another task than the last time. A user task may call itself anything, but then that is all that it is
/// taken for, where the kernel's BTF does not tell which tasks are the kernel's.
#[inline(never)]
fn see(cpu: &mut CpuState, task: u64, now: u64) -> u64 {
    let pid = bpf_get_current_pid_tgid();
    let is_kthread = Task::known() && Task(task as *const u8).kthread_pid::<Raw>() != 0;
    let role = if pid as u32 == 0 {
        role::IDLE
    } else if is_kthread || !Task::known() {
        role::of(comm())
    } else {
        role::REST
    };
    cpu.seen = SeenTask {
        task,
        role,
        pid: pid >> 32,
        noted: 0,
        seen_ns: now,
    };
    role
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
    look(cpu, now);
    learn_if_unknown(cpu, now);
    match cpu.seen.role {
        role::KSOFTIRQD => return context::KSOFTIRQD,
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
    let tail = after_interrupt || cpu.softirq.context == u64::from(context::IRQ_TAIL);
    if tail && !by_task && since <= longest {
        return context::IRQ_TAIL;
    }
    if cpu.seen.role == role::IDLE {
        context::IDLE
    } else {
        context::TASK
    }
}

/// Learns what runs, for the account of tasks, before the first switch told: programs attach while tasks
/// run. Asked by programs that soon run on each CPU.
#[inline(always)]
pub fn learn_if_unknown(cpu: &mut CpuState, now: u64) {
    if cpu.tasks.since_ns == 0 && maps::switches() && Task::known() {
        learn(cpu, now);
    }
}

#[inline(never)]
fn learn(cpu: &mut CpuState, now: u64) -> u64 {
    look(cpu, now);
    let tasks = &mut cpu.tasks;
    tasks.begun += 1;
    tasks.since_ns = now;
    tasks.hardirq_base_ns = cpu.hardirq_total_ns;
    tasks.softirq_base_ns = cpu.softirq_total_ns;
    (tasks.role, tasks.task) = match cpu.seen.role {
        role::REST | role::IDLE => (role::REST, 0),
        role => (role, cpu.seen.task),
    };
    tasks.finished = tasks.begun;
    tasks.role
}

/// Time that others took from what runs now: interrupts, and what ran while the softirq was parked.
#[inline(always)]
pub fn taken_ns(cpu: &CpuState) -> u64 {
    // Volatile: a program that interrupts this one adds to it.
    // SAFETY: a plain field.
    unsafe { core::ptr::read_volatile(&raw const cpu.hardirq_total_ns) }
        .wrapping_add(cpu.softirq.away_ns)
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
