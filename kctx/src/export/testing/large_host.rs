//! A busy machine with many CPUs, of which kctx sees everything that it can see.

use std::{
    hash::{Hash, Hasher as _},
    sync::Arc,
};

use super::{SECOND, durations, softirq, window, workqueue};
use crate::aggregate::duration::Durations;
use crate::aggregate::window::{
    ContextTimes, HardirqRow, KthreadRow, NapiRow, Origin, OriginKind, SoftirqOriginRow,
    TaskletRow, Window,
};

const VECTORS: [&str; 8] = [
    "TIMER", "NET_TX", "NET_RX", "BLOCK", "TASKLET", "SCHED", "HRTIMER", "RCU",
];
const CONTEXTS: [&str; 4] = ["irq_tail", "ksoftirqd", "idle", "task"];
const ORIGINS: [OriginKind; 5] = [
    OriginKind::Irq,
    OriginKind::Vector,
    OriginKind::Softirq,
    OriginKind::Task,
    OriginKind::Idle,
];
const FUNCTIONS: usize = 400;
const QUEUES: usize = 60;

/// Sixty durations from 200 ns to some ms, most of them short; others for each `of`.
fn some(of: impl Hash) -> Durations {
    let mut hasher = rustc_hash::FxHasher::default();
    of.hash(&mut hasher);
    let mut state = hasher.finish() | 1;
    let mut random = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let values: Vec<u64> = (0..60)
        .map(|_| {
            let random = random();
            let long = if random >> 16 & 15 == 0 { 4 } else { 0 };
            let doublings = random % 8 + (random >> 8 & 3) + long;
            (200 << doublings) + (random >> 32) % (100 << doublings)
        })
        .collect();
    durations(&values)
}

fn interrupts(cpu: u32) -> Vec<HardirqRow> {
    let row = |irq: Option<u32>, name: &str| HardirqRow {
        irq,
        name: Arc::from(name),
        overflow: false,
        cpu,
        count: 60,
        unhandled: 0,
        woke_thread: 0,
        service: some((cpu, name)),
    };
    let vectors = ["LOC", "RES", "CAL", "IWI"].map(|name| row(None, name));
    // A queue of each device on each CPU.
    let queues = ["eth0", "eth1", "nvme0q", "nvme1q", "nvme2q", "nvme3q"];
    let lines = (0..)
        .zip(queues)
        .map(|(at, device)| row(Some(1000 + cpu * 8 + at), &format!("{device}-{cpu}")));
    vectors.into_iter().chain(lines).collect()
}

fn polls(cpu: u32) -> Vec<NapiRow> {
    let poll = |device: &str| NapiRow {
        device: Arc::from(device),
        napi_id: 8192 + cpu,
        cpu,
        context: "irq_tail",
        overflow: false,
        count: 60,
        exhausted: 1,
        packets: 300,
        packets_max: 64,
        service: some((cpu, device)),
    };
    ["eth0", "eth1", "backlog"].map(poll).to_vec()
}

/// What one CPU did in a second that ends at `end`.
fn of_cpu(cpu: u32, end: u64) -> Window {
    let mut second = window(end);
    for vector in VECTORS {
        for (nth, context) in CONTEXTS.iter().enumerate() {
            let mut row = softirq(vector, cpu, &[]);
            row.context = context;
            let of = |what: &str| some((cpu, vector, nth, what));
            (row.wait, row.service, row.service_net) = (of("wait"), of("gross"), of("net"));
            second.softirq.push(row);
        }
        second
            .softirq_origin
            .extend(ORIGINS.map(|kind| SoftirqOriginRow {
                vector,
                cpu,
                origin: Origin {
                    kind,
                    number: Some(cpu),
                    name: Arc::from(""),
                },
                count: 12,
            }));
    }
    second.hardirq = interrupts(cpu);
    second.napi = polls(cpu);
    second.cpu = vec![ContextTimes {
        cpu,
        hardirq_ns: 1_000_000,
        softirq_ns: 2_000_000,
        ksoftirqd_ns: Some(500_000),
        kthread_ns: Some(1_000_000),
        rest_ns: Some(SECOND - 4_500_000),
    }];
    second
}

/// What is not by CPU.
fn of_all(end: u64) -> Window {
    let mut second = window(end);
    for n in 0..FUNCTIONS {
        let mut row = workqueue(&format!("some_driver_work_function_{n}"), false, &[]);
        row.workqueue = Arc::from(format!("queue-{}", n % QUEUES));
        let of = |what: &str| some((n, what));
        (row.wait, row.service, row.service_net) = (of("wait"), of("gross"), of("net"));
        row.activate = if n % 4 == 0 {
            some(n)
        } else {
            Durations::default()
        };
        second.workqueue.push(row);
    }
    second.tasklet = (0..20)
        .map(|n| TaskletRow {
            function: Arc::from(format!("tasklet_{n}")),
            overflow: false,
            count: 60,
            service: some(n),
            service_net: some(n),
        })
        .collect();
    let thread = |role, workqueue: String| KthreadRow {
        role,
        comm: Arc::from("any"),
        pid: 1,
        workqueue: Arc::from(workqueue.as_str()),
        overflow: false,
        count: 60,
        preempted: 0,
        wait: some((role, &workqueue)),

        service: Durations::default(),
        service_net: Durations::default(),
        cpu_ns: 1000,
        cpu_net_ns: 1000,
    };
    let roles = [
        "ksoftirqd",
        "irq",
        "rcu",
        "migration",
        "napi",
        "jbd2",
        "watchdog",
        "kswapd",
        "other",
    ];
    second.kthread = (roles.iter().map(|role| thread(role, String::new())))
        .chain((0..QUEUES).map(|n| thread("kworker", format!("queue-{n}"))))
        .collect();
    let everything = super::everything();
    second.module = everything.module;
    second.taint_value = everything.taint_value;
    second.log = everything.log;
    second.probes = everything.probes;
    second.accounting = everything.accounting;
    second.own_cost = everything.own_cost;
    second
}

/// A second of such a machine with so many CPUs, CPU by CPU: the whole of it at once would be hundreds of megabytes.
pub(in crate::export) fn large_host(cpus: u32) -> impl Iterator<Item = Window> {
    let each = (0..cpus).map(|cpu| of_cpu(cpu, 101 + u64::from(cpu)));
    each.chain([of_all(101 + u64::from(cpus))])
}
