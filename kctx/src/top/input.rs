//! The keys, on a thread of their own that sleeps until there is one.

use std::{io, sync::mpsc::SyncSender, time::Duration};

use ratatui_crossterm::crossterm::event::{self, KeyEventKind};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::{model::Event, session::Message};

/// The most bytes that a terminal holds for a reader (`N_TTY_BUF_SIZE`, drivers/tty/n_tty.c).
const HELD_BYTES: usize = 4096;

/// Sends keys until the terminal is gone or nobody takes them.
pub(super) fn spawn(out: SyncSender<Message>) -> io::Result<()> {
    std::thread::Builder::new()
        .name("kctx-keys".to_owned())
        .spawn(move || {
            // Whatever ended it: without keys there is no way to end but a signal.
            let _ = keys(&out);
            let _ = out.send(Message::Gone);
        })
        .map(drop)
}

fn keys(out: &SyncSender<Message>) -> io::Result<()> {
    let stdin = io::stdin();
    loop {
        // crossterm's reader takes a terminal that is gone for one that has not said anything yet, and asks for ever. So it
        // is asked only where there is something, and never waits itself.
        if is_gone(ready(&stdin, None)?) {
            return Ok(());
        }
        let mut any = false;
        while event::poll(Duration::ZERO)? {
            any = true;
            let message = match event::read()? {
                event::Event::Key(key) if key.kind == KeyEventKind::Press => Event::Key(key),
                event::Event::Resize(width, height) => Event::Size(width, height),
                _ => continue,
            };
            if out.send(Message::Event(message)).is_err() {
                return Ok(());
            }
        }
        // It is told of new bytes only, and reads a kibibyte at a time: the rest of a long paste would stand before all
        // keys to come.
        if !any && ready(&stdin, Some(&Timespec::default()))?.contains(PollFlags::IN) {
            rustix::io::read(&stdin, &mut [0; HELD_BYTES])?;
        }
    }
}

/// What there is of a terminal's, within a time; nothing where a signal came between.
fn ready(stdin: &io::Stdin, within: Option<&Timespec>) -> io::Result<PollFlags> {
    let mut asked = [PollFd::new(stdin, PollFlags::IN)];
    match poll(&mut asked, within) {
        Ok(_) => Ok(asked[0].revents()),
        Err(rustix::io::Errno::INTR) => Ok(PollFlags::empty()),
        Err(error) => Err(error.into()),
    }
}

fn is_gone(ready: PollFlags) -> bool {
    !(ready - PollFlags::IN).is_empty()
}
