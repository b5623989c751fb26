//! Time in each context where the stream has none: from the rows, or because nothing was seen of a CPU.

use std::collections::{BTreeMap, BTreeSet};

use super::window::{ContextTimes, Window};

/// What interrupts and softirqs took on each CPU that has a row. Where switches between tasks are not
/// followed, nobody knows of the rest.
pub(super) fn of_rows(window: &Window) -> Vec<ContextTimes> {
    let mut times: BTreeMap<u32, ContextTimes> = BTreeMap::new();
    for row in &window.hardirq {
        let sum = &mut times.entry(row.cpu).or_default().hardirq_ns;
        *sum = sum.saturating_add(row.service.sum_ns());
    }
    for row in &window.softirq {
        let sum = &mut times.entry(row.cpu).or_default().softirq_ns;
        *sum = sum.saturating_add(row.service_net.sum_ns());
    }
    times
        .into_iter()
        .map(|(cpu, time)| ContextTimes { cpu, ..time })
        .collect()
}

/// Adds the CPUs that are `online` and of which the stream has nothing. Where switches between tasks are followed, no
/// kernel thread ran there and no interrupt or softirq was seen: all of the window is user tasks and idle.
pub(super) fn add_unseen(times: &mut Vec<ContextTimes>, online: &[u32], window_ns: u64) {
    if times.iter().all(|time| time.rest_ns.is_none()) {
        return;
    }
    let seen: BTreeSet<u32> = times.iter().map(|time| time.cpu).collect();
    let unseen = online.iter().filter(|cpu| !seen.contains(cpu));
    times.extend(unseen.map(|&cpu| ContextTimes {
        cpu,
        hardirq_ns: 0,
        softirq_ns: 0,
        ksoftirqd_ns: Some(0),
        kthread_ns: Some(0),
        rest_ns: Some(window_ns),
    }));
    times.sort_by_key(|time| time.cpu);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(cpu: u32, rest_ns: Option<u64>) -> ContextTimes {
        ContextTimes {
            cpu,
            hardirq_ns: 1000 - rest_ns.unwrap_or(1000),
            ksoftirqd_ns: rest_ns.map(|_| 0),
            kthread_ns: rest_ns.map(|_| 0),
            rest_ns,
            ..ContextTimes::default()
        }
    }

    #[test]
    fn a_cpu_of_which_nothing_was_seen_was_idle_where_switches_are_followed() {
        let mut times = vec![seen(5, Some(900)), seen(1, Some(700))];
        add_unseen(&mut times, &[0, 1, 2], 1000);
        let rows: Vec<_> = times.iter().map(|time| (time.cpu, time.rest_ns)).collect();
        assert_eq!(
            rows,
            [
                (0, Some(1000)),
                (1, Some(700)),
                (2, Some(1000)),
                (5, Some(900))
            ]
        );
        for time in times {
            let threads = [time.ksoftirqd_ns, time.kthread_ns, time.rest_ns];
            let parts: u64 = threads.into_iter().flatten().sum();
            assert_eq!(time.hardirq_ns + time.softirq_ns + parts, 1000);
        }
    }

    #[test]
    fn where_switches_are_not_followed_nobody_knows() {
        let mut times = vec![seen(1, None)];
        add_unseen(&mut times, &[0, 1], 1000);
        assert_eq!(times, [seen(1, None)]);
    }
}
