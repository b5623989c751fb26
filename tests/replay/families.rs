//! Tasklets, NAPIs, spilled families, and what travels beside the records: live and through a bundle.

use anyhow::Result;
use kctx::{
    aggregate::{
        table::RowLimits,
        window::{ContextTimes, Family, LogRow, LogRows, OriginKind, StackRow},
    },
    source::{Control, SpillDelta, SpilledOrigin},
};
use kctx_common::{
    record::{context, kind, module_event, origin, vector_class},
    spill::PACKET_NS,
};
use kctx_tests::stream::{
    self, Names, START_NS, START_UNIX_NS, batch, control, counted, module, napi, spill_delta,
    spilled, start, tasklet, window_end,
};

use crate::{SECOND, one_window, origin_of, summaries};

#[test]
fn tasklets_and_polls_are_summed_by_what_they_are() -> Result<()> {
    let (function, other) = (0x1000, 0x2000);
    let mut asleep = napi(9, 8193, START_NS + 30, 64, 0);
    asleep.flags = 0;
    let mut netpoll = napi(9, 8193, START_NS + 40, 3, 70);
    netpoll.budget = 0;
    let items = vec![
        batch(0, &[tasklet(function, START_NS + 5, 100, 30)]),
        batch(
            1,
            &[
                tasklet(other, START_NS + 6, 10, 0),
                tasklet(function, START_NS + 7, 50, 0),
            ],
        ),
        batch(
            3,
            &[
                napi(9, 8193, START_NS + 10, 64, 2_000),
                napi(9, 8193, START_NS + 20, 5, 300),
                asleep,
                netpoll,
                napi(0, 0, START_NS + 50, 1, 90),
            ],
        ),
    ];
    let names = Names::new(&[(9, "eth0")], &[&[(function, "tasklet_fn")]]);
    let summary = one_window(items, &names)?;
    let tasklets: Vec<_> = (summary.tasklet.iter())
        .map(|row| {
            let times = (row.service.sum_ns, row.service_net.sum_ns);
            (row.function.as_str(), row.count, times)
        })
        .collect();
    assert_eq!(
        tasklets,
        [("tasklet_fn", 2, (150, 120)), ("0x2000", 1, (10, 10))]
    );
    let polls: Vec<_> = (summary.napi.iter())
        .map(|row| {
            let counts = (row.count, row.exhausted, row.packets, row.packets_max);
            let service = (row.service.count, row.service.sum_ns);
            (
                row.device.as_str(),
                row.napi_id,
                row.context.as_str(),
                counts,
                service,
            )
        })
        .collect();
    assert_eq!(
        polls,
        [
            ("backlog", 0, "irq_tail", (1, 0, 1, 1), (1, 90)),
            ("eth0", 8193, "irq_tail", (4, 2, 136, 64), (3, 2370)),
        ]
    );
    Ok(())
}

#[test]
fn tables_of_tasklets_and_polls_are_bounded() -> Result<()> {
    let tasklets: Vec<_> = (0..60)
        .map(|i| tasklet(0x100 + i % 20, START_NS + i, 10, 0))
        .collect();
    let polls: Vec<_> = (0..60)
        .map(|i| napi(i % 20, 5, START_NS + i, 2, 10))
        .collect();
    let items = [
        start(),
        batch(0, &tasklets),
        batch(0, &polls),
        counted([0; 4]),
        window_end(SECOND),
    ];
    let limits = RowLimits {
        tasklet: 8,
        napi: 8,
        ..RowLimits::default()
    };
    let live = stream::live(&items, &Names::default(), limits);
    assert_eq!(live, stream::recorded(&items, &Names::default(), limits)?);
    let summary = &live[0];
    assert_eq!((summary.tasklet.len(), summary.napi.len()), (9, 9));
    assert_eq!(summary.tasklet.iter().map(|row| row.count).sum::<u64>(), 60);
    assert_eq!(summary.napi.iter().map(|row| row.packets).sum::<u64>(), 120);
    let overflow = summary.napi.last().map(|row| (row.overflow, row.count));
    assert_eq!(overflow, Some((true, 12 * 3)));
    assert_eq!(
        summary.accounting.by_family[&Family::Tasklet].overflowed,
        36
    );
    Ok(())
}

#[test]
fn spilled_families_count_as_if_they_had_been_streamed() -> Result<()> {
    let spill = |delta: SpillDelta| control(Control::Spill(Box::new(delta)));
    let packets = |each: &[u64]| spilled(&each.iter().map(|n| n * PACKET_NS).collect::<Vec<_>>());
    let items = vec![
        spill(SpillDelta {
            number: 3,
            context: context::KSOFTIRQD,
            service: spilled(&[100, 200]),
            third: spilled(&[90, 190]),
            ..spill_delta(kind::SOFTIRQ, 1)
        }),
        control(Control::SpilledOrigins(vec![SpilledOrigin {
            cpu: 1,
            vector: 3,
            kind: origin::IRQ,
            number: 36,
            count: 2,
        }])),
        spill(SpillDelta {
            number: vector_class::RES,
            context: 1,
            service: spilled(&[40]),
            ..spill_delta(kind::HARDIRQ, 1)
        }),
        spill(SpillDelta {
            function: 0x1000,
            service: spilled(&[10, 20]),
            third: spilled(&[9, 19]),
            ..spill_delta(kind::TASKLET, 0)
        }),
        // Three polls, of which one has no duration.
        spill(SpillDelta {
            number: 8193,
            name_id: 9,
            context: context::IRQ_TAIL,
            wait: spilled(&[5000]),
            service: spilled(&[400, 5000]),
            third: packets(&[1, 2, 64]),
            ..spill_delta(kind::NAPI, 2)
        }),
        spill(SpillDelta {
            function: 0x77,
            service: spilled(&[100; 3]),
            fourth: spilled(&[60; 2]),
            ..spill_delta(kind::WORK, 0)
        }),
        spill(SpillDelta {
            number: 31,
            name_id: u64::from_le_bytes(*b"kworker/"),
            function: u64::from_le_bytes(*b"1:2\0\0\0\0\0"),
            wait: spilled(&[30]),
            service: spilled(&[500, 600]),
            third: spilled(&[450, 550]),
            ..spill_delta(kind::KTHREAD, 1)
        }),
    ];
    let summary = one_window(items, &Names::new(&[(9, "eth0")], &[]))?;
    let softirq = &summary.softirq[0];
    assert_eq!((softirq.context.as_str(), softirq.count), ("ksoftirqd", 2));
    assert_eq!(softirq.service_net.sum_ns, 280);
    let raised = &summary.softirq_origin[0];
    assert_eq!((raised.origin.number, raised.count), (Some(36), 2));
    let vector = &summary.hardirq[0];
    assert_eq!(
        (vector.name.as_str(), vector.count, vector.overflow),
        ("RES", 1, false)
    );
    assert_eq!(summary.tasklet[0].service_net.sum_ns, 28);
    let poll = &summary.napi[0];
    assert_eq!((poll.count, poll.exhausted, poll.service.count), (3, 1, 2));
    assert_eq!((poll.packets, poll.packets_max), (67, 64));
    let work = &summary.workqueue[0];
    assert_eq!((work.service_net.count, work.service_net.sum_ns), (2, 120));
    assert_eq!(origin_of(&work.queued_by[0].origin).0, OriginKind::Unknown);
    assert_eq!(work.queued_by[0].count, 3);
    let thread = &summary.kthread[0];
    assert_eq!(
        (thread.role.as_str(), thread.comm.as_str(), thread.pid),
        ("kworker", "kworker/1:2", 31)
    );
    assert_eq!(
        (
            thread.count,
            thread.wait.count,
            thread.cpu_ns,
            thread.cpu_net_ns
        ),
        (2, 1, 1100, 1000)
    );
    Ok(())
}

#[test]
fn what_travels_beside_the_records_is_in_its_window() -> Result<()> {
    let line = |seq, after: u64| LogRow {
        seq,
        level: 3,
        time_unix_ns: START_NS + after,
        text: format!("line {seq}"),
        fragment: false,
    };
    let log = LogRows {
        lines: vec![line(1, 10), line(2, 20)],
        by_level: [0, 0, 0, 2, 0, 0, 0, 0],
        ..LogRows::default()
    };
    let stack = StackRow {
        context: "softirq:NET_RX".to_owned(),
        frames: vec!["handle_softirqs".to_owned()],
        count: 3,
    };
    let governor = |limited, after: u64| {
        control(Control::Governor {
            family: Family::Softirq,
            limited,
            monotonic_ns: START_NS + after,
            reason: "cost".to_owned(),
        })
    };
    let times = ContextTimes {
        cpu: 5,
        hardirq_ns: 1,
        softirq_ns: 2,
        ksoftirqd_ns: Some(3),
        kthread_ns: Some(4),
        rest_ns: Some(SECOND - 10),
    };
    // The clock is set forward by a minute while the first window is open.
    let set_end = control(Control::WindowEnd {
        monotonic_ns: START_NS + SECOND,
        unix_ns: START_UNIX_NS + 61 * SECOND,
        taint: Some(512),
    });
    let items = [
        start(),
        control(Control::Taint {
            monotonic_ns: START_NS + 5,
            before: 0,
            after: 512,
        }),
        control(Control::Log(Box::new(log))),
        control(Control::Stacks(vec![stack.clone(), stack.clone()])),
        governor(true, 100),
        control(Control::Contexts(vec![times])),
        counted([0; 4]),
        set_end,
        governor(false, SECOND + 7),
        counted([0; 4]),
        control(Control::WindowEnd {
            monotonic_ns: START_NS + 2 * SECOND,
            unix_ns: START_UNIX_NS + 62 * SECOND,
            taint: None,
        }),
    ];
    let all = summaries(&items, &Names::default())?;
    let (first, second) = (&all[0], &all[1]);
    assert_eq!(first.window.start_unix_ns, START_UNIX_NS);
    assert_eq!(second.window.start_unix_ns, START_UNIX_NS + 61 * SECOND);
    let change = &first.taint.changes[0];
    assert_eq!(
        (change.time_unix_ns, change.added.as_str()),
        (START_UNIX_NS + 5, "W")
    );
    assert_eq!(first.log.lines[1].time_unix_ns, START_UNIX_NS + 20);
    assert_eq!(first.log.by_level[3], 2);
    assert_eq!((first.stack.len(), first.stack[0].count), (1, 6));
    let open = &first.governor[0];
    assert_eq!(
        (open.since_unix_ns, open.until_unix_ns),
        (START_UNIX_NS + 100, None)
    );
    assert_eq!(
        second.governor[0].until_unix_ns,
        Some(START_UNIX_NS + 61 * SECOND + 7)
    );
    let cpu = &first.cpu[0];
    assert_eq!(
        (cpu.cpu, cpu.kthread_ns, cpu.rest_ns),
        (5, Some(4), Some(SECOND - 10))
    );
    assert!(second.taint.changes.is_empty() && second.log.lines.is_empty());
    assert!(second.stack.is_empty() && second.cpu.is_empty());
    assert_eq!(
        second.taint.value,
        Some(512),
        "as it was when it was last read"
    );
    Ok(())
}

#[test]
fn a_modules_init_and_who_asked_for_it() -> Result<()> {
    let mut init = module(module_event::INIT, "nf_tables", 0, START_NS + 30);
    (init.init_ns, init.ret) = (4_000, -12);
    let items = vec![
        batch(
            0,
            &[module(module_event::REQUEST, "nf-tables", 0, START_NS + 10)],
        ),
        batch(
            0,
            &[
                module(module_event::LOAD, "nf_tables", 0, START_NS + 20),
                init,
            ],
        ),
    ];
    let summary = one_window(items, &Names::default())?;
    let load = summary.module[1]
        .requested_by
        .as_ref()
        .map(|by| by.name.as_str());
    assert_eq!(load, Some("nf-tables"));
    let init = &summary.module[2];
    assert_eq!(
        (init.event.as_str(), init.init_ns, init.ret),
        ("init", Some(4_000), Some(-12))
    );
    Ok(())
}
