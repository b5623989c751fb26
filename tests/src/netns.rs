//! A network of a thread's own: nothing that is set or sent in it concerns anybody else.

use std::path::Path;

use anyhow::{Context as _, Result};
use rustix::{
    mount::{MountFlags, MountPropagationFlags, mount, mount_change},
    thread::UnshareFlags,
};

/// Moves the calling thread into a new network namespace, with /sys as it is seen from there. Its loopback
/// is up.
pub fn enter() -> Result<()> {
    let flags = UnshareFlags::NEWNET | UnshareFlags::NEWNS;
    // SAFETY: neither flag touches the file descriptors that other threads share.
    #[allow(unsafe_code)]
    unsafe { rustix::thread::unshare_unsafe(flags) }.context("cannot make a network namespace")?;
    let everything = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    mount_change("/", everything).context("cannot keep mounts to this thread")?;
    mount("sysfs", "/sys", "sysfs", MountFlags::empty(), None).context("cannot mount sysfs")?;
    let up = std::process::Command::new("ip")
        .args(["link", "set", "lo", "up"])
        .status()
        .context("cannot start ip (iproute2, or busybox's)")?;
    anyhow::ensure!(up.success(), "ip could not bring lo up: {up}");
    Ok(())
}

/// Has this namespace's loopback hand what it receives to these CPUs, as a hexadecimal mask (receive packet
/// steering).
pub fn steer(mask: &str) -> Result<()> {
    let path = Path::new("/sys/class/net/lo/queues/rx-0/rps_cpus");
    std::fs::write(path, mask).with_context(|| format!("cannot write {}", path.display()))
}
