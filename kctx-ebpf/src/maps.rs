//! The maps. Sizes given here are templates: userspace sets the real ones when it loads the programs.

use core::sync::atomic::AtomicU64;

use aya_ebpf::{
    btf_maps::{
        Array, ArrayOfMaps, HashMap, LruHashMap, PerCpuArray, PerCpuHashMap, RingBuf, StackTrace,
    },
    macros::btf_map,
};
use kctx_common::{
    globals::gate,
    pairing::{CpuState, ParkedSoftirq, PendingWork, RunningKey, RunningWork, Thread},
    record::{Module, NAME_LEN},
    spill::{OriginKey, SpillKey, SpillRow},
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

/// [`gate`]'s bits. Ends seen while no window is open are paired but neither counted nor emitted. A variable,
/// in the map of the object's .bss, of which it is all: programs load it without a look-up.
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

/// Kernel threads that were seen. The least recently used make room: their next wait is not known then.
#[btf_map]
pub static THREADS: LruHashMap<u64, Thread, 8192> = LruHashMap::new();

/// When any CPU last took a step on a CPU's way up or down, by the number of the CPU whose way it is.
#[btf_map]
pub static CPU_STEPS: Array<u64, 1> = Array::new();

/// Softirqs whose task was preempted in their middle, by task (PREEMPT_RT only).
#[btf_map]
pub static PARKED: HashMap<u64, ParkedSoftirq, 4096> = HashMap::new();

/// The comm of processes that raised or queued something.
#[btf_map]
pub static COMMS: LruHashMap<u32, [u64; 2], 4096> = LruHashMap::new();

/// How often a softirq that was spilled had been raised by what.
#[btf_map]
pub static SPILLED_ORIGINS: PerCpuHashMap<OriginKey, u64, 512> = PerCpuHashMap::new();

/// Kernel stacks that were sampled.
#[btf_map]
pub static STACKS: StackTrace<4096> = StackTrace::new();

/// How often each was seen in which context: the context in the key's high half, the stack's id in its low.
#[btf_map]
pub static STACK_COUNTS: PerCpuHashMap<u64, u64, 4096> = PerCpuHashMap::new();

/// This CPU's state.
#[inline(always)]
pub fn cpu_state() -> Option<&'static mut CpuState> {
    let state = CPU.get_ptr_mut(0)?;
    // SAFETY: the map's element lives as long as the program, belongs to this CPU, and no other
    // reference to it is alive in this program. Programs that interrupt this one write other fields.
    Some(unsafe { &mut *state })
}

#[inline(always)]
fn gate() -> u64 {
    // SAFETY: the variable lives as long as the program. Userspace writes it through the map, which the
    // compiler cannot know, hence the volatile read.
    unsafe { core::ptr::read_volatile(GATE.as_ptr()) }
}

/// Whether a window is open.
#[inline(always)]
pub fn recording() -> bool {
    gate() & gate::OPEN != 0
}

/// Whether switches between tasks are followed.
#[inline(always)]
pub fn switches() -> bool {
    gate() & gate::SWITCHES != 0
}

/// Whether the governor keeps a family from the rings.
#[inline(always)]
pub fn governed(family: usize) -> bool {
    gate() >> (gate::GOVERNED + family as u32) & 1 != 0
}
