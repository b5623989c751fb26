//! A program that does nothing, on a raw tracepoint: what running a program costs by itself, and whether the kernel
//! counts the run time of programs right now.
#![allow(unsafe_code)]

use std::{
    ffi::CStr,
    fs,
    os::fd::{AsRawFd as _, OwnedFd},
};

use anyhow::{Context as _, Result};

use crate::bottom_half::{LoadAttr, PROG_LOAD, bpf, descriptor, insn};

/// `BPF_RAW_TRACEPOINT_OPEN`
const RAW_TRACEPOINT_OPEN: libc::c_long = 17;
/// `BPF_PROG_TYPE_RAW_TRACEPOINT`
const RAW_TRACEPOINT: u32 = 17;

/// The head of `union bpf_attr` for `BPF_RAW_TRACEPOINT_OPEN`.
#[repr(C)]
struct OpenAttr {
    name: u64,
    prog_fd: u32,
    pad: u32,
}

/// The program, attached; dropping it detaches.
pub struct EmptyProgram {
    program: OwnedFd,
    _link: OwnedFd,
}

impl EmptyProgram {
    /// Attaches one.
    pub fn on(tracepoint: &CStr) -> Result<Self> {
        let code = [insn(0xb7, 0, 0, 0), insn(0x95, 0, 0, 0)]; // r0 = 0; exit
        let license = c"GPL";
        let mut attr = LoadAttr {
            prog_type: RAW_TRACEPOINT,
            insn_cnt: code.len() as u32,
            insns: code.as_ptr() as u64,
            license: license.as_ptr() as u64,
            log_level: 0,
            log_size: 0,
            log_buf: 0,
            kern_version: 0,
            prog_flags: 0,
        };
        let program = descriptor(bpf(PROG_LOAD, &mut attr).context("cannot load a program")?)?;
        let mut attr = OpenAttr {
            name: tracepoint.as_ptr() as u64,
            prog_fd: program.as_raw_fd().cast_unsigned(),
            pad: 0,
        };
        let link = bpf(RAW_TRACEPOINT_OPEN, &mut attr).context("cannot attach a program")?;
        Ok(Self {
            program,
            _link: descriptor(link)?,
        })
    }

    /// Its runs that the kernel counted, and their time in nanoseconds.
    pub fn counted(&self) -> Result<(u64, u64)> {
        let info = fs::read_to_string(format!("/proc/self/fdinfo/{}", self.program.as_raw_fd()))?;
        let field = |name: &str| -> Result<u64> {
            let mut lines = info.lines();
            let value = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            Ok(value.context("the field in fdinfo")?.trim().parse()?)
        };
        Ok((field("run_cnt")?, field("run_time_ns")?))
    }
}
