//! What the daemon records beside its exports: the flight recorder, and who asks for dumps of it.

use std::sync::Arc;

use crate::{
    capture::flight::FlightRecorder,
    export::totals::Totals,
    pipeline::Pipeline,
    source::{Control, Item},
};
#[cfg(kctx_live)]
use {
    crate::{
        capture::flight::{Cut, FlightHandle},
        config::{Config, SocketChoice},
        control::{server::ControlServer, socket::ControlSocket},
    },
    anyhow::Context as _,
    std::sync::mpsc::{Receiver, Sender, channel},
};

/// The pipeline thread's part of it.
pub(crate) struct Recording {
    flight: FlightRecorder,
    totals: Arc<Totals>,
    /// Lines of the kernel's log that a window keeps from now on.
    #[cfg(kctx_live)]
    changes: Receiver<usize>,
}

impl Recording {
    /// Takes a piece of the stream after the pipeline did; that may have `closed` a window.
    pub(crate) fn item(
        &mut self,
        learnt: Vec<Control>,
        item: &Item,
        pipeline: &mut Pipeline,
        closed: bool,
    ) {
        self.flight.item(learnt, item, &pipeline.progress());
        if closed {
            let (bytes, length_ns) = (self.flight.bytes() as u64, self.flight.kept_ns());
            self.totals
                .note(|state| state.note_recorder(bytes, length_ns));
            #[cfg(kctx_live)]
            for log_lines in self.changes.try_iter() {
                pipeline.limit_log_lines(log_lines);
            }
        }
    }

    /// The stream is over: dumps end.
    pub(crate) fn finish(self) {
        self.flight.finish();
    }
}

/// Listens where it was chosen to. A socket that nobody named is not worth more than the daemon.
#[cfg(kctx_live)]
pub(super) fn listen(choice: &SocketChoice) -> anyhow::Result<Option<ControlSocket>> {
    let Some(path) = &choice.path else {
        return Ok(None);
    };
    match ControlSocket::listen(path) {
        Ok(socket) => Ok(Some(socket)),
        Err(error) if choice.named => Err(error).context("no control socket"),
        Err(error) => {
            eprintln!("kctx: kctx capture will not find this daemon: {error}");
            Ok(None)
        }
    }
}

/// The recording at work, and who it is reached by.
#[cfg(kctx_live)]
pub(super) struct Started {
    pub(super) recording: Recording,
    pub(super) server: Option<ControlServer>,
    pub(super) handle: FlightHandle,
    /// Where its changes are sent to; taken at a window's end.
    pub(super) changes: Sender<usize>,
}

/// The flight recorder, who asks it, and its server. After privileges were dropped: none needs them.
#[cfg(kctx_live)]
pub(super) fn start(
    config: &Config,
    socket: Option<ControlSocket>,
    cut: Cut,
    totals: &Arc<Totals>,
) -> anyhow::Result<Started> {
    let (handle, orders) = FlightHandle::new(cut);
    let (to_recording, changes) = channel();
    let recording = Recording {
        flight: FlightRecorder::new(config.recorder.limits(), orders),
        totals: Arc::clone(totals),
        changes,
    };
    let server = match socket {
        Some(socket) => {
            let server = ControlServer::spawn(socket, handle.clone());
            Some(server.context("cannot start the control thread")?)
        }
        None => None,
    };
    Ok(Started {
        recording,
        server,
        handle,
        changes: to_recording,
    })
}
