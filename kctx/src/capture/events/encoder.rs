//! Records and controls into a segment.

use kctx_common::record::{Hardirq, Kthread, Napi, SoftirqLong, Tasklet, Work, flags, kind};
use rustc_hash::FxHashMap;
use zerocopy::IntoBytes as _;

use super::{
    FRAME_RECORDS, MAGIC, VERSION,
    dictionary::Dictionary,
    put_varint,
    records::{
        CpuState, Device, Job, KTHREAD_FLAGS, Line, NET_RX, NR_VECTORS, Queuer, SOFTIRQ_POLLED,
        SoftirqHead, Thread, softirq, tag,
    },
    zigzag,
};
use crate::{
    aggregate::table::MAX_CPUS,
    capture::redact::Pointers,
    decode::{self, Entry},
    source::Control,
};

/// Builds segments.
#[derive(Debug)]
pub struct Encoder {
    out: Vec<u8>,
    cpus: FxHashMap<u32, CpuState>,
    dictionaries: Dictionaries,
    frame: Vec<u8>,
    /// Records in the frame.
    in_frame: usize,
    records: u64,
    /// Addresses of functions go in by these numbers; without, as they are.
    pointers: Option<Pointers>,
}

impl Default for Encoder {
    fn default() -> Self {
        let mut out = MAGIC.to_vec();
        out.push(VERSION);
        Self {
            out,
            cpus: FxHashMap::default(),
            dictionaries: Dictionaries::default(),
            frame: Vec::new(),
            in_frame: 0,
            records: 0,
            pointers: None,
        }
    }
}

impl Encoder {
    /// Builds segments in which numbers stand for the kernel's addresses.
    #[must_use]
    pub fn redacting(pointers: Pointers) -> Self {
        let mut encoder = Self::default();
        encoder.dictionaries.pointers = Some(pointers.clone());
        encoder.pointers = Some(pointers);
        encoder
    }

    /// Bytes of the segment so far.
    #[must_use]
    pub fn len(&self) -> usize {
        self.out.len()
    }

    /// Records in the segment so far.
    #[must_use]
    pub fn record_count(&self) -> u64 {
        self.records
    }

    /// Whether nothing was put in.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.out.len() == MAGIC.len() + 1
    }

    /// The segment; the encoder starts another.
    pub fn finish(&mut self) -> Vec<u8> {
        let next = self
            .pointers
            .clone()
            .map_or_else(Self::default, Self::redacting);
        std::mem::replace(self, next).out
    }

    /// Adds a control.
    pub fn control(&mut self, control: &Control) {
        let redacted = self
            .pointers
            .as_ref()
            .and_then(|pointers| redact(control, pointers));
        // A Control has string keys only and no map that could fail.
        let json = serde_json::to_vec(redacted.as_ref().unwrap_or(control)).unwrap_or_default();
        put_varint(&mut self.out, 0);
        put_varint(&mut self.out, json.len() as u64);
        self.out.extend_from_slice(&json);
    }

    /// Adds a batch; how many of its records were taken. Those that cannot be decoded, or of
    /// a CPU that there can't be, are not.
    pub fn records(&mut self, cpu: u32, batch: &[u8]) -> u64 {
        if cpu >= MAX_CPUS {
            return 0;
        }
        let mut state = self.cpus.get(&cpu).copied().unwrap_or_default();
        let before = self.records;
        for entry in decode::entries(batch) {
            match entry {
                Entry::Softirqs(runs) => {
                    for run in runs {
                        if put_softirq(&mut self.frame, &mut state, &run.get().widen()) {
                            self.was_put(cpu);
                        }
                    }
                }
                entry => {
                    if self.dictionaries.put(&mut self.frame, &mut state, entry) {
                        self.was_put(cpu);
                    }
                }
            }
        }
        if self.in_frame > 0 {
            self.put_frame(cpu);
        }
        self.cpus.insert(cpu, state);
        self.records - before
    }

    /// A record more is in the frame.
    #[inline]
    fn was_put(&mut self, cpu: u32) {
        self.records += 1;
        self.in_frame += 1;
        if self.in_frame == FRAME_RECORDS {
            self.put_frame(cpu);
        }
    }

    fn put_frame(&mut self, cpu: u32) {
        let records = std::mem::take(&mut self.in_frame);
        put_varint(&mut self.out, u64::from(cpu) + 1);
        put_varint(&mut self.out, records as u64);
        self.out.append(&mut self.frame);
    }
}

#[derive(Debug, Default)]
struct Dictionaries {
    lines: Dictionary<Line>,
    jobs: Dictionary<Job>,
    queuers: Dictionary<Queuer>,
    functions: Dictionary<u64>,
    devices: Dictionary<Device>,
    threads: Dictionary<Thread>,
    pointers: Option<Pointers>,
}

/// A control in which an address is, with its number.
fn redact(control: &Control, pointers: &Pointers) -> Option<Control> {
    match control {
        Control::Function { address, name } => Some(Control::Function {
            address: pointers.alias(*address),
            name: name.clone(),
        }),
        Control::Spill(delta) => {
            let mut delta = delta.clone();
            delta.function = pointers.alias(delta.function);
            Some(Control::Spill(delta))
        }
        _ => None,
    }
}

/// Kind and the four bits of its own.
fn tag_of(kind: u8, bits: u8) -> u8 {
    kind | bits << 4
}

/// Where it began, from where the one before ended.
fn put_start(out: &mut Vec<u8>, last_end_ns: &mut u64, end_ns: u64, took_ns: u64) {
    let start_ns = end_ns.wrapping_sub(took_ns);
    put_varint(out, zigzag(start_ns.wrapping_sub(*last_end_ns)));
    *last_end_ns = end_ns;
}

fn put_u64(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(&value.to_le_bytes());
}

/// What is written of an address.
fn shown(pointers: Option<&Pointers>, address: u64) -> u64 {
    pointers.map_or(address, |pointers| pointers.alias(address))
}

impl Dictionaries {
    /// An entry of one record; whether it is one.
    fn put(&mut self, out: &mut Vec<u8>, cpu: &mut CpuState, entry: Entry<'_>) -> bool {
        match entry {
            Entry::SoftirqLong(r) => return put_softirq(out, cpu, &r.get()),
            Entry::Hardirq(r) => self.put_hardirq(out, cpu, &r.get()),
            Entry::Work(r) => self.put_work(out, cpu, &r.get()),
            Entry::Tasklet(r) => self.put_tasklet(out, cpu, &r.get()),
            Entry::Napi(r) => self.put_napi(out, cpu, &r.get()),
            Entry::Kthread(r) => self.put_kthread(out, cpu, &r.get()),
            Entry::Module(r) => {
                out.push(tag_of(kind::MODULE, 0));
                out.extend_from_slice(r.as_bytes());
            }
            Entry::Softirqs(_) | Entry::Unknown => return false,
        }
        true
    }

    fn put_hardirq(&mut self, out: &mut Vec<u8>, cpu: &mut CpuState, r: &Hardirq) {
        let line = Line {
            flags: r.flags,
            irq: r.irq,
            name_id: r.name_id,
        };
        let same = cpu.line == Some(line);
        let follows = r.ret > tag::HARDIRQ_RET;
        let bits = if follows {
            tag::HARDIRQ_RET_FOLLOWS
        } else {
            r.ret
        };
        let same_bit = if same { tag::SAME } else { 0 };
        out.push(tag_of(kind::HARDIRQ, bits | same_bit));
        if follows {
            out.push(r.ret);
        }
        put_start(out, &mut cpu.end_ns, r.end_ns, r.service_ns);
        put_varint(out, r.service_ns);
        if !same {
            self.lines.put(out, line, |out, line| {
                out.push(line.flags);
                put_varint(out, u64::from(line.irq));
                put_u64(out, line.name_id);
            });
            cpu.line = Some(line);
        }
    }

    fn put_work(&mut self, out: &mut Vec<u8>, cpu: &mut CpuState, r: &Work) {
        let job = Job {
            function: r.function,
            workqueue_id: r.workqueue_id,
        };
        let queuer = Queuer {
            kind: r.origin_kind,
            number: r.origin,
        };
        let (same_job, same_queuer) = (cpu.job == Some(job), cpu.queuer == Some(queuer));
        let same_flags = cpu.work_flags == r.flags;
        let bit = |same, bit| if same { bit } else { 0 };
        let bits = bit(same_job, tag::SAME)
            | bit(same_queuer, tag::WORK_ORIGIN)
            | bit(same_flags, tag::WORK_FLAGS);
        out.push(tag_of(kind::WORK, bits));
        if !same_flags {
            out.push(r.flags);
            cpu.work_flags = r.flags;
        }
        put_start(out, &mut cpu.end_ns, r.end_ns, 0);
        put_varint(out, r.service_ns);
        if r.flags & flags::WAIT != 0 {
            put_varint(out, r.wait_ns);
        }
        if r.flags & flags::ACTIVATE != 0 {
            put_varint(out, r.activate_ns);
        }
        if r.flags & flags::NET != 0 {
            put_varint(out, zigzag(r.service_ns.wrapping_sub(r.net_ns)));
        }
        if !same_job {
            let pointers = self.pointers.as_ref();
            self.jobs.put(out, job, |out, job| {
                put_u64(out, shown(pointers, job.function));
                put_u64(out, job.workqueue_id);
            });
            cpu.job = Some(job);
        }
        if !same_queuer {
            self.queuers.put(out, queuer, |out, queuer| {
                out.push(queuer.kind);
                put_varint(out, u64::from(queuer.number));
            });
            cpu.queuer = Some(queuer);
        }
    }

    fn put_tasklet(&mut self, out: &mut Vec<u8>, cpu: &mut CpuState, r: &Tasklet) {
        let same = cpu.function == Some(r.function);
        let nested = r.nested_ns != 0;
        let bits = if same { tag::SAME } else { 0 } | if nested { tag::TASKLET_NESTED } else { 0 };
        out.push(tag_of(kind::TASKLET, bits));
        put_start(out, &mut cpu.end_ns, r.end_ns, r.service_ns);
        put_varint(out, r.service_ns);
        if nested {
            put_varint(out, r.nested_ns);
        }
        if !same {
            let pointers = self.pointers.as_ref();
            self.functions.put(out, r.function, |out, function| {
                put_u64(out, shown(pointers, function));
            });
            cpu.function = Some(r.function);
        }
    }

    fn put_napi(&mut self, out: &mut Vec<u8>, cpu: &mut CpuState, r: &Napi) {
        let device = Device {
            flags: r.flags,
            context: r.context,
            napi_id: r.napi_id,
            budget: r.budget,
            name_id: r.name_id,
        };
        let same = cpu.device == Some(device);
        out.push(tag_of(kind::NAPI, if same { tag::SAME } else { 0 }));
        if !same {
            self.devices.put(out, device, |out, device| {
                out.extend_from_slice(&[device.flags, device.context]);
                put_varint(out, u64::from(device.napi_id));
                put_varint(out, u64::from(device.budget));
                put_u64(out, device.name_id);
            });
            cpu.device = Some(device);
        }
        let measured = r.flags & flags::DURATION != 0;
        let took_ns = if measured { r.duration_ns } else { 0 };
        put_start(out, &mut cpu.end_ns, r.end_ns, took_ns);
        if measured {
            put_varint(out, took_ns);
            cpu.polled.poll(r.end_ns.wrapping_sub(took_ns), r.end_ns);
        }
        put_varint(out, u64::from(r.work));
    }

    fn put_kthread(&mut self, out: &mut Vec<u8>, cpu: &mut CpuState, r: &Kthread) {
        let follow = r.flags & !KTHREAD_FLAGS != 0;
        let bits = if follow {
            tag::KTHREAD_FLAGS_FOLLOW
        } else {
            r.flags
        };
        let net = r.net_ns == r.service_ns;
        let net_bit = if net { tag::KTHREAD_NET } else { 0 };
        out.push(tag_of(kind::KTHREAD, bits | net_bit));
        if follow {
            out.push(r.flags);
        }
        put_start(out, &mut cpu.end_ns, r.end_ns, 0);
        put_varint(out, r.service_ns);
        if !net {
            put_varint(out, zigzag(r.service_ns.wrapping_sub(r.net_ns)));
        }
        if r.flags & flags::WAIT != 0 {
            put_varint(out, r.wait_ns);
        }
        let thread = Thread {
            pid: r.pid,
            workqueue_id: r.workqueue_id,
            comm: r.comm,
        };
        self.threads.put(out, thread, |out, thread| {
            put_varint(out, u64::from(thread.pid));
            put_u64(out, thread.workqueue_id);
            out.extend_from_slice(&thread.comm);
        });
    }
}

fn put_softirq(out: &mut Vec<u8>, cpu: &mut CpuState, r: &SoftirqLong) -> bool {
    let vector = usize::from(r.vector);
    if vector >= NR_VECTORS {
        return false;
    }
    let head = SoftirqHead {
        flags: r.flags,
        place: r.place,
        origin: r.origin,
    };
    let same = cpu.softirq[vector] == head;
    let nested = r.nested_ns != 0;
    if same && !nested && r.vector == NET_RX && put_polled(out, cpu, r) {
        return true;
    }
    if same && !nested {
        out.push(tag_of(kind::SOFTIRQ, r.vector));
    } else {
        out.push(tag_of(kind::SOFTIRQ_LONG, r.vector));
        let nested_bit = if nested { softirq::NESTED } else { 0 };
        let head_bit = if same { 0 } else { softirq::HEAD };
        out.push(nested_bit | head_bit);
        if !same {
            out.extend_from_slice(&[r.flags, r.place]);
            put_varint(out, u64::from(r.origin));
            cpu.softirq[vector] = head;
        }
    }
    put_start(out, &mut cpu.softirq_end_ns, r.end_ns, r.service_ns);
    put_varint(out, r.service_ns);
    if r.flags & flags::WAIT != 0 {
        put_varint(out, r.wait_ns);
    }
    if nested {
        put_varint(out, r.nested_ns);
    }
    true
}

/// A softirq that began with a poll; false where there is none that began with it.
fn put_polled(out: &mut Vec<u8>, cpu: &mut CpuState, r: &SoftirqLong) -> bool {
    let start_ns = r.end_ns.wrapping_sub(r.service_ns);
    let found = cpu.polled.position(start_ns);
    let Some((position, run)) = found.and_then(|at| Some((at, cpu.polled.take(at)?))) else {
        return false;
    };
    out.push(tag_of(SOFTIRQ_POLLED, position as u8));
    put_varint(out, zigzag(r.end_ns.wrapping_sub(run.end_ns)));
    if r.flags & flags::WAIT != 0 {
        put_varint(out, r.wait_ns);
    }
    cpu.softirq_end_ns = r.end_ns;
    true
}
