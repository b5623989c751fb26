//! Where each CPU's time went: the parts against the whole, against the rows, and against the scheduler's own
//! books.

use std::{collections::BTreeMap, fs};

use anyhow::Result;
use kctx::report::summary::Summary;
use kctx_tests::{
    bundle::Bundle,
    left_out::left_out,
    load::{self, Pty},
};

use crate::{alone, capture, capture_during, conservation::check_conservation, in_vm, without_btf};

fn loaded() -> Result<Bundle> {
    let udp = load::udp()?;
    let bundle = capture("2s", &[])?;
    assert!(udp.rounds() > 100, "the load did not run");
    Ok(bundle)
}

#[test]
fn the_parts_of_each_cpu_add_up_to_the_window() -> Result<()> {
    let _alone = alone();
    let bundle = loaded()?;
    check_conservation(&bundle.summary);
    let window = bundle.summary.window.duration_ns;
    assert!(!bundle.summary.cpu.is_empty());
    for cpu in &bundle.summary.cpu {
        println!("{cpu:?} of {window}");
        if without_btf() {
            // Nobody knows then which task runs.
            assert_eq!(
                (cpu.ksoftirqd_ns, cpu.kthread_ns, cpu.rest_ns),
                (None, None, None)
            );
            continue;
        }
        let parts = [cpu.ksoftirqd_ns, cpu.kthread_ns, cpu.rest_ns];
        let tasks: u64 = parts.iter().map(|part| part.unwrap_or_default()).sum();
        assert!(parts.iter().all(Option::is_some), "{cpu:?}");
        let sum = cpu.hardirq_ns + cpu.softirq_ns + tasks;
        // Between the window's stamp and the reading of the accounts the drain of an emulated machine may have to wait.
        let slack = if in_vm() { slack_ns() } else { 0 };
        assert!(
            sum.abs_diff(window) <= window / 100 + slack,
            "{sum} of {window}: {cpu:?}"
        );
    }
    Ok(())
}

/// What lies at the window's edges is in one and not in the other: a run, a slice of a thread.
fn is_near(whole: u64, rows: u64, slack_ns: u64) -> bool {
    whole.abs_diff(rows) <= slack_ns + whole.max(rows) / 50
}

/// An emulated CPU may be stopped in the middle of anything for as long as the others have their turns.
fn slack_ns() -> u64 {
    if in_vm() { 60_000_000 } else { 2_000_000 }
}

fn by_cpu<'a, R>(
    rows: impl IntoIterator<Item = &'a R>,
    of: impl Fn(&R) -> (u32, u64),
) -> BTreeMap<u32, u64>
where
    R: 'a,
{
    let mut sums = BTreeMap::new();
    for row in rows {
        let (cpu, ns) = of(row);
        *sums.entry(cpu).or_default() += ns;
    }
    sums
}

/// The account of contexts is kept in the kernel, the rows' sums are made of records: two ways to the same. (The
/// time of calls that returned `IRQ_NONE` is in no row's service; there are next to none here.)
#[test]
fn the_contexts_are_the_sums_of_their_rows() -> Result<()> {
    let _alone = alone();
    let summary = loaded()?.summary;
    let softirq = by_cpu(&summary.softirq, |row| (row.cpu, row.service_net.sum_ns));
    let hardirq = by_cpu(&summary.hardirq, |row| (row.cpu, row.service.sum_ns));
    for cpu in &summary.cpu {
        let rows = |sums: &BTreeMap<u32, u64>| sums.get(&cpu.cpu).copied().unwrap_or(0);
        let (soft, hard) = (rows(&softirq), rows(&hardirq));
        assert!(
            is_near(cpu.softirq_ns, soft, slack_ns()),
            "{cpu:?}: rows {soft}"
        );
        assert!(
            is_near(cpu.hardirq_ns, hard, slack_ns()),
            "{cpu:?}: rows {hard}"
        );
    }
    if !without_btf() {
        let (contexts, rows) = threads(&summary);
        assert!(
            is_near(contexts, rows, slack_ns()),
            "{contexts} in threads: rows {rows}"
        );
    }
    Ok(())
}

fn threads(summary: &Summary) -> (u64, u64) {
    let of = |ns: Option<u64>| ns.unwrap_or_default();
    let contexts = summary
        .cpu
        .iter()
        .map(|cpu| of(cpu.ksoftirqd_ns) + of(cpu.kthread_ns));
    let rows = summary.kthread.iter().map(|row| row.cpu_net_ns);
    (contexts.sum(), rows.sum())
}

/// What /proc/PID/schedstat has of a thread: time on the CPU, time runnable, and times that it got one.
#[derive(Clone, Copy, Debug, Default)]
struct Sched {
    run_ns: u64,
    wait_ns: u64,
    times: u64,
}

/// All kernel threads' so far.
fn schedstat() -> Result<BTreeMap<u32, Sched>> {
    let mut threads = BTreeMap::new();
    for entry in fs::read_dir("/proc")? {
        let path = entry?.path();
        let Some(pid) = path
            .file_name()
            .and_then(|name| name.to_str()?.parse().ok())
        else {
            continue;
        };
        // A thread may end meanwhile. A kernel thread has no command line.
        let read = |file: &str| fs::read_to_string(path.join(file)).unwrap_or_default();
        if !read("cmdline").is_empty() {
            continue;
        }
        let text = read("schedstat");
        let mut numbers = text.split_whitespace().filter_map(|word| word.parse().ok());
        if let [Some(run_ns), Some(wait_ns), Some(times)] = std::array::from_fn(|_| numbers.next())
        {
            threads.insert(
                pid,
                Sched {
                    run_ns,
                    wait_ns,
                    times,
                },
            );
        }
    }
    Ok(threads)
}

#[test]
fn threads_run_and_wait_as_the_scheduler_says() -> Result<()> {
    let _alone = alone();
    if without_btf() || fs::read_to_string("/proc/self/schedstat").is_err() {
        left_out("no BTF, or a kernel without CONFIG_SCHED_INFO");
        return Ok(());
    }
    let mut pty = Pty::open()?;
    let outer_before = schedstat()?;
    let mut inner = (BTreeMap::new(), BTreeMap::new());
    let bundle = capture_during(|| {
        inner.0 = schedstat()?;
        pty.carry(if in_vm() { 400 } else { 4000 })?;
        inner.1 = schedstat()?;
        Ok(())
    })?;
    let outer_after = schedstat()?;
    let mut ours: BTreeMap<u32, Sched> = BTreeMap::new();
    for row in &bundle.summary.kthread {
        let sum = ours.entry(row.pid).or_default();
        sum.run_ns += row.cpu_ns;
        sum.wait_ns += row.wait.sum_ns;
        sum.times += row.count;
    }
    let growth = |before: &BTreeMap<u32, Sched>, after: &BTreeMap<u32, Sched>, pid| {
        let (then, now) = (before.get(&pid)?, after.get(&pid)?);
        Some(Sched {
            run_ns: now.run_ns - then.run_ns,
            wait_ns: now.wait_ns - then.wait_ns,
            times: now.times - then.times,
        })
    };
    let mut compared = 0;
    // A kernel that leaves switches untraced has threads whose start nobody sees.
    let unseen = (bundle.summary.accounting.by_family.iter())
        .filter(|(family, _)| family.as_str() == "kthread")
        .filter_map(|(_, counts)| counts.partial.get("end_without_start"))
        .sum::<u64>();
    for (pid, our) in &ours {
        let Some(outer) = growth(&outer_before, &outer_after, *pid) else {
            continue;
        };
        // The scheduler takes its time at the beginning of a switch, the tracepoint comes when the next task
        // has been chosen: so much of each time on the CPU counts as waiting here.
        let slack = slack_ns() / 4 + our.times * if in_vm() { 600_000 } else { 12_000 };
        let context = format!("{pid}: {our:?}, at most {outer:?}");
        assert!(our.times <= outer.times + 2, "{context}");
        assert!(
            our.run_ns <= outer.run_ns + outer.run_ns / 20 + slack,
            "{context}"
        );
        assert!(
            our.wait_ns <= outer.wait_ns + outer.wait_ns / 20 + slack,
            "{context}"
        );
        if let Some(inner) = growth(&inner.0, &inner.1, *pid) {
            let context = format!("{pid}: {our:?}, at least {inner:?}; {unseen} unseen");
            assert!(our.times + unseen + 2 >= inner.times, "{context}");
            if unseen <= 3 {
                assert!(
                    our.run_ns + slack >= inner.run_ns - inner.run_ns / 20,
                    "{context}"
                );
                assert!(
                    our.wait_ns + slack >= inner.wait_ns - inner.wait_ns / 5,
                    "{context}"
                );
            }
            compared += usize::from(inner.times > 100);
        }
    }
    println!(
        "{} threads, {compared} of them busy; {unseen} starts unseen",
        ours.len()
    );
    assert!(!ours.is_empty(), "no threads");
    assert!(
        compared > 0 || unseen > 3,
        "no thread was busy enough to compare"
    );
    Ok(())
}
