//! workqueue:workqueue_queue_work, workqueue_activate_work, workqueue_execute_start,
//! workqueue_execute_end.
//!
//! Queueing pairs with the start by the work's address, whatever the CPUs. The pending entry is taken at
//! the start, so that a work queued again while it runs waits for its next run.

use aya_ebpf::{
    helpers::{bpf_get_current_task, bpf_get_smp_processor_id, bpf_ktime_get_ns},
    macros::{btf_tracepoint, raw_tracepoint},
    programs::{BtfTracePointContext, RawTracePointContext},
};
use kctx_common::{
    counters::WORKQUEUE,
    pairing::{PendingWork, RunningKey, RunningWork},
    record::{WorkWords, flags, head, kind},
    spill::SpillKey,
};

use crate::{
    emit::{self, Spilled},
    kernel::{self, Memory, PoolWorkqueue},
    maps::{self, PENDING, RUNNING},
    names,
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
    let counters = &mut cpu.counters.family[WORKQUEUE];
    // SAFETY: neither takes arguments or touches memory.
    let (now, this_cpu) = unsafe { (bpf_ktime_get_ns(), bpf_get_smp_processor_id()) };
    let pending = PendingWork {
        queue_ns: now,
        activate_ns: 0,
        workqueue_id: names::workqueue::<M>(PoolWorkqueue(pwq)),
        cpu: u64::from(this_cpu),
    };
    if let Some(stale) = PENDING.get_ptr_mut(work) {
        // Queueing is only traced when the work was not pending, so what is left here never ran.
        counters.cancelled += 1;
        // SAFETY: the element may be taken by a start on another CPU only after this queueing, which
        // holds the pool's lock.
        unsafe { *stale = pending };
        return;
    }
    if PENDING.insert(work, pending, 0).is_err() {
        counters.pending_table_full += 1;
    }
}

#[inline(always)]
fn activate<M: Memory>(work: u64) {
    if let Some(pending) = PENDING.get_ptr_mut(work) {
        // SAFETY: as in `queue`: under the pool's lock, before the start can be.
        unsafe {
            if (*pending).activate_ns == 0 {
                (*pending).activate_ns = bpf_ktime_get_ns();
            }
        }
    }
}

#[inline(always)]
fn execute_start<M: Memory>(work: *const u8) {
    let Some(cpu) = maps::cpu_state() else { return };
    // SAFETY: none takes arguments or touches memory.
    let (now, this_cpu, task) = unsafe {
        (
            bpf_ktime_get_ns(),
            bpf_get_smp_processor_id(),
            bpf_get_current_task(),
        )
    };
    let mut running = RunningWork {
        start_ns: now,
        wait_ns: emit::NONE,
        activate_ns: emit::NONE,
        workqueue_id: 0,
        function: kernel::work_function::<M>(work),
        flags: 0,
    };
    let work = work as u64;
    if let Some(pending) = PENDING.get_ptr(work) {
        // SAFETY: the element is removed only here and by userspace's sweep of stale ones.
        let pending = unsafe { *pending };
        running.wait_ns = now.saturating_sub(pending.queue_ns);
        running.workqueue_id = pending.workqueue_id;
        running.flags = u64::from(flags::WAIT);
        if pending.activate_ns != 0 {
            running.activate_ns = pending.activate_ns.saturating_sub(pending.queue_ns);
            running.flags |= u64::from(flags::ACTIVATE);
        }
        if pending.cpu != u64::from(this_cpu) {
            running.flags |= u64::from(flags::REMOTE);
        }
        let _ = PENDING.remove(work);
    }
    if RUNNING
        .insert(RunningKey { task, work }, running, 0)
        .is_err()
    {
        cpu.counters.family[WORKQUEUE].running_table_full += 1;
    }
}

#[inline(always)]
fn execute_end(work: u64, function: Option<u64>) {
    let Some(cpu) = maps::cpu_state() else { return };
    // SAFETY: neither takes arguments or touches memory.
    let (now, task) = unsafe { (bpf_ktime_get_ns(), bpf_get_current_task()) };
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
    let counters = &mut cpu.counters.family[WORKQUEUE];
    let Some(running) = running else {
        counters.end_without_start += 1;
        return;
    };
    let function = function.unwrap_or(running.function);
    let service_ns = now.saturating_sub(running.start_ns);
    let flags = running.flags as u8;
    let record: WorkWords = [
        head(kind::WORK, flags, 0),
        now,
        if flags & flags::WAIT != 0 {
            running.wait_ns
        } else {
            0
        },
        if flags & flags::ACTIVATE != 0 {
            running.activate_ns
        } else {
            0
        },
        service_ns,
        function,
        running.workqueue_id,
    ];
    emit::emit(counters, &record, || {
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
            },
        )
    });
}
