//! The keys, on a thread of their own that sleeps until there is one.

use std::{io, sync::mpsc::SyncSender, time::Duration};

use ratatui_crossterm::crossterm::event::{self, KeyEventKind};
use rustix::event::{PollFd, PollFlags, poll};

use super::{model::Event, session::Message};

/// A pause where poll sees something of which crossterm makes no key: it is told of new bytes only, and may have left some.
const PAUSE: Duration = Duration::from_millis(20);

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
        let mut ready = [PollFd::new(&stdin, PollFlags::IN)];
        match poll(&mut ready, None) {
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => continue,
            Err(error) => return Err(error.into()),
        }
        // crossterm's reader takes a terminal that is gone for one that has not said anything yet, and asks for ever. So it
        // is asked only now, and never waits itself.
        if !(ready[0].revents() - PollFlags::IN).is_empty() {
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
        if !any {
            std::thread::sleep(PAUSE);
        }
    }
}
