use bytes::{Bytes, BytesMut};
use kctx_common::record::{
    Hardirq, Kthread, Module, Napi, SoftirqLong, Tasklet, Work, flags, kind, module_event, origin,
    place,
};
use proptest::prelude::*;
use zerocopy::IntoBytes as _;

use super::{records::NET_RX, *};
use crate::{
    decode,
    source::{Control, Item},
};

/// Often small and often the same, at times anything.
fn ns() -> impl Strategy<Value = u64> + Clone {
    prop_oneof![Just(0_u64), 0..5_000_u64, any::<u64>()]
}

fn number() -> impl Strategy<Value = u32> + Clone {
    prop_oneof![0..3_u32, any::<u32>()]
}

fn only_if(set: u8, flag: u8, ns: u64) -> u64 {
    if set & flag == 0 { 0 } else { ns }
}

fn bytes_of(record: &(impl zerocopy::IntoBytes + zerocopy::Immutable)) -> Vec<u8> {
    record.as_bytes().to_vec()
}

fn any_softirq() -> impl Strategy<Value = Vec<u8>> {
    let head = (
        0..16_u8,
        0..2_u8,
        prop_oneof![0..3_u8, any::<u8>()],
        number(),
    );
    let nested = prop_oneof![Just(0_u64), ns()];
    (head, ns(), ns(), ns(), nested).prop_map(
        |((vector, flags, place, origin), end_ns, wait_ns, service_ns, nested_ns)| {
            bytes_of(&SoftirqLong {
                kind: kind::SOFTIRQ_LONG,
                vector,
                flags,
                place,
                origin,
                end_ns,
                wait_ns: only_if(flags, flags::WAIT, wait_ns),
                service_ns,
                nested_ns,
            })
        },
    )
}

fn any_hardirq() -> impl Strategy<Value = Vec<u8>> {
    let ret = prop_oneof![0..4_u8, any::<u8>()];
    (ret, 0..3_u8, number(), ns(), ns(), 0..4_u64).prop_map(
        |(ret, flags, irq, end_ns, service_ns, name_id)| {
            bytes_of(&Hardirq {
                kind: kind::HARDIRQ,
                ret,
                flags,
                irq,
                end_ns,
                service_ns,
                name_id,
                ..Hardirq::default()
            })
        },
    )
}

fn any_work() -> impl Strategy<Value = Vec<u8>> {
    let which = (prop_oneof![0..3_u64, any::<u64>()], 0..4_u64);
    let set = prop_oneof![0..32_u8, any::<u8>()];
    let times = (ns(), ns(), ns(), ns(), ns());
    (set, any::<u8>(), number(), times, which).prop_map(
        |(set, origin_kind, origin, times, (function, workqueue_id))| {
            let (end_ns, wait_ns, activate_ns, service_ns, net_ns) = times;
            bytes_of(&Work {
                kind: kind::WORK,
                flags: set,
                origin_kind,
                origin,
                end_ns,
                wait_ns: only_if(set, flags::WAIT, wait_ns),
                activate_ns: only_if(set, flags::ACTIVATE, activate_ns),
                service_ns,
                net_ns: only_if(set, flags::NET, net_ns),
                function,
                workqueue_id,
                ..Work::default()
            })
        },
    )
}

fn any_tasklet() -> impl Strategy<Value = Vec<u8>> {
    (ns(), ns(), ns(), 0..4_u64).prop_map(|(end_ns, service_ns, nested_ns, function)| {
        bytes_of(&Tasklet {
            kind: kind::TASKLET,
            end_ns,
            service_ns,
            nested_ns,
            function,
            ..Tasklet::default()
        })
    })
}

fn any_napi() -> impl Strategy<Value = Vec<u8>> {
    let which = (0..2_u8, any::<u8>(), number(), number(), 0..4_u64);
    (which, ns(), number(), ns()).prop_map(
        |((set, context, napi_id, budget, name_id), end_ns, work, duration_ns)| {
            bytes_of(&Napi {
                kind: kind::NAPI,
                flags: set,
                context,
                napi_id,
                end_ns,
                work,
                budget,
                duration_ns: only_if(set, flags::DURATION, duration_ns),
                name_id,
                ..Napi::default()
            })
        },
    )
}

fn any_kthread() -> impl Strategy<Value = Vec<u8>> {
    let which = (
        number(),
        0..3_u64,
        prop_oneof![Just([0; 16]), any::<[u8; 16]>()],
    );
    let set = prop_oneof![0..4_u8, any::<u8>()];
    (set, which, ns(), ns(), ns(), prop::option::of(ns())).prop_map(
        |(set, (pid, workqueue_id, comm), end_ns, wait_ns, service_ns, net_ns)| {
            bytes_of(&Kthread {
                kind: kind::KTHREAD,
                flags: set,
                pid,
                end_ns,
                wait_ns: only_if(set, flags::WAIT, wait_ns),
                service_ns,
                net_ns: net_ns.unwrap_or(service_ns),
                workqueue_id,
                comm,
                ..Kthread::default()
            })
        },
    )
}

fn any_module() -> impl Strategy<Value = Vec<u8>> {
    (1..5_u8, ns(), ns(), any::<i32>(), any::<u32>()).prop_map(
        |(event, time_ns, init_ns, ret, taints)| {
            bytes_of(&Module {
                kind: kind::MODULE,
                event,
                reserved: [0; 2],
                taints,
                pid: 7,
                cpu: 1,
                time_ns,
                comm: *b"modprobe\0\0\0\0\0\0\0\0",
                name: [event; 56],
                init_ns: if event == module_event::INIT {
                    init_ns
                } else {
                    0
                },
                ret,
                reserved2: 0,
            })
        },
    )
}

fn any_record() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        any_softirq(),
        any_hardirq(),
        any_work(),
        any_tasklet(),
        any_napi(),
        any_kthread(),
        any_module(),
    ]
}

fn items(segment: Vec<u8>) -> Result<Vec<Item>, EventsError> {
    let mut decoder = Decoder::new(Bytes::from(segment))?;
    let mut items = Vec::new();
    while let Some(item) = decoder.next_item()? {
        items.push(item);
    }
    Ok(items)
}

proptest! {
    #[test]
    fn records_come_back_bit_for_bit(batches in prop::collection::vec(
        (0..3_u32, prop::collection::vec(any_record(), 1..40)), 1..6)
    ) {
        let mut encoder = Encoder::default();
        let mut expected = Vec::new();
        for (cpu, records) in &batches {
            let mut batch = BytesMut::new();
            for record in records {
                decode::append(&mut batch, record);
            }
            prop_assert_eq!(encoder.records(*cpu, &batch), records.len() as u64);
            expected.push(Item::Records { cpu: *cpu, batch: batch.freeze() });
        }
        prop_assert_eq!(items(encoder.finish()).unwrap(), expected);
    }

    #[test]
    fn damaged_segments_never_panic(
        records in prop::collection::vec(any_record(), 1..20),
        at in 8usize..400, byte in any::<u8>(), cut in 0usize..400,
    ) {
        let mut encoder = Encoder::default();
        let mut batch = BytesMut::new();
        for record in &records {
            decode::append(&mut batch, record);
        }
        encoder.records(0, &batch);
        encoder.control(&Control::WindowEnd { monotonic_ns: 5, unix_ns: 6, taint: None });
        let mut segment = encoder.finish();
        if let Some(b) = segment.get_mut(at) {
            *b = byte;
        }
        segment.truncate(segment.len().saturating_sub(cut));
        let _ = items(segment);
    }

    #[test]
    fn zigzag_is_its_own_way_back(value in any::<u64>()) {
        prop_assert_eq!(unzigzag(zigzag(value)), value);
    }
}

#[test]
fn controls_come_back() {
    let control = Control::Name {
        id: 7,
        text: "events".to_owned(),
    };
    let mut encoder = Encoder::default();
    encoder.control(&control);
    let read = items(encoder.finish()).unwrap();
    assert_eq!(read, [Item::Control(Box::new(control))]);
}

#[test]
fn a_foreign_segment_is_refused() {
    assert_eq!(items(b"something else".to_vec()), Err(EventsError::Magic));
}

#[test]
fn a_segment_of_another_version_says_so() {
    let versions = [1, 4].map(|version| {
        let mut segment = MAGIC.to_vec();
        segment.push(version);
        items(segment).unwrap_err()
    });
    assert_eq!(versions, [EventsError::Older(1), EventsError::Newer(4)]);
    assert!(versions[0].to_string().contains("written by an older kctx"));
    assert!(versions.iter().all(EventsError::is_version));
}

#[test]
fn a_segment_of_the_version_before_is_read() {
    let mut encoder = Encoder::default();
    encoder.control(&Control::FunctionsRenewed);
    let mut segment = encoder.finish();
    assert_eq!(segment[MAGIC.len()], 3);
    segment[MAGIC.len()] = 2;
    let read = items(segment).unwrap();
    assert_eq!(read, [Item::Control(Box::new(Control::FunctionsRenewed))]);
}

#[test]
fn a_record_that_is_the_same_as_none_is_damage() {
    let mut segment = Encoder::default().finish();
    // One record of CPU 0: a tasklet whose function is that of the one before.
    segment.extend([1, 1, kind::TASKLET | records::tag::SAME << 4, 2, 2]);
    assert!(matches!(items(segment), Err(EventsError::Damaged(_))));
}

#[test]
fn there_is_no_such_cpu() {
    let mut batch = BytesMut::new();
    decode::append(&mut batch, SoftirqLong::default().as_bytes());
    assert_eq!(
        Encoder::default().records(crate::aggregate::table::MAX_CPUS, &batch),
        0
    );
}

/// A softirq begins with its first poll, or does not, or was interrupted: it comes back all the same.
#[test]
fn polls_and_their_softirqs_come_back() {
    let mut batch = BytesMut::new();
    for i in 0..200_u64 {
        let start = 1_000_000 * (i + 1);
        for poll in 0..i % 4 {
            let record = Napi {
                kind: kind::NAPI,
                flags: flags::DURATION,
                end_ns: start + 100 * (poll + 1),
                duration_ns: 100,
                budget: 64,
                ..Napi::default()
            };
            decode::append(&mut batch, record.as_bytes());
        }
        // Of some the softirq never comes, of some it comes late.
        for late in (0..3).filter(|late| (i + late) % 5 != 0 && i > 20 && i % 3 == 0) {
            let start = 1_000_000 * (i - 5 * late + 1) - u64::from(i % 7 == 0);
            let record = SoftirqLong {
                kind: kind::SOFTIRQ_LONG,
                vector: NET_RX,
                flags: flags::WAIT,
                place: 2,
                origin: 36,
                end_ns: start + 450,
                wait_ns: i,
                service_ns: 450,
                nested_ns: u64::from(i % 11 == 0) * 30,
            };
            decode::append(&mut batch, record.as_bytes());
        }
    }
    let mut encoder = Encoder::default();
    encoder.records(0, &batch);
    let expected = Item::Records {
        cpu: 0,
        batch: batch.freeze(),
    };
    assert_eq!(items(encoder.finish()).unwrap(), [expected]);
}

/// What a packet makes on a busy CPU: an interrupt, a softirq that it raised, a poll in it.
#[test]
fn a_network_load_takes_few_bytes() {
    const PACKETS: u64 = 10_000;
    let mut batch = BytesMut::new();
    // Times as varied as they are in fact: a xorshift's, evenly up to `below`.
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    let mut vary = |below: u64| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed % below
    };
    let mut now = 1_000_000_000;
    let mut staged = Vec::new();
    for _ in 0..PACKETS {
        let handler_ns = 400 + vary(300);
        now += 2_000 + vary(8_000) + handler_ns;
        let hardirq = Hardirq {
            kind: kind::HARDIRQ,
            ret: 1,
            irq: 36,
            end_ns: now,
            service_ns: handler_ns,
            name_id: 0x1234_5678_9abc_def0,
            ..Hardirq::default()
        };
        let wait_ns = 500 + vary(1_500);
        let polled_ns = 1_000 + vary(6_000);
        now += wait_ns + polled_ns;
        let napi = Napi {
            kind: kind::NAPI,
            flags: flags::DURATION,
            context: 2,
            napi_id: 8193,
            end_ns: now,
            work: vary(20) as u32,
            budget: 64,
            duration_ns: polled_ns,
            name_id: 7,
            ..Napi::default()
        };
        let tail_ns = vary(200);
        now += 150 + tail_ns;
        let softirq = SoftirqLong {
            kind: kind::SOFTIRQ_LONG,
            vector: 3,
            flags: flags::WAIT,
            place: place(2, origin::IRQ),
            origin: 36,
            end_ns: now,
            wait_ns,
            service_ns: polled_ns + 150 + tail_ns,
            nested_ns: 0,
        };
        decode::append(&mut batch, hardirq.as_bytes());
        decode::append(&mut batch, napi.as_bytes());
        // They wait for each other in the kernel.
        staged.extend_from_slice(softirq.as_bytes());
        if staged.len() == 8 * size_of::<SoftirqLong>() {
            for softirq in staged.chunks(size_of::<SoftirqLong>()) {
                decode::append(&mut batch, softirq);
            }
            staged.clear();
        }
    }
    let mut encoder = Encoder::default();
    let records = encoder.records(0, &batch);
    assert_eq!(records, 3 * PACKETS);
    let segment = encoder.finish();
    let bytes = segment.len() as f64 / records as f64;
    let packed = zstd::encode_all(&segment[..], 3).unwrap();
    let packed = packed.len() as f64 / records as f64;
    println!("{bytes:.2} bytes a record, {packed:.2} under zstd");
    assert!(bytes < 5.5 && packed < 5.0, "{bytes} {packed}");
}
