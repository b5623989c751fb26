use proptest::prelude::*;

use super::*;

fn any_record() -> impl Strategy<Value = Vec<u8>> {
    let ns = prop_oneof![0..5_000_u64, any::<u64>()];
    prop_oneof![
        (
            0..10_u8,
            0..2_u8,
            ns.clone(),
            ns.clone(),
            ns.clone(),
            ns.clone()
        )
            .prop_map(|(vector, flags, end_ns, wait_ns, service_ns, hardirq_ns)| {
                SoftirqLong {
                    kind: kind::SOFTIRQ_LONG,
                    vector,
                    flags,
                    end_ns,
                    wait_ns: wait_ns * u64::from(flags),
                    service_ns,
                    hardirq_ns,
                    ..SoftirqLong::default()
                }
                .as_bytes()
                .to_vec()
            }),
        (0..4_u8, any::<u32>(), ns.clone(), ns.clone(), 0..4_u64).prop_map(
            |(ret, irq, end_ns, service_ns, name_id)| Hardirq {
                kind: kind::HARDIRQ,
                ret,
                irq,
                end_ns,
                service_ns,
                name_id,
                ..Hardirq::default()
            }
            .as_bytes()
            .to_vec()
        ),
        (0..8_u8, ns.clone(), ns.clone(), ns, any::<u64>(), 0..4_u64).prop_map(
            |(bits, end_ns, wait_ns, service_ns, function, workqueue_id)| Work {
                kind: kind::WORK,
                flags: bits,
                end_ns,
                wait_ns: if bits & flags::WAIT != 0 { wait_ns } else { 0 },
                activate_ns: if bits & flags::ACTIVATE != 0 {
                    wait_ns / 2
                } else {
                    0
                },
                service_ns,
                function,
                workqueue_id,
                ..Work::default()
            }
            .as_bytes()
            .to_vec()
        ),
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
        encoder.control(&Control::WindowEnd { monotonic_ns: 5, taint: None });
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
fn a_steady_softirq_stream_takes_few_bytes() {
    let mut batch = BytesMut::new();
    for i in 0..10_000_u64 {
        let record = SoftirqLong {
            kind: kind::SOFTIRQ_LONG,
            vector: 3,
            flags: flags::WAIT,
            end_ns: 1_000_000_000 + i * 3_000,
            wait_ns: 900 + i % 50,
            service_ns: 1_400 + i % 90,
            ..SoftirqLong::default()
        };
        decode::append(&mut batch, record.as_bytes());
    }
    let mut encoder = Encoder::default();
    encoder.records(0, &batch);
    assert!(encoder.len() < 10_000 * 9, "{}", encoder.len());
}
