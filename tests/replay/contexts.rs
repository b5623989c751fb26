//! Where softirqs ran, what raised them, and whose time it was: live and through a bundle.

use anyhow::Result;
use kctx::{
    aggregate::window::{ContextTimes, OriginKind},
    host::HostIdentity,
    source::Control,
};
use kctx_common::record::{Work, context, flags, origin, vector_class};
use kctx_tests::stream::{
    Names, START_NS, START_UNIX_NS, batch, control, counted, hardirq, raised_by, softirq, start,
    timer, window_end, work,
};

use crate::{SECOND, one_window, origin_of, summaries};

#[test]
fn a_vector_has_a_row_for_each_place_and_each_raiser() -> Result<()> {
    let run = |service_ns| softirq(3, START_NS + 10, Some(5), service_ns);
    let records = [
        raised_by(run(100), context::IRQ_TAIL, (origin::IRQ, 36)),
        raised_by(run(200), context::KSOFTIRQD, (origin::SOFTIRQ, 3)),
        raised_by(run(300), context::IRQ_TAIL, (origin::IRQ, 36)),
        raised_by(run(400), context::TASK, (origin::TASK, 4711)),
        raised_by(
            run(500),
            context::IRQ_TAIL,
            (origin::VECTOR, vector_class::CAL),
        ),
        raised_by(run(600), context::IDLE, (origin::IDLE, 99)),
        // No such context, no such origin.
        raised_by(run(700), 15, (9, 1)),
    ];
    let items = vec![
        batch(2, &records),
        batch(2, &[hardirq(36, 8, 1, START_NS + 1, 50)]),
    ];
    let names = Names::new(&[(8, "virtio1-input.0")], &[]).with_comms(&[(4711, "iperf3")]);
    let summary = one_window(items, &names)?;
    let rows: Vec<_> = (summary.softirq.iter())
        .map(|row| (row.context.as_str(), row.count, row.service.sum_ns))
        .collect();
    assert_eq!(
        rows,
        [
            ("unknown", 1, 700),
            ("ksoftirqd", 1, 200),
            ("irq_tail", 3, 900),
            ("idle", 1, 600),
            ("task", 1, 400),
        ]
    );
    let raisers: Vec<_> = (summary.softirq_origin.iter())
        .map(|row| {
            assert_eq!((row.vector.as_str(), row.cpu), ("NET_RX", 2));
            (origin_of(&row.origin), row.count)
        })
        .collect();
    assert_eq!(
        raisers,
        [
            ((OriginKind::Irq, Some(36), "virtio1-input.0"), 2),
            ((OriginKind::Unknown, None, ""), 1),
            ((OriginKind::Vector, Some(vector_class::CAL), "CAL"), 1),
            ((OriginKind::Softirq, Some(3), "NET_RX"), 1),
            ((OriginKind::Task, Some(4711), "iperf3"), 1),
            ((OriginKind::Idle, None, ""), 1),
        ]
    );
    Ok(())
}

#[test]
fn the_parts_of_each_cpu_that_is_online_add_up_to_the_window() -> Result<()> {
    let begin = control(Control::Start {
        monotonic_ns: START_NS,
        unix_ns: START_UNIX_NS,
        probes: Vec::new(),
        host: Box::new(HostIdentity {
            cpu_list: "0-3".to_owned(),
            ..HostIdentity::default()
        }),
    });
    let seen = |followed| ContextTimes {
        cpu: 2,
        hardirq_ns: 10,
        softirq_ns: 20,
        ksoftirqd_ns: Some(30).filter(|_| followed),
        kthread_ns: Some(40).filter(|_| followed),
        rest_ns: Some(SECOND - 100).filter(|_| followed),
    };
    let contexts = |followed| control(Control::Contexts(vec![seen(followed)]));
    let items = [
        begin,
        contexts(true),
        counted([0; 4]),
        window_end(SECOND),
        contexts(false),
        counted([0; 4]),
        window_end(2 * SECOND),
    ];
    let all = summaries(&items, &Names::default())?;
    let cpus: Vec<u32> = all[0].cpu.iter().map(|time| time.cpu).collect();
    assert_eq!(cpus, [0, 1, 2, 3]);
    for time in &all[0].cpu {
        let threads = [time.ksoftirqd_ns, time.kthread_ns, time.rest_ns];
        let parts: Option<u64> = threads.into_iter().sum();
        let whole = parts.map(|parts| time.hardirq_ns + time.softirq_ns + parts);
        assert_eq!(whole, Some(SECOND), "{time:?}");
    }
    assert_eq!(all[1].cpu[2], seen(false));
    assert_eq!((all[1].cpu[3].cpu, all[1].cpu[3].rest_ns), (3, None));
    Ok(())
}

#[test]
fn raisers_without_a_place_are_unknown_and_counted() -> Result<()> {
    let records: Vec<_> = (0..300)
        .map(|pid| {
            let run = softirq(1, START_NS + u64::from(pid), None, 10);
            raised_by(run, context::TASK, (origin::TASK, 1000 + pid % 100))
        })
        .collect();
    let summary = one_window(vec![batch(0, &records)], &Names::default())?;
    let rows = &summary.softirq_origin;
    assert_eq!(rows.len(), 65);
    assert_eq!(rows.iter().map(|row| row.count).sum::<u64>(), 300);
    assert_eq!(origin_of(&rows[0].origin), (OriginKind::Unknown, None, ""));
    assert_eq!((rows[0].count, rows[1].count), (36 * 3, 3));
    assert_eq!(rows[1].origin.name, "?", "nobody knows these processes");
    Ok(())
}

#[test]
fn raisers_without_a_place_are_told_apart_by_their_comms() -> Result<()> {
    let records: Vec<_> = (0..300)
        .map(|pid| {
            let run = softirq(1, START_NS + u64::from(pid), None, 10);
            raised_by(run, context::TASK, (origin::TASK, 1000 + pid % 100))
        })
        .collect();
    // Sixty-four have places; of the thirty-six others twelve each are curl, are a or b, and are known to nobody.
    let comms: Vec<_> = (64..100)
        .filter(|pid| pid % 3 != 1)
        .map(|pid| match pid % 3 {
            0 => (1000 + pid, "curl"),
            _ => (1000 + pid, ["a", "b"][usize::from(pid % 2 == 0)]),
        })
        .collect();
    let names = Names::default().with_comms(&comms);
    let summary = one_window(vec![batch(0, &records)], &names)?;
    let rows = &summary.softirq_origin;
    assert_eq!(rows.iter().map(|row| row.count).sum::<u64>(), 300);
    let told: Vec<_> = (rows.iter())
        .filter(|row| row.origin.number.is_none())
        .map(|row| (row.origin.kind, row.origin.name.as_str(), row.count))
        .collect();
    assert_eq!(
        told,
        [
            (OriginKind::Unknown, "", 36),
            (OriginKind::Task, "curl", 36),
            (OriginKind::Task, "a", 18),
            (OriginKind::Task, "b", 18),
        ]
    );
    Ok(())
}

#[test]
fn a_work_that_short_lived_tasks_queued_says_their_comm() -> Result<()> {
    let queued = |kind, number| Work {
        flags: flags::WAIT | flags::NET,
        origin_kind: kind,
        origin: number,
        net_ns: 1,
        ..work(4, 0x10, START_NS + 9, 3, 1000)
    };
    let mut records = vec![queued(origin::TASK, 7), queued(origin::IRQ, 36)];
    records.extend((0..40).map(|pid| queued(origin::TASK, 100 + pid)));
    records.push(queued(origin::TASK, 100));
    records.push(queued(origin::TASK, 7));
    let comms: Vec<_> = (100..140).map(|pid| (pid, "ip")).collect();
    let names = Names::new(&[(4, "events")], &[])
        .with_comms(&comms)
        .with_comms(&[(7, "sshd")]);
    let summary = one_window(vec![batch(0, &records)], &names)?;
    let by: Vec<_> = (summary.workqueue[0].queued_by.iter())
        .map(|by| (origin_of(&by.origin), by.count))
        .collect();
    assert_eq!(
        by,
        [
            ((OriginKind::Task, None, "ip"), 41),
            ((OriginKind::Task, Some(7), "sshd"), 2),
            ((OriginKind::Irq, Some(36), ""), 1),
        ]
    );
    Ok(())
}

#[test]
fn a_work_says_who_queued_it_and_what_it_used() -> Result<()> {
    let queued = |kind, number, net_ns| Work {
        flags: flags::WAIT | flags::NET | flags::BH,
        origin_kind: kind,
        origin: number,
        net_ns,
        ..work(4, 0x10, START_NS + 9, 3, 1000)
    };
    let mut records = vec![
        queued(origin::TASK, 7, 400),
        queued(origin::TASK, 7, 100),
        queued(origin::IRQ, 36, 50),
    ];
    records.extend((0..20).map(|pid| queued(origin::TASK, 100 + pid, 1)));
    records.push(work(4, 0x10, START_NS + 9, 3, 1000));
    let names = Names::new(&[(4, "events")], &[]).with_comms(&[(7, "sshd")]);
    let summary = one_window(vec![batch(0, &records)], &names)?;
    let row = &summary.workqueue[0];
    assert_eq!((row.count, row.bh), (24, 23));
    assert_eq!((row.service.sum_ns, row.service.count), (24_000, 24));
    assert_eq!((row.service_net.sum_ns, row.service_net.count), (570, 23));
    assert_eq!(row.queued_by.len(), 8);
    assert_eq!(row.queued_by.iter().map(|by| by.count).sum::<u64>(), 24);
    let by = |i: usize| (origin_of(&row.queued_by[i].origin), row.queued_by[i].count);
    assert_eq!(by(0), ((OriginKind::Unknown, None, ""), 16));
    assert_eq!(by(1), ((OriginKind::Task, Some(7), "sshd"), 2));
    Ok(())
}

#[test]
fn vectors_without_a_number_are_interrupts_and_no_overflow() -> Result<()> {
    let mut unknown = timer(START_NS + 5, 9);
    unknown.irq = 77;
    let records = [
        timer(START_NS + 1, 500),
        timer(START_NS + 2, 700),
        unknown,
        // Of this number there is an interrupt too.
        hardirq(vector_class::LOC, 3, 1, START_NS + 3, 40),
    ];
    let items = vec![batch(1, &records)];
    let summary = one_window(items, &Names::new(&[(3, "timer")], &[]))?;
    let rows: Vec<_> = (summary.hardirq.iter())
        .map(|row| {
            (
                row.irq,
                row.name.as_str(),
                row.overflow,
                row.count,
                row.service.sum_ns,
            )
        })
        .collect();
    assert_eq!(
        rows,
        [
            (Some(0), "timer", false, 1, 40),
            (None, "LOC", false, 2, 1200)
        ]
    );
    let cpu = &summary.cpu[0];
    assert_eq!((cpu.cpu, cpu.hardirq_ns, cpu.ksoftirqd_ns), (1, 1240, None));
    Ok(())
}

#[test]
fn a_comm_that_changes_does_so_in_the_next_window() -> Result<()> {
    let run = |after: u64| {
        let run = softirq(3, START_NS + after, None, 10);
        batch(0, &[raised_by(run, context::TASK, (origin::TASK, 7))])
    };
    let comm = |comm: &str| {
        control(Control::Comm {
            pid: 7,
            comm: comm.to_owned(),
        })
    };
    let items = [
        start(),
        comm("bash"),
        run(1),
        counted([1]),
        window_end(SECOND),
        run(SECOND + 1),
        counted([1]),
        window_end(2 * SECOND),
        comm("iperf3"),
        run(2 * SECOND + 1),
        counted([1]),
        window_end(3 * SECOND),
    ];
    let all = summaries(&items, &Names::default())?;
    let comms: Vec<_> = all
        .iter()
        .map(|s| s.softirq_origin[0].origin.name.as_str())
        .collect();
    assert_eq!(comms, ["bash", "bash", "iperf3"]);
    Ok(())
}
