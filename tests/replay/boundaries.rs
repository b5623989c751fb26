//! How records are cut into batches and segments changes nothing.

use bytes::Bytes;
use kctx::{
    aggregate::table::RowLimits,
    capture::events::{Decoder, Encoder},
    decode,
    report::summary::Summary,
    source::Item,
};
use kctx_tests::stream::{
    self, Names, START_NS, Written as _, batch, counted, hardirq, kthread, napi, raised_by,
    softirq, start, tasklet, timer, window_end, work,
};
use proptest::prelude::*;

/// One record of one CPU, in the ring's layout.
fn any_record() -> impl Strategy<Value = (u32, Vec<u8>)> {
    let ns = prop_oneof![0..3_000_u64, 0..10_000_000_000_u64];
    let record = prop_oneof![
        (0..10_u8, any::<bool>(), ns.clone(), ns.clone(), ns.clone()).prop_map(
            |(vector, seen, end, wait, service)| {
                let run = softirq(vector, START_NS + end, seen.then_some(wait), service);
                let origin = ((wait % 7) as u8, (service % 80) as u32);
                raised_by(run, (end % 9) as u8, origin).written()
            }
        ),
        (ns.clone(), ns.clone())
            .prop_map(|(end, service)| timer(START_NS + end, service).written()),
        (1..9_u64, ns.clone(), ns.clone(), ns.clone()).prop_map(
            |(function, end, service, nested)| {
                tasklet(function, START_NS + end, service, nested).written()
            }
        ),
        (0..3_u64, 0..3_u32, 0..70_u32, ns.clone(), ns.clone()).prop_map(
            |(name, id, work, end, duration)| {
                napi(name, id, START_NS + end, work, duration).written()
            }
        ),
        (1..5_u32, ns.clone(), ns.clone(), ns.clone()).prop_map(|(pid, end, wait, service)| {
            kthread(pid, "kworker/1:2", START_NS + end, wait, service).written()
        }),
        (20..24_u32, 1..4_u64, 0..4_u8, ns.clone(), ns.clone()).prop_map(
            |(irq, name, ret, end, service)| {
                hardirq(irq, name, ret, START_NS + end, service).written()
            }
        ),
        (1..4_u64, 1..9_u64, ns.clone(), ns.clone(), ns).prop_map(
            |(wq, function, end, wait, service)| {
                work(wq, function, START_NS + end, wait, service).written()
            }
        ),
    ];
    (0..3_u32, record)
}

/// Each CPU's records in order, in batches that end where `cuts` says.
fn cut(records: &[(u32, Vec<u8>)], cuts: &[bool]) -> Vec<Item> {
    let mut items = vec![start()];
    for cpu in 0..3 {
        let mut open = bytes::BytesMut::new();
        for (i, (_, record)) in records.iter().enumerate().filter(|(_, r)| r.0 == cpu) {
            decode::append(&mut open, record);
            if cuts[i % cuts.len()] {
                let batch = open.split().freeze();
                items.push(Item::Records { cpu, batch });
            }
        }
        let batch = open.freeze();
        items.push(Item::Records { cpu, batch });
    }
    items.extend([counted([0; 4]), window_end(20_000_000_000)]);
    items
}

/// Through segments that end after every `per_segment` items.
fn through_segments(items: &[Item], per_segment: usize) -> Vec<Item> {
    let mut read = Vec::new();
    for part in items.chunks(per_segment) {
        let mut encoder = Encoder::default();
        for item in part {
            match item {
                Item::Records { cpu, batch } => {
                    encoder.records(*cpu, batch);
                }
                Item::Control(control) => encoder.control(control),
            }
        }
        let mut decoder = Decoder::new(Bytes::from(encoder.finish())).expect("a segment");
        while let Some(item) = decoder.next_item().expect("an item") {
            read.push(item);
        }
    }
    read
}

fn summary(items: &[Item]) -> Summary {
    let mut all = stream::live(items, &Names::default(), RowLimits::default());
    assert_eq!(all.len(), 1);
    all.remove(0)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn batches_and_segments_change_nothing(
        records in prop::collection::vec(any_record(), 1..200),
        cuts in prop::collection::vec(any::<bool>(), 1..50),
        per_segment in 1..20_usize,
    ) {
        let whole = summary(&cut(&records, &[false]));
        let pieces = cut(&records, &cuts);
        prop_assert_eq!(&summary(&pieces), &whole);
        prop_assert_eq!(&summary(&through_segments(&pieces, per_segment)), &whole);
        let counted: u64 = whole.softirq.iter().map(|row| row.count).sum::<u64>()
            + whole.hardirq.iter().map(|row| row.count + row.unhandled).sum::<u64>()
            + whole.workqueue.iter().map(|row| row.count).sum::<u64>()
            + whole.tasklet.iter().map(|row| row.count).sum::<u64>()
            + whole.napi.iter().map(|row| row.count).sum::<u64>()
            + whole.kthread.iter().map(|row| row.count).sum::<u64>();
        prop_assert_eq!(counted, records.len() as u64);
        let runs: u64 = whole.softirq.iter().map(|row| row.count).sum();
        let raised: u64 = whole.softirq_origin.iter().map(|row| row.count).sum();
        prop_assert_eq!(raised, runs);
        for row in &whole.workqueue {
            prop_assert_eq!(row.queued_by.iter().map(|by| by.count).sum::<u64>(), row.count);
        }
    }
}

#[test]
fn a_batch_larger_than_a_frame_comes_back_whole() {
    let records: Vec<_> = (0..10_000)
        .map(|i| softirq(3, START_NS + i, Some(i % 7), 100 + i % 13))
        .collect();
    let items = [start(), batch(0, &records), counted([0; 4]), window_end(9)];
    let read = through_segments(&items, items.len());
    assert!(
        read.len() > items.len(),
        "the batch did not need a second frame"
    );
    let (live, recorded) = (summary(&items), summary(&read));
    assert_eq!(live, recorded);
    assert_eq!(recorded.softirq[0].count, 10_000);
}

/// Nothing that a damaged stream says may stop the pipeline: controls with any numbers.
#[test]
fn controls_with_the_largest_numbers_are_taken() {
    use kctx::source::{Control, RunningThread, SpilledDurations, SpilledOrigin};
    use kctx_tests::stream::{control, spill_delta};
    let most = SpilledDurations {
        count: u64::MAX,
        sum_ns: u64::MAX,
        max_ns: u64::MAX,
        buckets: vec![(u16::MAX, u32::MAX), (0, 1)],
    };
    let mut items = vec![start()];
    for _ in 0..2 {
        for family in 0..10 {
            for (overflow, context, cpu) in [(false, 1, 3), (true, 255, u32::MAX), (false, 0, 0)] {
                let mut delta = spill_delta(family, cpu);
                (delta.overflow, delta.context) = (overflow, context);
                delta.wait.clone_from(&most);
                delta.service.clone_from(&most);
                delta.third.clone_from(&most);
                delta.fourth.clone_from(&most);
                items.push(control(Control::Spill(Box::new(delta))));
            }
        }
        let running = |cpu| RunningThread {
            cpu,
            pid: u32::MAX,
            comm: "x".repeat(300),
            workqueue_id: u64::MAX,
            start_ns: u64::MAX,
            service_ns: u64::MAX,
            net_ns: u64::MAX,
        };
        let origin = |cpu, vector| SpilledOrigin {
            cpu,
            vector,
            kind: vector,
            number: u32::MAX,
            count: u64::MAX,
        };
        items.extend([
            control(Control::Running(vec![running(0), running(u32::MAX)])),
            control(Control::SpilledOrigins(vec![
                origin(0, 3),
                origin(u32::MAX, 255),
            ])),
            window_end(u64::MAX),
        ]);
    }
    assert_eq!(
        stream::live(&items, &Names::default(), RowLimits::default()).len(),
        2
    );
}
