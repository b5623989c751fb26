//! The maps. Sizes given here are templates: userspace sets the real ones when it loads the programs.

use core::sync::atomic::AtomicU64;

use aya_ebpf::{
    btf_maps::{Array, ArrayOfMaps, HashMap, PerCpuArray, PerCpuHashMap, RingBuf},
    macros::btf_map,
};
use kctx_common::{
    pairing::{CpuState, PendingWork, RunningKey, RunningWork},
    record::{Module, NAME_LEN},
    spill::{SpillKey, SpillRow},
};

/// One ring a CPU: a ring that all CPUs share costs 15 µs an event at 52 producers. The inner size is
/// a template too; the kernel takes rings of any size here (`ringbuf_map_meta_equal` does not look).
#[btf_map]
pub static RINGS: ArrayOfMaps<RingBuf<u64, 4096>, 1> = ArrayOfMaps::new();

/// Module events, apart from the rings so that a flood in those cannot push them out.
#[btf_map]
pub static RARE: RingBuf<Module, 65536> = RingBuf::new();

/// Pairing state and counters.
#[btf_map]
pub static CPU: PerCpuArray<CpuState, 1> = PerCpuArray::new();

/// Not 0 while a window is open: ends seen while it is 0 are paired but neither counted nor emitted. A
/// variable, in the map of the object's .bss, of which it is all: programs load it without a look-up.
#[unsafe(no_mangle)]
static GATE: AtomicU64 = AtomicU64::new(0);

/// Where records go whose ring is full.
#[btf_map]
pub static SPILL: PerCpuHashMap<SpillKey, SpillRow, 128> = PerCpuHashMap::new();

/// An empty spill row: larger than the stack, so new rows are copied from here.
#[btf_map]
pub static SPILL_EMPTY: Array<SpillRow, 1> = Array::new();

/// Interned names.
#[btf_map]
pub static NAMES: HashMap<u64, [u64; NAME_LEN / 8], 4096> = HashMap::new();

/// Works that were queued and have not started.
#[btf_map]
pub static PENDING: HashMap<u64, PendingWork, 16384> = HashMap::new();

/// Works that run.
#[btf_map]
pub static RUNNING: HashMap<RunningKey, RunningWork, 8192> = HashMap::new();

/// This CPU's state.
#[inline(always)]
pub fn cpu_state() -> Option<&'static mut CpuState> {
    let state = CPU.get_ptr_mut(0)?;
    // SAFETY: the map's element lives as long as the program, belongs to this CPU, and no other
    // reference to it is alive in this program. Programs that interrupt this one write other fields.
    Some(unsafe { &mut *state })
}

/// Whether a window is open.
#[inline(always)]
pub fn recording() -> bool {
    // SAFETY: the variable lives as long as the program. Userspace writes it through the map, which the
    // compiler cannot know, hence the volatile read.
    unsafe { core::ptr::read_volatile(GATE.as_ptr()) != 0 }
}
