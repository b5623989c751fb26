//! A network load made by hand: which records it leaves in the rings.

use kctx::source::Control;
use kctx_common::record::{
    Hardirq, Kthread, Napi, Softirq, Tasklet, Work, context, flags, kind, origin, place,
    vector_class,
};
use zerocopy::IntoBytes as _;

use crate::load::{Lane, Load};

const ETH0: u64 = 0x6574_6830;
const NVME: u64 = 0x6e76_6d65;
const EVENTS: u64 = 0x6576_6e74;
const KBLOCKD: u64 = 0x6b62_6c6b;

fn queue_name(cpu: u32) -> u64 {
    0x7175_6575_0000 + u64::from(cpu)
}

impl Load {
    /// A machine under a network load: interrupts of a device with a queue a CPU and their polls, loopback, timers,
    /// function calls, the threads and works that come with it.
    pub(crate) fn network(cpus: u32, ring_bytes: usize) -> Self {
        let lanes = (0..cpus).map(|cpu| {
            let mut lane = Lane::new(ring_bytes);
            let mut host = Host::new(cpu);
            while !lane.is_full() {
                host.happens(&mut lane);
            }
            lane
        });
        let lanes = lanes.collect();
        Self::of(lanes, names(cpus))
    }
}

/// What the records' ids stand for.
pub(crate) fn names(cpus: u32) -> Vec<Control> {
    let name = |id, text: &str| Control::Name {
        id,
        text: text.to_owned(),
    };
    let mut names = vec![
        name(ETH0, "eth0"),
        name(NVME, "nvme0q1"),
        name(EVENTS, "events"),
        name(KBLOCKD, "kblockd"),
    ];
    names.extend((0..cpus).map(|cpu| name(queue_name(cpu), &format!("eth0-TxRx-{cpu}"))));
    names
}

/// One CPU, and what happens on it. The same each time.
pub(crate) struct Host {
    cpu: u32,
    now_ns: u64,
    seed: u64,
}

const NET_TX: u8 = 2;
const NET_RX: u8 = 3;
const BLOCK: u8 = 4;
const TASKLET: u8 = 6;

impl Host {
    pub(crate) fn new(cpu: u32) -> Self {
        Self {
            cpu,
            now_ns: 1_000_000_000,
            seed: 0x9e37_79b9_7f4a_7c15 ^ u64::from(cpu + 1) << 17,
        }
    }

    /// The time up to which things have happened.
    #[allow(dead_code)] // of those that share this, one asks
    pub(crate) fn now_ns(&self) -> u64 {
        self.now_ns
    }

    /// xorshift64*
    fn random(&mut self, below: u64) -> u64 {
        self.seed ^= self.seed >> 12;
        self.seed ^= self.seed << 25;
        self.seed ^= self.seed >> 27;
        (self.seed.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % below
    }

    /// Somewhere about `typical`; one in fifty up to thirty times as long.
    fn takes(&mut self, typical: u64) -> u64 {
        let ns = typical * (60 + self.random(110)) / 100;
        let ns = match self.random(50) {
            0 => ns * (2 + self.random(29)),
            _ => ns,
        };
        self.now_ns += ns;
        ns
    }

    pub(crate) fn happens(&mut self, lane: &mut Lane) {
        match self.random(100) {
            0..30 => self.device_interrupt(lane),
            30..60 => {
                self.poll(lane, 0, 0, context::TASK);
                let pid = 4000 + self.random(3) as u32;
                self.softirq(lane, NET_RX, context::TASK, (origin::TASK, pid), 1100);
            }
            60..75 => self.timer_interrupt(lane),
            75..83 => {
                let class = [vector_class::RES, vector_class::CAL][self.random(2) as usize];
                self.vector(lane, class, 600);
                if class == vector_class::CAL {
                    let by = (origin::VECTOR, vector_class::CAL);
                    self.poll(lane, 0, 0, context::IRQ_TAIL);
                    self.softirq(lane, NET_RX, context::IRQ_TAIL, by, 2500);
                }
            }
            83..87 => {
                let pid = 4000 + self.random(3) as u32;
                self.softirq(lane, NET_TX, context::TASK, (origin::TASK, pid), 900);
            }
            87..91 => self.ksoftirqd(lane),
            91..94 => {
                self.interrupt(lane, 40, NVME, 1500);
                self.softirq(lane, BLOCK, context::IRQ_TAIL, (origin::IRQ, 40), 4000);
            }
            94..98 => self.worker(lane),
            98 => self.thread(lane, 15, 0, *b"rcu_preempt\0\0\0\0\0", 5000),
            _ => {
                let tasklet = Tasklet {
                    kind: kind::TASKLET,
                    service_ns: self.takes(2000),
                    end_ns: self.now_ns,
                    function: 0xffff_ffff_8100_4000,
                    ..Tasklet::default()
                };
                lane.other(tasklet.as_bytes());
                self.softirq(lane, TASKLET, context::IRQ_TAIL, (origin::IRQ, 40), 2600);
            }
        }
    }

    fn device_interrupt(&mut self, lane: &mut Lane) {
        let irq = 64 + self.cpu;
        self.interrupt(lane, irq, queue_name(self.cpu), 700);
        for _ in 0..=self.random(2) {
            self.poll(lane, ETH0, 8193 + self.cpu, context::IRQ_TAIL);
        }
        self.softirq(lane, NET_RX, context::IRQ_TAIL, (origin::IRQ, irq), 12_000);
    }

    fn timer_interrupt(&mut self, lane: &mut Lane) {
        self.vector(lane, vector_class::LOC, 2200);
        let by = (origin::VECTOR, vector_class::LOC);
        for (vector, often, typical) in [(1, 2, 3000), (7, 3, 4000), (9, 2, 2500), (8, 8, 1500)] {
            if self.random(often) == 0 {
                self.softirq(lane, vector, context::IRQ_TAIL, by, typical);
            }
        }
    }

    fn ksoftirqd(&mut self, lane: &mut Lane) {
        let by = (origin::SOFTIRQ, u32::from(NET_RX));
        for _ in 0..=self.random(4) {
            self.poll(lane, ETH0, 8193 + self.cpu, context::KSOFTIRQD);
            self.softirq(lane, NET_RX, context::KSOFTIRQD, by, 40_000);
        }
        self.thread(
            lane,
            20 + 6 * self.cpu,
            0,
            *b"ksoftirqd/\0\0\0\0\0\0",
            90_000,
        );
    }

    fn worker(&mut self, lane: &mut Lane) {
        let workqueue_id = [EVENTS, KBLOCKD][self.random(2) as usize];
        let wait_ns = self.takes(9000);
        let service_ns = self.takes(5000);
        let work = Work {
            kind: kind::WORK,
            flags: flags::WAIT | flags::ACTIVATE | flags::NET,
            origin_kind: origin::SOFTIRQ,
            origin: u32::from(BLOCK),
            end_ns: self.now_ns,
            wait_ns,
            activate_ns: wait_ns / 4,
            service_ns,
            net_ns: service_ns,
            function: 0xffff_ffff_8100_0000 + 0x40 * self.random(6),
            workqueue_id,
            ..Work::default()
        };
        lane.other(work.as_bytes());
        let pid = 300 + 4 * self.cpu + self.random(2) as u32;
        self.thread(lane, pid, workqueue_id, *b"kworker/1:2\0\0\0\0\0", 12_000);
    }

    fn interrupt(&mut self, lane: &mut Lane, irq: u32, name_id: u64, typical: u64) {
        let record = Hardirq {
            kind: kind::HARDIRQ,
            ret: 1,
            irq,
            service_ns: self.takes(typical),
            end_ns: self.now_ns,
            name_id,
            ..Hardirq::default()
        };
        lane.other(record.as_bytes());
    }

    fn vector(&mut self, lane: &mut Lane, class: u32, typical: u64) {
        let record = Hardirq {
            kind: kind::HARDIRQ,
            ret: 1,
            flags: flags::VECTOR,
            irq: class,
            service_ns: self.takes(typical),
            end_ns: self.now_ns,
            ..Hardirq::default()
        };
        lane.other(record.as_bytes());
    }

    fn poll(&mut self, lane: &mut Lane, name_id: u64, napi_id: u32, context: u8) {
        let work = 1 + self.random(64) as u32;
        let record = Napi {
            kind: kind::NAPI,
            flags: flags::DURATION,
            context,
            napi_id,
            duration_ns: self.takes(500 + 300 * u64::from(work)),
            end_ns: self.now_ns,
            work,
            budget: 64,
            name_id,
            ..Napi::default()
        };
        lane.other(record.as_bytes());
    }

    fn softirq(
        &mut self,
        lane: &mut Lane,
        vector: u8,
        context: u8,
        (origin_kind, origin): (u8, u32),
        typical: u64,
    ) {
        let wait_ns = self.takes(900) as u32;
        let service_ns = self.takes(typical) as u32;
        let nested_ns = match self.random(12) {
            0 => (service_ns / 2).min(2000),
            _ => 0,
        };
        lane.softirq(&Softirq {
            kind: kind::SOFTIRQ,
            vector,
            flags: flags::WAIT,
            place: place(context, origin_kind),
            nested_ns,
            end_ns: self.now_ns,
            wait_ns,
            service_ns,
            origin,
            reserved: 0,
        });
    }

    fn thread(&mut self, lane: &mut Lane, pid: u32, workqueue_id: u64, comm: [u8; 16], ns: u64) {
        let wait_ns = self.takes(4000);
        let service_ns = self.takes(ns);
        let record = Kthread {
            kind: kind::KTHREAD,
            flags: flags::WAIT,
            pid,
            end_ns: self.now_ns,
            wait_ns,
            service_ns,
            net_ns: service_ns - self.random(1 + service_ns / 8),
            workqueue_id,
            comm,
            ..Kthread::default()
        };
        lane.other(record.as_bytes());
    }
}
