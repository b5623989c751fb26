//! Socket options that are a number.

use std::os::fd::AsRawFd;

use anyhow::{Context as _, Result};

/// Sets one: its level, its name, its value.
#[allow(unsafe_code)]
pub(super) fn set(
    socket: &impl AsRawFd,
    (level, name, value): (libc::c_int, libc::c_int, libc::c_int),
) -> Result<()> {
    // SAFETY: the kernel reads an int, which outlives the call.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            name,
            (&raw const value).cast(),
            size_of_val(&value) as libc::socklen_t,
        )
    };
    match result {
        0 => Ok(()),
        _ => Err(std::io::Error::last_os_error())
            .with_context(|| format!("cannot set the socket option {level}/{name}")),
    }
}
