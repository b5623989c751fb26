//! What is watched beside the probes: the kernel's log and its taint. Both are files that are looked at a few
//! times a second.

use super::Control;
use crate::{
    aggregate::window::{LogRow, LogRows, ProbeStatus, Source},
    host::{
        HostRoot, Reread, kmsg,
        kmsg_follow::{KmsgFollower, LogBounds, LogLine, Polled},
        kmsg_window::{LogSummary, LogWindow},
        taint,
        taint_watch::TaintWatch,
    },
};

/// The watch, from when it was opened.
pub struct Watch {
    tainted: Option<Reread>,
    kmsg: Option<KmsgFollower>,
    probes: [ProbeStatus; 2],
    log: LogWindow,
    taint: TaintWatch,
    /// That the log can no longer be read was said.
    warned: bool,
}

/// What a window that closes gets.
pub struct Closed {
    /// Goes into the stream before the window's end.
    pub controls: Vec<Control>,
    /// The kernel's taint, where it can be read.
    pub taint: Option<u64>,
}

/// Whether another window follows the one that closes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// It gets what this one's last look left unread.
    Window,
    /// What is left unread now is read by nobody.
    Nothing,
}

impl Watch {
    /// Opens what it will read, while this process may.
    #[must_use]
    pub fn open(root: &HostRoot, bounds: LogBounds) -> Self {
        let kmsg = KmsgFollower::open(root, &bounds);
        let readable = |path, result: Result<(), &std::io::Error>| {
            result.map_err(|error| format!("{path}: {error}"))
        };
        let log = readable(kmsg::PATH, kmsg.as_ref().map(|_| ()));
        let tainted = root.reread(taint::PATH);
        let taint = match &tainted {
            Ok(file) => readable(taint::PATH, taint::read_anew(file).as_ref().map(|_| ())),
            Err(error) => readable(taint::PATH, Err(error)),
        };
        Self {
            tainted: tainted.ok(),
            kmsg: kmsg.ok(),
            probes: [
                ProbeStatus::of_file(Source::Log, kmsg::PATH, log),
                ProbeStatus::of_file(Source::Taint, taint::PATH, taint),
            ],
            log: LogWindow::new(bounds),
            taint: TaintWatch::new(),
            warned: false,
        }
    }

    /// Other bounds of what is kept of the log, from now on.
    pub fn set_log_bounds(&mut self, bounds: LogBounds) {
        self.log.set_bounds(bounds);
    }

    /// Whether log and taint could be read when it was opened.
    #[must_use]
    pub fn probes(&self) -> &[ProbeStatus] {
        &self.probes
    }

    /// The first window begins: what was logged until now, while the probes were attached, is not in it, and a
    /// change of the taint is one to what it is now.
    pub fn start(&mut self, now_ns: u64) {
        if let Some(kmsg) = &mut self.kmsg
            && let Err(error) = kmsg.skip(now_ns)
        {
            self.failed(&error);
        }
        self.taint = TaintWatch::new();
        let _ = self.look_at_taint(now_ns);
    }

    /// The window's start stamp: no line of its is older.
    pub fn opens(&mut self, start_ns: u64) {
        if let Some(kmsg) = &mut self.kmsg {
            kmsg.not_before(start_ns);
        }
    }

    /// Looks; a change of the taint.
    pub fn poll(&mut self, now_ns: u64) -> Option<Control> {
        self.follow(|kmsg| kmsg.poll(now_ns));
        self.look_at_taint(now_ns).0
    }

    /// A last look for the window that closes now, and what it gets.
    pub fn close(&mut self, now_ns: u64, next: Next) -> Closed {
        let more = self.follow(|kmsg| kmsg.poll_to_the_end(now_ns));
        if more && next == Next::Nothing {
            self.log.left_unread();
        }
        let (change, taint) = self.look_at_taint(now_ns);
        let mut controls: Vec<Control> = change.into_iter().collect();
        let log = self.log.take();
        if !log.is_empty() {
            controls.push(Control::Log(Box::new(rows(log))));
        }
        Closed { controls, taint }
    }

    /// Reads the log; whether there is more.
    fn follow(&mut self, read: impl FnOnce(&mut KmsgFollower) -> std::io::Result<Polled>) -> bool {
        let Some(kmsg) = &mut self.kmsg else {
            return false;
        };
        match read(kmsg) {
            Ok(polled) => {
                let more = polled.more;
                self.log.add(polled);
                more
            }
            Err(error) => {
                self.failed(&error);
                false
            }
        }
    }

    fn failed(&mut self, error: &std::io::Error) {
        self.log.failed();
        if !std::mem::replace(&mut self.warned, true) {
            tracing::warn!(%error, "the kernel's log cannot be read");
        }
    }

    /// A change of the taint, and the taint.
    fn look_at_taint(&mut self, now_ns: u64) -> (Option<Control>, Option<u64>) {
        let Some(Ok(change)) = (self.tainted.as_ref()).map(|file| self.taint.poll(file, now_ns))
        else {
            return (None, None);
        };
        let control = change.map(|change| Control::Taint {
            monotonic_ns: change.time_ns,
            before: change.before,
            after: change.after,
        });
        (control, self.taint.value())
    }
}

fn rows(log: LogSummary) -> LogRows {
    let row = |line: LogLine| LogRow {
        seq: line.seq,
        level: line.level,
        time_unix_ns: line.monotonic_ns(),
        text: line.text,
        fragment: line.fragment,
    };
    LogRows {
        lines: log.lines.into_iter().map(row).collect(),
        by_level: log.by_level,
        dropped: log.dropped,
        overruns: log.overruns,
        overwritten: log.overwritten,
        fragments: log.fragments,
        failed: log.failed,
    }
}

#[cfg(test)]
#[path = "watch_tests.rs"]
mod tests;
