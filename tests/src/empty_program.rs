//! A program that does nothing, on a raw tracepoint: what running a program costs by itself, and whether the kernel
//! counts the run time of programs right now.

use std::{
    ffi::CStr,
    fs,
    os::fd::{AsRawFd as _, OwnedFd},
};

use anyhow::{Context as _, Result};

use crate::bpf::{self, insn};

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
        let program = bpf::load(RAW_TRACEPOINT, &code).context("cannot load a program")?;
        let mut attr = OpenAttr {
            name: tracepoint.as_ptr() as u64,
            prog_fd: program.as_raw_fd().cast_unsigned(),
            pad: 0,
        };
        let link = bpf::call(RAW_TRACEPOINT_OPEN, &mut attr).context("cannot attach a program")?;
        Ok(Self {
            program,
            _link: bpf::descriptor(link)?,
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
