//! Rows without bound, and names that change their meaning.

use anyhow::Result;
use kctx::{aggregate::table::RowLimits, report::summary::Summary, source::Item};
use kctx_common::record::module_event;
use kctx_tests::stream::{
    self, Names, START_NS, batch, control, counted, hardirq, module, spill_delta, spilled, start,
    window_end, work,
};

#[test]
fn an_address_means_another_function_after_a_module_event() -> Result<()> {
    let (wq, kept, reused) = (3, 0x1000, 0x2000);
    let works = |n: u64| {
        let works = [
            work(wq, kept, START_NS + n, 1, 10),
            work(wq, reused, START_NS + n, 1, 5),
        ];
        batch(0, &works)
    };
    let event = |event, n| batch(0, &[module(event, "m", 0, START_NS + n)]);
    let items = [
        start(),
        works(1),
        event(module_event::FREE, 2),
        event(module_event::LOAD, 3),
        works(4),
        works(5),
        counted([0, 0, 6, 2]),
        window_end(100),
    ];
    let names = Names::new(
        &[(wq, "events")],
        &[
            &[(kept, "stays"), (reused, "old_fn")],
            &[(kept, "stays")],
            &[(kept, "stays"), (reused, "new_fn")],
        ],
    );
    let live = stream::live(&items, &names, RowLimits::default());
    let rows: Vec<_> = (live[0].workqueue.iter())
        .map(|row| (row.function.as_str(), row.count))
        .collect();
    assert_eq!(rows, [("stays", 3), ("new_fn", 2), ("old_fn", 1)]);
    let recorded = stream::recorded(&items, &names, RowLimits::default())?;
    assert_eq!(live, recorded);
    Ok(())
}

#[test]
fn a_function_whose_name_is_not_known_yet_has_it_from_where_it_is() -> Result<()> {
    let (wq, function) = (3, 0x2000);
    let works = |n: u64| batch(0, &[work(wq, function, START_NS + n, 1, 5)]);
    let items = [
        start(),
        works(1),
        batch(0, &[module(module_event::LOAD, "m", 0, START_NS + 2)]),
        works(3),
        works(4),
        works(5),
        works(6),
        counted([0, 0, 5, 1]),
        window_end(100),
    ];
    let mut names = Names::new(
        &[(wq, "events")],
        &[&[(function, "old_fn")], &[(function, "new_fn")]],
    );
    // The pieces 3 and 4 come too soon.
    names.blind = 3;
    let live = stream::live(&items, &names, RowLimits::default());
    let mut rows: Vec<_> = (live[0].workqueue.iter())
        .map(|row| (row.function.as_str(), row.count))
        .collect();
    rows.sort_unstable();
    assert_eq!(rows, [("0x2000", 2), ("new_fn", 2), ("old_fn", 1)]);
    assert_eq!(
        live,
        stream::recorded(&items, &names, RowLimits::default())?
    );
    Ok(())
}

fn many_rows() -> (Vec<Item>, Names) {
    let mut items = vec![start()];
    for i in 0..600_u64 {
        let (cpu, key) = ((i % 2) as u32, i % 30);
        items.push(batch(
            cpu,
            &[work(1 + key % 2, 0x100 + key, START_NS + i, i, 10 * i)],
        ));
        let ret = u8::from(i % 5 != 0);
        items.push(batch(
            cpu,
            &[hardirq(20 + key as u32, 7 + key % 3, ret, START_NS + i, i)],
        ));
    }
    // The kernel's own table had no room either.
    for family in [2, 3] {
        items.push(control(kctx::source::Control::Spill(Box::new(
            kctx::source::SpillDelta {
                overflow: true,
                service: spilled(&[500, 600]),
                ..spill_delta(family, 1)
            },
        ))));
    }
    items.extend([counted([0, 600, 600, 0]), window_end(1000)]);
    (items, Names::default())
}

fn sums(summary: &Summary) -> [u64; 7] {
    let hardirq = &summary.hardirq;
    let works = &summary.workqueue;
    [
        hardirq.iter().map(|row| row.count).sum(),
        hardirq.iter().map(|row| row.unhandled).sum(),
        hardirq.iter().map(|row| row.service.sum_ns).sum(),
        works.iter().map(|row| row.count).sum(),
        works.iter().map(|row| row.wait.count).sum(),
        works.iter().map(|row| row.wait.sum_ns).sum(),
        works.iter().map(|row| row.service.sum_ns).sum(),
    ]
}

#[test]
fn rows_over_the_limit_are_summed_in_one() -> Result<()> {
    let (items, names) = many_rows();
    let unlimited = stream::live(&items, &names, RowLimits::default());
    let limits = RowLimits {
        hardirq: 8,
        workqueue: 8,
        ..RowLimits::default()
    };
    let limited = stream::live(&items, &names, limits);
    assert_eq!(limited, stream::recorded(&items, &names, limits)?);
    let (unlimited, limited) = (&unlimited[0], &limited[0]);
    assert_eq!(sums(limited), sums(unlimited));
    assert_eq!(sums(limited)[0] + sums(limited)[1], 602);
    assert_eq!(sums(limited)[3], 602);

    // 8 of their own and the one for the rest; of interrupts one for each CPU.
    assert_eq!(limited.workqueue.len(), 9);
    assert_eq!(
        limited.workqueue.iter().filter(|row| row.overflow).count(),
        1
    );
    assert_eq!(limited.hardirq.len(), 10);
    assert_eq!(
        limited
            .hardirq
            .iter()
            .filter(|row| row.irq.is_none())
            .count(),
        2
    );
    // 22 of 30 keys, 20 times each, and what came as the kernel's overflow.
    let works = limited.workqueue.iter().find(|row| row.overflow);
    assert_eq!(works.map(|row| row.count), Some(22 * 20 + 2));
    assert_eq!(limited.accounting.total.overflowed, 2 * (22 * 20 + 2));
    assert_eq!(unlimited.accounting.total.overflowed, 2 * 2);
    Ok(())
}
