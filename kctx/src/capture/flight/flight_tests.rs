use std::time::Duration;

use bytes::BytesMut;
use kctx_common::record::{Module, kind, module_event};
use zerocopy::{FromZeros as _, IntoBytes as _};

use super::{
    fixture::{Daemon, SECOND, replayed, taken},
    *,
};
use crate::{
    aggregate::window::Family,
    capture::events::Decoder,
    decode,
    source::{Control, Item},
};

#[test]
fn a_dump_is_one_window_of_what_is_kept_and_what_comes() {
    let mut daemon = Daemon::new(Duration::from_secs(3), 1 << 20);
    for records in 1..=6 {
        daemon.window(records);
    }
    assert_eq!(daemon.recorder.windows(), 3);
    assert_eq!(daemon.recorder.kept_ns(), 3 * SECOND);
    let asked_ns = daemon.now_ns + 5;
    let subscription = daemon.handle.subscribe(asked_ns);
    daemon.interrupts(10);
    daemon.handle.finish(subscription.id, daemon.now_ns + 10);
    daemon.close(10, 0);
    // What comes after its end is not in it.
    daemon.window(1000);
    let (segments, ending) = taken(subscription);
    let ending = ending.unwrap();
    assert_eq!(ending.reason, EndReason::Asked);
    assert_eq!(ending.duration_ns, 4 * SECOND);
    assert_eq!(ending.before_ns, 3 * SECOND + 5);
    assert!(!ending.memory_full);

    let window = replayed(&segments);
    assert_eq!(window.duration_ns, 4 * SECOND);
    assert_eq!(window.start_unix_ns, 103 * SECOND + 5);
    assert_eq!(window.records(Family::Hardirq), 4 + 5 + 6 + 10);
    let counted = &window.accounting.by_family[Family::Hardirq as usize];
    assert_eq!((counted.observed, counted.streamed), (25, 25));
    // The name was told before what is kept.
    assert_eq!(&*window.hardirq[0].name, "action-77");
    assert_eq!(window.cpu[0].hardirq_ns, 40);
    assert_eq!(window.cpu[0].rest_ns, Some(4 * SECOND - 40));
    assert_eq!(window.own_cost.unwrap().ring_bytes, 32);
    assert_eq!(window.taint_value, Some(107 * SECOND));
    // And the daemon's own windows are what they would have been.
    let counts: Vec<u64> = (daemon.windows.iter())
        .map(|window| window.records(Family::Hardirq))
        .collect();
    assert_eq!(counts, [1, 2, 3, 4, 5, 6, 10, 1000]);
}

#[test]
fn what_was_on_its_way_at_the_edges_is_counted_where_it_came() {
    let mut daemon = Daemon::new(Duration::from_secs(1), 1 << 20);
    // 7 of 12 have not come when they are counted, and 4 that were spilled are not read.
    daemon.interrupts(5);
    daemon.close(12, 4);
    daemon.interrupts(7);
    daemon.close(0, 0);
    // The first window is gone, with its 5; the 7 are in the second.
    let subscription = daemon.handle.subscribe(daemon.now_ns);
    daemon.spill(6);
    daemon.interrupts(2);
    daemon.handle.finish(subscription.id, daemon.now_ns);
    daemon.close(5, 2);
    let (segments, ending) = taken(subscription);
    let window = replayed(&segments);
    assert_eq!(window.records(Family::Hardirq), 7 + 6 + 2);
    let counted = &window.accounting.by_family[Family::Hardirq as usize];
    assert_eq!(
        (counted.observed, counted.streamed, counted.spilled),
        (15, 9, 6)
    );
    let ending = ending.unwrap();
    let transit = |streamed, spilled| InTransit { streamed, spilled };
    assert_eq!(ending.in_transit_before, transit(7, 4));
    assert_eq!(ending.in_transit_after, transit(3, 0));
}

#[test]
fn memory_is_bounded_and_the_oldest_go_first() {
    let limit = 1 << 20;
    let mut daemon = Daemon::new(Duration::from_secs(600), limit);
    for _ in 0..60 {
        for _ in 0..20 {
            daemon.interrupts(500);
        }
        daemon.close(10_000, 0);
        assert!(daemon.recorder.bytes() <= limit);
    }
    let kept = daemon.recorder.windows();
    assert!((3..60).contains(&kept), "{kept}");
    // A window that is larger than all of it leaves nothing behind, not even a part.
    for _ in 0..1000 {
        daemon.interrupts(500);
        assert!(daemon.recorder.bytes() <= limit + (300 << 10));
    }
    daemon.close(500_000, 0);
    assert_eq!((daemon.recorder.windows(), daemon.recorder.bytes()), (0, 0));
    // And what comes then is kept as before.
    daemon.window(3);
    assert_eq!(daemon.recorder.windows(), 1);
    let subscription = daemon.handle.subscribe(daemon.now_ns);
    daemon.handle.finish(subscription.id, daemon.now_ns);
    daemon.window(4);
    let (segments, ending) = taken(subscription);
    assert!(ending.unwrap().memory_full);
    let window = replayed(&segments);
    assert_eq!(window.records(Family::Hardirq), 7);
    assert_eq!(&*window.hardirq[0].name, "action-77");
}

#[test]
fn without_a_recorder_a_dump_begins_with_the_next_window() {
    let mut daemon = Daemon::new(Duration::ZERO, 1 << 20);
    daemon.window(5);
    let subscription = daemon.handle.subscribe(daemon.now_ns);
    daemon.window(6);
    assert_eq!(daemon.recorder.bytes(), 0);
    daemon.window(7);
    daemon.handle.finish(subscription.id, daemon.now_ns);
    daemon.window(8);
    let (segments, ending) = taken(subscription);
    assert_eq!(replayed(&segments).records(Family::Hardirq), 15);
    assert_eq!(ending.unwrap().before_ns, 0);
}

#[test]
fn who_has_enough_before_a_dump_begins_gets_one_window() {
    let mut daemon = Daemon::new(Duration::ZERO, 1 << 20);
    daemon.window(5);
    let subscription = daemon.handle.subscribe(daemon.now_ns);
    daemon.handle.finish(subscription.id, daemon.now_ns + 10);
    daemon.interrupts(6);
    assert_eq!(daemon.cuts(), 2);
    daemon.close(6, 0);
    // However long the interval is, that one window ends soon.
    assert_eq!(daemon.cuts(), 3);
    daemon.window(7);
    daemon.window(8);
    let (segments, ending) = taken(subscription);
    let ending = ending.unwrap();
    assert_eq!(
        (ending.reason, ending.duration_ns),
        (EndReason::Asked, SECOND)
    );
    assert_eq!(replayed(&segments).records(Family::Hardirq), 7);
    assert_eq!(daemon.cuts(), 3);
}

#[test]
fn a_dump_does_not_begin_in_a_window_that_just_lost_its_place() {
    // Three segments and a half: when the fourth is closed, it is too much.
    let limit = 900 << 10;
    let mut daemon = Daemon::new(Duration::from_secs(9), limit);
    daemon.window(5);
    let mut sent = 0;
    while daemon.recorder.bytes() + daemon.recorder.open_bytes() <= limit {
        daemon.interrupts(500);
        sent += 500;
    }
    assert_eq!(daemon.recorder.windows(), 1);
    let subscription = daemon.handle.subscribe(daemon.now_ns);
    daemon.interrupts(1);
    daemon.close(sent + 1, 0);
    daemon.handle.finish(subscription.id, daemon.now_ns);
    daemon.window(7);
    let (segments, ending) = taken(subscription);
    assert!(ending.unwrap().memory_full);
    let window = replayed(&segments);
    let counted = &window.accounting.by_family[Family::Hardirq as usize];
    assert_eq!(window.records(Family::Hardirq), counted.observed);
    assert_eq!(counted.observed, 7);
}

#[test]
fn the_daemons_end_ends_a_dump_with_all_that_came() {
    let mut daemon = Daemon::new(Duration::from_secs(9), 1 << 20);
    daemon.window(5);
    let subscription = daemon.handle.subscribe(daemon.now_ns);
    daemon.window(6);
    daemon.recorder.finish();
    let (segments, ending) = taken(subscription);
    assert_eq!(ending.unwrap().reason, EndReason::DaemonEnded);
    assert_eq!(replayed(&segments).records(Family::Hardirq), 11);
}

#[test]
fn who_does_not_take_the_pieces_is_given_up_and_nobody_else_feels_it() {
    let mut daemon = Daemon::new(Duration::from_secs(1), 1 << 20);
    let (slow, gone) = (daemon.handle.subscribe(0), daemon.handle.subscribe(0));
    daemon.window(1);
    drop(gone);
    while daemon.recorder.dropped_receivers() == 0 {
        for _ in 0..20 {
            daemon.interrupts(500);
        }
        daemon.close(10_000, 0);
        assert!(daemon.now_ns < 1000 * SECOND, "the queue has no bound");
    }
    assert_eq!(daemon.recorder.dropped_receivers(), 1);
    let (_, ending) = taken(slow);
    assert_eq!(ending, None);
    let last = daemon.windows.last().unwrap();
    assert_eq!(last.records(Family::Hardirq), 10_000);
}

#[test]
fn what_a_module_took_with_it_is_told_no_more() {
    let mut daemon = Daemon::new(Duration::from_secs(1), 1 << 20);
    let told = |daemon: &mut Daemon, address, name: &str| {
        daemon.recorder.item(
            vec![Control::Function {
                address,
                name: name.to_owned(),
            }],
            &Item::Control(Box::new(Control::FunctionsRenewed)),
            &daemon.pipeline.progress(),
        );
    };
    told(&mut daemon, 1, "old");
    let mut batch = BytesMut::new();
    let unloaded = Module {
        kind: kind::MODULE,
        event: module_event::FREE,
        ..Module::new_zeroed()
    };
    decode::append(&mut batch, unloaded.as_bytes());
    let batch = batch.freeze();
    daemon.item(&Item::Records { cpu: 0, batch });
    told(&mut daemon, 2, "new");
    daemon.window(1);
    daemon.window(1);
    let subscription = daemon.handle.subscribe(daemon.now_ns);
    daemon.handle.finish(subscription.id, daemon.now_ns);
    daemon.window(1);
    let (segments, _) = taken(subscription);
    let mut head = Decoder::new(segments[0].clone()).unwrap();
    let mut functions = Vec::new();
    while let Some(item) = head.next_item().unwrap() {
        if let Item::Control(control) = item
            && let Control::Function { name, .. } = *control
        {
            functions.push(name);
        }
    }
    assert_eq!(functions, ["new"]);
}

#[test]
fn a_family_that_is_limited_is_so_in_a_dump_that_begins_later() {
    let mut daemon = Daemon::new(Duration::from_secs(1), 1 << 20);
    let governor = |limited, monotonic_ns| Control::Governor {
        family: Family::Softirq,
        limited,
        monotonic_ns,
        reason: "busy".to_owned(),
    };
    let since_ns = daemon.now_ns + 1;
    daemon.control(governor(true, since_ns));
    daemon.window(1);
    daemon.window(1);
    let dump = |daemon: &mut Daemon| {
        let subscription = daemon.handle.subscribe(daemon.now_ns);
        daemon.handle.finish(subscription.id, daemon.now_ns);
        daemon.window(1);
        replayed(&taken(subscription).0).governor
    };
    let rows = dump(&mut daemon);
    assert_eq!((rows.len(), rows[0].since_unix_ns), (1, since_ns + 5));
    let control = governor(false, daemon.now_ns);
    daemon.control(control);
    daemon.window(1);
    daemon.window(1);
    assert!(dump(&mut daemon).is_empty());
}
