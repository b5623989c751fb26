//! What the daemon records beside its exports: the flight recorder, who asks for dumps of it, and triggers.

use crate::{
    aggregate::window::Window,
    capture::flight::FlightRecorder,
    pipeline::Pipeline,
    source::{Control, Item},
};
#[cfg(kctx_live)]
use {
    super::triggers::Triggers,
    crate::{
        capture::{
            flight::{Cut, FlightHandle},
            trigger::works::RunningWorks,
        },
        config::{Config, SocketChoice},
        control::{server::ControlServer, socket::ControlSocket},
    },
    anyhow::Context as _,
};

/// The pipeline thread's part of it.
pub(crate) struct Recording {
    flight: FlightRecorder,
    #[cfg(kctx_live)]
    triggers: Option<Triggers>,
}

impl Recording {
    /// Takes a piece of the stream after the pipeline did, and the window that it closed.
    pub(crate) fn item(
        &mut self,
        learnt: Vec<Control>,
        item: &Item,
        pipeline: &Pipeline,
        window: Option<&Window>,
    ) {
        self.flight.item(learnt, item, &pipeline.progress());
        #[cfg(kctx_live)]
        if let (Some(triggers), Some(window)) = (&mut self.triggers, window) {
            triggers.window(window, pipeline.aggregator().host());
        }
        #[cfg(not(kctx_live))]
        let _ = window;
    }

    /// The stream is over: dumps end, and what triggers have captured is written.
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

/// The flight recorder, its server and the triggers. After privileges were dropped: none needs them.
#[cfg(kctx_live)]
pub(super) fn start(
    config: &Config,
    socket: Option<ControlSocket>,
    works: Option<RunningWorks>,
    cut: Cut,
) -> anyhow::Result<(Recording, Option<ControlServer>)> {
    let (handle, orders) = FlightHandle::new(cut);
    let recording = Recording {
        flight: FlightRecorder::new(config.recorder.limits(), orders),
        triggers: Triggers::new(config, works, handle.clone())?,
    };
    let server = match socket {
        Some(socket) => {
            let server = ControlServer::spawn(socket, handle);
            Some(server.context("cannot start the control thread")?)
        }
        None => None,
    };
    Ok((recording, server))
}
