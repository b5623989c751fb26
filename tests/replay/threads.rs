//! Kernel threads' time on CPUs, over the edges of windows.

use anyhow::Result;
use kctx::{
    aggregate::table::RowLimits,
    report::summary::Summary,
    source::{Control, Item, RunningThread, SpillDelta},
};
use kctx_common::record::{Kthread, flags, kind};
use kctx_tests::stream::{
    self, Names, START_NS, batch, control, counted, kthread, running, spill_delta, spilled, start,
    window_end,
};
use proptest::prelude::*;

use crate::SECOND;

fn summaries(items: &[Item], names: &Names) -> Vec<Summary> {
    crate::summaries(items, names).expect("a bundle")
}

fn list(threads: Vec<RunningThread>) -> Item {
    control(Control::Running(threads))
}

fn end(after_ns: u64) -> [Item; 2] {
    [counted([0; 4]), window_end(after_ns)]
}

/// CPU time of a thread in each window, gross and net.
fn times(summaries: &[Summary], pid: u32) -> Vec<(u64, u64)> {
    let of = |summary: &Summary| {
        let rows = summary.kthread.iter().filter(|row| row.pid == pid);
        rows.fold((0, 0), |(gross, net), row| {
            (gross + row.cpu_ns, net + row.cpu_net_ns)
        })
    };
    summaries.iter().map(of).collect()
}

#[test]
fn a_thread_has_its_role_its_waits_and_its_workqueue() -> Result<()> {
    let mut preempted = kthread(31, "kworker/1:2", START_NS + 900, 40, 100);
    preempted.flags |= flags::PREEMPTED;
    preempted.workqueue_id = 6;
    let mut unseen = kthread(31, "kworker/1:2", START_NS + 1200, 0, 100);
    (unseen.flags, unseen.workqueue_id) = (0, 6);
    let mut other_queue = kthread(31, "kworker/1:2", START_NS + 1400, 5, 50);
    other_queue.workqueue_id = 7;
    let records = [
        preempted,
        unseen,
        other_queue,
        kthread(20, "ksoftirqd/1", START_NS + 2000, 7, 500),
    ];
    let mut items = vec![
        start(),
        list(Vec::new()),
        batch(1, &records),
        list(Vec::new()),
    ];
    items.extend(end(SECOND));
    let names = Names::new(&[(6, "events"), (7, "mm_percpu_wq")], &[]);
    let all = summaries(&items, &names);
    let rows: Vec<_> = (all[0].kthread.iter())
        .map(|row| {
            let counts = (row.count, row.preempted, row.wait.count);
            (
                row.role.as_str(),
                row.comm.as_str(),
                row.workqueue.as_str(),
                counts,
                row.cpu_ns,
            )
        })
        .collect();
    assert_eq!(
        rows,
        [
            ("ksoftirqd", "ksoftirqd/1", "", (1, 0, 1), 500),
            ("kworker", "kworker/1:2", "events", (2, 1, 1), 200),
            ("kworker", "kworker/1:2", "mm_percpu_wq", (1, 0, 1), 50),
        ]
    );
    Ok(())
}

#[test]
fn a_thread_that_was_made_just_now_has_its_own_name_and_not_its_makers() {
    let kthreadd = kthread(2, "kthreadd", START_NS + 500, 3, 100);
    let first = kthread(77, "kthreadd", START_NS + 900, 3, 10);
    let then = kthread(77, "irq/3-ttyS1", START_NS + 2000, 3, 500);
    let nameless = kthread(78, "kthreadd", START_NS + 3000, 3, 10);
    let mut items = vec![start(), list(Vec::new())];
    items.push(batch(1, &[kthreadd, first, then, nameless]));
    items.extend(end(SECOND));
    let all = summaries(&items, &Names::default());
    let rows = all[0].kthread.iter();
    let mut rows: Vec<_> = rows
        .map(|row| (row.pid, row.comm.as_str(), row.role.as_str(), row.count))
        .collect();
    rows.sort_unstable();
    assert_eq!(
        rows,
        [
            (2, "kthreadd", "kthreadd", 1),
            (77, "irq/3-ttyS1", "irq", 2),
            (78, "kthreadd", "kthreadd", 1),
        ]
    );
}

#[test]
fn a_stretch_of_five_seconds_is_in_each_of_its_windows() {
    // From half a second before the first window to half a second into its sixth.
    let whole = kthread(
        9,
        "md_resync",
        START_NS + 5 * SECOND + SECOND / 2,
        3,
        6 * SECOND,
    );
    let at = |window: u64| running(2, &whole, SECOND / 2 + window * SECOND);
    let mut items = vec![start(), list(vec![at(0)])];
    for window in 1..=5 {
        items.push(list(vec![at(window)]));
        items.extend(end(window * SECOND));
    }
    items.extend([batch(2, &[whole]), list(Vec::new())]);
    items.extend(end(6 * SECOND));
    let all = summaries(&items, &Names::default());
    let net = |ns: u64| (ns, ns - ns / 10);
    let mut expected = vec![net(SECOND); 5];
    expected.push(net(SECOND / 2));
    assert_eq!(times(&all, 9), expected);
    // The stretch itself is counted once, whole, where it ended.
    let counts: Vec<_> = all.iter().map(|s| s.kthread[0].count).collect();
    assert_eq!(counts, [0, 0, 0, 0, 0, 1]);
    assert_eq!(all[5].kthread[0].service.max_ns, 6 * SECOND);
}

#[test]
fn what_ran_before_the_first_window_is_not_part_of_it() {
    // Nobody listed it, as its switch was not seen: 400 of 1000 ns lie before.
    let early = kthread(5, "rcu_preempt", START_NS + 600, 3, 1000);
    let mut items = vec![
        start(),
        list(Vec::new()),
        batch(0, &[early]),
        list(Vec::new()),
    ];
    items.extend(end(SECOND));
    assert_eq!(
        times(&summaries(&items, &Names::default()), 5),
        [(600, 540)]
    );
}

#[test]
fn a_record_that_comes_after_the_next_stretch_was_listed_finds_its_credit() {
    let first = kthread(5, "a", START_NS + 300, 3, 200);
    let second = kthread(6, "b", START_NS + 700, 3, 300);
    let mut items = vec![
        start(),
        list(Vec::new()),
        list(vec![running(0, &first, 150)]),
    ];
    items.extend(end(250));
    // The second window ends before the first record was drained.
    items.push(list(vec![running(0, &second, 50)]));
    items.extend(end(450));
    items.extend([batch(0, &[first, second]), list(Vec::new())]);
    items.extend(end(1000));
    let all = summaries(&items, &Names::default());
    assert_eq!(times(&all, 5), [(150, 135), (0, 0), (50, 45)]);
    assert_eq!(times(&all, 6), [(0, 0), (50, 45), (250, 225)]);
}

#[test]
fn what_was_credited_of_a_spilled_stretch_is_not_counted_twice() {
    let whole = kthread(5, "a", START_NS + 1500, 3, 1000);
    let mut items = vec![
        start(),
        list(Vec::new()),
        list(vec![running(0, &whole, 400)]),
    ];
    items.extend(end(900));
    let spill = SpillDelta {
        number: 5,
        name_id: u64::from_le_bytes(*b"a\0\0\0\0\0\0\0"),
        service: spilled(&[1000]),
        third: spilled(&[900]),
        ..spill_delta(kind::KTHREAD, 0)
    };
    items.extend([control(Control::Spill(Box::new(spill))), list(Vec::new())]);
    items.extend(end(2000));
    let all = summaries(&items, &Names::default());
    assert_eq!(times(&all, 5), [(400, 360), (600, 540)]);
}

#[test]
fn threads_over_the_limit_are_summed_in_one() {
    let records: Vec<_> = (0..50)
        .map(|pid| {
            kthread(
                100 + pid,
                "kworker/0:1",
                START_NS + 10_000 + u64::from(pid),
                1,
                100,
            )
        })
        .collect();
    let mut items = vec![
        start(),
        list(Vec::new()),
        batch(0, &records),
        list(Vec::new()),
    ];
    items.extend(end(SECOND));
    let limits = RowLimits {
        kthread: 8,
        ..RowLimits::default()
    };
    let all = stream::live(&items, &Names::default(), limits);
    let rows = &all[0].kthread;
    assert_eq!(rows.len(), 9);
    assert_eq!(rows.iter().map(|row| row.cpu_ns).sum::<u64>(), 5000);
    let overflow: Vec<_> = rows
        .iter()
        .filter(|row| row.overflow)
        .map(|row| row.count)
        .collect();
    assert_eq!(overflow, [42]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    /// However windows cut a CPU's stretches, and however late records come, each nanosecond is in one
    /// window.
    #[test]
    fn time_is_neither_lost_nor_doubled(
        stretches in prop::collection::vec((1..4_u32, 0..3_000_u64, 1..9_000_u64), 1..30),
        every in 500..20_000_u64,
        late in any::<bool>(),
    ) {
        let mut now = START_NS;
        let records: Vec<Kthread> = stretches
            .iter()
            .map(|(pid, gap, service)| {
                now += gap + service + 2_000;
                kthread(*pid, "kworker/0:1", now, 1, *service)
            })
            .collect();
        let mut items = vec![start(), list(Vec::new())];
        let mut sent = 0;
        let last = records.last().map_or(START_NS, |r| r.end_ns);
        let mut at = START_NS;
        while at < last + every {
            at += every;
            // What ended in this window may still be on its way when it closes.
            let by = if late && at < last { at - every } else { at };
            let come = records.iter().filter(|r| r.end_ns <= by).count();
            items.push(batch(0, &records[sent..come]));
            sent = come;
            let on_cpu = records.iter().find(|r| r.end_ns > at && r.end_ns - r.service_ns < at);
            let listed = on_cpu.map(|r| running(0, r, at - (r.end_ns - r.service_ns)));
            items.push(list(listed.into_iter().collect()));
            items.extend(end(at - START_NS));
        }
        let all = summaries(&items, &Names::default());
        for pid in 1..4 {
            let wanted: u64 = records.iter().filter(|r| r.pid == pid).map(|r| r.service_ns).sum();
            let found: u64 = times(&all, pid).iter().map(|(gross, _)| gross).sum();
            prop_assert_eq!(found, wanted);
        }
        for summary in &all {
            let on_cpu: u64 = summary.kthread.iter().map(|row| row.cpu_ns).sum();
            prop_assert!(late || on_cpu <= summary.window.duration_ns);
        }
        let counts: u64 = all.iter().flat_map(|s| &s.kthread).map(|row| row.count).sum();
        prop_assert_eq!(counts, records.len() as u64);
    }
}
