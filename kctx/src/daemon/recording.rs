//! What the daemon records beside its exports: the flight recorder, who asks for dumps of it, and triggers.

use crate::{
    aggregate::window::Window,
    capture::flight::FlightRecorder,
    pipeline::Pipeline,
    source::{Control, Item},
};
#[cfg(kctx_live)]
use {
    super::triggers::{TriggerPlan, Triggers},
    crate::{
        capture::{
            flight::{Cut, FlightHandle},
            trigger::works::RunningWorks,
        },
        config::{Config, SocketChoice},
        control::{server::ControlServer, socket::ControlSocket},
    },
    anyhow::Context as _,
    std::sync::mpsc::{Receiver, Sender, channel},
};

/// What the pipeline's thread is to go by from now on.
#[cfg(kctx_live)]
pub(super) struct Change {
    pub(super) triggers: TriggerPlan,
    /// Of the kernel's log, in one window.
    pub(super) log_lines: usize,
}

/// The pipeline thread's part of it.
pub(crate) struct Recording {
    flight: FlightRecorder,
    #[cfg(kctx_live)]
    triggers: Triggers,
    #[cfg(kctx_live)]
    changes: Receiver<Change>,
}

impl Recording {
    /// Takes a piece of the stream after the pipeline did, and the window that it closed.
    pub(crate) fn item(
        &mut self,
        learnt: Vec<Control>,
        item: &Item,
        pipeline: &mut Pipeline,
        window: Option<&Window>,
    ) {
        self.flight.item(learnt, item, &pipeline.progress());
        #[cfg(kctx_live)]
        if let Some(window) = window {
            self.triggers.window(window, pipeline.aggregator().host());
            // A rule that comes now is not asked of what was before.
            for change in self.changes.try_iter() {
                self.triggers.take_over(change.triggers);
                pipeline.limit_log_lines(change.log_lines);
            }
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

/// The recording at work, and who it is reached by.
#[cfg(kctx_live)]
pub(super) struct Started {
    pub(super) recording: Recording,
    pub(super) server: Option<ControlServer>,
    pub(super) handle: FlightHandle,
    /// Where its changes are sent to; taken at a window's end.
    pub(super) changes: Sender<Change>,
}

/// The flight recorder, its server and the triggers. After privileges were dropped: none needs them.
#[cfg(kctx_live)]
pub(super) fn start(
    config: &Config,
    socket: Option<ControlSocket>,
    works: Option<RunningWorks>,
    cut: Cut,
) -> anyhow::Result<Started> {
    let (handle, orders) = FlightHandle::new(cut);
    let (to_recording, changes) = channel();
    let recording = Recording {
        flight: FlightRecorder::new(config.recorder.limits(), orders),
        triggers: Triggers::new(TriggerPlan::new(config, &handle)?, works),
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
