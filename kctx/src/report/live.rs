//! What `kctx run` shows of each interval: one line, or a table where there is a terminal.

use std::{collections::BTreeMap, fmt::Write as _};

use super::{
    columns::Columns,
    human::{count, cut, duration, name, share, utc},
    limits,
    notices::notices,
    own_cost,
    summary::{cpu_times, vector_number},
};
use crate::{
    aggregate::{
        duration::Durations,
        window::{ContextTimes, Window},
    },
    host::HostIdentity,
};

/// What stands for the rows that the key limit kept out.
const OTHERS: &str = "(all others)";

/// CPUs that a line names; the busiest ones.
const LINE_CPUS: usize = 4;

/// One interval in one line: when, the busiest CPUs, what took most time of each family, what was lost.
#[must_use]
pub fn one_line(window: &Window) -> String {
    let mut parts = vec![utc(window.start_unix_ns)];
    let cpus: Vec<_> = busiest(window)
        .iter()
        .take(LINE_CPUS)
        .map(|cpu| {
            let mut text = format!(
                "cpu{} irq {} softirq {}",
                cpu.cpu,
                share(cpu.hardirq_ns, window.duration_ns),
                share(cpu.softirq_ns, window.duration_ns)
            );
            let threads = [
                ("ksoftirqd", cpu.ksoftirqd_ns),
                ("kthreads", cpu.kthread_ns),
            ];
            for (context, ns) in threads {
                // A line has no room for what is not there.
                if let Some(ns) = ns.filter(|ns| *ns > 0) {
                    let _ = write!(text, " {context} {}", share(ns, window.duration_ns));
                }
            }
            text
        })
        .collect();
    parts.push(if cpus.is_empty() {
        "idle".to_owned()
    } else {
        cpus.join(", ")
    });
    let tops = [
        softirqs(window),
        hardirqs(window),
        works(window),
        kthreads(window),
    ];
    for top in tops.iter().filter_map(|entries| entries.first()) {
        let time = duration(top.service.sum_ns());
        parts.push(format!("{} {}: {time}", top.family, top.label()));
    }
    parts.extend(own_cost::brief(window));
    parts.push(format!("lost {}", count(lost(window))));
    parts.extend(limits::sentences(window));
    parts.join(" | ")
}

/// One interval as at most `height` lines of at most `width` columns.
#[must_use]
pub fn table(window: &Window, width: usize, height: usize) -> String {
    let busiest = busiest(window);
    let mut lines = vec![format!(
        "{}  {}  observed {}  spilled {}  lost {}",
        utc(window.start_unix_ns),
        duration(window.duration_ns),
        count(total(window, |family| family.observed)),
        count(total(window, |family| family.spilled)),
        count(lost(window))
    )];
    let own = own_cost::sentence(window);
    for sentence in own.into_iter().chain(limits::sentences(window)) {
        lines.extend(limits::wrapped(&sentence, width));
    }
    lines.extend(notices(window));
    lines.push(String::new());
    // A third of what is left for the CPUs, the rest for what ran on them, two headings apart.
    let left = height.saturating_sub(lines.len() + 3);
    let cpu_rows = busiest.len().min((left / 3).max(1));
    let mut cpus = Columns::new(["CPU", "hardirq", "softirq", "ksoftirqd", "kthreads", "<"]);
    let or_dash =
        |ns: Option<u64>| ns.map_or_else(|| "-".to_owned(), |ns| share(ns, window.duration_ns));
    for cpu in busiest.iter().take(cpu_rows) {
        cpus.push([
            cpu.cpu.to_string(),
            share(cpu.hardirq_ns, window.duration_ns),
            share(cpu.softirq_ns, window.duration_ns),
            or_dash(cpu.ksoftirqd_ns),
            or_dash(cpu.kthread_ns),
            bar(in_kernel(cpu), window.duration_ns),
        ]);
    }
    lines.extend(cpus.lines());
    lines.push(String::new());

    let mut entries = softirqs(window);
    entries.extend(hardirqs(window));
    entries.extend(works(window));
    entries.extend(kthreads(window));
    by_time(&mut entries);
    // Numbers, gaps and the family take 70 columns.
    let name_width = width.saturating_sub(70).clamp(12, 48);
    let mut rows = Columns::new([
        "<context", "<what", "runs", "time", "mean", "p99", "max", "wait p99",
    ]);
    for entry in entries.iter().take(left.saturating_sub(cpu_rows)) {
        let service = &entry.service;
        let mean = service.sum_ns().checked_div(service.count());
        rows.push([
            entry.family.to_owned(),
            cut(&entry.label(), name_width),
            count(entry.count),
            duration(service.sum_ns()),
            mean.map_or_else(|| "-".to_owned(), duration),
            duration(service.quantile_ns(0.99)),
            duration(service.max_ns()),
            match entry.wait.count() {
                0 => "-".to_owned(),
                _ => duration(entry.wait.quantile_ns(0.99)),
            },
        ]);
    }
    lines.extend(rows.lines());
    let cut_lines: Vec<String> = lines
        .iter()
        .take(height)
        .map(|line| line.chars().take(width).collect())
        .collect();
    cut_lines.join("\n")
}

/// Something that took time, over all CPUs.
struct Entry<'a> {
    family: &'static str,
    names: (&'a str, &'a str),
    irq: Option<u32>,
    count: u64,
    service: Durations,
    wait: Durations,
}

impl Entry<'_> {
    fn label(&self) -> String {
        let (first, second) = (name(self.names.0), name(self.names.1));
        match (self.irq, second.is_empty()) {
            (Some(irq), _) => format!("{irq} {first}"),
            (None, true) => first,
            (None, false) => format!("{first}:{second}"),
        }
    }
}

/// The longest first; those of the same time by what they are, so that rows do not jump about.
fn by_time(entries: &mut [Entry<'_>]) {
    entries.sort_by(|a, b| {
        let what = |entry: &Entry<'_>| (vector_number(entry.names.0), entry.irq);
        let by_time = b.service.sum_ns().cmp(&a.service.sum_ns());
        by_time
            .then_with(|| what(a).cmp(&what(b)))
            .then_with(|| a.names.cmp(&b.names))
    });
}

fn softirqs(window: &Window) -> Vec<Entry<'_>> {
    let mut vectors: BTreeMap<&str, Entry<'_>> = BTreeMap::new();
    for row in &window.softirq {
        let entry = vectors
            .entry(row.vector)
            .or_insert_with(|| entry("softirq", (row.vector, ""), None));
        entry.count = entry.count.saturating_add(row.count);
        entry.service.merge(&row.service_net);
        entry.wait.merge(&row.wait);
    }
    sorted(vectors.into_values())
}

fn hardirqs(window: &Window) -> Vec<Entry<'_>> {
    let mut lines: BTreeMap<(Option<u32>, &str), Entry<'_>> = BTreeMap::new();
    for row in &window.hardirq {
        let name: &str = match row.overflow {
            true => OTHERS,
            false => &row.name,
        };
        let entry = lines
            .entry((row.irq, name))
            .or_insert_with(|| entry("irq", (name, ""), row.irq));
        entry.count = entry.count.saturating_add(row.count);
        entry.service.merge(&row.service);
    }
    sorted(lines.into_values())
}

fn works(window: &Window) -> Vec<Entry<'_>> {
    sorted(window.workqueue.iter().map(|row| {
        let names = match row.overflow {
            true => (OTHERS, ""),
            false => (&*row.workqueue, &*row.function),
        };
        Entry {
            count: row.count,
            service: row.service.clone(),
            wait: row.wait.clone(),
            ..entry("work", names, None)
        }
    }))
}

/// A kworker does others' work, which has rows of its own.
fn kthreads(window: &Window) -> Vec<Entry<'_>> {
    let others = window.kthread.iter().filter(|row| row.role != "kworker");
    sorted(others.map(|row| Entry {
        count: row.count,
        service: row.service_net.clone(),
        wait: row.wait.clone(),
        ..entry(
            "kthread",
            if row.overflow {
                (OTHERS, "")
            } else {
                (&row.comm, "")
            },
            None,
        )
    }))
}

fn entry<'a>(family: &'static str, names: (&'a str, &'a str), irq: Option<u32>) -> Entry<'a> {
    Entry {
        family,
        names,
        irq,
        count: 0,
        service: Durations::default(),
        wait: Durations::default(),
    }
}

fn sorted<'a>(entries: impl Iterator<Item = Entry<'a>>) -> Vec<Entry<'a>> {
    let mut entries: Vec<_> = entries.collect();
    by_time(&mut entries);
    entries
}

/// Time in all that is neither a user task nor idle.
fn in_kernel(cpu: &ContextTimes) -> u64 {
    let threads = [cpu.ksoftirqd_ns, cpu.kthread_ns].into_iter().flatten();
    threads.fold(
        cpu.hardirq_ns.saturating_add(cpu.softirq_ns),
        u64::saturating_add,
    )
}

/// CPUs by the time they spent in kernel contexts, the busiest first.
fn busiest(window: &Window) -> Vec<ContextTimes> {
    let mut cpus = cpu_times(window, &HostIdentity::default());
    // Stable: CPUs with the same time stay in the order of their numbers.
    cpus.sort_by_key(|cpu| std::cmp::Reverse(in_kernel(cpu)));
    cpus
}

fn bar(part_ns: u64, whole_ns: u64) -> String {
    const WIDTH: u128 = 20;
    let filled = (u128::from(part_ns) * WIDTH)
        .checked_div(u128::from(whole_ns))
        .unwrap_or(0)
        .min(WIDTH);
    format!(
        "[{}{}]",
        "#".repeat(filled as usize),
        " ".repeat((WIDTH - filled) as usize)
    )
}

fn total(
    window: &Window,
    part: impl Fn(&crate::aggregate::window::FamilyAccounting) -> u64,
) -> u64 {
    let families = window.accounting.by_family.iter();
    families.fold(0, |sum, family| sum.saturating_add(part(family)))
}

fn lost(window: &Window) -> u64 {
    total(window, |family| {
        family.lost.values().copied().fold(0, u64::saturating_add)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fixture;
    use proptest::prelude::*;

    #[test]
    fn a_line_names_the_busiest_of_each_family() {
        assert_eq!(
            one_line(&fixture::window()),
            "2026-11-22 03:04:05 UTC | cpu1 irq 0.20 % softirq 40.00 % ksoftirqd 3.00 % kthreads \
             6.80 %, cpu0 irq 0.25 % softirq 5.00 % kthreads 4.75 % | softirq NET_RX: 450 ms | \
             irq 36 virtio1\\u{1b}[2J: 2.50 ms | work events:flush_to_ldisc: 900 ms | kthread \
             ksoftirqd/1: 72.0 ms | kctx 0.35 % + ~0.80 % in the kernel, 24.0 MiB | lost 3 | limited softirq since 2026-11-22 03:04:05 UTC: kctx took \
             3 % of CPU 1",
        );
        let empty = one_line(&Window::default());
        assert_eq!(empty, "1970-01-01 00:00:00 UTC | idle | lost 0");
    }

    #[test]
    fn the_table_shows_the_longest_first_and_the_whole_of_each() {
        let text = table(&fixture::window(), 100, 30);
        let position = |what: &str| text.find(what).unwrap_or_else(|| panic!("{what}:\n{text}"));
        assert!(position("events:flush_to_ldisc") < position("NET_RX"));
        assert!(position("NET_RX") < position("36 virtio1"));
        // Both CPUs' runs together.
        let line = text.lines().find(|line| line.contains("NET_RX")).unwrap();
        assert!(line.contains(" 450   450 ms"), "{line}");
        assert!(text.contains("lost 3") && text.contains("\nkctx 0.35 % of a CPU ("));
        assert!(text.contains("\nkernel log: warning: evil: loading"));
        assert!(!text.contains('\x1b'));
    }

    proptest! {
        #[test]
        fn the_table_fits_its_terminal(width in 0usize..200, height in 0usize..40) {
            let text = table(&fixture::window(), width, height);
            prop_assert!(text.lines().count() <= height.max(1));
            prop_assert!(text.lines().all(|line| line.chars().count() <= width));
        }
    }
}
