//! What is watched beside the probes: the kernel's log and its taint. Both are files that are looked at a few
//! times a second.

use super::Control;
use crate::{
    aggregate::window::{LogRow, LogRows},
    host::{
        HostRoot,
        kmsg_follow::{KmsgFollower, LogBounds, LogSummary, LogWindow},
        taint_watch::TaintWatch,
    },
};

/// How often.
const EVERY_NS: u64 = 250_000_000;

/// The watch, from when it was opened.
pub struct Watch {
    root: HostRoot,
    kmsg: Option<KmsgFollower>,
    log: LogWindow,
    taint: TaintWatch,
    next_ns: u64,
}

impl Watch {
    /// Opens what it will read, while this process may: what is logged from now on counts.
    #[must_use]
    pub fn open(root: HostRoot, bounds: LogBounds, now_ns: u64) -> Self {
        let kmsg = KmsgFollower::open(&root, &bounds)
            .inspect_err(|error| tracing::warn!(%error, "the kernel's log is not followed"))
            .ok();
        let mut taint = TaintWatch::new();
        // The first value is what later ones are compared with.
        let _ = taint.poll(&root, now_ns);
        Self {
            root,
            kmsg,
            log: LogWindow::new(bounds),
            taint,
            next_ns: 0,
        }
    }

    /// Looks, if it is time to; a change of the taint.
    pub fn poll(&mut self, now_ns: u64) -> Option<Control> {
        if now_ns < self.next_ns {
            return None;
        }
        self.next_ns = now_ns + EVERY_NS;
        self.look(now_ns)
    }

    fn look(&mut self, now_ns: u64) -> Option<Control> {
        if let Some(kmsg) = &mut self.kmsg
            && let Ok(polled) = kmsg.poll(now_ns)
        {
            self.log.add(polled);
        }
        let change = self.taint.poll(&self.root, now_ns).ok().flatten()?;
        Some(Control::Taint {
            monotonic_ns: change.time_ns,
            before: change.before,
            after: change.after,
        })
    }

    /// What a window that closes now gets: a last look, and the log.
    pub fn close(&mut self, now_ns: u64) -> Vec<Control> {
        let mut controls: Vec<Control> = self.look(now_ns).into_iter().collect();
        let log = self.log.take();
        if !log.is_empty() {
            controls.push(Control::Log(Box::new(rows(log))));
        }
        controls
    }
}

/// printk's clock starts with `CLOCK_MONOTONIC` and is not disciplined as that is: with a clock that is 10 ppm off
/// they part by 0.9 s in a day.
fn rows(log: LogSummary) -> LogRows {
    let row = |line: crate::host::kmsg_follow::LogLine| LogRow {
        seq: line.seq,
        level: line.level,
        time_unix_ns: line.time_us.saturating_mul(1000),
        text: line.text,
    };
    LogRows {
        lines: log.lines.into_iter().map(row).collect(),
        by_level: log.by_level,
        dropped: log.dropped,
        overruns: log.overruns,
    }
}
