//! sched:sched_switch, sched:sched_wakeup, sched:sched_wakeup_new, as far as kernel threads are concerned.
//!
//! All three fire with the run queue's lock held, so a wake-up is never seen before the switch that put
//! its thread to sleep. Switches between user tasks and idle, which are most, cost two loads and a
//! comparison.

use aya_ebpf::helpers::bpf_ktime_get_ns;
use kctx_common::{
    counters::{KTHREAD, SOFTIRQ},
    pairing::{CpuState, ParkedSoftirq, RunningKthread, RunningSoftirq, Thread, role},
    record::{KthreadWords, flags, head_with, kind},
    spill::SpillKey,
};

use crate::{
    emit::{self, Spilled},
    kernel::{Memory, Task},
    maps::{self, PARKED, THREADS},
    origin,
};

twin!(
    "sched_switch",
    sched_switch,
    sched_switch_raw,
    switch(0: u64, 1: *const u8, 2: *const u8)
);
twin!("sched_wakeup", sched_wakeup, sched_wakeup_raw, wakeup(0: *const u8));
twin!("sched_wakeup_new", sched_wakeup_new, sched_wakeup_new_raw, wakeup(0: *const u8));

#[inline(always)]
fn wakeup<M: Memory>(task: *const u8) {
    if !Task::known() || Task(task).kthread_pid::<M>() == 0 {
        return;
    }
    // SAFETY: no arguments, no memory.
    let now = unsafe { bpf_ktime_get_ns() };
    let key = task as u64;
    if let Some(thread) = THREADS.get_ptr_mut(key) {
        // SAFETY: under the run queue's lock, as all who write it.
        let thread = unsafe { &mut *thread };
        // Runnable already: it was preempted, or is about to sleep and does not. The first counts.
        if thread.runnable_ns == 0 {
            thread.runnable_ns = now;
            thread.preempted = 0;
        }
        return;
    }
    let thread = Thread {
        runnable_ns: now,
        ..Thread::default()
    };
    let _ = THREADS.insert(key, thread, 0);
}

#[inline(always)]
fn switch<M: Memory>(preempt: u64, prev: *const u8, next: *const u8) {
    if !Task::known() {
        return;
    }
    let Some(cpu) = maps::cpu_state() else { return };
    let (prev, next) = (Task(prev), Task(next));
    if cpu.softirq.start_ns != 0 || cpu.softirq_parked != 0 {
        let serving = prev.is_serving_softirq::<M>();
        park_and_unpark(cpu, prev.0 as u64, next.0 as u64, serving);
    }
    let (prev_pid, next_pid) = (prev.kthread_pid::<M>(), next.kthread_pid::<M>());
    // A user task that was switched to as a kernel thread (a usermode helper is one until it executes its
    // program) has an account to close.
    if prev_pid == 0 && next_pid == 0 && cpu.tasks.task == 0 {
        return;
    }
    // SAFETY: no arguments, no memory.
    let now = unsafe { bpf_ktime_get_ns() };
    let (hardirq_ns, softirq_ns) = (cpu.hardirq_total_ns, cpu.softirq_total_ns);
    let since_ns = cpu.tasks.since_ns;
    let gross_ns = now.saturating_sub(since_ns);
    let nested_ns = hardirq_ns
        .wrapping_sub(cpu.tasks.hardirq_base_ns)
        .wrapping_add(softirq_ns.wrapping_sub(cpu.tasks.softirq_base_ns));
    let net_ns = gross_ns - nested_ns.min(gross_ns);
    let prev_role = if prev_pid == 0 {
        role::REST
    } else {
        u64::from(emit::forget(role::of(prev.comm::<M>()) as u16))
    };
    let (next_comm, next_role) = if next_pid == 0 {
        ([0; 2], role::REST)
    } else {
        let comm = next.comm::<M>();
        (comm, u64::from(emit::forget(role::of(comm) as u16)))
    };
    let prev_task = if prev_pid == 0 { 0 } else { prev.0 as u64 };
    let next_task = if next_pid == 0 { 0 } else { next.0 as u64 };
    // Some kernels leave a switch untraced (seen: from idle, on a kernel with a scheduler of its own). What
    // ran then is not known: it is the rest's, since most of the time that is idle.
    let role = if cpu.tasks.task == prev_task {
        prev_role
    } else {
        role::REST
    };
    account(cpu, now, role, next_role, next_task, net_ns);

    if prev_pid != 0 {
        let running = preempt & 0xff != 0 || prev.is_running::<M>();
        let net_ns = if role == prev_role { net_ns } else { 0 };
        let workqueue_id = left(prev.0 as u64, now, running, net_ns);
        let workqueue_id = if prev.is_worker::<M>() {
            workqueue_id
        } else {
            0
        };
        ended(cpu, prev.0 as u64, now, net_ns, workqueue_id);
    }
    if next_pid != 0 {
        let (wait_ns, flags) = arrived(next.0 as u64, now);
        cpu.kthread = RunningKthread {
            task: next.0 as u64,
            start_ns: now,
            wait_ns,
            flags,
            pid: u64::from(next_pid),
            comm: next_comm,
        };
        if next_role == role::NAPI_THREAD && cpu.softirq.start_ns == 0 {
            cpu.softirq.napi_mark_ns = now;
            cpu.softirq.napi_taken_ns = origin::taken_ns(cpu).wrapping_add(softirq_ns);
        }
    } else {
        cpu.kthread.task = 0;
    }
}

/// Brings the account of tasks up to date. Userspace may read at any moment, hence the numbers around it
/// and the order.
#[inline(always)]
fn account(
    cpu: &mut CpuState,
    now: u64,
    prev_role: u64,
    next_role: u64,
    next_task: u64,
    net_ns: u64,
) {
    let (hardirq_ns, softirq_ns) = (cpu.hardirq_total_ns, cpu.softirq_total_ns);
    let tasks = &raw mut cpu.tasks;
    // SAFETY: fields of this CPU's state, which this program alone writes, with interrupts off. Volatile
    // for the order.
    unsafe {
        let update = (*tasks).begun + 1;
        core::ptr::write_volatile(&raw mut (*tasks).begun, update);
        if (*tasks).since_ns != 0 {
            let total = match prev_role {
                role::REST => &raw mut (*tasks).rest_ns,
                role::KSOFTIRQD => &raw mut (*tasks).ksoftirqd_ns,
                _ => &raw mut (*tasks).kthread_ns,
            };
            core::ptr::write_volatile(total, *total + net_ns);
        }
        core::ptr::write_volatile(&raw mut (*tasks).since_ns, now);
        core::ptr::write_volatile(&raw mut (*tasks).hardirq_base_ns, hardirq_ns);
        core::ptr::write_volatile(&raw mut (*tasks).softirq_base_ns, softirq_ns);
        core::ptr::write_volatile(&raw mut (*tasks).role, next_role);
        core::ptr::write_volatile(&raw mut (*tasks).task, next_task);
        core::ptr::write_volatile(&raw mut (*tasks).finished, update);
    }
}

/// A thread leaves its CPU; the workqueue it worked for.
#[inline(always)]
fn left(task: u64, now: u64, running: bool, net_ns: u64) -> u64 {
    let Some(thread) = THREADS.get_ptr_mut(task) else {
        let thread = Thread {
            runnable_ns: if running { now } else { 0 },
            preempted: u64::from(running),
            net_ns,
            ..Thread::default()
        };
        let _ = THREADS.insert(task, thread, 0);
        return 0;
    };
    // SAFETY: under the run queue's lock, as all who write it.
    let thread = unsafe { &mut *thread };
    thread.net_ns += net_ns;
    thread.runnable_ns = if running { now } else { 0 };
    thread.preempted = u64::from(running);
    thread.workqueue_id
}

/// A thread gets a CPU: how long it could have run before, and its record's flags.
#[inline(always)]
fn arrived(task: u64, now: u64) -> (u64, u64) {
    let Some(thread) = THREADS.get_ptr_mut(task) else {
        return (0, 0);
    };
    // SAFETY: under the run queue's lock, as all who write it.
    let thread = unsafe { &mut *thread };
    let since_ns = core::mem::replace(&mut thread.runnable_ns, 0);
    if since_ns == 0 {
        return (0, 0);
    }
    let preempted = if thread.preempted != 0 {
        flags::PREEMPTED
    } else {
        0
    };
    (
        now.saturating_sub(since_ns),
        u64::from(flags::WAIT | preempted),
    )
}

/// A kernel thread's record, where its start was seen.
#[inline(always)]
fn ended(cpu: &mut CpuState, task: u64, now: u64, net_ns: u64, workqueue_id: u64) {
    if !maps::recording() {
        return;
    }
    let run = cpu.kthread;
    let counters = &mut cpu.counters.family[KTHREAD];
    if run.task != task {
        counters.end_without_start += 1;
        return;
    }
    let service_ns = now.saturating_sub(run.start_ns);
    let flags = run.flags as u8;
    let waited = flags & flags::WAIT != 0;
    let record: KthreadWords = [
        head_with(kind::KTHREAD, flags, 0, run.pid as u32),
        now,
        run.wait_ns,
        service_ns,
        net_ns,
        workqueue_id,
        run.comm[0],
        run.comm[1],
    ];
    let longest_ns = run.wait_ns.max(service_ns);
    emit::emit(counters, KTHREAD, longest_ns, &record, || {
        (
            SpillKey {
                family: kind::KTHREAD,
                number: run.pid as u32,
                name_id: run.comm[0],
                function: run.comm[1],
                ..SpillKey::default()
            },
            Spilled {
                wait_ns: if waited { run.wait_ns } else { emit::NONE },
                service_ns,
                third_ns: net_ns,
                fourth_ns: emit::NONE,
            },
        )
    });
}

/// On PREEMPT_RT a task may be preempted in the middle of a softirq, and another may run softirqs meanwhile:
/// the slot goes with the task. A slot of a task that is in no softirq, as elsewhere none is that is switched from,
/// was left behind by one whose end was not seen.
#[inline(never)]
fn park_and_unpark(cpu: &mut CpuState, prev: u64, next: u64, serving: bool) -> u64 {
    let (now, taken_ns) = origin::now_and_taken(cpu);
    let hardirq_ns = cpu.hardirq_total_ns;
    if cpu.softirq.start_ns != 0 && !serving {
        cpu.softirq = RunningSoftirq::default();
        if maps::recording() {
            cpu.counters.family[SOFTIRQ].start_without_end += 1;
        }
    } else if cpu.softirq.start_ns != 0 {
        let mut softirq = cpu.softirq;
        let service_ns = now.saturating_sub(softirq.start_ns);
        let nested_ns = taken_ns.wrapping_sub(softirq.taken_ns).min(service_ns);
        let net_ns = (service_ns - nested_ns).saturating_sub(softirq.flushed_ns);
        cpu.softirq_total_ns += net_ns;
        softirq.flushed_ns += net_ns;
        cpu.softirq = RunningSoftirq::default();
        let parked = ParkedSoftirq {
            softirq,
            parked_ns: now,
            hardirq_ns,
        };
        if PARKED.insert(prev, parked, 0).is_ok() {
            cpu.softirq_parked += 1;
        }
    }
    if cpu.softirq_parked != 0
        && let Some(parked) = PARKED.get_ptr(next)
    {
        // SAFETY: only this task's switches add or remove the element.
        let parked = unsafe { *parked };
        let _ = PARKED.remove(next);
        cpu.softirq_parked -= 1;
        let gross_ns = now.saturating_sub(parked.parked_ns);
        let interrupts_ns = hardirq_ns.wrapping_sub(parked.hardirq_ns).min(gross_ns);
        cpu.softirq = parked.softirq;
        cpu.softirq.away_ns += gross_ns - interrupts_ns;
    }
    0
}
