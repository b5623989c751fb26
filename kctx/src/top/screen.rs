//! The terminal: taken, drawn on, and given back whatever happens.

use std::{
    io::{self, BufWriter, IsTerminal as _, Stdout, Write as _},
    os::fd::OwnedFd,
    sync::Arc,
};

use ratatui_core::{buffer::Buffer, layout::Rect, terminal::Terminal};
use ratatui_crossterm::{
    CrosstermBackend,
    crossterm::{
        cursor, execute,
        terminal::{
            EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode, size,
        },
    },
};

use super::stderr::HeldStderr;

/// There is nothing to draw on, or no keys.
#[derive(Debug, thiserror::Error)]
#[error(
    "{0} is not a terminal: kctx top needs one; kctx run prints lines, kctx capture writes a bundle"
)]
pub struct NoTerminal(&'static str);

/// Whether standard input and output are a terminal.
pub fn check_terminal() -> Result<(), NoTerminal> {
    if !io::stdout().is_terminal() {
        return Err(NoTerminal("standard output"));
    }
    if !io::stdin().is_terminal() {
        return Err(NoTerminal("standard input"));
    }
    Ok(())
}

/// A screen's worth of bytes, so that a frame is one write or two.
const BUFFER: usize = 32 << 10;

/// The terminal in our hands. It is given back when this is dropped, and before a panic is told.
pub struct Screen {
    terminal: Terminal<CrosstermBackend<BufWriter<Stdout>>>,
    stderr: Option<HeldStderr>,
}

impl Screen {
    /// Takes the terminal, and standard error where that is a terminal too: each of its lines goes to `note`, and
    /// is written when the terminal is given back.
    pub fn enter(note: impl Fn(&str) + Send + 'static) -> io::Result<Self> {
        let stderr = match io::stderr().is_terminal() {
            true => Some(HeldStderr::hold(note)?),
            false => None,
        };
        give_back_before_a_panic(stderr.as_ref().map(HeldStderr::own));
        let screen = Self {
            terminal: Terminal::new(CrosstermBackend::new(BufWriter::with_capacity(
                BUFFER,
                io::stdout(),
            )))?,
            stderr,
        };
        // From here on dropping it gives all back, also what was taken only in part.
        enable_raw_mode()?;
        execute!(io::stdout(), EnterAlternateScreen, cursor::Hide)?;
        Ok(screen)
    }

    /// Columns and lines.
    pub fn size() -> io::Result<(u16, u16)> {
        size()
    }

    /// Draws a frame: only what changed since the last is written.
    pub fn draw(&mut self, draw: impl FnOnce(Rect, &mut Buffer)) -> io::Result<()> {
        let drawn = self
            .terminal
            .draw(|frame| draw(frame.area(), frame.buffer_mut()));
        drawn.map(drop)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        give_back();
        drop(self.stderr.take());
    }
}

/// A terminal that is gone takes nothing, and there is nobody left to tell.
fn give_back() {
    let _ = disable_raw_mode();
    let mut out = io::stdout();
    let _ = execute!(out, LeaveAlternateScreen, cursor::Show);
    let _ = out.flush();
}

/// A release build aborts at a panic and drops nothing, so the hook does it.
fn give_back_before_a_panic(stderr: Option<Arc<OwnedFd>>) {
    let tell = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        give_back();
        if let Some(stderr) = &stderr {
            let _ = rustix::stdio::dup2_stderr(stderr);
        }
        tell(panic);
    }));
}

/// Lets the terminal take lines and signals again, before an end that waits for nothing. Writes nothing: the terminal may
/// be what is being waited for.
pub(super) fn give_back_at_once() {
    let _ = disable_raw_mode();
}
