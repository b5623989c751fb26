//! Signals while the terminal is taken: the first asks for an orderly end, the second does not wait for it.

use std::{io, sync::mpsc::SyncSender};

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::{
    model::Event,
    screen::{Screen, give_back_at_once},
    session::Message,
};
use crate::daemon::PATIENCE;

struct Caught {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
    resized: Signal,
}

/// Catches them from now on, and sends what they ask for.
pub(super) fn spawn(out: SyncSender<Message>) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let guard = runtime.enter();
    let mut caught = Caught {
        interrupt: signal(SignalKind::interrupt())?,
        terminate: signal(SignalKind::terminate())?,
        hangup: signal(SignalKind::hangup())?,
        resized: signal(SignalKind::window_change())?,
    };
    drop(guard);
    std::thread::Builder::new()
        .name("kctx-signals".to_owned())
        .spawn(move || runtime.block_on(forward(&mut caught, &out)))
        .map(drop)
}

async fn forward(caught: &mut Caught, out: &SyncSender<Message>) {
    while !caught.ends().await {
        if let Ok((width, height)) = Screen::size() {
            let _ = out.send(Message::Event(Event::Size(width, height)));
        }
    }
    // A terminal that takes nothing may hold up the one who should read this: then nobody waits for it here.
    let told = out.clone();
    let _ = std::thread::Builder::new().spawn(move || told.send(Message::Gone));
    let again = async { while !caught.ends().await {} };
    let _ = tokio::time::timeout(PATIENCE, again).await;
    give_back_at_once();
    std::process::exit(1);
}

impl Caught {
    /// Waits for a signal; whether it asks for the end.
    async fn ends(&mut self) -> bool {
        tokio::select! {
            _ = self.interrupt.recv() => true,
            _ = self.terminate.recv() => true,
            _ = self.hangup.recv() => true,
            _ = self.resized.recv() => false,
        }
    }
}
