//! A socket filter that is a BPF program, and slow.

use std::os::fd::{AsRawFd as _, OwnedFd};

use anyhow::{Context as _, Result};

use crate::{
    bpf::{self, insn},
    situation::socket_option,
};

/// `BPF_PROG_TYPE_SOCKET_FILTER`
const SOCKET_FILTER: u32 = 1;
/// Rounds of two instructions.
const ROUNDS: i32 = 4000;

/// Attaches a program that lets every packet pass, after a while.
pub(super) fn attach(socket: &std::net::UdpSocket) -> Result<OwnedFd> {
    let code = [
        insn(0xb7, 1, 0, ROUNDS), // r1 = ROUNDS
        insn(0x07, 1, 0, -1),     // r1 += -1
        insn(0x55, 1, -2, 0),     // if r1 != 0 goto the line before
        insn(0xb4, 0, 0, -1),     // w0 = all of the packet
        insn(0x95, 0, 0, 0),      // exit
    ];
    let program = bpf::load(SOCKET_FILTER, &code).context("cannot load a socket filter")?;
    let option = (libc::SOL_SOCKET, libc::SO_ATTACH_BPF, program.as_raw_fd());
    socket_option::set(socket, option)?;
    Ok(program)
}
