//! Who waits for a capture's end: shows how far it is, and ends it where it takes more memory than it may.

use std::{
    io::{IsTerminal as _, Write as _},
    time::{Duration, Instant},
};

use tokio::sync::oneshot;

use super::{
    progress::{Plan, Progress, Stage},
    session::Early,
};
use crate::{
    config::CaptureConfig,
    signals::{Ended, Signals},
};

/// How often the line changes on a terminal.
const SHOWN_EVERY: Duration = Duration::from_millis(250);
/// How often the memory is looked at where nobody watches.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How a window ended, and what that took.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Ending {
    signal: bool,
    /// The most memory that was seen, in bytes.
    pub most_memory: u64,
    /// It was more than allowed.
    pub over_memory: bool,
}

impl Ending {
    /// Why it was early, if it was.
    pub(super) fn early(&self) -> Option<Early> {
        match (self.signal, self.over_memory) {
            (_, true) => Some(Early::Memory),
            (true, false) => Some(Early::Signal),
            (false, false) => None,
        }
    }
}

/// See the module.
pub(super) struct Watcher {
    progress: Progress,
    plan: Plan,
    max_memory: u64,
    terminal: bool,
    opened: Option<Instant>,
    ending: Ending,
    over: bool,
}

impl Watcher {
    /// Of a capture of that window, by its configuration's bounds.
    pub(super) fn new(progress: Progress, window: Duration, config: &CaptureConfig) -> Self {
        Self {
            progress,
            plan: Plan {
                window,
                max_bytes: config.max_size,
                evidence_time: config.evidence.limits().total_time,
            },
            max_memory: config.max_memory,
            terminal: std::io::stderr().is_terminal(),
            opened: None,
            ending: Ending::default(),
            over: false,
        }
    }

    /// Until the window is over, a signal comes, or memory runs out.
    pub(super) fn wait(
        &mut self,
        signals: &mut Signals,
        done: &mut oneshot::Receiver<()>,
    ) -> Ending {
        let every = if self.terminal {
            SHOWN_EVERY
        } else {
            LOOK_EVERY
        };
        let ended = signals.wait_while(done, every, || self.tick());
        self.over = ended == Some(Ended::Done);
        self.ending.signal = ended == Some(Ended::Signal);
        self.clear();
        self.ending
    }

    /// Until all is read and recorded. A second signal does not wait for that.
    pub(super) fn wait_for_end(&mut self, signals: &mut Signals, done: &mut oneshot::Receiver<()>) {
        if self.over {
            return;
        }
        let ended = signals.wait_while(done, SHOWN_EVERY, || {
            self.show();
            true
        });
        self.clear();
        if ended == Some(Ended::Signal) {
            eprintln!("kctx: a second signal: what was taken until now is in the partial bundle");
            std::process::exit(1);
        }
    }

    /// Whether the window may go on.
    fn tick(&mut self) -> bool {
        self.show();
        let memory = anonymous_memory().unwrap_or(0);
        self.ending.most_memory = self.ending.most_memory.max(memory);
        self.ending.over_memory = memory > self.max_memory;
        !self.ending.over_memory
    }

    fn show(&mut self) {
        if !self.terminal {
            return;
        }
        if self.opened.is_none() && self.progress.stage() == Stage::Window {
            self.opened = Some(Instant::now());
        }
        let in_window = self
            .opened
            .map_or(Duration::ZERO, |opened| opened.elapsed());
        let line = self.progress.line(&self.plan, in_window);
        eprint!("\r\x1b[Kkctx: {line}");
        let _ = std::io::stderr().flush();
    }

    fn clear(&self) {
        if self.terminal {
            eprint!("\r\x1b[K");
        }
    }
}

/// What this process holds beside mapped files and rings: `RssAnon` (`task_mem`, fs/proc/task_mmu.c).
fn anonymous_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("RssAnon:"))?;
    let kib: u64 = line.split_ascii_whitespace().next()?.parse().ok()?;
    Some(kib << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_heap_holds_is_seen() {
        let before = anonymous_memory().unwrap();
        let held = vec![1_u8; 64 << 20];
        let after = anonymous_memory().unwrap();
        assert!(
            after > before + (48 << 20),
            "{before} {after} {}",
            held.len()
        );
    }
}
