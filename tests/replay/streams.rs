//! Streams of which every number is known, live and through a bundle.

use anyhow::Result;
use kctx::{
    report::summary::{DurationSummary, Summary},
    source::Item,
};
use kctx_common::record::{Module, flags, module_event};
use kctx_tests::stream::{
    Names, START_NS, START_UNIX_NS, batch, counted, hardirq, module, softirq, start, window_end,
    work,
};

use crate::{SECOND, summaries};

fn only(items: &[Item], names: &Names) -> Result<Summary> {
    let mut all = summaries(items, names)?;
    assert_eq!(all.len(), 1);
    Ok(all.remove(0))
}

fn exact(durations: &DurationSummary) -> (u64, u64, u64, u64) {
    let d = durations;
    (d.count, d.sum_ns, d.mean_ns, d.max_ns)
}

#[test]
fn softirqs_are_summed_by_vector_and_cpu() -> Result<()> {
    let mut interrupted = softirq(3, START_NS + 400, Some(50), 1000);
    interrupted.nested_ns = 300;
    let items = [
        start(),
        batch(
            0,
            &[
                softirq(3, START_NS + 100, Some(100), 2000),
                softirq(1, START_NS + 200, None, 70),
                interrupted,
            ],
        ),
        batch(1, &[softirq(3, START_NS + 300, Some(9), 10)]),
        counted([4, 0, 0, 0]),
        window_end(SECOND),
    ];
    let summary = only(&items, &Names::default())?;
    assert_eq!(summary.window.start_unix_ns, START_UNIX_NS);
    assert_eq!(summary.window.duration_ns, SECOND);
    let rows: Vec<_> = (summary.softirq.iter())
        .map(|row| (row.vector.as_str(), row.cpu, row.count, row.wait_unknown))
        .collect();
    assert_eq!(
        rows,
        [("TIMER", 0, 1, 1), ("NET_RX", 0, 2, 0), ("NET_RX", 1, 1, 0)]
    );
    let (timer, net_rx) = (&summary.softirq[0], &summary.softirq[1]);
    assert_eq!(exact(&timer.wait), (0, 0, 0, 0));
    assert_eq!(exact(&net_rx.wait), (2, 150, 75, 100));
    assert_eq!(exact(&net_rx.service), (2, 3000, 1500, 2000));
    assert_eq!(exact(&net_rx.service_net), (2, 2700, 1350, 2000));
    assert_eq!(net_rx.wait.p50_ns, 50);
    assert_eq!(net_rx.wait.p999_ns, 100);
    let cpu: Vec<_> = (summary.cpu.iter())
        .map(|cpu| (cpu.cpu, cpu.hardirq_ns, cpu.softirq_ns))
        .collect();
    assert_eq!(cpu, [(0, 0, 2770), (1, 0, 10)]);
    Ok(())
}

#[test]
fn an_interrupt_that_was_not_ours_is_counted_apart() -> Result<()> {
    const NONE: u8 = 0;
    const HANDLED: u8 = 1;
    const WAKE_THREAD: u8 = 2;
    let (disk, network) = (11, 12);
    let items = [
        start(),
        batch(
            1,
            &[
                // A line that two share: each interrupt calls both.
                hardirq(16, disk, HANDLED, START_NS + 10, 500),
                hardirq(16, network, NONE, START_NS + 20, 100),
                hardirq(16, disk, NONE, START_NS + 30, 100),
                hardirq(16, network, WAKE_THREAD, START_NS + 40, 700),
                hardirq(16, network, HANDLED | WAKE_THREAD, START_NS + 50, 300),
            ],
        ),
        counted([0, 5, 0, 0]),
        window_end(SECOND),
    ];
    let names = Names::new(&[(disk, "nvme0q1"), (network, "eth0")], &[]);
    let summary = only(&items, &names)?;
    let rows: Vec<_> = (summary.hardirq.iter())
        .map(|row| {
            let counts = (row.count, row.unhandled, row.woke_thread);
            (row.irq, row.name.as_str(), counts, exact(&row.service))
        })
        .collect();
    assert_eq!(
        rows,
        [
            (Some(16), "eth0", (2, 1, 2), (2, 1000, 500, 700)),
            (Some(16), "nvme0q1", (1, 1, 0), (1, 500, 500, 500)),
        ]
    );
    Ok(())
}

#[test]
fn works_are_summed_by_workqueue_and_function() -> Result<()> {
    let (events, unbound) = (5, 6);
    let (flush, reap) = (0xffff_ffff_8100_0000, 0xffff_ffff_8200_0000);
    let mut remote = work(unbound, flush, START_NS + 20, 4000, 100);
    remote.flags |= flags::REMOTE | flags::ACTIVATE;
    remote.activate_ns = 3000;
    let mut unseen = work(0, reap, START_NS + 30, 0, 77);
    unseen.flags = 0;
    let items = [
        start(),
        batch(0, &[work(unbound, flush, START_NS + 10, 1000, 300), remote]),
        batch(1, &[unseen, work(events, reap, START_NS + 40, 10, 20)]),
        counted([0, 0, 4, 0]),
        window_end(SECOND),
    ];
    let names = Names::new(
        &[(events, "events"), (unbound, "events_unbound")],
        &[&[(flush, "flush_to_ldisc")]],
    );
    let summary = only(&items, &names)?;
    let rows: Vec<_> = (summary.workqueue.iter())
        .map(|row| {
            let counts = (row.count, row.wait_unknown, row.remote);
            (row.workqueue.as_str(), row.function.as_str(), counts)
        })
        .collect();
    assert_eq!(
        rows,
        [
            ("events_unbound", "flush_to_ldisc", (2, 0, 1)),
            ("?", "0xffffffff82000000", (1, 1, 0)),
            ("events", "0xffffffff82000000", (1, 0, 0)),
        ]
    );
    assert_eq!(exact(&summary.workqueue[0].wait), (2, 5000, 2500, 4000));
    assert_eq!(exact(&summary.workqueue[0].activate), (1, 3000, 3000, 3000));
    assert_eq!(exact(&summary.workqueue[0].service), (2, 400, 200, 300));
    Ok(())
}

#[test]
fn durations_of_more_than_32_bits_are_exact() -> Result<()> {
    let long = 3600 * SECOND + 1;
    let items = [
        start(),
        batch(
            0,
            &[
                softirq(9, START_NS + long, Some(5 * SECOND + 3), 4_294_967_296),
                softirq(9, START_NS + long, Some(1), 4_294_967_297),
            ],
        ),
        batch(0, &[work(7, 8, START_NS + long, long, long + 1)]),
        counted([2, 0, 1, 0]),
        window_end(2 * long),
    ];
    let summary = only(&items, &Names::default())?;
    let rcu = &summary.softirq[0];
    assert_eq!(rcu.service.sum_ns, 8_589_934_593);
    assert_eq!(rcu.service.max_ns, 4_294_967_297);
    assert_eq!(rcu.wait.max_ns, 5 * SECOND + 3);
    let p50 = rcu.service.p50_ns as f64 / 4_294_967_296.0;
    assert!((0.99..1.01).contains(&p50), "{p50}");
    let work = &summary.workqueue[0];
    assert_eq!((work.wait.max_ns, work.service.max_ns), (long, long + 1));
    assert_eq!(summary.window.duration_ns, 2 * long);
    Ok(())
}

#[test]
fn a_clock_that_goes_backwards_harms_nothing() -> Result<()> {
    let items = [
        start(),
        batch(
            0,
            &[
                softirq(3, START_NS + 500, Some(1), 10),
                softirq(3, START_NS - 500, Some(2), 20),
                softirq(3, 0, Some(3), 30),
                softirq(3, u64::MAX, Some(4), 40),
            ],
        ),
        counted([4, 0, 0, 0]),
        window_end(0_u64.wrapping_sub(1000)),
        batch(0, &[softirq(3, START_NS + 600, Some(5), 50)]),
        counted([1, 0, 0, 0]),
        window_end(SECOND),
    ];
    let all = summaries(&items, &Names::default())?;
    assert_eq!(all[0].window.duration_ns, 0);
    assert_eq!(exact(&all[0].softirq[0].wait), (4, 10, 2, 4));
    assert_eq!(exact(&all[0].softirq[0].service), (4, 100, 25, 40));
    assert_eq!(all[1].window.duration_ns, SECOND + 1000);
    assert_eq!(exact(&all[1].softirq[0].wait), (1, 5, 5, 5));
    Ok(())
}

#[test]
fn windows_share_nothing() -> Result<()> {
    let items = [
        start(),
        batch(0, &[softirq(3, START_NS + 10, Some(7), 100)]),
        batch(0, &[hardirq(9, 0, 1, START_NS + 11, 5)]),
        counted([1, 1, 0, 0]),
        window_end(SECOND),
        batch(1, &[softirq(3, START_NS + SECOND + 1, None, 200)]),
        counted([1, 0, 0, 0]),
        window_end(3 * SECOND),
    ];
    let all = summaries(&items, &Names::default())?;
    assert_eq!(all.len(), 2);
    assert_eq!((all[0].softirq.len(), all[0].hardirq.len()), (1, 1));
    assert_eq!((all[1].softirq.len(), all[1].hardirq.len()), (1, 0));
    assert_eq!(all[1].window.start_unix_ns, START_UNIX_NS + SECOND);
    assert_eq!(all[1].window.duration_ns, 2 * SECOND);
    assert_eq!((all[1].softirq[0].cpu, all[1].softirq[0].count), (1, 1));
    assert_eq!(all[1].accounting.total.observed, 1);
    Ok(())
}

#[test]
fn module_events_keep_their_order_and_who_did_it() -> Result<()> {
    // include/linux/panic.h: out-of-tree 'O' is bit 12, unsigned 'E' bit 13.
    let tainted = 1 << 12 | 1 << 13;
    let events: [Module; 3] = [
        module(module_event::REQUEST, "net-pf-36", 0, START_NS + 1),
        module(module_event::LOAD, "dummy", tainted, START_NS + 2),
        module(module_event::FREE, "dummy", 0, START_NS + 3),
    ];
    let items = [
        start(),
        batch(0, &events),
        counted([0, 0, 0, 3]),
        window_end(9),
    ];
    let summary = only(&items, &Names::default())?;
    let rows: Vec<_> = (summary.module.iter())
        .map(|row| (row.event.as_str(), row.name.as_str(), row.taints.as_str()))
        .collect();
    assert_eq!(
        rows,
        [
            ("request", "net-pf-36", ""),
            ("load", "dummy", "OE"),
            ("free", "dummy", "")
        ]
    );
    for (i, row) in summary.module.iter().enumerate() {
        assert_eq!(row.time_unix_ns, START_UNIX_NS + 1 + i as u64);
        assert_eq!((row.pid, row.comm.as_str(), row.cpu), (4242, "insmod", 1));
    }
    Ok(())
}
