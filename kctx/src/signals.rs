//! SIGINT and SIGTERM: the first asks for an orderly end, the second does not wait for it. SIGHUP, where it is caught: to
//! read the configuration again.

use std::{ops::ControlFlow, time::Duration};

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::oneshot,
};

/// Both signals, caught from when this is made.
pub struct Signals {
    runtime: tokio::runtime::Runtime,
    interrupt: Signal,
    terminate: Signal,
    hangup: Option<Signal>,
}

/// What came first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// A signal.
    Signal,
    /// The work itself.
    Done,
}

impl Signals {
    /// Installs the handlers.
    pub fn install() -> std::io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let guard = runtime.enter();
        let interrupt = signal(SignalKind::interrupt())?;
        let terminate = signal(SignalKind::terminate())?;
        drop(guard);
        Ok(Self {
            runtime,
            interrupt,
            terminate,
            hangup: None,
        })
    }

    /// Catches SIGHUP too, for [`Self::wait_through_hangups`]. There is no way back.
    pub fn catch_hangup(&mut self) -> std::io::Result<()> {
        let _guard = self.runtime.enter();
        self.hangup = Some(signal(SignalKind::hangup())?);
        Ok(())
    }

    /// Waits for the work's end or a signal that ends it. At each SIGHUP that is caught `on_hangup` says whether that is one.
    pub fn wait_through_hangups(
        &mut self,
        done: &mut oneshot::Receiver<()>,
        mut on_hangup: impl FnMut() -> ControlFlow<()>,
    ) -> Ended {
        loop {
            let ended = self.runtime.block_on(async {
                tokio::select! {
                    _ = self.interrupt.recv() => Some(Ended::Signal),
                    _ = self.terminate.recv() => Some(Ended::Signal),
                    _ = &mut *done => Some(Ended::Done),
                    () = next(&mut self.hangup) => None,
                }
            });
            if let Some(ended) = ended {
                return ended;
            }
            if on_hangup().is_break() {
                return Ended::Signal;
            }
        }
    }

    /// Waits for the work's end or a signal. A dropped sender counts as the end.
    pub fn wait(&mut self, done: &mut oneshot::Receiver<()>) -> Ended {
        self.runtime.block_on(async {
            tokio::select! {
                _ = self.interrupt.recv() => Ended::Signal,
                _ = self.terminate.recv() => Ended::Signal,
                _ = done => Ended::Done,
            }
        })
    }

    /// The same, and looks every so often whether it shall go on. `None` where it shall not.
    pub fn wait_while(
        &mut self,
        done: &mut oneshot::Receiver<()>,
        every: Duration,
        mut goes_on: impl FnMut() -> bool,
    ) -> Option<Ended> {
        self.runtime.block_on(async {
            loop {
                tokio::select! {
                    _ = self.interrupt.recv() => return Some(Ended::Signal),
                    _ = self.terminate.recv() => return Some(Ended::Signal),
                    _ = &mut *done => return Some(Ended::Done),
                    () = tokio::time::sleep(every) => if !goes_on() {
                        return None;
                    },
                }
            }
        })
    }

    /// Waits for what the first signal set going; at a second one, or after `patience`, the process ends
    /// at once. Nothing stays attached: the kernel closes the file descriptors.
    pub fn wait_for_end(&mut self, done: &mut oneshot::Receiver<()>, patience: Duration) {
        self.runtime.block_on(async {
            tokio::select! {
                _ = self.interrupt.recv() => std::process::exit(1),
                _ = self.terminate.recv() => std::process::exit(1),
                () = tokio::time::sleep(patience) => {
                    eprintln!("kctx: gave up waiting for an orderly end");
                    std::process::exit(1)
                }
                _ = done => {}
            }
        });
    }
}

/// The next one; of one that is not caught there is none.
async fn next(signal: &mut Option<Signal>) {
    match signal {
        Some(signal) => {
            signal.recv().await;
        }
        None => std::future::pending().await,
    }
}
