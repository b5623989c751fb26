//! Interrupts by line and CPU: the actions of a shared line together.

use std::collections::BTreeMap;

use super::Facts;

/// A line's or vector's interrupts on one CPU.
#[derive(Clone, Debug, Default, PartialEq)]
pub(in crate::diagnose) struct Line {
    /// As /proc/interrupts has it: `36`, `LOC`.
    pub(in crate::diagnose) label: String,
    /// Names of its actions; the label of a vector.
    pub(in crate::diagnose) actions: Vec<String>,
    pub(in crate::diagnose) cpu: u32,
    /// Interrupts a second: the calls of the action that was called most.
    pub(in crate::diagnose) rate: f64,
    /// Of the interrupts, in per cent, those that no action said were its device's.
    pub(in crate::diagnose) unclaimed: f64,
    /// Part of the CPU in its handlers.
    pub(in crate::diagnose) percent: f64,
    pub(in crate::diagnose) longest_ns: u64,
    /// The largest 99th percentile of its actions.
    pub(in crate::diagnose) p99_ns: u64,
    /// Calls whose time is known.
    pub(in crate::diagnose) count: u64,
}

impl Line {
    /// `interrupt 36 (virtio1-req.0)`, `LOC`
    pub(in crate::diagnose) fn words(&self) -> String {
        match self.label.parse::<u32>() {
            Ok(number) => format!("interrupt {number} ({})", self.actions.join(", ")),
            Err(_) => self.label.clone(),
        }
    }

    /// Whether it is a numbered line and not a vector of the CPU's own.
    pub(in crate::diagnose) fn is_numbered(&self) -> bool {
        self.label.parse::<u32>().is_ok()
    }
}

/// The line and the action of an interrupt's thread, by its comm: `irq/36-nvme0q1` (`setup_irq_thread`, kernel/irq/manage.c); a
/// second one's action begins with `s-`.
pub(in crate::diagnose) fn of_thread(comm: &str) -> Option<(&str, &str)> {
    let (number, action) = comm.strip_prefix("irq/")?.split_once('-')?;
    Some((number, action.strip_prefix("s-").unwrap_or(action)))
}

impl Facts<'_> {
    /// By time, the most first.
    pub(in crate::diagnose) fn lines(&self) -> Vec<Line> {
        let mut lines: BTreeMap<(String, u32), (Line, u64, u64)> = BTreeMap::new();
        for row in self.summary.hardirq.iter().filter(|row| !row.overflow) {
            let label = row
                .irq
                .map_or_else(|| row.name.clone(), |irq| irq.to_string());
            let (line, calls, handled) =
                lines.entry((label.clone(), row.cpu)).or_insert_with(|| {
                    let line = Line {
                        label,
                        cpu: row.cpu,
                        ..Line::default()
                    };
                    (line, 0, 0)
                });
            line.actions.push(row.name.clone());
            line.percent += self.percent(row.service.sum_ns);
            line.longest_ns = line.longest_ns.max(row.service.max_ns);
            line.p99_ns = line.p99_ns.max(row.service.p99_ns);
            line.count = line.count.saturating_add(row.service.count);
            *calls = (*calls).max(row.count.saturating_add(row.unhandled));
            *handled = handled.saturating_add(row.count);
        }
        let mut lines: Vec<_> = lines
            .into_values()
            .map(|(line, calls, handled)| {
                let unclaimed = calls.saturating_sub(handled);
                Line {
                    rate: self.rate(calls),
                    unclaimed: unclaimed as f64 * 100.0 / calls.max(1) as f64,
                    ..line
                }
            })
            .collect();
        lines.sort_by(|a, b| b.percent.total_cmp(&a.percent).then(a.cpu.cmp(&b.cpu)));
        lines
    }
}
