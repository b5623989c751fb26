//! irq:softirq_raise, irq:softirq_entry, irq:softirq_exit.
//!
//! Keyed by CPU and vector: a softirq is raised on the CPU that will run it, and one runs on a CPU at a
//! time. (On PREEMPT_RT its task may be preempted by another that runs softirqs too: the switch parks it,
//! see `kthread.rs`.) The wait counts from the first raise since the last entry, and that raise says what
//! raised it; both are taken at entry, so that a raise during the run belongs to the next.

use aya_ebpf::helpers::bpf_ktime_get_ns;
use kctx_common::{
    counters::SOFTIRQ,
    pairing::{CpuState, NO_WAIT, STAGED, STAGED_NS, role},
    record::{
        NET_RX, SoftirqLongWords, SoftirqWords, context_of, flags, head_full, kind, origin_of,
        pair, place,
    },
    spill::{OriginKey, SpillKey},
};

use crate::{
    emit::{self, Spilled},
    kernel::{self, Memory},
    maps::{self, SPILLED_ORIGINS},
    origin,
    probes::{cpuhp, hardirq},
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
    match cpu.softirq_raised_ns.get(vector) {
        Some(0) => {}
        _ => return,
    }
    // SAFETY: no arguments, no memory.
    let now = unsafe { bpf_ktime_get_ns() };
    let by = origin::here(cpu, now);
    if let Some(raised_by) = cpu.softirq_raised_by.get_mut(vector) {
        *raised_by = by;
    }
    if let Some(raised) = cpu.softirq_raised_ns.get_mut(vector) {
        *raised = now;
    }
}

/// No CPU comes back sooner. A shorter wait need not be looked at.
const AWAY_NS: u64 = 10_000_000;

#[inline(always)]
fn entry<M: Memory>(vector: u32) {
    if !kernel::wanted(vector) {
        return;
    }
    let Some(cpu) = maps::cpu_state() else { return };
    hardirq::none_runs(cpu);
    cpu.softirq.away_ns = 0;
    let (now, taken_ns) = origin::now_and_taken(cpu);
    let index = core::hint::black_box(vector as usize);
    let Some(raised) = cpu.softirq_raised_ns.get_mut(index) else {
        return;
    };
    let mut raised_ns = core::mem::replace(raised, 0);
    if raised_ns != 0
        && now.saturating_sub(raised_ns) > AWAY_NS
        && cpuhp::has_stepped_since(raised_ns) != 0
    {
        raised_ns = 0;
    }
    let (wait_ns, raised_by) = match cpu.softirq_raised_by.get(index) {
        Some(by) if raised_ns != 0 => (now.saturating_sub(raised_ns), *by),
        _ => (NO_WAIT, 0),
    };
    if cpu.softirq.start_ns != 0 && maps::recording() {
        cpu.counters.family[SOFTIRQ].start_without_end += 1;
    }
    let context = u64::from(origin::place(cpu, now, raised_by, raised_ns));
    if vector == u32::from(NET_RX) {
        cpu.softirq.napi_mark_ns = now;
        cpu.softirq.napi_taken_ns = taken_ns;
    }
    cpu.softirq.wait_ns = wait_ns;
    cpu.softirq.taken_ns = taken_ns;
    cpu.softirq.vector = u64::from(vector);
    cpu.softirq.context = context;
    cpu.softirq.raised_by = raised_by;
    cpu.softirq.flushed_ns = 0;
    cpu.softirq.start_ns = now;
}

#[inline(always)]
fn exit<M: Memory>(vector: u32) {
    if !kernel::wanted(vector) {
        return;
    }
    let Some(cpu) = maps::cpu_state() else { return };
    let (now, taken_ns) = origin::now_and_taken(cpu);
    let start_ns = core::mem::replace(&mut cpu.softirq.start_ns, 0);
    cpu.softirq_exit_ns = now;
    let paired = start_ns != 0 && cpu.softirq.vector == u64::from(vector);
    let service_ns = now.saturating_sub(start_ns);
    let nested_ns = taken_ns.wrapping_sub(cpu.softirq.taken_ns).min(service_ns);
    if paired {
        let net_ns = service_ns - nested_ns;
        cpu.softirq_total_ns += net_ns.saturating_sub(cpu.softirq.flushed_ns);
    } else if let Some(raised) = cpu
        .softirq_raised_ns
        .get_mut(core::hint::black_box(vector as usize))
    {
        // Whatever is pending now came during a run whose beginning was not seen, or before it.
        *raised = 0;
    }
    cpu.softirq.away_ns = 0;
    if vector == u32::from(NET_RX) && cpu.tasks.role == role::NAPI_THREAD {
        // It ran on top of the thread, whose next poll begins now.
        cpu.softirq.napi_mark_ns = now;
        cpu.softirq.napi_taken_ns = origin::taken_ns(cpu).wrapping_add(cpu.softirq_total_ns);
    }
    if !maps::recording() {
        return;
    }
    if !paired {
        cpu.counters.family[SOFTIRQ].end_without_start += 1;
        return;
    }
    let run = cpu.softirq;
    let known = run.wait_ns != NO_WAIT;
    let wait_ns = if known { run.wait_ns } else { 0 };
    let flags = if known { flags::WAIT } else { 0 };
    let place = place(run.context as u8, (run.raised_by >> 32) as u8);
    let origin = run.raised_by as u32;
    let long = (wait_ns | service_ns) >> 32 != 0
        || maps::governed(SOFTIRQ) && wait_ns.max(service_ns) >= kernel::outlier_ns();
    let streamed = if long {
        stream_long(
            cpu,
            [
                head_full(kind::SOFTIRQ_LONG, vector as u8, flags, place, origin),
                now,
                wait_ns,
                service_ns,
                nested_ns,
            ],
        )
    } else {
        let record = [
            head_full(kind::SOFTIRQ, vector as u8, flags, place, nested_ns as u32),
            now,
            pair(wait_ns as u32, service_ns as u32),
            u64::from(origin),
        ];
        stage(cpu, record, now)
    };
    if !streamed {
        let wait_ns = if known { wait_ns } else { emit::NONE };
        spill(
            cpu,
            vector as u8,
            place,
            origin,
            wait_ns,
            service_ns,
            nested_ns,
        );
    }
}

/// A record of its own in the ring; false where it has no room.
#[inline(always)]
fn stream_long(cpu: &mut CpuState, record: SoftirqLongWords) -> bool {
    let counters = &mut cpu.counters.family[SOFTIRQ];
    counters.observed += 1;
    let streamed = emit::reserve(&record);
    counters.streamed += u64::from(streamed);
    streamed
}

/// Into its row, and its origin's count with it.
#[inline(always)]
fn spill(
    cpu: &mut CpuState,
    vector: u8,
    place: u8,
    origin: u32,
    wait_ns: u64,
    service_ns: u64,
    nested_ns: u64,
) {
    let key = SpillKey {
        family: kind::SOFTIRQ,
        context: context_of(place),
        number: u32::from(vector),
        ..SpillKey::default()
    };
    let durations = Spilled {
        wait_ns,
        service_ns,
        third_ns: service_ns.wrapping_sub(nested_ns),
        fourth_ns: emit::NONE,
    };
    let counters = &mut cpu.counters.family[SOFTIRQ];
    if emit::spill(&key, &durations) == 0 {
        counters.lost_no_spill_row += 1;
        return;
    }
    counters.spilled += 1;
    let mut origin = OriginKey {
        vector,
        kind: origin_of(place),
        number: origin,
        ..OriginKey::default()
    };
    if count_origin(&origin) == 0 {
        origin = OriginKey {
            vector,
            ..OriginKey::default()
        };
        count_origin(&origin);
    }
}

/// 0 when there is no room for another.
#[inline(never)]
fn count_origin(origin: &OriginKey) -> u64 {
    if let Some(count) = SPILLED_ORIGINS.get_ptr_mut(origin) {
        // SAFETY: this CPU's element, written by the softirq exit program alone.
        unsafe { *count += 1 };
        return 1;
    }
    u64::from(SPILLED_ORIGINS.insert(origin, 1, 0).is_ok())
}

/// Puts a record with those that wait for the ring, and all of them there when they are enough or have
/// waited long enough. Where they find no room the others go on waiting, and this one is to be spilled: false. So it is
/// where the governor keeps softirqs from the ring. Only this program touches them, and it does not nest in itself; what
/// is left when a window closes userspace takes from here.
#[inline(always)]
fn stage(cpu: &mut CpuState, record: SoftirqWords, now: u64) -> bool {
    let governed = maps::governed(SOFTIRQ);
    cpu.counters.family[SOFTIRQ].observed += 1;
    if governed && cpu.staged == 0 {
        cpu.counters.family[SOFTIRQ].governed += 1;
        return false;
    }
    let slot = core::hint::black_box(cpu.staged as usize);
    let Some(place) = cpu.stage.get_mut(slot) else {
        // Not possible: a full stage is emptied, or loses its last.
        cpu.staged = 0;
        return false;
    };
    *place = record;
    if slot == 0 {
        cpu.staged_ns = now;
    }
    cpu.staged = slot as u64 + 1;
    if !governed && slot + 1 < STAGED && now.wrapping_sub(cpu.staged_ns) < STAGED_NS {
        return true;
    }
    let count = slot as u64 + 1;
    if emit::stream(
        cpu.stage.as_ptr().cast(),
        count * size_of::<SoftirqWords>() as u64,
    ) {
        cpu.staged = 0;
        cpu.counters.family[SOFTIRQ].streamed += count;
        return true;
    }
    cpu.staged = slot as u64;
    false
}
