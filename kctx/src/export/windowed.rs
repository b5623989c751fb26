//! What one window alone counted, of the metrics that somebody watches: the same series as the exports have, by the same
//! code, but begun anew with each window.

use super::{
    cumulative::{Cumulative, Limits},
    metric::{Metric, Selection},
};
use crate::aggregate::window::Window;

/// Buckets of a histogram: a window's durations are then told to 1 %, from 100 ns to 4 s.
const BUCKETS: usize = 1280;
/// Series of one metric. A window's rows are bounded, so this only bounds states that come and go.
const SERIES: usize = 1 << 16;

/// The window that is open.
#[derive(Debug)]
pub(super) struct Windowed(Cumulative);

impl Windowed {
    /// Of those metrics, with CPUs apart where that is asked for.
    pub(super) fn new(selection: Selection, per_cpu: bool) -> Self {
        Self(Cumulative::new(Limits {
            max_buckets: BUCKETS,
            max_series: SERIES,
            per_cpu,
            selection,
        }))
    }

    /// What is told beside windows belongs to the one that closes next.
    pub(super) fn state(&mut self) -> &mut Cumulative {
        &mut self.0
    }

    /// The window that is open has closed; the next one begins, with the states that hold.
    pub(super) fn close<R>(&mut self, window: &Window, read: impl FnOnce(&Cumulative) -> R) -> R {
        self.0.fold(window);
        let read = read(&self.0);
        self.0.forget(Metric::is_state);
        read
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{aggregate::window::SoftirqRow, export::metric::SeriesOf};

    #[test]
    fn counts_are_of_one_window_and_states_stay() {
        let names = ["kctx.softirq.duration", "kctx.finding.active"].map(str::to_owned);
        let selection = Selection::of_metrics(&names).unwrap();
        let mut windowed = Windowed::new(selection, false);
        let row = |cpu| SoftirqRow {
            vector: "NET_RX",
            cpu,
            context: "task",
            count: 3,
            wait_unknown: 0,
            wait: [1; 3].into_iter().collect(),
            service: [1000; 3].into_iter().collect(),
            service_net: [1000; 3].into_iter().collect(),
        };
        windowed.state().note_findings(&["NET-FW".to_owned()]);
        for second in 1..=3_u64 {
            let window = Window {
                start_unix_ns: second * 1_000_000_000,
                duration_ns: 1_000_000_000,
                softirq: vec![row(0), row(1)],
                ..Window::default()
            };
            windowed.close(&window, |state| {
                let [duration, wait, finding] = [
                    "kctx.softirq.duration",
                    "kctx.softirq.wait.duration",
                    "kctx.finding.active",
                ]
                .map(|name| {
                    let mut all = super::super::metric::metrics();
                    all.find(|metric| metric.name == name)
                        .unwrap()
                        .series(state)
                });
                let SeriesOf::Durations(duration) = duration else {
                    unreachable!()
                };
                // CPUs together.
                let counts: Vec<_> = duration.iter().map(|(_, s)| s.value.count()).collect();
                assert_eq!(counts, [6], "second {second}");
                assert!(matches!(wait, SeriesOf::Durations(set) if set.is_empty()));
                assert!(matches!(finding, SeriesOf::Count(set) if set.len() == 1));
            });
        }
    }
}
