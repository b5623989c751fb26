//! SIGHUP: the configuration is read again, and what can be is put in force.

use std::{
    io::{IsTerminal as _, Write as _},
    ops::ControlFlow,
    sync::{Arc, mpsc::Sender},
};

use super::{ReadAgain, triggers::TriggerPlan};
use crate::{
    capture::flight::FlightHandle,
    config::{Config, ConfigError, TakenOver},
    export::{reloads::Reloaded, totals::Totals},
    one_line::one_line,
    source::drain::Bounds,
};

/// What is in force, and who is told of changes.
pub(super) struct Reload<'a> {
    pub(super) read: ReadAgain<'a>,
    /// In force. What takes a restart is as it was at the start.
    pub(super) config: Config,
    pub(super) flight: FlightHandle,
    /// Lines of the kernel's log that a window keeps.
    pub(super) to_recording: Sender<usize>,
    pub(super) to_windows: Sender<TriggerPlan>,
    pub(super) to_drain: Sender<Bounds>,
    pub(super) totals: Arc<Totals>,
    pub(super) terminals: Terminals,
}

impl Reload<'_> {
    /// The terminal hung up, which is the end; else the configuration is read again.
    pub(super) fn on_hangup(&mut self) -> ControlFlow<()> {
        if self.terminals.are_gone() {
            self.terminals.leave();
            return ControlFlow::Break(());
        }
        let (reloaded, told) = match self.reload() {
            Ok(taken) => (
                Reloaded::InForce,
                format!("the configuration was read again; {taken}"),
            ),
            Err(error) => (
                outcome(&error),
                format!(
                    "the configuration was not taken over, the old one stays in force: {}",
                    one_line(&error)
                ),
            ),
        };
        self.totals.count_reload(reloaded);
        // Who reads it may be gone; that ends no daemon.
        let _ = writeln!(std::io::stderr(), "kctx: {told}");
        ControlFlow::Continue(())
    }

    /// All of it or nothing: what may fail comes first.
    fn reload(&mut self) -> anyhow::Result<TakenOver> {
        let mut next = self.config.clone();
        let taken = next.take_over((self.read)()?);
        let triggers = TriggerPlan::new(&next, &self.flight)?;
        // Those who are gone have ended, and so will the daemon.
        let _ = self.to_windows.send(triggers);
        let _ = self.to_recording.send(next.rows().log_lines);
        let _ = self.to_drain.send(Bounds {
            cpu_limit: next.governor.cpu_limit,
            log: next.log.bounds(),
        });
        self.config = next;
        Ok(taken)
    }
}

fn outcome(error: &anyhow::Error) -> Reloaded {
    match error.downcast_ref() {
        Some(ConfigError::Read { .. }) => Reloaded::Unreadable,
        Some(ConfigError::Invalid { .. }) => Reloaded::Invalid,
        None => Reloaded::Unusable,
    }
}

/// Which of the standard streams were terminals at the start.
#[derive(Clone, Copy)]
pub(super) struct Terminals {
    stdout: bool,
    stderr: bool,
}

impl Terminals {
    pub(super) fn now() -> Self {
        Self {
            stdout: std::io::stdout().is_terminal(),
            stderr: std::io::stderr().is_terminal(),
        }
    }

    /// One that hung up is none any more.
    fn are_gone(self) -> bool {
        let now = Self::now();
        self.stdout && !now.stdout || self.stderr && !now.stderr
    }

    /// What is still said goes nowhere, and its failing does not cut the end short.
    fn leave(self) {
        let Ok(nowhere) = std::fs::OpenOptions::new().write(true).open("/dev/null") else {
            return;
        };
        if self.stdout {
            let _ = rustix::stdio::dup2_stdout(&nowhere);
        }
        if self.stderr {
            let _ = rustix::stdio::dup2_stderr(&nowhere);
        }
    }
}
