use bytes::{Bytes, BytesMut};
use kctx_common::record::{Hardirq, Kthread, Napi, SoftirqLong, kind};
use proptest::prelude::*;
use zerocopy::IntoBytes as _;

use super::*;
use crate::report::narrow::Narrowing;

const START: u64 = 1_000_000_000;

fn softirq(end_ns: u64, service_ns: u64, nested_ns: u64) -> SoftirqLong {
    SoftirqLong {
        kind: kind::SOFTIRQ_LONG,
        vector: 3,
        flags: flags::WAIT,
        end_ns,
        wait_ns: 500,
        service_ns,
        nested_ns,
        ..SoftirqLong::default()
    }
}

fn batch(records: &[&[u8]]) -> Bytes {
    let mut batch = BytesMut::new();
    for record in records {
        decode::append(&mut batch, record);
    }
    batch.freeze()
}

fn give(timeline: &mut Timeline, cpu: u32, records: &[&[u8]]) {
    let batch = batch(records);
    timeline.item(
        &Item::Records { cpu, batch },
        &Which::new(&Narrowing::default()),
    );
}

fn sums(timeline: &Timeline, cpu: u32) -> [u64; LANES] {
    let mut sums = [0; LANES];
    for slot in timeline.lanes()[&cpu].slots() {
        for (sum, ns) in sums.iter_mut().zip(slot) {
            *sum += ns;
        }
    }
    sums
}

proptest! {
    /// Whatever the window's length: no nanosecond is lost or twice there, and there are no more slots.
    #[test]
    fn slots_sum_up_to_the_records_time(
        runs in prop::collection::vec((0u64..40_000_000_000, 0u64..3_000_000, 0u64..100), 1..200)
    ) {
        let mut timeline = Timeline::new(START, 2, None);
        let mut expected = 0;
        for (after, service, nested) in runs {
            let run = softirq(START + 3_000_000 + after, service, nested);
            expected += service - nested.min(service);
            give(&mut timeline, 1, &[run.as_bytes()]);
        }
        prop_assert_eq!(sums(&timeline, 1)[4], expected);
        prop_assert!(timeline.lanes()[&1].slots().len() <= timeline.slots());
        let (waits, services) = timeline.vector(3).unwrap();
        prop_assert!(waits.count() == services.count());
        let cells = services.columns().iter().flatten();
        prop_assert_eq!(cells.map(|n| u64::from(*n)).sum::<u64>(), services.count());
    }
}

#[test]
fn a_stretch_is_laid_into_all_the_slots_it_took() {
    let mut timeline = Timeline::new(START, 2, None);
    let slot_ns = timeline.slot_ns();
    let run = softirq(START + 3 * slot_ns, 2 * slot_ns, 0);
    give(&mut timeline, 0, &[run.as_bytes()]);
    let lanes = &timeline.lanes()[&0];
    let by_slot: Vec<u64> = lanes.slots().iter().map(|slot| slot[4]).collect();
    assert_eq!(by_slot, [0, slot_ns, slot_ns, 0]);
}

#[test]
fn what_was_before_the_window_is_not_in_it() {
    let mut timeline = Timeline::new(START, 2, None);
    give(
        &mut timeline,
        0,
        &[softirq(START + 100, 1_000, 0).as_bytes()],
    );
    assert_eq!(sums(&timeline, 0)[4], 100);
}

#[test]
fn threads_are_told_apart_and_those_that_still_run_are_in_it() {
    let mut comm = [0; 16];
    comm[..11].copy_from_slice(b"ksoftirqd/0");
    let thread = Kthread {
        kind: kind::KTHREAD,
        end_ns: START + 5_000,
        service_ns: 4_000,
        net_ns: 3_000,
        comm,
        ..Kthread::default()
    };
    let mut timeline = Timeline::new(START, 2, None);
    give(&mut timeline, 0, &[thread.as_bytes()]);
    let running = |cpu| RunningThread {
        cpu,
        pid: 9,
        comm: "kworker/0:1".to_owned(),
        workqueue_id: 0,
        start_ns: START + 6_000,
        service_ns: 2_000,
        net_ns: 2_000,
    };
    let list = Item::Control(Box::new(Control::Running(vec![running(0)])));
    let which = Which::new(&Narrowing::default());
    // The first says who ran when the window opened: a record will come of that.
    timeline.item(&list, &which);
    assert_eq!(timeline.contexts(10_000, true)[0].kthread_ns, Some(0));
    timeline.item(&list, &which);
    let times = timeline.contexts(10_000, true)[0];
    assert_eq!(
        (times.ksoftirqd_ns, times.kthread_ns, times.rest_ns),
        (Some(3_000), Some(2_000), Some(5_000))
    );
    assert_eq!(timeline.contexts(10_000, false)[0].rest_ns, None);
}

#[test]
fn lines_devices_and_cpus_are_bounded_and_what_is_beyond_is_counted() {
    let mut timeline = Timeline::new(START, 2, None);
    for number in 0..100 {
        let line = Hardirq {
            kind: kind::HARDIRQ,
            ret: 1,
            irq: number,
            end_ns: START + 10,
            service_ns: 5,
            ..Hardirq::default()
        };
        let poll = Napi {
            kind: kind::NAPI,
            end_ns: START + 10,
            work: 2,
            name_id: u64::from(number) + 1,
            ..Napi::default()
        };
        give(&mut timeline, 0, &[line.as_bytes(), poll.as_bytes()]);
    }
    let (lines, others) = timeline.lines();
    assert_eq!((lines.len(), others.count()), (LINES, 36));
    let (devices, others) = timeline.devices();
    assert_eq!(devices.len(), DEVICES);
    assert_eq!(
        others[0],
        Polled {
            packets: 136,
            polls: 68
        }
    );
    for cpu in 0..2_000 {
        give(&mut timeline, cpu, &[softirq(START + 10, 5, 0).as_bytes()]);
    }
    assert_eq!(timeline.lanes().len(), CPUS);
    assert_eq!(timeline.cpus_left_out(), 2_000 - CPUS as u64);
}

#[test]
fn a_machine_of_many_cpus_has_fewer_slots() {
    assert_eq!(Timeline::new(START, 2, None).slots(), 600);
    assert_eq!(Timeline::new(START, 256, None).slots(), 152);
    assert_eq!(Timeline::new(START, 8192, None).slots(), 96);
    // A time from far away moves all into the first slots, and harms nothing else.
    let mut timeline = Timeline::new(START, 2, None);
    give(
        &mut timeline,
        0,
        &[softirq(u64::MAX, u64::MAX, 0).as_bytes()],
    );
    assert!(timeline.lanes()[&0].slots().len() <= 600);
}
