//! Out of the kernel: this CPU's ring, or when that is full this CPU's spill.

use aya_ebpf::{
    bindings::{BPF_NOEXIST, BPF_RB_NO_WAKEUP},
    helpers::{
        bpf_get_smp_processor_id, bpf_ringbuf_output, bpf_ringbuf_reserve, bpf_ringbuf_submit,
    },
};
use kctx_common::{
    bucket,
    counters::FamilyCounters,
    record::kind,
    spill::{SpillHistogram, SpillKey, SpillRow},
};

use crate::{
    kernel,
    maps::{self, RINGS, SPILL, SPILL_EMPTY},
};

/// The durations of a record, for the spill; [`NONE`] where there is none.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Spilled {
    pub wait_ns: u64,
    pub service_ns: u64,
    pub third_ns: u64,
    pub fourth_ns: u64,
}

/// Not measured.
pub const NONE: u64 = u64::MAX;

/// Counts an execution of a family, and streams or spills its record. `longest_ns` is the duration by which
/// the governor knows an outlier.
#[inline(always)]
pub fn emit<const N: usize>(
    counters: &mut FamilyCounters,
    family: usize,
    longest_ns: u64,
    record: &[u64; N],
    spilled: impl FnOnce() -> (SpillKey, Spilled),
) {
    counters.observed += 1;
    if maps::governed(family) && longest_ns < kernel::outlier_ns() {
        counters.governed += 1;
    } else if reserve(record) {
        counters.streamed += 1;
        return;
    }
    let (key, durations) = spilled();
    if spill(&key, &durations) == 0 {
        counters.lost_no_spill_row += 1;
    } else {
        counters.spilled += 1;
    }
}

/// Puts a record into this CPU's ring; false where there is no room.
#[inline(always)]
pub fn reserve<const N: usize>(record: &[u64; N]) -> bool {
    // SAFETY: no arguments, no memory.
    let cpu = unsafe { bpf_get_smp_processor_id() };
    let Some(ring) = RINGS.get(cpu) else {
        return false;
    };
    // SAFETY: `ring` is a ring buffer map, and what it gives is writable for the size asked for until it is
    // submitted. Reserving and storing the words is cheaper than `bpf_ringbuf_output`, whose copy of so
    // few bytes takes longer than the call saved. A wake-up would cost a self-IPI and disturb what is
    // measured.
    unsafe {
        let entry: *mut [u64; N] = bpf_ringbuf_reserve(
            core::ptr::from_ref(ring).cast_mut().cast(),
            size_of::<[u64; N]>() as u64,
            0,
        )
        .cast();
        if entry.is_null() {
            return false;
        }
        for (i, word) in record.iter().enumerate() {
            core::ptr::write_volatile(entry.cast::<u64>().add(i), *word);
        }
        bpf_ringbuf_submit(entry.cast(), u64::from(BPF_RB_NO_WAKEUP));
    }
    true
}

/// Copies whole records into this CPU's ring; false where it has no room for them.
#[inline(always)]
pub fn stream(records: *const u8, bytes: u64) -> bool {
    // SAFETY: no arguments, no memory.
    let cpu = unsafe { bpf_get_smp_processor_id() };
    let Some(ring) = RINGS.get(cpu) else {
        return false;
    };
    // SAFETY: `ring` is a ring buffer map; the verifier checks the records' memory and the bound on its size.
    let result = unsafe {
        bpf_ringbuf_output(
            core::ptr::from_ref(ring).cast_mut().cast(),
            records.cast_mut().cast(),
            bytes,
            u64::from(BPF_RB_NO_WAKEUP),
        )
    };
    result == 0
}

/// Adds one record to its row, or where there is no room for that to the one that was made for it at the start; 0 when
/// there is neither. Not inlined: it is the cold path, and the hot one stays short.
#[inline(never)]
pub fn spill(key: &SpillKey, durations: &Spilled) -> u64 {
    let mut row = row(key);
    if row.is_null() {
        row = overflow_row(key);
    }
    if row.is_null() {
        return 0;
    }
    // SAFETY: the element lives as long as the program: rows are never removed. It belongs to this
    // CPU, and its key to one family, hence to one program, which does not nest in itself.
    let row = unsafe { &mut *row };
    add(&mut row.wait, durations.wait_ns);
    add(&mut row.service, durations.service_ns);
    add(&mut row.third, durations.third_ns);
    add(&mut row.fourth, durations.fourth_ns);
    1
}

/// Its row, made where there is room for one; null where there is none.
#[inline(always)]
fn row(key: &SpillKey) -> *mut SpillRow {
    if let Some(row) = SPILL.get_ptr_mut(key) {
        return row;
    }
    let Some(empty) = SPILL_EMPTY.get(0) else {
        return core::ptr::null_mut();
    };
    let _ = SPILL.insert(key, empty, u64::from(BPF_NOEXIST));
    SPILL.get_ptr_mut(key).unwrap_or(core::ptr::null_mut())
}

/// The row that userspace made at the start for what finds no room: a vector's without a context, a family's with
/// `overflow`.
#[inline(always)]
fn overflow_row(key: &SpillKey) -> *mut SpillRow {
    let softirq = key.family == kind::SOFTIRQ;
    let key = SpillKey {
        family: key.family,
        unhandled: key.unhandled,
        overflow: u8::from(!softirq),
        number: if softirq { key.number } else { 0 },
        ..SpillKey::default()
    };
    SPILL.get_ptr_mut(&key).unwrap_or(core::ptr::null_mut())
}

/// Not inlined: a row has four, and the verifier looks at each copy.
#[inline(never)]
fn add(histogram: &mut SpillHistogram, ns: u64) {
    if ns == NONE {
        return;
    }
    histogram.count += 1;
    histogram.sum_ns += ns;
    if ns > histogram.max_ns {
        histogram.max_ns = ns;
    }
    let index = forget(bucket::index(ns) as u16);
    if let Some(count) = histogram.buckets.get_mut(usize::from(index)) {
        *count = count.wrapping_add(1);
    }
}

/// The same number, of which neither LLVM nor the verifier knows where it came from: written in parts, it is just some
/// number when it is read. LLVM would drop a check of its bound, which the verifier wants; and the verifier would
/// follow each way to each value by itself, which is what loading takes most of its time for.
#[inline(always)]
pub fn forget(number: u16) -> u16 {
    let mut memory = 0_u16;
    let at = (&raw mut memory).cast::<u8>();
    // SAFETY: two bytes that are ours.
    unsafe {
        at.write_volatile(number as u8);
        at.add(1).write_volatile((number >> 8) as u8);
        (&raw const memory).read_volatile()
    }
}
