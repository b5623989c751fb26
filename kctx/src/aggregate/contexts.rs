//! Time in each context where the stream has none: from the rows.

use std::collections::BTreeMap;

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
