//! A window in which everything happened.

use std::{sync::Arc, time::Duration};

use super::{durations, hardirq, softirq, window, workqueue};
use crate::aggregate::window::{
    ContextTimes, Family, FamilyAccounting, GovernorRow, HardirqRow, KthreadRow, ModuleEvent,
    ModuleRow, NapiRow, Origin, OriginKind, ProbeStatus, SoftirqOriginRow, TaskletRow, Window,
};
use crate::export::attributes::Attributes;
use crate::export::captures::BundleResult;
use crate::export::cumulative::Cumulative;
use crate::export::health::{Backlog, Ended};
use crate::export::otlp::{Signal, Transport, component, settings::Protocol};
use crate::export::reloads::Reloads;
use crate::meter::{Basis, BpfCost, OwnCost, ProgramCost, RingFill, ThreadTime};

fn module(event: ModuleEvent, name: &str) -> ModuleRow {
    ModuleRow {
        event,
        name: name.to_owned(),
        time_unix_ns: 0,
        taints: String::new(),
        pid: 1,
        comm: "modprobe".to_owned(),
        cpu: 0,
        init_ns: None,
        ret: None,
        requested_by: None,
    }
}

pub(in crate::export) fn probe(name: &str, reason: Option<&str>) -> ProbeStatus {
    ProbeStatus {
        name: name.to_owned(),
        family: Family::Softirq.into(),
        attached: reason.is_none(),
        mechanism: reason.is_none().then(|| "tp_btf".to_owned()),
        reason: reason.map(str::to_owned),
    }
}

fn every_other_family(window: &mut Window) {
    window.softirq_origin = [
        (OriginKind::Irq, 7),
        (OriginKind::Irq, 8),
        (OriginKind::Task, 9),
    ]
    .map(|(kind, number)| SoftirqOriginRow {
        vector: "NET_RX",
        cpu: 3,
        origin: Origin {
            kind,
            number: Some(number),
            name: Arc::from(""),
        },
        count: u64::from(number),
    })
    .to_vec();
    window.hardirq.push(HardirqRow {
        name: Arc::from("LOC"),
        overflow: false,
        unhandled: 0,
        ..hardirq(None, 2, &[600])
    });
    window.tasklet = vec![TaskletRow {
        function: Arc::from("tasklet_fn"),
        overflow: false,
        count: 2,
        service: durations(&[5, 6]),
        service_net: durations(&[5, 6]),
    }];
    let napi = NapiRow {
        device: Arc::from("eth0"),
        napi_id: 8193,
        cpu: 3,
        context: "irq_tail",
        overflow: false,
        count: 3,
        exhausted: 1,
        packets: 80,
        packets_max: 64,
        service: durations(&[10, 20]),
    };
    window.napi = vec![
        NapiRow {
            napi_id: 8194,
            ..napi.clone()
        },
        napi,
    ];
    let thread = |role, workqueue: &str, pid| KthreadRow {
        role,
        comm: Arc::from("any"),
        pid,
        workqueue: Arc::from(workqueue),
        overflow: false,
        count: 1,
        preempted: 0,
        wait: durations(&[50]),
        service: durations(&[500]),
        service_net: durations(&[400]),
        cpu_ns: 500,
        cpu_net_ns: 400,
    };
    window.kthread = vec![
        thread("kworker", "events", 1),
        thread("kworker", "events", 2),
        thread("rcu", "", 3),
    ];
    window.cpu = vec![ContextTimes {
        cpu: 3,
        hardirq_ns: 500,
        softirq_ns: 3_000,
        ksoftirqd_ns: Some(0),
        kthread_ns: Some(1_000),
        rest_ns: None,
    }];
}

fn own_cost() -> OwnCost {
    OwnCost {
        threads: vec![ThreadTime {
            thread: "kctx-drain".to_owned(),
            cpu_ns: 1_000,
        }],
        memory_bytes: Some(9 << 20),
        ring_bytes: 4096,
        fullest_ring_ppm: 250_000,
        rings: vec![RingFill {
            cpu: 3,
            fullest_ppm: 250_000,
        }],
        bpf: BpfCost {
            basis: Basis::Counted,
            programs: vec![ProgramCost {
                program: "napi_poll".to_owned(),
                family: Family::Napi,
                runs: 3,
                run_ns: 600,
            }],
            ..BpfCost::default()
        },
    }
}

/// A second that has rows of every kind.
pub(in crate::export) fn everything() -> Window {
    let mut first = window(101);
    first.softirq = vec![softirq("NET_RX", 3, &[1_000, 2_000])];
    first.softirq[0].wait = durations(&[70, 80, 90]);
    first.softirq[0].service = durations(&[1_000, 2_500, 1, 1]);
    first.hardirq = vec![hardirq(Some(24), 1, &[500]), hardirq(None, 0, &[700])];
    first.workqueue = vec![
        workqueue("vmstat_update", false, &[9]),
        workqueue("x", true, &[8]),
    ];
    first.workqueue[0].activate = durations(&[4]);
    first.workqueue[0].service_net = durations(&[3]);
    every_other_family(&mut first);
    first.module = vec![
        module(ModuleEvent::Load, "dummy"),
        module(ModuleEvent::Request, "net-pf-10"),
        module(ModuleEvent::Request, "fs-foo"),
    ];
    first.taint_value = Some(1 << 12 | 1 << 9 | 1 << 40);
    first.log.by_level = [0, 0, 0, 2, 5, 0, 0, 0];
    first.log.fragments = 3;
    first.probes = vec![
        probe("irq:softirq_raise", None),
        probe("module:load", Some("no BTF")),
    ];
    first.accounting.by_family[0] = FamilyAccounting {
        observed: 7,
        streamed: 4,
        spilled: 2,
        governed: 1,
        lost: [("ring".to_owned(), 1)].into(),
        partial: [("no_entry".to_owned(), 5)].into(),
        overflowed: 0,
    };
    first.own_cost = Some(own_cost());
    first
}

/// The same and what comes beside windows: series of every metric.
pub(in crate::export) fn fold_everything(state: &mut Cumulative) {
    state.fold(&everything());
    let mut limited = window(102);
    limited.governor = vec![GovernorRow {
        family: Family::Napi,
        since_unix_ns: 5_000_000_000,
        until_unix_ns: None,
        reason: "kctx used 3 % of a CPU".to_owned(),
    }];
    limited.probes = everything().probes;
    limited.taint_value = everything().taint_value;
    limited.own_cost = Some(own_cost());
    state.fold(&limited);
    let endpoint = "http://127.0.0.1:4318/v1/metrics".parse().unwrap();
    let way = Transport::new(endpoint, Protocol::HttpProtobuf);
    let took = Duration::from_millis(3);
    let ended = Ended {
        took,
        error: Some("503"),
        exported: 8,
        rejected: 0,
        failed: &[("503".to_owned(), 2)],
        lost: true,
    };
    let exporter = component(Signal::Metrics, &way);
    state.note_export(&ended, &exporter);
    let backlog = Backlog {
        windows: 10,
        inflight: 8,
    };
    state.note_backlog(backlog, &exporter);
    state.note_findings(&["NET-FW".to_owned()]);
    state.note_recorder(1 << 20, 30_000_000_000);
    state.note_fired("net-rx-late");
    state.note_bundles(BundleResult::Written, 1);
    state.note_bundles(BundleResult::Refused, 2);
    state.fold_reloads(Reloads::default());
    state.note_merged(1, &exporter);
    state.note_log_export(&ended, &component(Signal::Logs, &way));
    let processor = Attributes::new()
        .with("otel.component.type", "batching_log_processor")
        .with("otel.component.name", "batching_log_processor/0");
    state.note_processed(8, None, &processor);
    state.note_processed(2, Some("queue_full"), &processor);
    let reader = Attributes::new()
        .with("otel.component.type", "periodic_metric_reader")
        .with("otel.component.name", "periodic_metric_reader/0");
    state.note_collection(took, &reader);
}
