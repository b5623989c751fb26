//! Holds bottom halves off for a while: softirqs that are raised meanwhile have to wait, and are raised again. Or
//! has one run of NET_RX take as long.
//!
//! The kernel runs a BPF program for a test with bottom halves disabled (`bpf_test_run`, net/bpf/test_run.c), and a
//! socket's filter where the packet arrives (`sk_filter_trim_cap`, net/core/filter.c). This one copies a megabyte
//! some hundred times.
#![allow(unsafe_code)]

use std::{
    io,
    net::UdpSocket,
    os::fd::{AsRawFd as _, OwnedFd},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};

use crate::bpf::{self, insn};

/// `BPF_MAP_CREATE`
const MAP_CREATE: libc::c_long = 0;
/// `BPF_PROG_TEST_RUN`
const PROG_TEST_RUN: libc::c_long = 10;
/// `BPF_PROG_TYPE_SOCKET_FILTER`
const SOCKET_FILTER: u32 = 1;
/// `BPF_MAP_TYPE_ARRAY`
const ARRAY: u32 = 2;

/// Bytes that one step copies.
const STEP_BYTES: u32 = 1 << 20;
/// The same where a program is to take seconds: the verifier walks through each step, a million instructions in all;
/// and no value of a map is larger where the kernel allocates no more at once (5.10).
const LONG_STEP_BYTES: u32 = 1 << 22;

/// Copies the first value of a map to the second, `steps` times.
fn program(map: i32, steps: i32) -> Vec<u64> {
    const TEN: u8 = 0x0a;
    let map_into_r1 = [insn(0x18, 0x11, 0, map), 0];
    let key_into_r2 = [insn(0xbf, TEN << 4 | 2, 0, 0), insn(0x07, 2, 0, -4)];
    let mut code = vec![insn(0x62, TEN, -4, 0)]; // *(u32 *)(r10 - 4) = 0
    code.extend(map_into_r1);
    code.extend(key_into_r2);
    code.extend([
        insn(0x85, 0, 0, 1),     // r0 = bpf_map_lookup_elem(map, key)
        insn(0x55, 0, 1, 0),     // if r0 != 0 skip
        insn(0x95, 0, 0, 0),     // exit
        insn(0xbf, 6, 0, 0),     // r6 = r0
        insn(0xb7, 7, 0, steps), // r7 = steps
        insn(0x62, TEN, -4, 1),  // the key is the second
    ]);
    let start = code.len();
    code.extend(map_into_r1);
    code.extend(key_into_r2);
    code.extend([
        insn(0xbf, 6 << 4 | 3, 0, 0), // r3 = r6
        insn(0xb7, 4, 0, 0),          // r4 = 0
        insn(0x85, 0, 0, 2),          // bpf_map_update_elem(map, key, r3, 0)
        insn(0x07, 7, 0, -1),         // r7 -= 1
    ]);
    let back = start as i16 - code.len() as i16 - 1;
    code.extend([
        insn(0x55, 7, back, 0), // if r7 != 0 go on
        insn(0xb7, 0, 0, 0),    // r0 = 0
        insn(0x95, 0, 0, 0),    // exit
    ]);
    code
}

/// The head of `union bpf_attr` for `BPF_MAP_CREATE`.
#[repr(C)]
struct MapAttr {
    map_type: u32,
    key_size: u32,
    value_size: u32,
    max_entries: u32,
    map_flags: u32,
}

/// The same for `BPF_PROG_TEST_RUN`.
#[repr(C)]
struct TestRunAttr {
    prog_fd: u32,
    retval: u32,
    data_size_in: u32,
    data_size_out: u32,
    data_in: u64,
    data_out: u64,
    repeat: u32,
    duration: u32,
}

/// The program, ready to run.
pub struct Holder {
    program: OwnedFd,
    _map: OwnedFd,
}

impl Holder {
    /// Loads it; each run copies so many megabytes.
    pub fn load(megabytes: u16) -> Result<Self> {
        Self::with_steps(STEP_BYTES, megabytes)
    }

    fn with_steps(step_bytes: u32, steps: u16) -> Result<Self> {
        let mut map = MapAttr {
            map_type: ARRAY,
            key_size: 4,
            value_size: step_bytes,
            max_entries: 2,
            map_flags: 0,
        };
        let map = bpf::descriptor(bpf::call(MAP_CREATE, &mut map).context("cannot make a map")?)?;
        let code = program(map.as_raw_fd(), i32::from(steps));
        let program =
            bpf::load(SOCKET_FILTER, &code).context("cannot load a program to run for a test")?;
        Ok(Self { program, _map: map })
    }

    /// Runs it once, on the CPU that this thread is on; how long that took by the kernel's account, in
    /// nanoseconds.
    pub fn hold(&self) -> Result<u64> {
        self.hold_times(1)
    }

    /// Runs it so many times, with bottom halves held off from the first to the last; how long one took.
    pub fn hold_times(&self, repeat: u32) -> Result<u64> {
        let packet = [0_u8; 64];
        let mut attr = TestRunAttr {
            prog_fd: self.program.as_raw_fd().cast_unsigned(),
            retval: 0,
            data_size_in: packet.len() as u32,
            data_size_out: 0,
            data_in: packet.as_ptr() as u64,
            data_out: 0,
            repeat,
            duration: 0,
        };
        bpf::call(PROG_TEST_RUN, &mut attr).context("cannot run a program for a test")?;
        Ok(u64::from(attr.duration))
    }

    /// One that takes about so long here.
    pub fn that_takes(duration: Duration) -> Result<Self> {
        const TRIED: u16 = 16;
        let tried = Self::with_steps(LONG_STEP_BYTES, TRIED)?;
        // The first touches the memory.
        tried.hold()?;
        let tried_ns = tried.hold()?.max(1);
        let steps = u128::from(TRIED) * duration.as_nanos() / u128::from(tried_ns);
        Self::with_steps(LONG_STEP_BYTES, u16::try_from(steps).unwrap_or(u16::MAX))
    }

    /// Sends a packet over loopback to a socket that this filters, from the CPU that this thread is on: NET_RX runs
    /// there that long. How long the sending took.
    pub fn hold_net_rx(&self) -> Result<Duration> {
        let receiver = UdpSocket::bind("127.0.0.1:0").context("cannot bind")?;
        let program = self.program.as_raw_fd();
        // SAFETY: the option's value is a descriptor, given by its address and size; the kernel keeps the program
        // alive by itself (`sk_attach_bpf`).
        let attached = unsafe {
            libc::setsockopt(
                receiver.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_ATTACH_BPF,
                std::ptr::from_ref(&program).cast(),
                size_of::<i32>() as libc::socklen_t,
            )
        };
        if attached != 0 {
            return Err(io::Error::last_os_error()).context("cannot filter a socket");
        }
        let sender = UdpSocket::bind("127.0.0.1:0")?;
        let start = Instant::now();
        sender.send_to(&[0; 8], receiver.local_addr()?)?;
        Ok(start.elapsed())
    }
}
