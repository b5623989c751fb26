//! A window with something in each family, for the tests of this module.

use std::{collections::BTreeMap, sync::Arc};

use crate::{
    aggregate::{
        duration::Durations,
        window::{
            Family, HardirqRow, ModuleEvent, ModuleRow, ProbeStatus, SoftirqRow, Window,
            WorkqueueRow,
        },
    },
    host::{HostIdentity, identity::OsRelease},
};

const MS: u64 = 1_000_000;

pub(super) fn durations(count: u64, each_ns: u64) -> Durations {
    let mut durations = Durations::default();
    (0..count).for_each(|_| durations.record(each_ns));
    durations
}

pub(super) fn softirq(vector: &'static str, cpu: u32, count: u64, each_ns: u64) -> SoftirqRow {
    SoftirqRow {
        vector,
        cpu,
        count,
        wait_unknown: 1,
        wait: durations(count - 1, each_ns * 2),
        // Half as long again as the net time: interrupts fell into it.
        service: durations(count, each_ns * 3 / 2),
        service_net: durations(count, each_ns),
    }
}

pub(super) fn hardirq(irq: Option<u32>, name: &str, cpu: u32, count: u64) -> HardirqRow {
    HardirqRow {
        irq,
        name: Arc::from(name),
        cpu,
        count,
        unhandled: 2,
        woke_thread: 1,
        service: durations(count, 250_000),
    }
}

pub(super) fn work(workqueue: &str, function: &str, count: u64, each_ns: u64) -> WorkqueueRow {
    WorkqueueRow {
        workqueue: Arc::from(workqueue),
        function: Arc::from(function),
        overflow: false,
        count,
        wait_unknown: 0,
        remote: 1,
        wait: durations(count, 5_000),
        activate: durations(count, 100),
        service: durations(count, each_ns),
    }
}

/// One second, rows in no order; a driver's name has an escape sequence in it.
pub(super) fn window() -> Window {
    let mut window = Window {
        start_unix_ns: 1_795_316_645_000_000_000,
        duration_ns: 1_000 * MS,
        softirq: vec![
            softirq("RCU", 0, 10, 1_000),
            softirq("NET_RX", 1, 400, MS),
            softirq("NET_RX", 0, 50, MS),
        ],
        hardirq: vec![
            hardirq(None, "", 0, 0),
            hardirq(Some(36), "virtio1\x1b[2J", 0, 10),
            hardirq(Some(4), "ttyS0", 1, 0),
        ],
        workqueue: vec![
            work("writeback", "wb_workfn", 1, 2 * MS),
            work("events", "flush_to_ldisc", 3, 300 * MS),
        ],
        module: vec![ModuleRow {
            event: ModuleEvent::Load,
            name: "evil\n".to_owned(),
            time_unix_ns: 1_795_316_645_500_000_000,
            taints: "OE".to_owned(),
            pid: 77,
            comm: "insmod".to_owned(),
            cpu: 1,
        }],
        probes: vec![
            ProbeStatus {
                name: "irq:softirq_entry".to_owned(),
                family: Family::Softirq,
                attached: true,
                mechanism: Some("tp_btf".to_owned()),
                reason: None,
            },
            ProbeStatus {
                name: "module:module_load".to_owned(),
                family: Family::Module,
                attached: false,
                mechanism: None,
                reason: Some("CONFIG_MODULES is off".to_owned()),
            },
        ],
        ..Window::default()
    };
    let softirq = &mut window.accounting.by_family[0];
    (softirq.observed, softirq.streamed, softirq.spilled) = (460, 450, 10);
    let work = &mut window.accounting.by_family[2];
    (work.observed, work.streamed, work.overflowed) = (7, 4, 2);
    work.lost = BTreeMap::from([("no_spill_row".to_owned(), 3)]);
    work.partial = BTreeMap::from([("cancelled".to_owned(), 5)]);
    window
}

pub(super) fn host() -> HostIdentity {
    HostIdentity {
        hostname: "db-3".to_owned(),
        kernel_release: "6.1.0".to_owned(),
        kernel_version: "#1 SMP".to_owned(),
        arch: "x86_64".to_owned(),
        os: OsRelease {
            pretty_name: "Debian GNU/Linux 12 (bookworm)".to_owned(),
            id: "debian".to_owned(),
            version_id: "12".to_owned(),
        },
        cpus_online: 3,
        cpus_possible: 4,
        cpu_list: "0-2".to_owned(),
        hz: Some(250),
        boot_id: Some("b".to_owned()),
        taint: Some(0),
    }
}
