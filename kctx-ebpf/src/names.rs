//! Interning: a name goes into the names table once, and records carry the id of its text.
//!
//! Small per-CPU caches keep the hot path off the table.

use aya_ebpf::{
    bindings::BPF_NOEXIST, btf_maps::PerCpuArray, helpers::bpf_probe_read_kernel_str_bytes,
    macros::btf_map,
};
use kctx_common::{
    name::{NameWords, name_id},
    record::NAME_LEN,
};

use crate::{
    kernel::{IrqAction, Memory, PoolWorkqueue},
    maps::NAMES,
};

const SLOTS: usize = 64;

/// After this long an action's name is read again: a driver may rename in place, as a network device's
/// interrupts do with the device.
const ACTION_NAME_TTL_NS: u64 = 1_000_000_000;

/// `EEXIST`, as a map update returns it.
const EEXIST: i32 = -17;

#[derive(Clone, Copy)]
#[repr(C)]
struct CachedAction {
    action: u64,
    name: u64,
    read_ns: u64,
    id: u64,
}

#[btf_map]
static ACTION_CACHE: PerCpuArray<CachedAction, SLOTS> = PerCpuArray::new();

/// Ids that this CPU knows to be in the names table.
#[btf_map]
static NAME_CACHE: PerCpuArray<u64, SLOTS> = PerCpuArray::new();

/// The id of an irq action's name; 0 where it cannot be read. `address` is the same pointer as a plain
/// number: a `tp_btf` program may not calculate with a typed one.
#[inline(always)]
pub fn action<M: Memory>(action: IrqAction, address: u64, now_ns: u64) -> u64 {
    let name = action.name::<M>();
    if name == 0 {
        return 0;
    }
    let slot = ((address >> 6) ^ (address >> 12)) as u32 % SLOTS as u32;
    let Some(cached) = ACTION_CACHE.get_ptr_mut(slot) else {
        return 0;
    };
    // SAFETY: this CPU's element, and no interrupt handler's exit nests in another.
    let cached = unsafe { &mut *cached };
    if cached.action == address
        && cached.name == name
        && now_ns.wrapping_sub(cached.read_ns) < ACTION_NAME_TTL_NS
    {
        return cached.id;
    }
    let id = read_and_intern(name);
    *cached = CachedAction {
        action: address,
        name,
        read_ns: now_ns,
        id,
    };
    id
}

#[inline(never)]
fn read_and_intern(address: u64) -> u64 {
    let mut words: NameWords = [0; NAME_LEN / 8];
    // SAFETY: the words are plain bytes, and the array is as long as the slice.
    let bytes =
        unsafe { core::slice::from_raw_parts_mut(words.as_mut_ptr().cast::<u8>(), NAME_LEN) };
    // SAFETY: the helper checks the address itself.
    if unsafe { bpf_probe_read_kernel_str_bytes(address as *const u8, bytes) }.is_err() {
        return 0;
    }
    let id = name_id(&words);
    intern(id, &words);
    id
}

/// The id of a workqueue's name; 0 where it cannot be read.
#[inline(always)]
pub fn workqueue<M: Memory>(pwq: PoolWorkqueue) -> u64 {
    let Some([a, b, c, d]) = pwq.name::<M>() else {
        return 0;
    };
    intern_cached([a, b, c, d, 0, 0, 0, 0])
}

/// The id of a name, which is in the table then if that has room. Called with interrupts off, or from one
/// softirq vector.
#[inline(always)]
pub fn intern_cached(words: NameWords) -> u64 {
    let id = name_id(&words);
    let Some(cached) = NAME_CACHE.get_ptr_mut(id as u32 % SLOTS as u32) else {
        return id;
    };
    // SAFETY: this CPU's element. One that is changed by an interrupt meanwhile costs one more insertion.
    unsafe {
        if *cached != id && intern(id, &words) {
            *cached = id;
        }
    }
    id
}

/// Whether the name is in the table now.
#[inline(always)]
fn intern(id: u64, words: &NameWords) -> bool {
    match NAMES.insert(id, words, u64::from(BPF_NOEXIST)) {
        Ok(()) | Err(EEXIST) => true,
        Err(_) => false,
    }
}
