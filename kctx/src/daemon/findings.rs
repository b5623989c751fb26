//! Which findings a diagnosis of the running measurement has: one diagnosis for the metric and for triggers.

use std::time::{Duration, Instant};

use crate::{
    aggregate::window::Window,
    capture::{evidence::Phase, evidence_set::EvidenceSet},
    diagnose::{self, Case, Severity},
    host::{HostIdentity, Reread},
    report::summary::Summary,
};

/// A diagnosis costs a millisecond or so, which at rest is most of what kctx may use in a second.
#[cfg(any(kctx_live, test))]
pub(super) const NOW_AND_THEN: Duration = Duration::from_secs(10);
/// What is read at each window's end, to know what was dropped in a window.
const COUNTS: &str = "proc/net/softnet_stat";
/// It has a line a CPU.
const COUNTS_BYTES: usize = 1 << 20;

/// Diagnoses windows.
pub(super) struct Findings {
    host: HostIdentity,
    /// Open as long as it runs. `None` in a replay: this machine's counts are not those of the recorded one.
    counts: Option<Reread>,
    every: Duration,
    next: Option<Instant>,
    before: Option<Vec<u8>>,
}

impl Findings {
    /// From now on a window in so long.
    #[cfg(kctx_live)]
    pub(super) fn look_every(&mut self, every: Duration) {
        (self.every, self.next) = (every, None);
    }

    /// Of this machine: a window in so long, each where that is zero.
    #[cfg(any(kctx_live, test))]
    pub(super) fn of_this_host(every: Duration) -> Self {
        let root = crate::host::HostRoot::system();
        Self {
            host: HostIdentity::collect(&root),
            counts: root.reread(&format!("/{COUNTS}")).ok(),
            every,
            next: None,
            before: None,
        }
    }

    /// Of a recording: each window.
    pub(super) fn of_a_recording() -> Self {
        Self {
            host: HostIdentity::default(),
            counts: None,
            every: Duration::ZERO,
            next: None,
            before: None,
        }
    }

    /// Ids of the findings of a window that has just closed, but for those that are mere information; `None` when it is not
    /// time to look.
    pub(super) fn look(&mut self, window: &Window) -> Option<Vec<String>> {
        let now = (self.counts.as_ref()).and_then(|file| file.read_all(COUNTS_BYTES).ok());
        let now = now.map(String::into_bytes);
        let before = std::mem::replace(&mut self.before, now.clone());
        let moment = Instant::now();
        if self.next.is_some_and(|next| moment < next) {
            return None;
        }
        self.next = Some(moment + self.every);
        let summary = Summary::from_window(window, self.host.clone(), window.taint_value);
        let mut evidence = EvidenceSet::default();
        for (phase, bytes) in [(Phase::Before, before), (Phase::After, now)] {
            if let Some(bytes) = bytes {
                // It is evidence, so that it is taken.
                let _ = evidence.take(&format!("{}/{COUNTS}", phase.folder()), bytes);
            }
        }
        let diagnosis = diagnose::diagnose(&Case {
            summary: &summary,
            evidence: &evidence,
        });
        let told = diagnosis
            .findings
            .into_iter()
            .map(|finding| (finding.id, finding.severity));
        let also = diagnosis
            .also_seen
            .into_iter()
            .map(|seen| (seen.id, seen.severity));
        let active = told
            .chain(also)
            .filter(|(_, severity)| *severity > Severity::Info);
        Some(active.map(|(id, _)| id).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aggregate::window::{NapiRow, SoftirqRow};
    use std::sync::Arc;

    /// A second of which a CPU receives for nine tenths.
    fn window() -> Window {
        let durations = || (0..440_u64).map(|_| 2_000_000).collect();
        Window {
            start_unix_ns: 1_000_000_000_000_000_000,
            duration_ns: 1_000_000_000,
            softirq: vec![SoftirqRow {
                vector: "NET_RX",
                cpu: 1,
                context: "ksoftirqd",
                count: 440,
                wait_unknown: 0,
                wait: durations(),
                service: durations(),
                service_net: durations(),
            }],
            napi: vec![NapiRow {
                device: Arc::from("backlog"),
                napi_id: 0,
                cpu: 1,
                context: "ksoftirqd",
                overflow: false,
                count: 440,
                exhausted: 440,
                packets: 28_160,
                packets_max: 64,
                service: durations(),
            }],
            ..Window::default()
        }
    }

    #[test]
    fn each_window_of_a_recording_is_diagnosed() {
        let mut findings = Findings::of_a_recording();
        assert_eq!(findings.look(&window()), Some(vec!["NET-SAT".to_owned()]));
        assert_eq!(findings.look(&Window::default()), Some(Vec::new()));
    }

    #[test]
    fn a_running_measurement_is_looked_at_from_time_to_time() {
        let mut findings = Findings::of_this_host(NOW_AND_THEN);
        assert!(findings.look(&window()).is_some());
        assert_eq!(findings.look(&window()), None);
        let mut findings = Findings::of_this_host(Duration::ZERO);
        assert!(findings.look(&window()).is_some());
        assert!(findings.look(&window()).is_some());
    }
}
