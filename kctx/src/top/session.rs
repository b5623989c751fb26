//! Runs the pipeline and the terminal side by side, and owns the end.

use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, TrySendError, sync_channel};

use anyhow::Context as _;

use super::{
    history::Frame,
    input,
    model::{Event, Model, Outcome},
    palette::Palette,
    screen::Screen,
    signals, view,
};
use crate::{config::Config, pipeline::Pipeline, source::Item};

/// Events that may wait to be drawn. A terminal that takes nothing must not make the pipeline wait.
const MESSAGES: usize = 64;

/// What the other threads send to the one that draws.
#[derive(Debug)]
pub(super) enum Message {
    /// The model's.
    Event(Event),
    /// The terminal is gone, or a signal came.
    Gone,
    /// The stream is over.
    Ended,
}

/// Whether windows are left out rather than waited for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stream {
    /// Goes on whatever is drawn.
    #[cfg(kctx_live)]
    Live,
    /// Waits, and stays on the screen when it is over.
    Recorded,
}

/// This kernel, until the user ends it.
#[cfg(kctx_live)]
pub fn run_live(config: &Config) -> anyhow::Result<()> {
    use crate::{
        daemon::live_settings,
        source::{drain::Edges, live::Prepared},
    };
    let settings = live_settings(config, Some(config.top.interval), None);
    let (prepared, resolver, stream) = Prepared::attach(&settings)?;
    let pipeline = Pipeline::new(config.rows(), resolver);
    let mut session = prepared.start(Edges::default())?;
    let stream = stream.into_iter().map(Ok);
    let result = look(config, Stream::Live, stream, pipeline, || session.stop());
    session.stop();
    let drained = session.wait();
    drop(session);
    result.and(drained)
}

/// A recording, until the user ends it.
pub fn run_recorded(
    config: &Config,
    stream: impl Iterator<Item = anyhow::Result<Item>> + Send + 'static,
) -> anyhow::Result<()> {
    let resolver = crate::resolve::Resolver::new(Box::new(crate::resolve::Recorded));
    let pipeline = Pipeline::new(config.rows(), resolver);
    look(config, Stream::Recorded, stream, pipeline, || {})
}

fn look(
    config: &Config,
    kind: Stream,
    stream: impl Iterator<Item = anyhow::Result<Item>> + Send + 'static,
    pipeline: Pipeline,
    stop: impl FnOnce(),
) -> anyhow::Result<()> {
    let (out, messages) = sync_channel(MESSAGES);
    signals::spawn(out.clone()).context("cannot catch signals")?;
    let notes = out.clone();
    let note = move |line: &str| {
        // One that finds no room is written at the end all the same.
        let _ = notes.try_send(Message::Event(Event::Note(line.to_owned())));
    };
    let mut screen = Screen::enter(note).context("cannot take the terminal")?;
    input::spawn(out.clone()).context("cannot read keys")?;
    let thread = std::thread::Builder::new()
        .name("kctx-pipeline".to_owned())
        .spawn(move || {
            let result = pump(kind, stream, pipeline, &out);
            let _ = out.send(Message::Ended);
            result
        })
        .context("cannot start the pipeline thread")?;
    let shown = show(config, kind, &messages, &mut screen);
    // First of all the user gets the terminal back; then the pipeline sees that nobody takes its windows.
    drop(screen);
    drop(messages);
    stop();
    let pumped = thread
        .join()
        .map_err(|_| anyhow::anyhow!("the pipeline thread panicked"))?;
    // A terminal that is gone is no failure, and there is nobody to tell.
    if let Err(error) = shown {
        tracing::debug!("the terminal: {error}");
    }
    pumped
}

/// The stream through the pipeline, its windows to the one who draws. A live stream is taken to its end, whoever looks.
fn pump(
    kind: Stream,
    stream: impl Iterator<Item = anyhow::Result<Item>>,
    mut pipeline: Pipeline,
    out: &SyncSender<Message>,
) -> anyhow::Result<()> {
    let (mut number, mut missed) = (0, 0);
    let mut offer = |pipeline: &Pipeline, window: &crate::aggregate::window::Window| -> bool {
        let host = pipeline.aggregator().host().clone();
        let frame = Box::new(Frame::new(number, window, host));
        number += 1;
        let message = Message::Event(Event::Window(frame));
        if kind == Stream::Recorded {
            return out.send(message).is_ok();
        }
        if let Err(TrySendError::Full(_)) = out.try_send(message) {
            missed += 1;
        }
        if missed > 0 {
            let _ = out.try_send(Message::Event(Event::Missed(missed)));
        }
        true
    };
    for item in stream {
        if let Some(window) = pipeline.take(&item?)
            && !offer(&pipeline, &window)
        {
            return Ok(());
        }
        // Nobody records here.
        drop(pipeline.take_learnt());
    }
    if let Some(window) = pipeline.finish() {
        offer(&pipeline, &window);
    }
    Ok(())
}

/// Draws until the end. An error is the terminal's.
fn show(
    config: &Config,
    kind: Stream,
    messages: &Receiver<Message>,
    screen: &mut Screen,
) -> std::io::Result<()> {
    let history = usize::try_from(config.top.history).unwrap_or(usize::MAX);
    let mut model = Model::new(history, Screen::size()?);
    let palette = Palette::of_environment();
    let mut redraw = true;
    loop {
        if redraw {
            screen.draw(|area, buffer| view::draw(&model, palette, area, buffer))?;
        }
        redraw = false;
        // All that is there already, then one frame for it.
        let mut next = messages.recv().map_err(|_| TryRecvError::Disconnected);
        while let Ok(message) = next {
            let event = match message {
                Message::Event(event) => event,
                Message::Ended if kind == Stream::Recorded => Event::Over,
                Message::Gone | Message::Ended => return Ok(()),
            };
            match model.take(event) {
                Outcome::Quit => return Ok(()),
                Outcome::Redraw => redraw = true,
                Outcome::Same => {}
            }
            next = messages.try_recv();
        }
        if next.is_err_and(|error| error == TryRecvError::Disconnected) {
            return Ok(());
        }
    }
}
