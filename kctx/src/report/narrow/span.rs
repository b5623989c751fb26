//! Some of the time: the same stream as if its window had opened and closed then.

use std::collections::BTreeMap;

use super::{Moment, NarrowError, Narrowing, which::picked};
use crate::{
    aggregate::window::LogRows,
    decode::{self, Record},
    report::{human::duration, human::utc, stretch::Stretch},
    source::{Control, Item, RunningThread, SpillDelta},
};
use kctx_common::record::{Kthread, kind};

/// From when to when, by `CLOCK_MONOTONIC`; where nothing was asked there is no bound, since some records end
/// just after their window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::report) struct Spanned {
    pub(in crate::report) start_ns: u64,
    pub(in crate::report) from_ns: Option<u64>,
    pub(in crate::report) to_ns: Option<u64>,
}

impl Spanned {
    /// The span in a window that starts then.
    fn new(narrowing: &Narrowing, start_ns: u64, start_unix_ns: u64) -> Result<Self, NarrowError> {
        let by_clock = |moment: Moment| moment.by_clock(start_ns, start_unix_ns);
        let (from_ns, to_ns) = (narrowing.from.map(by_clock), narrowing.to.map(by_clock));
        if to_ns.is_some_and(|to| to <= start_ns) {
            return Err(NarrowError::Before(utc(start_unix_ns)));
        }
        if let (Some(from), Some(to)) = (from_ns, to_ns)
            && to <= from
        {
            return Err(NarrowError::Empty);
        }
        Ok(Self {
            start_ns,
            from_ns,
            to_ns,
        })
    }

    /// When it begins.
    pub(in crate::report) fn begin_ns(&self) -> u64 {
        self.from_ns.unwrap_or(self.start_ns)
    }

    /// Whether what ended then is in it.
    pub(in crate::report) fn has(&self, end_ns: u64) -> bool {
        self.from_ns.is_none_or(|from| end_ns >= from) && self.to_ns.is_none_or(|to| end_ns < to)
    }
}

/// Picks by time.
#[derive(Debug, Default)]
pub(in crate::report) struct SpanStream {
    narrowing: Narrowing,
    span: Option<Spanned>,
    start_unix_ns: u64,
    end: Option<(u64, Option<u64>)>,
    latest_ns: u64,
    /// Threads that were on a CPU when the span ended.
    running: BTreeMap<u32, RunningThread>,
    /// The same of the whole window.
    running_at_end: Vec<RunningThread>,
    has_baseline: bool,
    spilled_left_out: u64,
    stacks_left_out: u64,
    log_lines_left_out: u64,
}

impl SpanStream {
    pub(in crate::report) fn new(narrowing: &Narrowing) -> Self {
        Self {
            narrowing: narrowing.clone(),
            ..Self::default()
        }
    }

    /// The span, once the stream has begun.
    pub(in crate::report) fn span(&self) -> Option<Spanned> {
        self.span
    }

    /// Executions that the kernel spilled, without a time.
    pub(in crate::report) fn spilled_left_out(&self) -> u64 {
        self.spilled_left_out
    }

    /// Samples of stacks, without one.
    pub(in crate::report) fn stacks_left_out(&self) -> u64 {
        self.stacks_left_out
    }

    /// Lines of the log that were counted but not kept, so that nobody knows when they came.
    pub(in crate::report) fn log_lines_left_out(&self) -> u64 {
        self.log_lines_left_out
    }

    /// The piece of the stream but for what lies outside; `None` where nothing is left. The window's end is held
    /// back for [`Self::close`].
    pub(in crate::report) fn take(&mut self, item: &Item) -> Result<Option<Item>, NarrowError> {
        match item {
            Item::Records { cpu, batch } => {
                self.note(*cpu, batch);
                let span = self.span;
                let batch = picked(batch, |record| {
                    span.is_some_and(|span| span.has(end_of(record)))
                });
                Ok((!batch.is_empty()).then_some(Item::Records { cpu: *cpu, batch }))
            }
            Item::Control(control) => {
                let kept = self.control(control)?;
                Ok(kept.map(|control| Item::Control(Box::new(control))))
            }
        }
    }

    fn control(&mut self, control: &Control) -> Result<Option<Control>, NarrowError> {
        let has = |at: u64| self.span.is_some_and(|span| span.has(at));
        Ok(match control {
            Control::Start {
                monotonic_ns,
                unix_ns,
                probes,
                host,
            } => {
                let span = Spanned::new(&self.narrowing, *monotonic_ns, *unix_ns)?;
                self.span = Some(span);
                self.start_unix_ns = *unix_ns;
                let begin_ns = span.begin_ns();
                Some(Control::Start {
                    monotonic_ns: begin_ns,
                    unix_ns: unix_ns.saturating_add(begin_ns - monotonic_ns),
                    probes: probes.clone(),
                    host: host.clone(),
                })
            }
            Control::Spill(delta) => {
                let count = spilled(delta);
                self.spilled_left_out = self.spilled_left_out.saturating_add(count);
                None
            }
            Control::Stacks(rows) => {
                self.stacks_left_out += rows.iter().map(|row| row.count).sum::<u64>();
                None
            }
            Control::Running(threads) => {
                // The first list is of the window's start.
                if self.has_baseline {
                    self.running_at_end.clone_from(threads);
                }
                self.has_baseline = true;
                for thread in threads {
                    let stretch = Stretch {
                        start_ns: thread.start_ns,
                        end_ns: thread.start_ns.saturating_add(thread.service_ns),
                        own_ns: thread.net_ns,
                    };
                    self.note_running(stretch, thread.clone());
                }
                None
            }
            Control::Log(log) => {
                let (kept, left_out) = log_within(log, has);
                self.log_lines_left_out += left_out;
                Some(Control::Log(Box::new(kept)))
            }
            Control::Taint { monotonic_ns, .. } => has(*monotonic_ns).then(|| control.clone()),
            Control::WindowEnd {
                monotonic_ns,
                taint,
                ..
            } => {
                self.end = Some((*monotonic_ns, *taint));
                None
            }
            // Of the whole window; the driver makes what a span has of them.
            Control::Counted(_)
            | Control::Contexts(_)
            | Control::OwnCost(_)
            | Control::SpilledOrigins(_) => None,
            Control::Name { .. }
            | Control::Function { .. }
            | Control::FunctionsRenewed
            | Control::Comm { .. } => Some(control.clone()),
            // An earlier one may still hold.
            Control::Governor { monotonic_ns, .. }
            | Control::GovernorHelpless { monotonic_ns, .. } => {
                let to_ns = self.span.and_then(|span| span.to_ns);
                let is_later = to_ns.is_some_and(|to_ns| *monotonic_ns >= to_ns);
                (!is_later).then(|| control.clone())
            }
        })
    }

    /// Looks for threads that were on a CPU when the span ended.
    fn note(&mut self, cpu: u32, batch: &[u8]) {
        for record in decode::records(batch) {
            self.latest_ns = self.latest_ns.max(end_of(&record));
            if let Record::Kthread(r) = &record {
                let stretch = Stretch::ended(r.end_ns, r.service_ns, r.net_ns);
                self.note_running(stretch, thread_of(cpu, r));
            }
        }
    }

    fn note_running(&mut self, stretch: Stretch, thread: RunningThread) {
        let Some(to_ns) = self.span.and_then(|span| span.to_ns) else {
            return;
        };
        if stretch.start_ns >= to_ns || stretch.end_ns < to_ns {
            return;
        }
        let part = RunningThread {
            start_ns: stretch.start_ns,
            service_ns: to_ns - stretch.start_ns,
            net_ns: stretch.own_within(0, to_ns),
            ..thread
        };
        self.running.insert(part.cpu, part);
    }

    /// The end of the stream: the threads that were running then, and when the window closes. Nothing where the stream
    /// never began.
    pub(in crate::report) fn close(self) -> Result<Option<[Control; 3]>, NarrowError> {
        let Some(span) = self.span else {
            return Ok(None);
        };
        let (window_end_ns, taint) = self.end.unwrap_or((self.latest_ns, None));
        let begin_ns = span.begin_ns();
        if begin_ns >= window_end_ns {
            return Err(NarrowError::After(
                duration(begin_ns - span.start_ns),
                duration(window_end_ns.saturating_sub(span.start_ns)),
            ));
        }
        let end_ns = span.to_ns.map_or(window_end_ns, |to| to.min(window_end_ns));
        let end = Control::WindowEnd {
            monotonic_ns: end_ns,
            unix_ns: self.start_unix_ns.saturating_add(end_ns - span.start_ns),
            taint,
        };
        // The first list of a stream says who had run before it; here that is cut off at the start.
        let baseline = Control::Running(Vec::new());
        let running = Control::Running(match end_ns < window_end_ns {
            true => self.running.into_values().collect(),
            false => self.running_at_end,
        });
        Ok(Some([baseline, running, end]))
    }
}

fn thread_of(cpu: u32, r: &Kthread) -> RunningThread {
    let len = r.comm.iter().position(|&b| b == 0);
    let comm = &r.comm[..len.unwrap_or(r.comm.len())];
    RunningThread {
        cpu,
        pid: r.pid,
        comm: String::from_utf8_lossy(comm).into_owned(),
        workqueue_id: r.workqueue_id,
        start_ns: 0,
        service_ns: 0,
        net_ns: 0,
    }
}

/// Executions of a spill row; the number of polls is that of their packet counts.
pub(in crate::report) fn spilled(delta: &SpillDelta) -> u64 {
    match delta.family {
        kind::NAPI => delta.third.count,
        _ => delta.service.count,
    }
}

/// When it ended; of a module event, when it was.
pub(in crate::report) fn end_of(record: &Record) -> u64 {
    match record {
        Record::Softirq(r) => r.end_ns,
        Record::Hardirq(r) => r.end_ns,
        Record::Work(r) => r.end_ns,
        Record::Module(r) => r.time_ns,
        Record::Tasklet(r) => r.end_ns,
        Record::Napi(r) => r.end_ns,
        Record::Kthread(r) => r.end_ns,
        Record::Unknown => 0,
    }
}

/// The log's lines that came then, counted anew, and how many have no time.
fn log_within(log: &LogRows, has: impl Fn(u64) -> bool) -> (LogRows, u64) {
    let lines: Vec<_> = (log.lines.iter())
        .filter(|line| has(line.time_unix_ns))
        .cloned()
        .collect();
    let mut kept = LogRows::default();
    for line in &lines {
        if line.fragment {
            kept.fragments += 1;
        } else if let Some(level) = kept.by_level.get_mut(usize::from(line.level)) {
            *level += 1;
        }
    }
    kept.lines = lines;
    (kept, log.dropped)
}
