//! What becomes of a closed window: it is diagnosed, looked at by triggers, shown and exported, in that order.

use std::{
    io::{IsTerminal as _, Write as _},
    sync::Arc,
};

#[cfg(kctx_live)]
use {
    super::{
        findings,
        triggers::{TriggerPlan, Triggers},
    },
    std::sync::mpsc::Receiver,
};

use super::{findings::Findings, sinks::Exports};
use crate::{
    aggregate::window::Window,
    report::{live, notices::notices},
};

/// The pipeline thread's part of it.
pub(super) struct Windows {
    findings: Findings,
    #[cfg(kctx_live)]
    triggers: Option<(Triggers, Receiver<TriggerPlan>)>,
    display: Display,
    exports: Arc<Exports>,
}

impl Windows {
    /// Of a live run.
    #[cfg(kctx_live)]
    pub(super) fn live(
        exports: Exports,
        triggers: Triggers,
        changes: Receiver<TriggerPlan>,
    ) -> Self {
        Self {
            findings: Findings::of_this_host(pace(&triggers)),
            triggers: Some((triggers, changes)),
            display: Display::new(),
            exports: Arc::new(exports),
        }
    }

    /// Of a recording.
    pub(super) fn recorded(exports: Exports) -> Self {
        Self {
            findings: Findings::of_a_recording(),
            #[cfg(kctx_live)]
            triggers: None,
            display: Display::new(),
            exports: Arc::new(exports),
        }
    }

    /// The exports, for who ends them.
    pub(super) fn exports(&self) -> Arc<Exports> {
        Arc::clone(&self.exports)
    }

    /// Takes a closed window.
    pub(super) fn take(&mut self, window: &Arc<Window>) -> anyhow::Result<()> {
        let found = if self.wants_findings() {
            self.findings.look(window)
        } else {
            None
        };
        if let Some(active) = &found {
            let totals = self.exports.totals();
            totals.note(|state| state.note_findings(active));
        }
        // Before anything that may have to wait: what a rule is about goes out of the recorder.
        #[cfg(kctx_live)]
        if let Some((triggers, changes)) = &mut self.triggers {
            triggers.window(window, found.as_deref());
            // A rule that comes now is not asked of what was before.
            for plan in changes.try_iter() {
                triggers.take_over(plan);
                self.findings.look_every(pace(triggers));
            }
        }
        self.display.show(window)?;
        self.exports.offer(window);
        Ok(())
    }

    fn wants_findings(&self) -> bool {
        #[cfg(kctx_live)]
        if (self.triggers.as_ref()).is_some_and(|(triggers, _)| triggers.need_findings()) {
            return true;
        }
        self.exports.has_series()
    }

    /// The stream is over, and so are dumps of the recorder: what triggers have captured is written, and the last is exported.
    pub(super) fn finish(self) -> anyhow::Result<()> {
        #[cfg(kctx_live)]
        if let Some((triggers, _)) = self.triggers {
            triggers.finish();
        }
        self.exports.flush()
    }
}

/// A rule counts for how long there was a finding, so it has each window diagnosed.
#[cfg(kctx_live)]
fn pace(triggers: &Triggers) -> std::time::Duration {
    match triggers.need_findings() {
        true => std::time::Duration::ZERO,
        false => findings::NOW_AND_THEN,
    }
}

/// Shows windows: a table that is redrawn on a terminal, else one line each. Notices go to stderr, but not into
/// the table's terminal: the table has them.
struct Display {
    terminal: bool,
    notices: bool,
}

impl Display {
    fn new() -> Self {
        let terminal = std::io::stdout().is_terminal();
        Self {
            terminal,
            notices: !(terminal && std::io::stderr().is_terminal()),
        }
    }

    fn show(&self, window: &Window) -> std::io::Result<()> {
        if self.notices {
            for notice in notices(window) {
                eprintln!("kctx: {notice}");
            }
        }
        let mut out = std::io::stdout().lock();
        if self.terminal {
            let (width, height) = terminal_size();
            // Home, the table, and erase what is left of the one before.
            write!(
                out,
                "\x1b[H{}\x1b[J",
                live::table(window, width, height).replace('\n', "\x1b[K\n")
            )?;
        } else {
            writeln!(out, "{}", live::one_line(window))?;
        }
        out.flush()
    }
}

fn terminal_size() -> (usize, usize) {
    let size = rustix::termios::tcgetwinsize(std::io::stdout());
    match size {
        Ok(size) if size.ws_col > 0 && size.ws_row > 0 => {
            (usize::from(size.ws_col), usize::from(size.ws_row))
        }
        _ => (100, 40),
    }
}
