//! Network devices as they are set up: /sys/class/net/DEVICE.

use std::collections::BTreeMap;

use crate::capture::{evidence::Phase, evidence_set::EvidenceSet};

const FOLDER: &str = "sys/class/net/";

/// One device.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::diagnose) struct Device {
    /// Receive queues.
    pub(in crate::diagnose) rx_queues: usize,
    /// Masks of CPUs that receive packets are steered to, in hex, of queues that have one.
    pub(in crate::diagnose) rps_masks: Vec<String>,
    /// Its NAPIs are polled in threads.
    pub(in crate::diagnose) threaded: bool,
    /// There is hardware, or what a hypervisor makes look like it, behind it.
    pub(in crate::diagnose) physical: bool,
}

pub(super) fn of(evidence: &EvidenceSet) -> BTreeMap<String, Device> {
    let mut devices: BTreeMap<String, Device> = BTreeMap::new();
    // The same files in both samples are the same device: the later wins.
    let mut files: BTreeMap<&str, &[u8]> = BTreeMap::new();
    for phase in [Phase::Before, Phase::After] {
        files.extend(evidence.files(phase));
    }
    for (path, bytes) in files {
        if let Some(device) = path.strip_prefix("ethtool/") {
            let name = device.trim_end_matches(".json");
            devices.entry(name.to_owned()).or_default().physical = true;
        }
        let Some((name, file)) = path
            .strip_prefix(FOLDER)
            .and_then(|rest| rest.split_once('/'))
        else {
            continue;
        };
        let text = String::from_utf8_lossy(bytes);
        devices
            .entry(name.to_owned())
            .or_default()
            .take(file, text.trim());
    }
    devices
}

impl Device {
    fn take(&mut self, file: &str, text: &str) {
        if file.starts_with("queues/rx-") && file.ends_with("/rps_cpus") {
            self.rx_queues += 1;
            if text.chars().any(|c| c.is_ascii_hexdigit() && c != '0') {
                self.rps_masks.push(text.to_owned());
            }
        }
        if file == "threaded" {
            self.threaded = text != "0" && !text.is_empty();
        }
        if file.starts_with("device/") {
            self.physical = true;
        }
    }
}

/// Kinds of devices that exist in software alone, by how their names begin.
const VIRTUAL: [&str; 21] = [
    "veth", "vxlan", "geneve", "docker", "br-", "br", "cni", "cali", "flannel", "cilium", "lxc",
    "tun", "tap", "gre", "ipip", "wg", "vnet", "virbr", "kube", "dummy", "ifb",
];

impl super::Facts<'_> {
    /// Whether a device exists in software alone, but for the loopback. Where there is no evidence, by its name.
    pub(in crate::diagnose) fn is_virtual(&self, device: &str) -> bool {
        if device == "lo" || device == super::receive::BACKLOG {
            return false;
        }
        match self.devices.get(device) {
            Some(known) if known.physical => false,
            Some(known) if known.rx_queues > 0 => true,
            _ => VIRTUAL.iter().any(|start| device.starts_with(start)),
        }
    }

    /// Whether there is hardware behind a device: known, or it has interrupts of its own.
    pub(in crate::diagnose) fn is_physical(&self, device: &str) -> bool {
        let known = self.devices.get(device).is_some_and(|known| known.physical);
        known || !self.lines_of(device).is_empty()
    }

    /// Numbers of the interrupt lines whose action is named after a device: `eth0`, `eth0-rx-3`, `i40e-eth0-TxRx-0`; a virtio
    /// device's lines are named after its bus, and are not found.
    pub(in crate::diagnose) fn lines_of(&self, device: &str) -> Vec<u32> {
        let ends = |text: &str| !text.starts_with(|c: char| c.is_ascii_alphanumeric());
        let begins = |text: &str| !text.ends_with(|c: char| c.is_ascii_alphanumeric());
        let is = |action: &str| {
            !device.is_empty()
                && (action.match_indices(device))
                    .any(|(at, _)| begins(&action[..at]) && ends(&action[at + device.len()..]))
        };
        let of_rows = self.summary.hardirq.iter().filter(|row| is(&row.name));
        let mut lines: Vec<u32> = of_rows.filter_map(|row| row.irq).collect();
        if let Some(interrupts) = &self.interrupts {
            let named = interrupts
                .lines()
                .filter(|(_, actions, _)| actions.iter().any(|a| is(a)));
            lines.extend(named.map(|(irq, ..)| irq));
        }
        lines.sort_unstable();
        lines.dedup();
        lines
    }
}
