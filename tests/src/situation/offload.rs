//! Offloads of a device, as `ethtool -K` sets them.

use std::os::fd::AsRawFd as _;

use anyhow::{Context as _, Result};

use crate::situation::socket_option;

/// `SIOCETHTOOL` (include/uapi/linux/sockios.h)
const SIOCETHTOOL: libc::c_ulong = 0x8946;
/// `ETHTOOL_SGRO` (include/uapi/linux/ethtool.h)
const SET_GRO: u32 = 0x2c;
/// `ETHTOOL_STSO`
const SET_TSO: u32 = 0x1f;

/// `struct ethtool_value`
#[repr(C)]
struct Value {
    command: u32,
    data: u32,
}

/// `struct ifreq` with a pointer in its union, which is 24 bytes long.
#[repr(C)]
struct Request {
    name: [u8; 16],
    value: *mut Value,
    rest: [u64; 2],
}

/// Turns GRO on: a veth then has a NAPI of its own.
pub(super) fn receive_offload(device: &str) -> Result<()> {
    set(device, SET_GRO, 1)
}

/// Turns TSO off: only then a veth hands what is not TCP to the other end's NAPI (`veth_skb_is_eligible_for_gro`,
/// drivers/net/veth.c).
pub(super) fn no_segmentation_offload(device: &str) -> Result<()> {
    set(device, SET_TSO, 0)
}

/// Has what is sent at once go as datagrams of so many bytes, which the device or the kernel cuts it into.
pub(super) fn segments(socket: &std::net::UdpSocket, bytes: libc::c_int) -> Result<()> {
    socket_option::set(socket, (libc::SOL_UDP, libc::UDP_SEGMENT, bytes))
}

#[allow(unsafe_code)]
fn set(device: &str, command: u32, data: u32) -> Result<()> {
    let socket = std::net::UdpSocket::bind("127.0.0.1:0")?;
    let mut value = Value { command, data };
    let mut name = [0; 16];
    anyhow::ensure!(device.len() < name.len(), "{device} is no device's name");
    name[..device.len()].copy_from_slice(device.as_bytes());
    let mut request = Request {
        name,
        value: &raw mut value,
        rest: [0; 2],
    };
    // SAFETY: the request and the value it points to outlive the call, and are laid out as the kernel has them.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), SIOCETHTOOL as _, &raw mut request) };
    match result {
        0 => Ok(()),
        _ => Err(std::io::Error::last_os_error())
            .with_context(|| format!("cannot set an offload of {device}")),
    }
}
