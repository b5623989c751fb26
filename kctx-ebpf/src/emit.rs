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
    spill::{SpillHistogram, SpillKey, SpillRow},
};

use crate::maps::{RINGS, SPILL, SPILL_EMPTY};

/// The durations of a record, for the spill; [`NONE`] where there is none.
#[derive(Clone, Copy)]
pub struct Spilled {
    pub wait_ns: u64,
    pub service_ns: u64,
    pub third_ns: u64,
}

/// Not measured.
pub const NONE: u64 = u64::MAX;

/// Counts an execution, and streams or spills its record.
#[inline(always)]
pub fn emit<const N: usize>(
    counters: &mut FamilyCounters,
    record: &[u64; N],
    key: impl FnOnce() -> (SpillKey, Spilled),
) {
    counters.observed += 1;
    // SAFETY: no arguments, no memory.
    let cpu = unsafe { bpf_get_smp_processor_id() };
    if let Some(ring) = RINGS.get(cpu) {
        // SAFETY: `ring` is a ring buffer map, and what it gives is writable for the size asked for until
        // it is submitted. Reserving and storing the words is cheaper than `bpf_ringbuf_output`, whose
        // copy of so few bytes takes longer than the call saved. A wake-up would cost a self-IPI and
        // disturb what is measured.
        unsafe {
            let entry: *mut [u64; N] = bpf_ringbuf_reserve(
                core::ptr::from_ref(ring).cast_mut().cast(),
                size_of::<[u64; N]>() as u64,
                0,
            )
            .cast();
            if !entry.is_null() {
                for (i, word) in record.iter().enumerate() {
                    core::ptr::write_volatile(entry.cast::<u64>().add(i), *word);
                }
                bpf_ringbuf_submit(entry.cast(), u64::from(BPF_RB_NO_WAKEUP));
                counters.streamed += 1;
                return;
            }
        }
    }
    let (key, durations) = key();
    spill_or_lose(counters, key, durations);
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

/// Adds a record to its spill row, and counts where it went.
#[inline(always)]
pub fn spill_or_lose(counters: &mut FamilyCounters, mut key: SpillKey, durations: Spilled) {
    if spill(
        &key,
        durations.wait_ns,
        durations.service_ns,
        durations.third_ns,
    ) != 0
    {
        counters.spilled += 1;
        return;
    }
    // The table is full: the family's overflow row, which userspace made at the start, takes it.
    key = SpillKey {
        family: key.family,
        unhandled: key.unhandled,
        overflow: 1,
        ..SpillKey::default()
    };
    if spill(
        &key,
        durations.wait_ns,
        durations.service_ns,
        durations.third_ns,
    ) != 0
    {
        counters.spilled += 1;
    } else {
        counters.lost_no_spill_row += 1;
    }
}

/// Adds one record to its row; 0 when there is no room for the row. Not inlined: it is the cold path,
/// and the hot one stays short.
#[inline(never)]
fn spill(key: &SpillKey, wait_ns: u64, service_ns: u64, third_ns: u64) -> u64 {
    let Some(row) = row(key) else { return 0 };
    // SAFETY: the element lives as long as the program: rows are never removed. It belongs to this
    // CPU, and its key to one family, hence to one program, which does not nest in itself.
    let row = unsafe { &mut *row };
    add(&mut row.wait, wait_ns);
    add(&mut row.service, service_ns);
    add(&mut row.third, third_ns);
    1
}

#[inline(always)]
fn row(key: &SpillKey) -> Option<*mut SpillRow> {
    if let Some(row) = SPILL.get_ptr_mut(key) {
        return Some(row);
    }
    let empty = SPILL_EMPTY.get(0)?;
    let _ = SPILL.insert(key, empty, u64::from(BPF_NOEXIST));
    SPILL.get_ptr_mut(key)
}

#[inline(always)]
fn add(histogram: &mut SpillHistogram, ns: u64) {
    if ns == NONE {
        return;
    }
    histogram.count += 1;
    histogram.sum_ns += ns;
    if ns > histogram.max_ns {
        histogram.max_ns = ns;
    }
    // Without the black box LLVM drops the check, and the verifier then finds the index unbounded.
    let index = core::hint::black_box(bucket::index(ns));
    if let Some(count) = histogram.buckets.get_mut(index) {
        *count = count.wrapping_add(1);
    }
}
