//! The context that took most of a CPU: what a report begins with where no diagnosis says more.

use std::collections::BTreeMap;

use super::{
    human::{cut, share},
    summary::Summary,
};

/// Widest name of a vector: a recording may bring any.
const NAME_WIDTH: usize = 16;

/// One sentence.
#[must_use]
pub fn sentence(summary: &Summary) -> String {
    let window = summary.window.duration_ns;
    match busiest(summary) {
        Some((what, cpu, ns)) => format!(
            "Busiest kernel context: {what} on CPU {cpu}, {} of its time.",
            share(ns, window)
        ),
        None => "No kernel context took any time that was seen.".to_owned(),
    }
}

/// The context, its CPU and its time.
fn busiest(summary: &Summary) -> Option<(String, u32, u64)> {
    let mut softirqs: BTreeMap<(&str, u32), u64> = BTreeMap::new();
    for row in &summary.softirq {
        let sum = softirqs.entry((&row.vector, row.cpu)).or_default();
        *sum = sum.saturating_add(row.service_net.sum_ns);
    }
    let softirqs = softirqs
        .into_iter()
        .map(|((vector, cpu), ns)| (format!("softirq {}", cut(vector, NAME_WIDTH)), cpu, ns));
    let others = summary.cpu.iter().flat_map(|times| {
        let parts = [
            ("interrupts", Some(times.hardirq_ns)),
            ("ksoftirqd outside of softirqs", times.ksoftirqd_ns),
            ("kernel threads", times.kthread_ns),
        ];
        parts.map(|(what, ns)| (what.to_owned(), times.cpu, ns.unwrap_or(0)))
    });
    let all = softirqs.chain(others).filter(|(_, _, ns)| *ns > 0);
    // Of equal ones the first.
    all.reduce(|most, one| if one.2 > most.2 { one } else { most })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{aggregate::window::Window, host::HostIdentity, report::fixture};

    #[test]
    fn it_names_what_took_most_of_one_cpu() {
        let summary = Summary::from_window(&fixture::window(), fixture::host(), None);
        assert_eq!(
            sentence(&summary),
            "Busiest kernel context: softirq NET_RX on CPU 1, 40.00 % of its time."
        );
    }

    #[test]
    fn of_nothing_it_says_so() {
        let summary = Summary::from_window(&Window::default(), HostIdentity::default(), None);
        assert!(sentence(&summary).starts_with("No kernel context"));
    }
}
