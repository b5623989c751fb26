//! workqueue:workqueue_queue_work, workqueue_activate_work, workqueue_execute_start,
//! workqueue_execute_end.
//!
//! Queueing pairs with the start by the work's address, whatever the CPUs. The queueing is taken at the
//! start, so that a work queued again while it runs waits for its next run.

use aya_ebpf::{
    helpers::{bpf_get_current_task, bpf_get_smp_processor_id, bpf_ktime_get_ns},
    macros::{btf_tracepoint, raw_tracepoint},
    programs::{BtfTracePointContext, RawTracePointContext},
};
use kctx_common::{
    counters::WORKQUEUE,
    pairing::{CpuState, PendingWork, Queueing, RunningKey, RunningWork, role},
    record::{WorkWords, flags, head_with, kind},
    spill::SpillKey,
};

use crate::{
    emit::{self, Spilled},
    kernel::{self, Memory, PoolWorkqueue},
    maps::{self, PENDING, RUNNING, THREADS},
    names, origin,
};

twin!(
    "workqueue_queue_work",
    workqueue_queue_work,
    workqueue_queue_work_raw,
    queue(1: *const u8, 2: u64)
);
twin!(
    "workqueue_activate_work",
    workqueue_activate_work,
    workqueue_activate_work_raw,
    activate(0: u64)
);
twin!(
    "workqueue_execute_start",
    workqueue_execute_start,
    workqueue_execute_start_raw,
    execute_start(0: *const u8)
);
/// A `tp_btf` program may not load the second argument: its type is a function's
/// (`btf_ctx_access`, kernel/bpf/btf.c). The start has read the function from the work.
#[btf_tracepoint(function = "workqueue_execute_end")]
pub fn workqueue_execute_end(ctx: BtfTracePointContext) -> i32 {
    execute_end(ctx.arg(0), None);
    0
}

/// A `raw_tp` program may, and does not need to know where the work keeps it.
#[raw_tracepoint(tracepoint = "workqueue_execute_end")]
pub fn workqueue_execute_end_raw(ctx: RawTracePointContext) -> i32 {
    execute_end(ctx.arg(0), Some(ctx.arg(1)));
    0
}

#[inline(always)]
fn queue<M: Memory>(pwq: *const u8, work: u64) {
    let Some(cpu) = maps::cpu_state() else { return };
    // SAFETY: neither takes arguments or touches memory.
    let (now, this_cpu) = unsafe { (bpf_ktime_get_ns(), bpf_get_smp_processor_id()) };
    let queued_by = origin::here(cpu, now);
    let counters = &mut cpu.counters.family[WORKQUEUE];
    let queueing = Queueing {
        queue_ns: now,
        activate_ns: 0,
        workqueue_id: names::workqueue::<M>(PoolWorkqueue(pwq)),
        cpu: u64::from(this_cpu),
        queued_by,
    };
    if let Some(pending) = PENDING.get_ptr_mut(work) {
        // SAFETY: under the pool's lock; a start that comes meanwhile on another CPU is of an earlier
        // queueing, and takes that out.
        let pending = unsafe { &mut *pending };
        if pending.second.queue_ns != 0 {
            if pending.first.queue_ns != 0 {
                // Two were pending, of which one at most can start yet: the first never ran.
                counters.cancelled += 1;
            }
            pending.first = pending.second;
            pending.second = queueing;
        } else if pending.first.queue_ns != 0 {
            pending.second = queueing;
        } else {
            pending.first = queueing;
        }
        return;
    }
    let pending = PendingWork {
        first: queueing,
        second: Queueing::default(),
    };
    if PENDING.insert(work, pending, 0).is_err() {
        counters.pending_table_full += 1;
    }
}

#[inline(always)]
fn activate<M: Memory>(work: u64) {
    if let Some(pending) = PENDING.get_ptr_mut(work) {
        // SAFETY: as in `queue`: under the pool's lock, before the start can be.
        let pending = unsafe { &mut *pending };
        let latest = if pending.second.queue_ns != 0 {
            &mut pending.second
        } else {
            &mut pending.first
        };
        if latest.activate_ns == 0 {
            // SAFETY: no arguments, no memory.
            latest.activate_ns = unsafe { bpf_ktime_get_ns() };
        }
    }
}

/// The queueing that led to the start at hand, taken out of the table. Of two it is the first, if the work is
/// pending again by now; else the first was cancelled.
#[inline(always)]
fn take_queueing(work: u64, is_pending: bool, cancelled: &mut u64) -> Option<Queueing> {
    let pending = PENDING.get_ptr_mut(work)?;
    // SAFETY: removed only here and by userspace's sweep of stale ones.
    let pending = unsafe { &mut *pending };
    let (first, second) = (pending.first, pending.second);
    if is_pending {
        // The entry stays: whoever queued it again may be about to write to it.
        if first.queue_ns != 0 {
            pending.first.queue_ns = 0;
            return Some(first);
        }
        pending.second.queue_ns = 0;
        return (second.queue_ns != 0).then_some(second);
    }
    let _ = PENDING.remove(work);
    if second.queue_ns != 0 {
        *cancelled += u64::from(first.queue_ns != 0);
        return Some(second);
    }
    (first.queue_ns != 0).then_some(first)
}

/// Nothing is known of the thread that runs the work: its net time is not measured.
const NO_BASE: u64 = u64::MAX;

#[inline(always)]
fn execute_start<M: Memory>(work: *const u8) {
    let Some(cpu) = maps::cpu_state() else { return };
    let (now, taken_ns) = origin::now_and_taken(cpu);
    // SAFETY: neither takes arguments or touches memory.
    let (this_cpu, task) = unsafe { (bpf_get_smp_processor_id(), bpf_get_current_task()) };
    let mut running = RunningWork {
        start_ns: now,
        wait_ns: emit::NONE,
        activate_ns: emit::NONE,
        workqueue_id: 0,
        function: kernel::work_function::<M>(work),
        flags: 0,
        queued_by: 0,
        net_base_ns: NO_BASE,
    };
    let is_pending = kernel::work_is_pending::<M>(work);
    let work = work as u64;
    let cancelled = &mut cpu.counters.family[WORKQUEUE].cancelled;
    if let Some(queueing) = take_queueing(work, is_pending, cancelled) {
        running.wait_ns = now.saturating_sub(queueing.queue_ns);
        running.workqueue_id = queueing.workqueue_id;
        running.queued_by = queueing.queued_by;
        running.flags = u64::from(flags::WAIT);
        if queueing.activate_ns != 0 {
            running.activate_ns = queueing.activate_ns.saturating_sub(queueing.queue_ns);
            running.flags |= u64::from(flags::ACTIVATE);
        }
        if queueing.cpu != u64::from(this_cpu) {
            running.flags |= u64::from(flags::REMOTE);
        }
    }
    if cpu.softirq.start_ns != 0 {
        // A kworker does not start works while a softirq runs on top of it: this one is a BH work.
        running.flags |= u64::from(flags::BH);
        running.net_base_ns = taken_ns;
    } else if let Some(thread) = THREADS.get_ptr_mut(task) {
        // SAFETY: the thread that runs this program; its switches write it, and do so with this CPU.
        let thread = unsafe { &mut *thread };
        thread.workqueue_id = running.workqueue_id;
        running.net_base_ns = thread_net_ns(cpu, thread.net_ns, now);
        if thread.work != 0 && thread.work != work {
            // A kworker runs one after the other: the end of that one was not seen.
            let unended = RunningKey {
                task,
                work: thread.work,
            };
            if RUNNING.remove(unended).is_ok() && maps::recording() {
                cpu.counters.family[WORKQUEUE].start_without_end += 1;
            }
        }
        thread.work = work;
    }
    if RUNNING
        .insert(RunningKey { task, work }, running, 0)
        .is_err()
    {
        cpu.counters.family[WORKQUEUE].running_table_full += 1;
    }
}

/// Net time of the thread that runs now: what its switches added up, and what came since the last;
/// [`NO_BASE`] where switches are not followed.
#[inline(always)]
fn thread_net_ns(cpu: &CpuState, switched_ns: u64, now: u64) -> u64 {
    if cpu.tasks.role <= role::REST {
        return NO_BASE;
    }
    let tasks = &cpu.tasks;
    let gross_ns = now.saturating_sub(tasks.since_ns);
    let nested_ns = cpu
        .hardirq_total_ns
        .wrapping_sub(tasks.hardirq_base_ns)
        .wrapping_add(cpu.softirq_total_ns.wrapping_sub(tasks.softirq_base_ns));
    switched_ns.wrapping_add(gross_ns - nested_ns.min(gross_ns))
}

#[inline(always)]
fn execute_end(work: u64, function: Option<u64>) {
    let Some(cpu) = maps::cpu_state() else { return };
    let (now, taken_ns) = origin::now_and_taken(cpu);
    // SAFETY: no arguments, no memory.
    let task = unsafe { bpf_get_current_task() };
    let key = RunningKey { task, work };
    let running = match RUNNING.get_ptr(key) {
        // SAFETY: only this task adds or removes the element.
        Some(running) => Some(unsafe { *running }),
        None => None,
    };
    if running.is_some() {
        let _ = RUNNING.remove(key);
    }
    if !maps::recording() {
        return;
    }
    let Some(running) = running else {
        cpu.counters.family[WORKQUEUE].end_without_start += 1;
        return;
    };
    let function = function.unwrap_or(running.function);
    let service_ns = now.saturating_sub(running.start_ns);
    let mut flags = running.flags as u8;
    let mut net_ns = 0;
    if running.net_base_ns != NO_BASE {
        if flags & flags::BH != 0 {
            flags |= flags::NET;
            net_ns = service_ns - taken_ns.wrapping_sub(running.net_base_ns).min(service_ns);
        } else if let Some(thread) = THREADS.get_ptr(task) {
            // SAFETY: as in `execute_start`.
            let total_ns = thread_net_ns(cpu, unsafe { (*thread).net_ns }, now);
            // Not where the thread was forgotten meanwhile, and begun anew.
            if total_ns != NO_BASE && total_ns >= running.net_base_ns {
                flags |= flags::NET;
                net_ns = total_ns.wrapping_sub(running.net_base_ns).min(service_ns);
            }
        }
    }
    let activate_ns = if flags & flags::ACTIVATE != 0 {
        running.activate_ns
    } else {
        0
    };
    let wait_ns = if flags & flags::WAIT != 0 {
        running.wait_ns
    } else {
        0
    };
    let record: WorkWords = [
        head_with(
            kind::WORK,
            flags,
            (running.queued_by >> 32) as u8,
            running.queued_by as u32,
        ),
        now,
        wait_ns,
        activate_ns,
        service_ns,
        net_ns,
        function,
        running.workqueue_id,
    ];
    emit::emit(
        &mut cpu.counters.family[WORKQUEUE],
        WORKQUEUE,
        wait_ns.max(service_ns),
        &record,
        || {
            (
                SpillKey {
                    family: kind::WORK,
                    name_id: running.workqueue_id,
                    function,
                    ..SpillKey::default()
                },
                Spilled {
                    wait_ns: running.wait_ns,
                    service_ns,
                    third_ns: running.activate_ns,
                    fourth_ns: if flags & flags::NET != 0 {
                        net_ns
                    } else {
                        emit::NONE
                    },
                },
            )
        },
    );
}
