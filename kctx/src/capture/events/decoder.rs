//! A segment into records and controls.

use bytes::Bytes;
use kctx_common::record::{
    Hardirq, Kthread, Module, Napi, SoftirqLong, TASK_COMM_LEN, Tasklet, Work, flags, kind,
};
use rustc_hash::FxHashMap;
use zerocopy::{FromBytes as _, Immutable, IntoBytes};

use super::{
    EventsError, FRAME_RECORDS, MAGIC, OLDEST, VERSION,
    input::Input,
    records::{
        CpuState, Device, Job, KTHREAD_FLAGS, Line, NET_RX, Queuer, SOFTIRQ_POLLED, SoftirqHead,
        Thread, softirq, tag,
    },
    unzigzag,
};
use crate::{aggregate::table::MAX_CPUS, decode, source::Item};

/// Bytes of an entry in a batch: a long softirq's, the most frequent.
const TYPICAL_ENTRY: usize = decode::HEADER_LEN + size_of::<SoftirqLong>();

/// Reads a segment's items, in order.
#[derive(Debug)]
pub struct Decoder {
    input: Input,
    cpus: FxHashMap<u32, CpuState>,
    dictionaries: Dictionaries,
}

/// Things by the order in which they first appeared: as many as the segment describes.
#[derive(Debug, Default)]
struct Dictionaries {
    lines: Vec<Line>,
    jobs: Vec<Job>,
    queuers: Vec<Queuer>,
    functions: Vec<u64>,
    devices: Vec<Device>,
    threads: Vec<Thread>,
}

impl Decoder {
    /// Looks at the magic only.
    pub fn new(bytes: Bytes) -> Result<Self, EventsError> {
        let version = bytes.strip_prefix(MAGIC).and_then(|rest| rest.first());
        match version {
            None => return Err(EventsError::Magic),
            Some(&version) if version < OLDEST => return Err(EventsError::Older(version)),
            Some(&version) if version > VERSION => return Err(EventsError::Newer(version)),
            Some(_) => {}
        }
        Ok(Self {
            input: Input::new(bytes, MAGIC.len() + 1),
            cpus: FxHashMap::default(),
            dictionaries: Dictionaries::default(),
        })
    }

    /// The next item; `None` at the end.
    pub fn next_item(&mut self) -> Result<Option<Item>, EventsError> {
        let input = &mut self.input;
        if input.is_at_end() {
            return Ok(None);
        }
        let head = input.varint()?;
        if head == 0 {
            let len = usize::try_from(input.varint()?).map_err(|_| EventsError::Short)?;
            let json = input.take(len)?;
            let control = serde_json::from_slice(json)
                .map_err(|_| EventsError::Damaged("a control is no valid JSON"))?;
            return Ok(Some(Item::Control(control)));
        }
        let cpu = u32::try_from(head - 1).unwrap_or(u32::MAX);
        if cpu >= MAX_CPUS {
            return Err(EventsError::Damaged("CPU number out of range"));
        }
        let records = input.varint()?;
        if records > FRAME_RECORDS as u64 {
            return Err(EventsError::Damaged("a frame has too many records"));
        }
        let state = self.cpus.entry(cpu).or_default();
        let mut batch = Vec::with_capacity(records as usize * TYPICAL_ENTRY);
        for _ in 0..records {
            self.dictionaries.record(input, &mut batch, state)?;
        }
        Ok(Some(Item::Records {
            cpu,
            batch: Bytes::from(batch),
        }))
    }
}

impl Dictionaries {
    fn record(
        &mut self,
        input: &mut Input,
        batch: &mut Vec<u8>,
        cpu: &mut CpuState,
    ) -> Result<(), EventsError> {
        let byte = input.byte()?;
        let (which, bits) = (byte & 15, byte >> 4);
        match which {
            kind::SOFTIRQ | kind::SOFTIRQ_LONG => {
                let record = softirq_run(input, cpu, which, bits)?;
                append(batch, &record);
            }
            SOFTIRQ_POLLED => {
                let record = polled_run(input, cpu, bits)?;
                append(batch, &record);
            }
            kind::HARDIRQ => {
                let record = self.hardirq(input, cpu, bits)?;
                append(batch, &record);
            }
            kind::WORK => {
                let record = self.work(input, cpu, bits)?;
                append(batch, &record);
            }
            kind::TASKLET => {
                let record = self.tasklet(input, cpu, bits)?;
                append(batch, &record);
            }
            kind::NAPI => {
                let record = self.napi(input, cpu, bits)?;
                append(batch, &record);
            }
            kind::KTHREAD => {
                let record = self.kthread(input, cpu, bits)?;
                append(batch, &record);
            }
            kind::MODULE => {
                let module = Module::read_from_bytes(input.take(size_of::<Module>())?)
                    .map_err(|_| EventsError::Damaged("a module record"))?;
                if module.kind != kind::MODULE {
                    return Err(EventsError::Damaged("a module record of another kind"));
                }
                append(batch, &module);
            }
            _ => return Err(EventsError::Damaged("a record of unknown kind")),
        }
        Ok(())
    }

    fn hardirq(
        &mut self,
        input: &mut Input,
        cpu: &mut CpuState,
        bits: u8,
    ) -> Result<Hardirq, EventsError> {
        let ret = if bits & tag::HARDIRQ_RET_FOLLOWS != 0 {
            input.byte()?
        } else {
            bits & tag::HARDIRQ_RET
        };
        let (end_ns, service_ns) = input.end_and_time(&mut cpu.end_ns)?;
        let line = which(&mut cpu.line, bits & tag::SAME != 0, || {
            entry(&mut self.lines, input, |input| {
                Ok(Line {
                    flags: input.byte()?,
                    irq: input.u32()?,
                    name_id: input.u64()?,
                })
            })
        })?;
        Ok(Hardirq {
            kind: kind::HARDIRQ,
            ret,
            flags: line.flags,
            irq: line.irq,
            end_ns,
            service_ns,
            name_id: line.name_id,
            ..Hardirq::default()
        })
    }

    fn work(
        &mut self,
        input: &mut Input,
        cpu: &mut CpuState,
        bits: u8,
    ) -> Result<Work, EventsError> {
        if bits & tag::WORK_FLAGS == 0 {
            cpu.work_flags = input.byte()?;
        }
        let set = cpu.work_flags;
        let end_ns = input.end(&mut cpu.end_ns)?;
        let service_ns = input.varint()?;
        let mut measured = |flag: u8| {
            if set & flag == 0 {
                return Ok(0);
            }
            input.varint()
        };
        let wait_ns = measured(flags::WAIT)?;
        let activate_ns = measured(flags::ACTIVATE)?;
        let net_ns = match set & flags::NET {
            0 => 0,
            _ => service_ns.wrapping_sub(unzigzag(measured(flags::NET)?)),
        };
        let job = which(&mut cpu.job, bits & tag::SAME != 0, || {
            entry(&mut self.jobs, input, |input| {
                Ok(Job {
                    function: input.u64()?,
                    workqueue_id: input.u64()?,
                })
            })
        })?;
        let queuer = which(&mut cpu.queuer, bits & tag::WORK_ORIGIN != 0, || {
            entry(&mut self.queuers, input, |input| {
                Ok(Queuer {
                    kind: input.byte()?,
                    number: input.u32()?,
                })
            })
        })?;
        Ok(Work {
            kind: kind::WORK,
            flags: set,
            origin_kind: queuer.kind,
            origin: queuer.number,
            end_ns,
            wait_ns,
            activate_ns,
            service_ns,
            net_ns,
            function: job.function,
            workqueue_id: job.workqueue_id,
            ..Work::default()
        })
    }

    fn tasklet(
        &mut self,
        input: &mut Input,
        cpu: &mut CpuState,
        bits: u8,
    ) -> Result<Tasklet, EventsError> {
        let (end_ns, service_ns) = input.end_and_time(&mut cpu.end_ns)?;
        let nested_ns = if bits & tag::TASKLET_NESTED != 0 {
            input.varint()?
        } else {
            0
        };
        let function = which(&mut cpu.function, bits & tag::SAME != 0, || {
            entry(&mut self.functions, input, Input::u64)
        })?;
        Ok(Tasklet {
            kind: kind::TASKLET,
            end_ns,
            service_ns,
            nested_ns,
            function,
            ..Tasklet::default()
        })
    }

    fn napi(
        &mut self,
        input: &mut Input,
        cpu: &mut CpuState,
        bits: u8,
    ) -> Result<Napi, EventsError> {
        let device = which(&mut cpu.device, bits & tag::SAME != 0, || {
            entry(&mut self.devices, input, |input| {
                Ok(Device {
                    flags: input.byte()?,
                    context: input.byte()?,
                    napi_id: input.u32()?,
                    budget: input.u32()?,
                    name_id: input.u64()?,
                })
            })
        })?;
        let (end_ns, duration_ns) = if device.flags & flags::DURATION != 0 {
            let (end_ns, took_ns) = input.end_and_time(&mut cpu.end_ns)?;
            cpu.polled.poll(end_ns.wrapping_sub(took_ns), end_ns);
            (end_ns, took_ns)
        } else {
            (input.end(&mut cpu.end_ns)?, 0)
        };
        Ok(Napi {
            kind: kind::NAPI,
            flags: device.flags,
            context: device.context,
            napi_id: device.napi_id,
            end_ns,
            work: input.u32()?,
            budget: device.budget,
            duration_ns,
            name_id: device.name_id,
            ..Napi::default()
        })
    }

    fn kthread(
        &mut self,
        input: &mut Input,
        cpu: &mut CpuState,
        bits: u8,
    ) -> Result<Kthread, EventsError> {
        let set = if bits & tag::KTHREAD_FLAGS_FOLLOW != 0 {
            input.byte()?
        } else {
            bits & KTHREAD_FLAGS
        };
        let end_ns = input.end(&mut cpu.end_ns)?;
        let service_ns = input.varint()?;
        let net_ns = if bits & tag::KTHREAD_NET != 0 {
            service_ns
        } else {
            service_ns.wrapping_sub(unzigzag(input.varint()?))
        };
        let wait_ns = if set & flags::WAIT != 0 {
            input.varint()?
        } else {
            0
        };
        let thread = entry(&mut self.threads, input, |input| {
            let (pid, workqueue_id) = (input.u32()?, input.u64()?);
            let mut comm = [0; TASK_COMM_LEN];
            comm.copy_from_slice(input.take(TASK_COMM_LEN)?);
            Ok(Thread {
                pid,
                workqueue_id,
                comm,
            })
        })?;
        Ok(Kthread {
            kind: kind::KTHREAD,
            flags: set,
            pid: thread.pid,
            end_ns,
            wait_ns,
            service_ns,
            net_ns,
            workqueue_id: thread.workqueue_id,
            comm: thread.comm,
            ..Kthread::default()
        })
    }
}

fn softirq_run(
    input: &mut Input,
    cpu: &mut CpuState,
    form: u8,
    vector: u8,
) -> Result<SoftirqLong, EventsError> {
    let extra = if form == kind::SOFTIRQ_LONG {
        input.byte()?
    } else {
        0
    };
    // Four bits: always within the array.
    let head = &mut cpu.softirq[usize::from(vector & 15)];
    if extra & softirq::HEAD != 0 {
        *head = SoftirqHead {
            flags: input.byte()?,
            place: input.byte()?,
            origin: input.u32()?,
        };
    }
    let head = *head;
    let (end_ns, service_ns) = input.end_and_time(&mut cpu.softirq_end_ns)?;
    let wait_ns = if head.flags & flags::WAIT != 0 {
        input.varint()?
    } else {
        0
    };
    let nested_ns = if extra & softirq::NESTED != 0 {
        input.varint()?
    } else {
        0
    };
    Ok(SoftirqLong {
        kind: kind::SOFTIRQ_LONG,
        vector: vector & 15,
        flags: head.flags,
        place: head.place,
        origin: head.origin,
        end_ns,
        wait_ns,
        service_ns,
        nested_ns,
    })
}

fn polled_run(
    input: &mut Input,
    cpu: &mut CpuState,
    position: u8,
) -> Result<SoftirqLong, EventsError> {
    let run = cpu.polled.take(usize::from(position));
    let run = run.ok_or(EventsError::Damaged(
        "a softirq of a poll that is not there",
    ))?;
    let end_ns = unzigzag(input.varint()?).wrapping_add(run.end_ns);
    cpu.softirq_end_ns = end_ns;
    let head = cpu.softirq[usize::from(NET_RX)];
    let wait_ns = if head.flags & flags::WAIT != 0 {
        input.varint()?
    } else {
        0
    };
    Ok(SoftirqLong {
        kind: kind::SOFTIRQ_LONG,
        vector: NET_RX,
        flags: head.flags,
        place: head.place,
        origin: head.origin,
        end_ns,
        wait_ns,
        service_ns: end_ns.wrapping_sub(run.start_ns),
        nested_ns: 0,
    })
}

/// [`decode::append`] for a record whose length the compiler knows: all are multiples of 8, so that nothing is padded.
#[inline]
fn append<T: IntoBytes + Immutable>(batch: &mut Vec<u8>, record: &T) {
    const { assert!(size_of::<T>().is_multiple_of(8)) };
    // The length in the machine's order, then the word that is the kernel's.
    let header = [size_of::<T>() as u32, 0];
    batch.reserve(decode::HEADER_LEN + size_of::<T>());
    batch.extend_from_slice(header.as_bytes());
    batch.extend_from_slice(record.as_bytes());
}

/// The one before, or another, which is the one before from then on.
fn which<T: Copy>(
    last: &mut Option<T>,
    same: bool,
    other: impl FnOnce() -> Result<T, EventsError>,
) -> Result<T, EventsError> {
    if same {
        return last.ok_or(EventsError::Damaged(
            "the same as a record that is not there",
        ));
    }
    let thing = other()?;
    *last = Some(thing);
    Ok(thing)
}

/// An entry of a dictionary, by its index; the next one is described right there.
fn entry<T: Copy>(
    dictionary: &mut Vec<T>,
    input: &mut Input,
    describe: impl FnOnce(&mut Input) -> Result<T, EventsError>,
) -> Result<T, EventsError> {
    let index = input.varint()?;
    let next = dictionary.len() as u64;
    if index > next {
        return Err(EventsError::Damaged("a dictionary index out of range"));
    }
    if index == next {
        let thing = describe(input)?;
        dictionary.push(thing);
        return Ok(thing);
    }
    let known = dictionary.get(index as usize).copied();
    known.ok_or(EventsError::Damaged("a dictionary index out of range"))
}
