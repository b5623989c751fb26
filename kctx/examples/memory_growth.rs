//! What userspace holds for so many CPUs and work functions: windows of records made here go through the pipeline into the
//! export's totals, and what this process has more then is printed, in KiB.
//!
//! `cargo run --release --example memory_growth -- CPUS FUNCTIONS`
//!
//! Each CPU has the ten vectors, each function its works; each of them 300 records a window, of 100 ns to 1 ms. Three
//! windows; the rows of the last one are still there when it is looked, as in a daemon whose next window is open.

use anyhow::Context as _;
use bytes::BytesMut;
use kctx::{
    aggregate::table::RowLimits,
    decode,
    export::cumulative::{Cumulative, Limits},
    heap,
    host::HostIdentity,
    pipeline::Pipeline,
    resolve::{Recorded, Resolver},
    source::{Control, Item},
};
use kctx_common::record::{Softirq, Work, context, flags, kind, origin, place};
use zerocopy::IntoBytes as _;

const WINDOWS: u64 = 3;
const RECORDS: u64 = 300;
const VECTORS: u8 = 10;

fn main() -> anyhow::Result<()> {
    let mut args = std::env::args().skip(1);
    let mut number = |what: &'static str| -> anyhow::Result<u32> {
        let text = args.next().with_context(|| format!("{what}?"))?;
        text.parse().with_context(|| format!("{what}: {text}"))
    };
    let (cpus, functions) = (number("how many CPUs")?, number("how many functions")?);
    let before = own_kib()?;
    let limits = RowLimits {
        workqueue: functions as usize + 1,
        ..RowLimits::default()
    };
    let mut pipeline = Pipeline::new(limits, Resolver::new(Box::new(Recorded)));
    let mut totals = Cumulative::new(Limits::default());
    let mut durations = Durations(0x9e37_79b9_7f4a_7c15);
    pipeline.take(&control(Control::Start {
        monotonic_ns: 0,
        unix_ns: 1_700_000_000_000_000_000,
        probes: Vec::new(),
        host: Box::new(HostIdentity::default()),
    }));
    for window in 0..WINDOWS {
        let start_ns = window * 1_000_000_000;
        if window > 0 {
            let ended = pipeline.take(&control(Control::WindowEnd {
                monotonic_ns: start_ns,
                unix_ns: 1_700_000_000_000_000_000 + start_ns,
                taint: Some(0),
            }));
            totals.fold(&ended.context("no window was closed")?);
        }
        for cpu in 0..cpus {
            for vector in 0..VECTORS {
                pipeline.take(&softirqs(cpu, vector, start_ns, &mut durations));
            }
        }
        for function in 0..functions {
            let cpu = function % cpus;
            pipeline.take(&works(cpu, function, start_ns, &mut durations));
        }
    }
    println!("{}", own_kib()?.saturating_sub(before));
    drop((pipeline, totals));
    Ok(())
}

fn control(control: Control) -> Item {
    Item::Control(Box::new(control))
}

/// Of 100 ns to 1 ms, each order of magnitude as often as the others (xorshift64*).
struct Durations(u64);

impl Durations {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let share =
            (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11) as f64 / (1_u64 << 53) as f64;
        (100.0 * 10_f64.powf(4.0 * share)) as u64
    }
}

fn softirqs(cpu: u32, vector: u8, start_ns: u64, durations: &mut Durations) -> Item {
    let mut batch = BytesMut::new();
    for n in 0..RECORDS {
        let record = Softirq {
            kind: kind::SOFTIRQ,
            vector,
            flags: flags::WAIT,
            place: place(context::TASK, origin::TASK),
            nested_ns: 0,
            end_ns: start_ns + 1_000_000 + n * 3_000_000,
            wait_ns: durations.next() as u32,
            service_ns: durations.next() as u32,
            origin: 4000,
            reserved: 0,
        };
        decode::append(&mut batch, record.as_bytes());
    }
    Item::Records {
        cpu,
        batch: batch.freeze(),
    }
}

fn works(cpu: u32, function: u32, start_ns: u64, durations: &mut Durations) -> Item {
    let mut batch = BytesMut::new();
    for n in 0..RECORDS {
        let record = Work {
            kind: kind::WORK,
            flags: flags::WAIT | flags::ACTIVATE | flags::NET,
            origin_kind: origin::TASK,
            origin: 4000,
            end_ns: start_ns + 1_000_000 + n * 3_000_000,
            wait_ns: durations.next(),
            activate_ns: durations.next(),
            service_ns: durations.next(),
            net_ns: durations.next(),
            function: 0xffff_ffff_8100_0000 + u64::from(function) * 64,
            workqueue_id: 1,
            ..Work::default()
        };
        decode::append(&mut batch, record.as_bytes());
    }
    Item::Records {
        cpu,
        batch: batch.freeze(),
    }
}

/// Memory of this process that is its own, in KiB: what is free in the heap goes back first.
fn own_kib() -> anyhow::Result<u64> {
    heap::give_back();
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("RssAnon:"));
    let number = line.and_then(|line| line.trim().strip_suffix(" kB"));
    number.context("no RssAnon")?.parse().context("RssAnon")
}
