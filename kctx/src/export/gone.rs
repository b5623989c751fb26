//! Series of what is no longer there.

use super::attributes::{Attributes, Value};
use super::cumulative::Cumulative;
use super::metric::{Metric, SeriesMut};
use super::series::SeriesSet;

const SECOND: u64 = 1_000_000_000;

/// A CPU that is offline keeps its series for so long: one that soon comes back is nothing to tell, and every export had
/// the time to send what it did last.
const OFFLINE_NS: u64 = 300 * SECOND;

/// Nothing tells that a device is gone: it may be in another network namespace. One that was not polled for so long is
/// taken to be.
const SILENT_NS: u64 = 3600 * SECOND;

const CPU: &str = "cpu.logical_number";
const INTERFACE: &str = "network.interface.name";

impl Cumulative {
    /// Ends the series of CPUs that are not `online` (where that is known) and of devices that were silent for long, but
    /// for the metrics to be kept.
    pub(super) fn end_gone(&mut self, online: Option<&[u32]>, keep: impl Fn(&Metric) -> bool) {
        let now = self.time_unix_ns();
        for (metric, _) in self.limits.selection.each() {
            let mut keys = metric.attributes.iter().map(|attribute| attribute.key);
            if keep(metric) || !keys.any(|key| key == CPU || key == INTERFACE) {
                continue;
            }
            match metric.series_mut(self) {
                SeriesMut::Durations(set) => end(set, now, online),
                SeriesMut::Numbers(set) => end(set, now, online),
            }
        }
    }
}

fn end<T>(set: &mut SeriesSet<T>, now: u64, online: Option<&[u32]>) {
    set.end_where(now, |attributes, changed| {
        let silent = now.saturating_sub(changed);
        silent >= OFFLINE_NS && is_offline(attributes, online)
            || silent >= SILENT_NS && attributes.iter().any(|(key, _)| key == INTERFACE)
    });
}

fn is_offline(attributes: &Attributes, online: Option<&[u32]>) -> bool {
    let cpu = attributes.iter().find_map(|(key, value)| match value {
        Value::Int(cpu) if key == CPU => u32::try_from(*cpu).ok(),
        _ => None,
    });
    cpu.zip(online)
        .is_some_and(|(cpu, online)| !online.contains(&cpu))
}

#[cfg(test)]
#[path = "gone_tests.rs"]
mod tests;
