//! Windows and evidence for the tests of rules.

use crate::{
    aggregate::window::{Accounting, ContextTimes, OriginKind, StackRow},
    capture::evidence_set::EvidenceSet,
    host::HostIdentity,
    report::summary::{
        AccountingSummary, DurationSummary, HardirqSummary, KthreadSummary, NapiSummary,
        OriginSummary, QueuedBySummary, SUMMARY_SCHEMA, SoftirqOriginSummary, SoftirqSummary,
        Summary, TaintSummary, WindowSpan, WorkqueueSummary,
    },
};

use super::{Case, Diagnosis, Finding, diagnose, fixture_bundle};

/// Length of the windows here.
pub(super) const SECONDS: u64 = 10;

/// Per cent of a CPU, in nanoseconds of the window.
pub(super) fn percent(percent: u64) -> u64 {
    percent * SECONDS * 10_000_000
}

/// An idle window of four CPUs.
pub(super) fn summary() -> Summary {
    Summary {
        schema: SUMMARY_SCHEMA.to_owned(),
        kctx_version: "0".to_owned(),
        host: HostIdentity {
            cpus_online: 4,
            cpus_possible: 4,
            cpu_list: "0-3".to_owned(),
            hz: Some(250),
            ..HostIdentity::default()
        },
        window: WindowSpan {
            start_unix_ns: 1_795_316_645_000_000_000,
            duration_ns: SECONDS * 1_000_000_000,
        },
        accounting: AccountingSummary::from(&Accounting::default()),
        probes: Vec::new(),
        cpu: (0..4)
            .map(|cpu| ContextTimes {
                cpu,
                ..ContextTimes::default()
            })
            .collect(),
        softirq: Vec::new(),
        softirq_origin: Vec::new(),
        hardirq: Vec::new(),
        tasklet: Vec::new(),
        workqueue: Vec::new(),
        napi: Vec::new(),
        kthread: Vec::new(),
        module: Vec::new(),
        log: crate::aggregate::window::LogRows::default(),
        stack: Vec::new(),
        governor: Vec::new(),
        taint: TaintSummary::default(),
        own_cost: None,
        narrowed: None,
        damaged: None,
    }
}

/// A duration of so many, together so long.
pub(super) fn durations(count: u64, sum_ns: u64, max_ns: u64) -> DurationSummary {
    let mean_ns = sum_ns / count.max(1);
    DurationSummary {
        count,
        sum_ns,
        mean_ns,
        p50_ns: mean_ns,
        p90_ns: mean_ns,
        p99_ns: mean_ns,
        p999_ns: max_ns.max(mean_ns),
        max_ns: max_ns.max(mean_ns),
    }
}

/// A vector that takes a part of a CPU.
pub(super) fn softirq(
    vector: &str,
    cpu: u32,
    context: &str,
    count: u64,
    ns: u64,
) -> SoftirqSummary {
    SoftirqSummary {
        vector: vector.to_owned(),
        cpu,
        context: context.to_owned(),
        count,
        wait_unknown: 0,
        wait: durations(count, count * 1000, 10_000),
        service: durations(count, ns, 0),
        service_net: durations(count, ns, 0),
    }
}

pub(super) fn origin(kind: OriginKind, number: Option<u32>, name: &str) -> OriginSummary {
    OriginSummary {
        kind,
        number,
        name: name.to_owned(),
    }
}

pub(super) fn raised(
    vector: &str,
    cpu: u32,
    origin: OriginSummary,
    count: u64,
) -> SoftirqOriginSummary {
    SoftirqOriginSummary {
        vector: vector.to_owned(),
        cpu,
        origin,
        count,
    }
}

/// A summary's vector was raised on a CPU by nothing but that.
pub(super) fn raised_by(
    summary: &mut Summary,
    vector: &str,
    cpu: u32,
    by: OriginSummary,
    count: u64,
) {
    summary.softirq_origin = vec![raised(vector, cpu, by, count)];
}

pub(super) fn napi(
    device: &str,
    id: u32,
    cpu: u32,
    polls: u64,
    full: u64,
    packets: u64,
) -> NapiSummary {
    NapiSummary {
        device: device.to_owned(),
        napi_id: id,
        cpu,
        context: "ksoftirqd".to_owned(),
        overflow: false,
        count: polls,
        exhausted: full,
        packets,
        packets_max: 64,
        service: durations(polls, polls * 1000, 0),
    }
}

pub(super) fn hardirq(
    irq: Option<u32>,
    name: &str,
    cpu: u32,
    count: u64,
    ns: u64,
) -> HardirqSummary {
    HardirqSummary {
        irq,
        name: name.to_owned(),
        overflow: false,
        cpu,
        count,
        unhandled: 0,
        woke_thread: 0,
        service: durations(count, ns, 0),
    }
}

pub(super) fn work(workqueue: &str, function: &str, count: u64, cpu_ns: u64) -> WorkqueueSummary {
    WorkqueueSummary {
        workqueue: workqueue.to_owned(),
        function: function.to_owned(),
        overflow: false,
        count,
        wait_unknown: 0,
        remote: 0,
        wait: durations(count, count * 5000, 0),
        activate: durations(count, count * 100, 0),
        service: durations(count, cpu_ns, 0),
        service_net: durations(count, cpu_ns, 0),
        bh: 0,
        queued_by: vec![QueuedBySummary {
            origin: origin(OriginKind::Task, Some(4711), "ptywriter"),
            count,
        }],
    }
}

pub(super) fn kthread(role: &str, comm: &str, cpu_ns: u64) -> KthreadSummary {
    KthreadSummary {
        role: role.to_owned(),
        comm: comm.to_owned(),
        pid: 20,
        workqueue: String::new(),
        overflow: false,
        count: 1000,
        preempted: 0,
        wait: durations(1000, 1_000_000, 0),
        service: durations(1000, cpu_ns, 0),
        service_net: durations(1000, cpu_ns, 0),
        cpu_ns,
        cpu_net_ns: cpu_ns,
    }
}

pub(super) fn stack(context: &str, frames: &[&str], count: u64) -> StackRow {
    StackRow {
        context: context.to_owned(),
        frames: frames.iter().map(|frame| (*frame).to_owned()).collect(),
        count,
    }
}

/// Files by `before/...` and `after/...`.
pub(super) fn evidence(files: &[(&str, &str)]) -> EvidenceSet {
    let mut set = EvidenceSet::default();
    for (path, text) in files {
        set.take(&format!("evidence/{path}"), text.as_bytes().to_vec())
            .unwrap();
    }
    set
}

/// softnet_stat of four CPUs before and after, of which one dropped, was squeezed and woken by RPS so often a second.
pub(super) fn softnet(cpu: u32, dropped: u64, squeezed: u64, rps: u64) -> EvidenceSet {
    let sample = |counts: [u64; 3]| {
        let line = |at: u32| {
            let [dropped, squeezed, rps] = if at == cpu { counts } else { [0; 3] };
            format!("0 {dropped:x} {squeezed:x} 0 0 0 0 0 0 {rps:x} 0 0 {at:x} 0 0\n")
        };
        (0..4).map(line).collect::<String>()
    };
    let after = sample([dropped, squeezed, rps].map(|rate| rate * SECONDS));
    evidence(&[
        ("before/proc/net/softnet_stat", &sample([0; 3])),
        ("after/proc/net/softnet_stat", &after),
    ])
}

/// One CPU that receives over its backlog in ksoftirqd, all raised by function calls from another CPU: 90 % of it, 28,000
/// packets a second, full polls.
pub(super) fn saturated(cpu: u32) -> Summary {
    let mut summary = summary();
    summary.softirq = vec![softirq("NET_RX", cpu, "ksoftirqd", 4400, percent(90))];
    summary.softirq_origin = vec![
        raised(
            "NET_RX",
            cpu,
            origin(OriginKind::Softirq, Some(3), "NET_RX"),
            4000,
        ),
        raised(
            "NET_RX",
            cpu,
            origin(OriginKind::Vector, Some(2), "CAL"),
            400,
        ),
    ];
    summary.napi = vec![napi("backlog", 0, cpu, 4400, 4390, 280_000)];
    summary
}

/// Something in each family.
pub(super) fn busy() -> Summary {
    let mut summary = saturated(0);
    summary
        .softirq
        .push(softirq("TIMER", 1, "irq_tail", 100, percent(40)));
    summary.hardirq = vec![
        hardirq(Some(36), "eth0-rx-0", 0, 100, percent(60)),
        hardirq(None, "LOC", 1, 500_000, percent(20)),
    ];
    summary.workqueue = vec![work("events", "flush_to_ldisc", 400_000, percent(90))];
    summary.kthread = vec![
        kthread("ksoftirqd", "ksoftirqd/0", percent(90)),
        kthread("irq", "irq/9-acpi", percent(20)),
    ];
    summary.stack = vec![stack(
        "softirq:NET_RX",
        &["net_rx_action", "nft_do_chain"],
        50,
    )];
    summary
}

/// Diagnoses a summary and evidence; as they come out of a bundle, too.
pub(super) fn of(summary: &Summary, evidence: &EvidenceSet) -> Diagnosis {
    let case = Case { summary, evidence };
    let diagnosis = diagnose(&case);
    fixture_bundle::assert_same(&case, &diagnosis);
    diagnosis
}

/// The finding of that id, told in full.
pub(super) fn found<'a>(diagnosis: &'a Diagnosis, id: &str) -> Option<&'a Finding> {
    diagnosis.findings.iter().find(|finding| finding.id == id)
}

/// Why something was ruled out.
pub(super) fn ruled_out<'a>(diagnosis: &'a Diagnosis, id: &str) -> Option<&'a str> {
    let row = diagnosis.ruled_out.iter().find(|row| row.id == id);
    row.map(|row| row.because.as_str())
}
