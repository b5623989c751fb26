//! A window with something in each family, for the tests of this module.

use std::{collections::BTreeMap, sync::Arc};

use crate::{
    aggregate::{
        duration::Durations,
        window::{
            ContextTimes, Family, GovernorRow, HardirqRow, KthreadRow, LogRow, LogRows,
            ModuleEvent, ModuleRequester, ModuleRow, NapiRow, Origin, OriginKind, ProbeStatus,
            SoftirqOriginRow, SoftirqRow, Source, StackRow, TaintRow, TaskletRow, Window,
            WorkqueueRow,
        },
    },
    host::{HostIdentity, identity::OsRelease},
    meter::{Basis, BpfCost, CpuTime, OwnCost, ProgramCost, RingFill, ThreadTime},
};

const MS: u64 = 1_000_000;
const START_UNIX_NS: u64 = 1_795_316_645_000_000_000;

pub(super) fn durations(count: u64, each_ns: u64) -> Durations {
    (0..count).map(|_| each_ns).collect()
}

pub(crate) fn softirq(vector: &'static str, cpu: u32, count: u64, each_ns: u64) -> SoftirqRow {
    SoftirqRow {
        vector,
        cpu,
        context: "irq_tail",
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
        overflow: irq.is_none(),
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
        service_net: durations(count, each_ns / 10),
        bh: 0,
        queued_by: vec![
            (origin(OriginKind::Task, Some(4711), "iperf3"), count - 1),
            (origin(OriginKind::Irq, Some(36), ""), 1),
        ],
    }
}

pub(super) fn origin(kind: OriginKind, number: Option<u32>, name: &str) -> Origin {
    Origin {
        kind,
        number,
        name: Arc::from(name),
    }
}

fn raised(kind: OriginKind, number: Option<u32>, name: &str, count: u64) -> SoftirqOriginRow {
    SoftirqOriginRow {
        vector: "NET_RX",
        cpu: 1,
        origin: origin(kind, number, name),
        count,
    }
}

pub(super) fn napi(device: &str, cpu: u32, polls: u64, packets: u64) -> NapiRow {
    NapiRow {
        device: Arc::from(device),
        napi_id: 8193,
        cpu,
        context: "irq_tail",
        overflow: false,
        count: polls,
        exhausted: polls / 4,
        packets,
        packets_max: 64,
        service: durations(polls, 20_000),
    }
}

pub(super) fn kthread(role: &'static str, comm: &str, pid: u32, cpu_ns: u64) -> KthreadRow {
    KthreadRow {
        role,
        comm: Arc::from(comm),
        pid,
        workqueue: Arc::from(if role == "kworker" { "events" } else { "" }),
        overflow: false,
        count: 4,
        preempted: 1,
        wait: durations(4, 30_000),
        service: durations(4, cpu_ns / 4),
        service_net: durations(4, cpu_ns / 5),
        cpu_ns,
        cpu_net_ns: cpu_ns / 5 * 4,
    }
}

fn module(event: ModuleEvent, name: &str, after_ns: u64) -> ModuleRow {
    ModuleRow {
        event,
        name: name.to_owned(),
        time_unix_ns: START_UNIX_NS + after_ns,
        taints: String::new(),
        pid: 77,
        comm: "insmod".to_owned(),
        cpu: 1,
        init_ns: None,
        ret: None,
        requested_by: None,
    }
}

fn own_cost() -> OwnCost {
    let thread = |thread: &str, cpu_ns| ThreadTime {
        thread: thread.to_owned(),
        cpu_ns,
    };
    let program = |program: &str, family, runs, run_ns| ProgramCost {
        program: program.to_owned(),
        family,
        runs,
        run_ns,
    };
    OwnCost {
        threads: vec![
            thread("kctx-drain", MS * 12 / 10),
            thread("kctx-pipeline", 2 * MS),
            thread("main", MS * 3 / 10),
            thread("other", 0),
        ],
        memory_bytes: Some(24 << 20),
        ring_bytes: 20_000,
        fullest_ring_ppm: 25_000,
        rings: vec![RingFill {
            cpu: 1,
            fullest_ppm: 25_000,
        }],
        bpf: BpfCost {
            basis: Basis::Scaled,
            reason: None,
            programs: vec![
                program("softirq_exit", Family::Softirq, 10_000, 6 * MS),
                program("sched_switch", Family::Kthread, 10_000, 2 * MS),
            ],
            cpus: vec![
                CpuTime {
                    cpu: 0,
                    run_ns: 2 * MS,
                },
                CpuTime {
                    cpu: 1,
                    run_ns: 6 * MS,
                },
            ],
            unsampled: vec![Family::Tasklet],
        },
    }
}

/// One second, rows in no order; a driver's name has an escape sequence in it.
pub(crate) fn window() -> Window {
    let mut window = Window {
        start_unix_ns: START_UNIX_NS,
        duration_ns: 1_000 * MS,
        cpu: vec![
            ContextTimes {
                cpu: 1,
                hardirq_ns: 2 * MS,
                softirq_ns: 400 * MS,
                ksoftirqd_ns: Some(30 * MS),
                kthread_ns: Some(68 * MS),
                rest_ns: Some(500 * MS),
            },
            ContextTimes {
                cpu: 0,
                hardirq_ns: 2_500_000,
                softirq_ns: 50_010_000,
                ksoftirqd_ns: Some(0),
                kthread_ns: Some(47_490_000),
                rest_ns: Some(900 * MS),
            },
        ],
        softirq: vec![
            softirq("RCU", 0, 10, 1_000),
            softirq("NET_RX", 1, 400, MS),
            softirq("NET_RX", 0, 50, MS),
        ],
        softirq_origin: vec![
            raised(OriginKind::Task, Some(4711), "iperf3", 10),
            raised(OriginKind::Irq, Some(36), "", 280),
            raised(OriginKind::Vector, Some(2), "CAL", 80),
            raised(OriginKind::Softirq, Some(3), "NET_RX", 30),
        ],
        hardirq: vec![
            HardirqRow {
                overflow: false,
                unhandled: 0,
                woke_thread: 0,
                service: durations(100, 20_000),
                ..hardirq(None, "LOC", 1, 100)
            },
            hardirq(None, "", 0, 0),
            hardirq(Some(36), "virtio1\x1b[2J", 0, 10),
            hardirq(Some(4), "ttyS0", 1, 0),
        ],
        tasklet: vec![TaskletRow {
            function: Arc::from("tasklet_fn"),
            overflow: false,
            count: 5,
            service: durations(5, 2_000),
            service_net: durations(5, 1_900),
        }],
        napi: vec![napi("eth0", 1, 400, 12_000), napi("backlog", 0, 8, 8)],
        kthread: vec![
            kthread("kworker", "kworker/1:2", 31, 60 * MS),
            kthread("ksoftirqd", "ksoftirqd/1", 20, 90 * MS),
        ],
        taint: vec![TaintRow {
            time_unix_ns: START_UNIX_NS + 500 * MS,
            before: 1,
            after: 4097,
            added: "O".to_owned(),
        }],
        log: LogRows {
            lines: vec![
                LogRow {
                    seq: 900,
                    level: 4,
                    time_unix_ns: START_UNIX_NS + 501 * MS,
                    text: "evil: loading out-of-tree module taints kernel.\x1b[2J".to_owned(),
                    fragment: false,
                },
                LogRow {
                    seq: 903,
                    level: 4,
                    time_unix_ns: START_UNIX_NS + 502 * MS,
                    text: "PID: 1".to_owned(),
                    fragment: true,
                },
            ],
            by_level: [0, 0, 0, 0, 1, 0, 3, 0],
            dropped: 3,
            overruns: 1,
            overwritten: 2,
            fragments: 1,
            failed: 6,
        },
        stack: vec![StackRow {
            context: "softirq:NET_RX".to_owned(),
            frames: vec!["handle_softirqs".to_owned(), "net_rx_action".to_owned()],
            count: 12,
        }],
        governor: vec![GovernorRow {
            family: Family::Softirq,
            since_unix_ns: START_UNIX_NS + 100 * MS,
            until_unix_ns: None,
            reason: "kctx took 3 % of CPU 1".to_owned(),
        }],
        own_cost: Some(own_cost()),
        workqueue: vec![
            work("writeback", "wb_workfn", 1, 2 * MS),
            work("events", "flush_to_ldisc", 3, 300 * MS),
        ],
        module: vec![
            ModuleRow {
                pid: 4711,
                comm: "iperf3".to_owned(),
                ..module(ModuleEvent::Request, "net-pf-36", 499 * MS)
            },
            ModuleRow {
                taints: "OE".to_owned(),
                requested_by: Some(ModuleRequester {
                    name: "net-pf-36".to_owned(),
                    pid: 4711,
                    comm: "iperf3".to_owned(),
                    guess: true,
                }),
                ..module(ModuleEvent::Load, "evil\n", 500 * MS)
            },
            ModuleRow {
                init_ns: Some(3 * MS),
                ret: Some(0),
                ..module(ModuleEvent::Init, "evil\n", 503 * MS)
            },
        ],
        probes: vec![
            ProbeStatus {
                name: "irq:softirq_entry".to_owned(),
                family: Family::Softirq.into(),
                attached: true,
                mechanism: Some("tp_btf".to_owned()),
                reason: None,
            },
            ProbeStatus {
                name: "module:module_load".to_owned(),
                family: Family::Module.into(),
                attached: false,
                mechanism: None,
                reason: Some("CONFIG_MODULES is off".to_owned()),
            },
            ProbeStatus::of_file(
                Source::Log,
                "/dev/kmsg",
                Err("/dev/kmsg: Operation not permitted (os error 1)".to_owned()),
            ),
        ],
        ..Window::default()
    };
    let softirq = &mut window.accounting.by_family[0];
    (softirq.observed, softirq.streamed, softirq.spilled) = (460, 450, 10);
    softirq.governed = 6;
    let work = &mut window.accounting.by_family[2];
    (work.observed, work.streamed, work.overflowed) = (7, 4, 2);
    work.lost = BTreeMap::from([("no_spill_row".to_owned(), 3)]);
    work.partial = BTreeMap::from([("cancelled".to_owned(), 5)]);
    window
}

pub(crate) fn host() -> HostIdentity {
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
