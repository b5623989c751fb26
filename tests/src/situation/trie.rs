//! A BPF map that takes a work long to free: `trie_free` (kernel/bpf/lpm_trie.c) goes down from the root for each node,
//! in `bpf_map_free_deferred`, without a pause.

use std::os::fd::{AsRawFd as _, OwnedFd};

use anyhow::{Context as _, Result};

use crate::bpf;

/// `BPF_MAP_CREATE`, `BPF_MAP_UPDATE_BATCH`
const MAP_CREATE: libc::c_long = 0;
const MAP_UPDATE_BATCH: libc::c_long = 26;
/// `BPF_MAP_TYPE_LPM_TRIE`, `BPF_F_NO_PREALLOC`
const LPM_TRIE: u32 = 11;
const NO_PREALLOC: u32 = 1;

/// The head of `union bpf_attr` for `BPF_MAP_CREATE`.
#[repr(C)]
struct CreateAttr {
    map_type: u32,
    key_size: u32,
    value_size: u32,
    max_entries: u32,
    map_flags: u32,
}

/// The same for `BPF_MAP_UPDATE_BATCH`.
#[repr(C)]
struct BatchAttr {
    in_batch: u64,
    out_batch: u64,
    keys: u64,
    values: u64,
    count: u32,
    map_fd: u32,
    elem_flags: u64,
    flags: u64,
}

/// `struct bpf_lpm_trie_key_u8` of an IPv4 address.
#[repr(C)]
struct Key {
    prefix: u32,
    address: [u8; 4],
}

/// Addresses, and a value for each.
pub(super) struct Addresses {
    keys: Vec<Key>,
    values: Vec<u32>,
}

impl Addresses {
    pub(super) fn new(count: u32) -> Self {
        let key = |i: u32| Key {
            prefix: 32,
            // One after the other: they are sooner there than gone.
            address: i.to_be_bytes(),
        };
        Self {
            keys: (0..count).map(key).collect(),
            values: (0..count).collect(),
        }
    }

    /// A map of them.
    pub(super) fn map(&self) -> Result<OwnedFd> {
        let count = self.keys.len() as u32;
        let mut create = CreateAttr {
            map_type: LPM_TRIE,
            key_size: size_of::<Key>() as u32,
            value_size: size_of::<u32>() as u32,
            max_entries: count,
            map_flags: NO_PREALLOC,
        };
        let made = bpf::call(MAP_CREATE, &mut create).context("cannot make a trie")?;
        let map = bpf::descriptor(made)?;
        let mut update = BatchAttr {
            in_batch: 0,
            out_batch: 0,
            keys: self.keys.as_ptr() as u64,
            values: self.values.as_ptr() as u64,
            count,
            map_fd: map.as_raw_fd() as u32,
            elem_flags: 0,
            flags: 0,
        };
        bpf::call(MAP_UPDATE_BATCH, &mut update).context("cannot fill a trie")?;
        Ok(map)
    }
}
