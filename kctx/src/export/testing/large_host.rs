//! A busy machine with many CPUs, of which kctx sees everything that it can see.

use std::sync::{Arc, LazyLock};

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

/// Durations from 200 ns to some ms, most of them short, in a few different mixtures.
static MIXTURES: LazyLock<Vec<Durations>> = LazyLock::new(|| {
    let mixture = |seed: u64| {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let values: Vec<u64> = (0..60)
            .map(|_| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                let doublings =
                    (state % 8) + (state >> 8 & 3) + u64::from(state >> 16 & 15 == 0) * 4;
                200 * (1 << doublings) + (state >> 32) % (100 << doublings)
            })
            .collect();
        durations(&values)
    };
    (1..=32).map(mixture).collect()
});

fn some(of: usize) -> Durations {
    MIXTURES[of % MIXTURES.len()].clone()
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
        service: some(cpu as usize + name.len()),
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
        service: some(cpu as usize),
    };
    ["eth0", "eth1", "backlog"].map(poll).to_vec()
}

/// What one CPU did in a second that ends at `end`.
fn of_cpu(cpu: u32, end: u64) -> Window {
    let mut second = window(end);
    for (at, vector) in VECTORS.iter().enumerate() {
        for (nth, context) in CONTEXTS.iter().enumerate() {
            let mut row = softirq(vector, cpu, &[]);
            row.context = context;
            (row.wait, row.service, row.service_net) =
                (some(at + nth), some(at), some(at + cpu as usize));
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
        (row.wait, row.service, row.service_net) = (some(n), some(n + 1), some(n + 2));
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
        workqueue: Arc::from(workqueue),
        overflow: false,
        count: 60,
        preempted: 0,
        wait: some(role.len()),
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
