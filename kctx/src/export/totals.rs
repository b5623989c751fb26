//! The one owner of what is counted: windows come in, exports read.
//!
//! Windows are deltas, so each is folded in exactly once, in order, whoever gets to it first. No export changes what
//! another one reads: a scrape disturbs no push, nor the other way round. Where the push sends deltas, what was counted
//! since the last one is kept beside what was counted since the start.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::cumulative::{Cumulative, Limits};
use super::interval::{Interval, Taken, Temporality};
use super::metric::Selection;
use super::reloads::{Reloaded, Reloads};
use super::windowed::Windowed;
use crate::aggregate::window::Window;

/// Windows that may wait for an export's thread; at more, whoever offers one folds them. Each can be
/// megabytes, and a replay closes them as fast as it reads.
const MAX_QUEUED: usize = 8;

/// How often it is looked for what is no longer there.
const LOOK_EVERY_NS: u64 = 10_000_000_000;

/// Series, shared by the exports.
#[derive(Debug)]
pub struct Totals {
    queue: Mutex<Queue>,
    /// Locked before `queue` by whoever folds, so that windows are folded in their order.
    state: Mutex<State>,
    /// What is watched by window; locked by itself.
    windowed: Mutex<Option<Windowed>>,
}

#[derive(Debug, Default)]
struct Queue {
    windows: VecDeque<Arc<Window>>,
    last_offered: Option<Instant>,
    /// CPUs that were online when that was last asked; `None`: nobody did.
    online: Option<Arc<[u32]>>,
    /// Of the configuration, since the last window that was folded; `None`: there can be none.
    reloads: Option<Reloads>,
}

#[derive(Debug)]
struct State {
    /// Stays as it was made where nobody reads it.
    cumulative: Cumulative,
    is_read: bool,
    interval: Option<Interval>,
    folded: u64,
    /// When it was last looked for what is no longer there, by the windows' time.
    looked_unix_ns: u64,
}

/// Takes a lock, also of one that panicked.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // No invariant spans a panic: each holder leaves counts that are true by themselves.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Totals {
    /// For scrapes and a cumulative push. Nothing counted yet.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            queue: Mutex::default(),
            state: Mutex::new(State {
                cumulative: Cumulative::new(limits),
                is_read: true,
                interval: None,
                folded: 0,
                looked_unix_ns: 0,
            }),
            windowed: Mutex::default(),
        }
    }

    /// For a push of that temporality, and for scrapes where there are any (`scraped`).
    #[must_use]
    pub fn of(limits: Limits, temporality: Temporality, scraped: bool) -> Self {
        let totals = Self::new(limits);
        if temporality != Temporality::Cumulative {
            let mut state = lock(&totals.state);
            state.interval = Some(Interval::new(limits, temporality));
            state.is_read = scraped;
        }
        totals
    }

    /// Takes a closed window. It is folded later, by an export's thread; here only when none gets to it.
    pub fn offer(&self, window: Arc<Window>) {
        let queued = {
            let mut queue = lock(&self.queue);
            queue.windows.push_back(window);
            queue.last_offered = Some(Instant::now());
            queue.windows.len()
        };
        if queued > MAX_QUEUED {
            self.fold_queued();
        }
    }

    /// Takes which CPUs are online: series of others end after a while.
    pub fn set_online(&self, cpus: &[u32]) {
        lock(&self.queue).online = Some(Arc::from(cpus));
    }

    /// From the next window on there are series of reloads.
    pub fn expect_reloads(&self) {
        lock(&self.queue).reloads.get_or_insert_default();
    }

    /// Takes what became of a reload; it is told with the next window.
    pub fn count_reload(&self, reloaded: Reloaded) {
        let mut queue = lock(&self.queue);
        queue.reloads.get_or_insert_default().count(reloaded);
    }

    /// Folds what is queued, and returns how many windows are folded in all.
    pub fn fold_queued(&self) -> u64 {
        self.fold_into(&mut lock(&self.state))
    }

    /// When the last window came; `None` before the first.
    #[must_use]
    pub fn last_offered(&self) -> Option<Instant> {
        lock(&self.queue).last_offered
    }

    /// The state as of the last window that was offered, and how many windows are in it. Folding waits meanwhile, so
    /// it is for taking a copy of what is needed.
    pub fn read<R>(&self, read: impl FnOnce(&mut Cumulative, u64) -> R) -> R {
        let mut state = lock(&self.state);
        let folded = self.fold_into(&mut state);
        read(&mut state.cumulative, folded)
    }

    /// Counts those metrics, and no others, by window too, beside what the exports have and whether there are any. With CPUs apart
    /// where that is asked for.
    pub fn watch(&self, metrics: Option<(Selection, bool)>) {
        *lock(&self.windowed) =
            metrics.map(|(selection, per_cpu)| Windowed::new(selection, per_cpu));
    }

    /// What a window that has just closed counted of the metrics that are watched; `None` where none are. Each window once,
    /// in their order.
    pub fn in_window<R>(&self, window: &Window, read: impl FnOnce(Option<&Cumulative>) -> R) -> R {
        match &mut *lock(&self.windowed) {
            Some(windowed) => windowed.close(window, |state| read(Some(state))),
            None => read(None),
        }
    }

    /// Adds something beside windows, wherever it is counted.
    pub fn note(&self, note: impl Fn(&mut Cumulative)) {
        if let Some(windowed) = &mut *lock(&self.windowed) {
            note(windowed.state());
        }
        let state = &mut *lock(&self.state);
        if state.is_read {
            note(&mut state.cumulative);
        }
        if let Some(interval) = &mut state.interval {
            note(interval.state());
        }
    }

    /// Ends the interval with the last window that was offered: what was counted in it, and how many windows were folded
    /// in all.
    pub fn take_interval(&self) -> (Option<Taken>, u64) {
        let mut state = lock(&self.state);
        let folded = self.fold_into(&mut state);
        (state.interval.as_mut().and_then(Interval::take), folded)
    }

    /// Takes back an interval that did not get anywhere.
    pub fn put_back(&self, taken: Taken) {
        if let Some(interval) = &mut lock(&self.state).interval {
            interval.put_back(taken);
        }
    }

    /// How often a window did not end after the one before it.
    #[must_use]
    pub fn clock_steps(&self) -> u64 {
        let state = &mut *lock(&self.state);
        let interval = state.interval.as_mut();
        let steps = interval.map(|interval| interval.state().clock_steps());
        state.cumulative.clock_steps().max(steps.unwrap_or(0))
    }

    fn fold_into(&self, state: &mut State) -> u64 {
        loop {
            // So that the queue is not locked while folding.
            let (window, online, reloads) = {
                let mut queue = lock(&self.queue);
                let Some(window) = queue.windows.pop_front() else {
                    return state.folded;
                };
                let reloads = queue.reloads.as_mut().map(std::mem::take);
                (window, queue.online.clone(), reloads)
            };
            state.fold(&window);
            if let Some(reloads) = reloads {
                state.fold_reloads(reloads);
            }
            state.end_gone(&window, online.as_deref());
        }
    }
}

impl State {
    fn fold(&mut self, window: &Window) {
        if self.is_read {
            self.cumulative.fold(window);
        }
        if let Some(interval) = &mut self.interval {
            interval.fold(window);
        }
        self.folded += 1;
    }

    fn fold_reloads(&mut self, reloads: Reloads) {
        if self.is_read {
            self.cumulative.fold_reloads(reloads);
        }
        if let Some(interval) = &mut self.interval {
            interval.state().fold_reloads(reloads);
        }
    }

    /// Looks from time to time for what is no longer there.
    fn end_gone(&mut self, window: &Window, online: Option<&[u32]>) {
        if window.start_unix_ns.abs_diff(self.looked_unix_ns) < LOOK_EVERY_NS {
            return;
        }
        self.looked_unix_ns = window.start_unix_ns;
        self.cumulative.end_gone(online, |_| false);
        if let Some(interval) = &mut self.interval {
            interval.end_gone(online);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::export::testing::{LIMITS, softirq, window};

    fn counted(end: u64) -> Arc<Window> {
        let mut next = window(end);
        next.softirq = vec![softirq("NET_RX", 0, &[1000])];
        Arc::new(next)
    }

    fn count(totals: &Totals) -> (u64, u64) {
        totals.read(|state, folded| {
            let series = state.softirq_gross.iter();
            (series.map(|(_, s)| s.value.count()).sum(), folded)
        })
    }

    #[test]
    fn each_window_counts_once_whoever_reads() {
        let totals = Totals::new(LIMITS);
        assert_eq!((count(&totals), totals.last_offered()), ((0, 0), None));
        for end in 101..=103 {
            totals.offer(counted(end));
        }
        assert_eq!(count(&totals), (3, 3));
        assert_eq!((count(&totals), totals.fold_queued()), ((3, 3), 3));
        totals.offer(counted(104));
        assert_eq!((totals.fold_queued(), count(&totals)), (4, (4, 4)));
        assert!(totals.last_offered().is_some());
    }

    #[test]
    fn windows_that_nobody_asks_for_do_not_pile_up() {
        let totals = Totals::new(LIMITS);
        for end in 101..=200 {
            totals.offer(counted(end));
            assert!(lock(&totals.queue).windows.len() <= MAX_QUEUED);
        }
        assert_eq!(count(&totals), (100, 100));
    }

    #[test]
    fn reloads_are_series_from_0_on_and_come_with_a_window() {
        let read = |totals: &Totals| {
            totals.read(|state, _| {
                let series = state.config_reloads.iter();
                series
                    .map(|(_, series)| (series.value, series.start_unix_ns))
                    .collect::<Vec<_>>()
            })
        };
        let replay = Totals::new(LIMITS);
        replay.offer(counted(101));
        assert_eq!(read(&replay), []);
        let totals = Totals::new(LIMITS);
        totals.expect_reloads();
        totals.offer(counted(101));
        let start = counted(101).start_unix_ns;
        assert_eq!(read(&totals), [(0, start); 4]);
        totals.count_reload(Reloaded::InForce);
        totals.count_reload(Reloaded::Invalid);
        totals.count_reload(Reloaded::Invalid);
        assert_eq!(read(&totals), [(0, start); 4], "no window came");
        for end in 102..=104 {
            totals.offer(counted(end));
        }
        let counts: Vec<_> = read(&totals).iter().map(|(count, _)| *count).collect();
        assert_eq!(counts, [1, 2, 0, 0], "in the order of their attributes");
    }

    #[test]
    fn reloads_are_in_the_interval_that_they_were_in() {
        let totals = Totals::of(LIMITS, Temporality::Delta, false);
        let take = || {
            let taken = totals.take_interval().0.expect("a window came");
            let series = taken.state.config_reloads.iter();
            series.map(|(_, series)| series.value).sum::<u64>()
        };
        totals.count_reload(Reloaded::Unusable);
        totals.offer(counted(101));
        assert_eq!(take(), 1);
        totals.offer(counted(102));
        assert_eq!(take(), 0);
    }

    #[test]
    fn many_readers_and_writers_lose_nothing() {
        let totals = Totals::new(LIMITS);
        std::thread::scope(|scope| {
            for writer in 0..3_u64 {
                let totals = &totals;
                scope.spawn(move || {
                    for n in 1..=200 {
                        totals.offer(counted(writer * 200 + n));
                    }
                });
            }
            for _ in 0..3 {
                scope.spawn(|| {
                    let mut before = (0, 0);
                    while before.1 < 600 {
                        let now = count(&totals);
                        // A clock that goes back by more than an interval starts series anew; windows never get lost.
                        assert!(now.1 >= before.1);
                        before = now;
                    }
                });
            }
        });
        assert_eq!(totals.fold_queued(), 600);
    }
}
