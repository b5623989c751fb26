//! bpf(2), as far as tests make programs of their own (include/uapi/linux/bpf.h).
#![allow(unsafe_code)]

use std::{
    io,
    os::fd::{FromRawFd as _, OwnedFd},
};

use anyhow::{Context as _, Result};

/// `BPF_PROG_LOAD`
const PROG_LOAD: libc::c_long = 5;

/// An instruction: operation, destination and source register, offset, immediate.
pub(crate) fn insn(operation: u8, registers: u8, offset: i16, immediate: i32) -> u64 {
    let [a, b] = offset.to_le_bytes();
    let [c, d, e, f] = immediate.to_le_bytes();
    u64::from_le_bytes([operation, registers, a, b, c, d, e, f])
}

/// The head of `union bpf_attr` for `BPF_PROG_LOAD`.
#[repr(C)]
struct LoadAttr {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
    kern_version: u32,
    prog_flags: u32,
}

/// bpf(2)
pub(crate) fn call<T>(command: libc::c_long, attr: &mut T) -> io::Result<libc::c_long> {
    // SAFETY: `attr` is the head of the command's attributes and as long as is said; the kernel takes the
    // rest as zero. The buffers that it names outlive the call.
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            command,
            std::ptr::from_mut(attr),
            size_of::<T>(),
        )
    };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(result)
}

/// What a command that makes something gave.
pub(crate) fn descriptor(result: libc::c_long) -> Result<OwnedFd> {
    // SAFETY: the kernel has just given this descriptor, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(i32::try_from(result)?) })
}

/// Loads a program of a type.
pub(crate) fn load(prog_type: u32, code: &[u64]) -> Result<OwnedFd> {
    let license = c"GPL";
    let mut attr = LoadAttr {
        prog_type,
        insn_cnt: code.len() as u32,
        insns: code.as_ptr() as u64,
        license: license.as_ptr() as u64,
        log_level: 0,
        log_size: 0,
        log_buf: 0,
        kern_version: 0,
        prog_flags: 0,
    };
    descriptor(call(PROG_LOAD, &mut attr).context("the kernel refuses the program")?)
}
