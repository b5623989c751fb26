//! Addresses and interfaces: what wants the routing lock (rtnl_lock).

use std::fs;

use anyhow::{Context as _, Result};

use super::network::{ip, run_script};
use crate::load::Load;

/// Pairs that are brought up and down in one message each, for which the lock is held some 20 ms.
const PAIRS: u32 = 800;
/// Addresses that are asked for, once a second each.
const ASKED_FOR: u32 = 200;

/// The pairs' group.
const GROUP: u32 = 77;

/// They go when this is dropped, and not some time after their network namespace.
struct Pairs;

impl Drop for Pairs {
    fn drop(&mut self) {
        let _ = ip(&format!("link del group {GROUP}"));
    }
}

/// Addresses that ask whether somebody else has them, again and again, by works that want the lock, while something else holds
/// it nearly all the time: the works' queue runs one at a time (net/ipv6/addrconf.c, `addrconf_wq`).
pub(super) fn asked_for_without_end() -> Result<Load> {
    ip("link add asking type veth peer name asked")?;
    ip("link set asked up")?;
    ip("link set asking up")?;
    let setting = |device: &str, name: &str, value: &str| {
        let path = format!("/proc/sys/net/ipv6/conf/{device}/{name}");
        fs::write(&path, value).with_context(|| format!("cannot write {path}"))
    };
    // Those that come now have no addresses at all.
    setting("default", "disable_ipv6", "1")?;
    batch(PAIRS, |pair| {
        format!("link add up{pair} group {GROUP} type veth peer name down{pair} group {GROUP}")
    })?;
    setting("asking", "dad_transmits", "1000")?;
    batch(ASKED_FOR, |address| {
        format!("addr add 2001:db8::{address:x}/64 dev asking")
    })?;
    let pairs = Pairs;
    Load::start(move || {
        let _there = &pairs;
        for state in ["up", "down"] {
            ip(&format!("link set group {GROUP} {state}")).map_err(std::io::Error::other)?;
        }
        Ok(())
    })
}

/// So many lines for one `ip`.
fn batch(lines: u32, line: impl Fn(u32) -> String) -> Result<()> {
    let lines: Vec<_> = (1..=lines).map(line).collect();
    run_script("ip", &["-batch", "-"], &lines.join("\n"))
}
