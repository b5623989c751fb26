//! The cumulative state of the export: windows are folded in, nothing is ever lost or reset.

use std::sync::Arc;

use super::attributes::{Attributes, Value};
use super::exponential::{DEFAULT_MAX_SIZE, ExponentialHistogram};
use super::metric::{Metric, Selection, SeriesMut};
use super::peaks::Peaks;
use super::rows::add;
use super::series::SeriesSet;
use crate::aggregate::window::{Accounting, Family, GovernorRow, ModuleEvent, ProbeStatus, Window};
use crate::host::taint::{self, TAINT_FLAGS};

/// A clock that fell back by less than this is waited out; by more, all series start anew.
const SMALL_STEP_NS: u64 = 1_000_000_000;

/// Bounds and choices of the state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most buckets of an exponential histogram.
    pub max_buckets: usize,
    /// Most series of one metric, the overflow series among them.
    pub max_series: usize,
    /// Whether series of what a CPU did are kept apart by `cpu.logical_number`, or summed up.
    pub per_cpu: bool,
    /// Which metrics there are.
    pub selection: Selection,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_buckets: DEFAULT_MAX_SIZE,
            max_series: 2000,
            per_cpu: true,
            selection: Selection::ALL,
        }
    }
}

/// What has been counted since the start of each series. Its fields are the metrics.
#[derive(Clone, Debug, Default)]
pub struct Cumulative {
    pub(super) limits: Limits,
    /// End of the last window folded in, strictly rising; every point's time.
    time_unix_ns: u64,
    /// Start of that window.
    opened_unix_ns: u64,
    clock_steps: u64,
    pub(super) softirq_wait: SeriesSet<ExponentialHistogram>,
    pub(super) softirq_gross: SeriesSet<ExponentialHistogram>,
    pub(super) softirq_net: SeriesSet<ExponentialHistogram>,
    pub(super) softirq_raised: SeriesSet<u64>,
    pub(super) hardirq: SeriesSet<ExponentialHistogram>,
    pub(super) hardirq_unhandled: SeriesSet<u64>,
    pub(super) tasklet: SeriesSet<ExponentialHistogram>,
    pub(super) workqueue_wait: SeriesSet<ExponentialHistogram>,
    pub(super) workqueue_activate: SeriesSet<ExponentialHistogram>,
    pub(super) workqueue: SeriesSet<ExponentialHistogram>,
    pub(super) workqueue_net: SeriesSet<ExponentialHistogram>,
    pub(super) napi: SeriesSet<ExponentialHistogram>,
    pub(super) napi_packets: SeriesSet<u64>,
    pub(super) napi_exhausted: SeriesSet<u64>,
    pub(super) kthread_wait: SeriesSet<ExponentialHistogram>,
    pub(super) kthread_cpu_ns: SeriesSet<u64>,
    pub(super) context_time_ns: SeriesSet<u64>,
    pub(super) module_events: SeriesSet<u64>,
    pub(super) taint: SeriesSet<u64>,
    pub(super) log_lines: SeriesSet<u64>,
    pub(super) records: SeriesSet<u64>,
    pub(super) probe_attached: SeriesSet<u64>,
    pub(super) finding_active: SeriesSet<u64>,
    pub(super) config_reloads: SeriesSet<u64>,
    pub(super) governor_limited: SeriesSet<u64>,
    pub(super) governor_since_ns: SeriesSet<u64>,
    pub(super) self_cpu_ns: SeriesSet<u64>,
    pub(super) self_bpf_ns: SeriesSet<u64>,
    pub(super) self_bpf_runs: SeriesSet<u64>,
    pub(super) self_memory: SeriesSet<u64>,
    pub(super) ring_fill_ppm: SeriesSet<u64>,
    pub(super) ring_bytes: SeriesSet<u64>,
    pub(super) ring_peaks: Peaks,
    pub(super) recorder_bytes: SeriesSet<u64>,
    pub(super) recorder_length_ns: SeriesSet<u64>,
    pub(super) trigger_fired: SeriesSet<u64>,
    pub(super) trigger_bundles: SeriesSet<u64>,
    pub(super) points_inflight: SeriesSet<u64>,
    pub(super) export_queue: SeriesSet<u64>,
    pub(super) exports_merged: SeriesSet<u64>,
    pub(super) points_dropped: SeriesSet<u64>,
    pub(super) exported_points: SeriesSet<u64>,
    pub(super) exported_logs: SeriesSet<u64>,
    pub(super) processed_logs: SeriesSet<u64>,
    pub(super) export_duration: SeriesSet<ExponentialHistogram>,
    pub(super) collection_duration: SeriesSet<ExponentialHistogram>,
}

impl Cumulative {
    /// Nothing counted yet.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        let mut state = Self {
            limits,
            ..Self::default()
        };
        for (metric, wanted) in limits.selection.each() {
            match metric.series_mut(&mut state) {
                SeriesMut::Durations(set) => set.allow(limits.max_series, wanted),
                SeriesMut::Numbers(set) => set.allow(limits.max_series, wanted),
            }
        }
        state
    }

    /// Time of every point of the next request.
    #[must_use]
    pub fn time_unix_ns(&self) -> u64 {
        self.time_unix_ns
    }

    /// Start of a state that is told beside windows: before every point's time.
    pub(super) fn opened_unix_ns(&self) -> u64 {
        self.opened_unix_ns
    }

    /// How often a window did not end after the one before it.
    #[must_use]
    pub fn clock_steps(&self) -> u64 {
        self.clock_steps
    }

    /// Adds a closed window.
    pub fn fold(&mut self, window: &Window) {
        if self.is_long_before(window) {
            // Points in the future would stay invisible until the clock gets there: start everything anew, which is a
            // reset with a known cause.
            self.start_anew(|_| false);
        }
        // A series first seen now was 0 at the end of the collection before: counting from there gives
        // its first value the right rate (SDK specification, "Start timestamps").
        let start = self.advance(window);
        self.opened_unix_ns = start;
        self.fold_rows(window, start);
        for row in &window.module {
            // What is asked for is any user's free text: only what was really loaded is an attribute.
            let name = (row.event != ModuleEvent::Request).then_some(&row.name);
            let attributes = Attributes::new()
                .with("kctx.module.event", row.event.as_str())
                .with_some("kctx.module.name", name);
            add(&mut self.module_events, attributes, 1, start);
        }
        self.replace_taint(window.taint_value, start);
        self.fold_accounting(&window.accounting, start);
        self.replace_probes(&window.probes, start);
        self.replace_governor(&window.governor, start);
        self.fold_own_cost(window.own_cost.as_ref(), start);
    }

    /// Whether the window ends so long before the last one that the clock was set back: by more than an interval.
    pub(super) fn is_long_before(&self, window: &Window) -> bool {
        let end = window.start_unix_ns.saturating_add(window.duration_ns);
        let back = self.time_unix_ns.saturating_sub(end);
        back > window.duration_ns.max(SMALL_STEP_NS)
    }

    /// Forgets the time, and what is counted but for the metrics to be kept.
    pub(super) fn start_anew(&mut self, keep: impl Fn(&Metric) -> bool) {
        self.time_unix_ns = 0;
        self.clock_steps += 1;
        self.forget(keep);
    }

    /// Forgets what is counted but for the metrics to be kept.
    pub(super) fn forget(&mut self, keep: impl Fn(&Metric) -> bool) {
        for (metric, _) in self.limits.selection.each() {
            if keep(metric) {
                continue;
            }
            match metric.series_mut(self) {
                SeriesMut::Durations(set) => set.clear(),
                SeriesMut::Numbers(set) => set.clear(),
            }
        }
    }

    /// Has points be of this time at least.
    pub(super) fn reach(&mut self, time_unix_ns: u64) {
        self.time_unix_ns = self.time_unix_ns.max(time_unix_ns);
    }

    /// The same without anything counted.
    pub(super) fn empty_at_that_time(&self) -> Self {
        Self {
            time_unix_ns: self.time_unix_ns,
            opened_unix_ns: self.opened_unix_ns,
            clock_steps: self.clock_steps,
            ..Self::new(self.limits)
        }
    }

    /// Moves the clock to the window's end and returns the start of series first seen in it.
    fn advance(&mut self, window: &Window) -> u64 {
        let end = window.start_unix_ns.saturating_add(window.duration_ns);
        if self.time_unix_ns == 0 {
            self.time_unix_ns = end.max(window.start_unix_ns + 1);
            return window.start_unix_ns;
        }
        let start = self.time_unix_ns;
        if end <= start {
            // A small step back is waited out.
            self.clock_steps += 1;
        }
        self.time_unix_ns = end.max(start + 1);
        start
    }

    /// Outcomes are disjoint. `partial` is no record: it is what was seen of executions that never
    /// became one.
    fn fold_accounting(&mut self, accounting: &Accounting, start: u64) {
        for (family, counts) in Family::ALL.iter().zip(&accounting.by_family) {
            let mut add = |outcome: &'static str, reason: Option<&String>, count: u64| {
                let attributes = Attributes::new()
                    .with("kctx.probe.family", family.as_str())
                    .with("kctx.record.outcome", outcome)
                    .with_some("error.type", reason);
                add(&mut self.records, attributes, count, start);
            };
            add("streamed", None, counts.streamed);
            add("spilled", None, counts.spilled);
            for (reason, count) in &counts.lost {
                add("lost", Some(reason), *count);
            }
            for (reason, count) in &counts.partial {
                add("partial", Some(reason), *count);
            }
        }
    }

    /// A state. Each flag that is known has its series from the start, so that a backend sees it change; what this
    /// version has no name for only where it is set.
    fn replace_taint(&mut self, value: Option<u64>, start: u64) {
        let state = |flag: Value, is_set: u64| {
            let attributes = Attributes::new().with("kctx.kernel.taint.flag", flag);
            (attributes, is_set)
        };
        let mut states = Vec::new();
        if let Some(value) = value {
            let flags = TAINT_FLAGS.iter();
            states.extend(flags.map(|flag| state(flag.name.into(), value >> flag.bit & 1)));
            let newer = taint::unknown_bits(value).into_iter();
            states.extend(newer.map(|bit| state((&format!("bit_{bit}")).into(), 1)));
        }
        self.taint.replace(states, start, self.time_unix_ns);
    }

    /// Which families the governor keeps from the rings at the window's end, and since when. Why is always the
    /// same: what kctx used was over its limit; with how much, the log and the summary say.
    fn replace_governor(&mut self, rows: &[GovernorRow], start: u64) {
        let (mut limited, mut since) = (Vec::new(), Vec::new());
        for family in Family::ALL {
            let attributes = Attributes::new()
                .with("kctx.probe.family", family.as_str())
                .with("kctx.governor.reason", "cpu_limit");
            let row = (rows.iter()).find(|row| row.family == family && row.until_unix_ns.is_none());
            if let Some(row) = row {
                since.push((attributes.clone(), row.since_unix_ns));
            }
            // A family that never was limited has no series: most hosts never limit any.
            let known = (self.governor_limited.iter()).any(|(known, _)| *known == attributes);
            if known || row.is_some() {
                limited.push((attributes, u64::from(row.is_some())));
            }
        }
        let now = self.time_unix_ns;
        self.governor_limited.replace(limited, start, now);
        self.governor_since_ns.replace(since, start, now);
    }

    /// Takes which findings the last diagnosis had. One that was active once has its series from then on: most hosts never
    /// have any.
    pub fn note_findings(&mut self, active: &[String]) {
        let mut states: Vec<_> = (self.finding_active.iter())
            .map(|(known, _)| (known.clone(), 0))
            .collect();
        for id in active {
            let attributes = Attributes::new().with("kctx.finding.id", id);
            match states.iter_mut().find(|(known, _)| *known == attributes) {
                Some((_, is_active)) => *is_active = 1,
                None => states.push((attributes, 1)),
            }
        }
        let (start, now) = (self.opened_unix_ns, self.time_unix_ns);
        self.finding_active.replace(states, start, now);
    }

    /// A state, not a count: only what holds now is kept.
    fn replace_probes(&mut self, probes: &[ProbeStatus], start: u64) {
        let states = probes.iter().map(|probe| {
            let reason = (!probe.attached).then(|| match &probe.reason {
                Some(reason) => Arc::from(reason.chars().take(120).collect::<String>().as_str()),
                None => Arc::from("_OTHER"),
            });
            let attributes = Attributes::new()
                .with("kctx.probe.name", &probe.name)
                .with("kctx.probe.family", probe.family.as_str())
                .with_some("kctx.probe.mechanism", probe.mechanism.as_ref())
                .with_some("error.type", reason.as_ref());
            (attributes, u64::from(probe.attached))
        });
        let now = self.time_unix_ns;
        self.probe_attached.replace(states.collect(), start, now);
    }
}

#[cfg(test)]
#[path = "cumulative_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "own_cost_tests.rs"]
mod own_cost_tests;
