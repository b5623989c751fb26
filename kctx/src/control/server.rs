//! The daemon's side, on a thread of its own. Nothing in it is waited for by the drain or the pipeline: a client's pieces wait
//! in a queue that is bounded in bytes, and one that does not take them in time is given up.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{
        UnixListener, UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::{Semaphore, oneshot},
    time::timeout,
};

use super::{Hello, LONGEST_WINDOW_NS, PROTOCOL, Request, frame::Frame, socket::ControlSocket};
use crate::{
    capture::flight::{END_PATIENCE, FlightHandle, Piece, Subscription},
    host::clock,
};

/// Captures at a time; one more is told that the daemon is busy.
pub const CLIENTS: usize = 4;

/// Connections at a time, those that have not asked yet included.
const CONNECTIONS: usize = 16;

/// A request is no longer, and comes within this.
const REQUEST_BYTES: u64 = 4096;
const REQUEST_TIME: Duration = Duration::from_secs(5);

/// For so long one frame may wait for its client.
const FRAME_TIME: Duration = Duration::from_secs(10);

/// For so long clients may take what is left for them when the daemon ends.
const LAST_FRAMES: Duration = Duration::from_secs(5);

/// Listening, until it is dropped.
pub struct ControlServer {
    socket: ControlSocket,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
    counts: Arc<Counts>,
}

/// What it did.
#[derive(Debug, Default)]
pub struct Counts {
    /// Captures that were served to their end.
    pub served: AtomicU64,
    /// Clients that went away before.
    pub gone: AtomicU64,
    /// Clients that were too slow.
    pub slow: AtomicU64,
    /// Requests that were refused: too many at a time, not allowed, no request, or the daemon is ending.
    pub refused: AtomicU64,
}

impl ControlServer {
    /// Starts to serve.
    pub fn spawn(mut socket: ControlSocket, flight: FlightHandle) -> io::Result<Self> {
        let listener = socket
            .take_listener()
            .ok_or_else(|| io::Error::other("the socket is listened on already"))?;
        listener.set_nonblocking(true)?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let (stop, stopped) = oneshot::channel();
        let counts = Arc::<Counts>::default();
        let shared = Arc::new(Shared {
            flight,
            captures: Semaphore::new(CLIENTS),
            connections: Semaphore::new(CONNECTIONS),
            counts: Arc::clone(&counts),
            uid: rustix::process::geteuid().as_raw(),
        });
        let thread = std::thread::Builder::new()
            .name("kctx-control".to_owned())
            .spawn(move || {
                runtime.block_on(async {
                    match UnixListener::from_std(listener) {
                        Ok(listener) => serve(&listener, &shared, stopped).await,
                        Err(error) => tracing::warn!(%error, "the control socket cannot be served"),
                    }
                });
            })?;
        Ok(Self {
            socket,
            stop: Some(stop),
            thread: Some(thread),
            counts,
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn path(&self) -> &std::path::Path {
        self.socket.path()
    }

    /// What it did so far.
    #[must_use]
    pub fn counts(&self) -> &Counts {
        &self.counts
    }
}

impl Drop for ControlServer {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Shared {
    flight: FlightHandle,
    captures: Semaphore,
    connections: Semaphore,
    counts: Arc<Counts>,
    uid: u32,
}

/// Accepts until it is stopped, then gives those that are served the time for their last frames.
async fn serve(listener: &UnixListener, shared: &Arc<Shared>, mut stopped: oneshot::Receiver<()>) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = &mut stopped => break,
        };
        let Ok((stream, _)) = accepted else {
            // Out of file descriptors: it may get better.
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let shared = Arc::clone(shared);
        tokio::spawn(async move {
            let Ok(_place) = shared.connections.try_acquire() else {
                shared.counts.refused.fetch_add(1, Ordering::Relaxed);
                return;
            };
            client(stream, &shared).await;
        });
    }
    let all = u32::try_from(CLIENTS).unwrap_or(u32::MAX);
    let _ = timeout(LAST_FRAMES, shared.captures.acquire_many(all)).await;
}

/// Serves one client to its end.
async fn client(stream: UnixStream, shared: &Arc<Shared>) {
    let allowed =
        (stream.peer_cred()).is_ok_and(|peer| peer.uid() == 0 || peer.uid() == shared.uid);
    let (from, mut to) = stream.into_split();
    let refused = |why: &str| {
        shared.counts.refused.fetch_add(1, Ordering::Relaxed);
        Frame::Refused(why.to_owned())
    };
    if !allowed {
        let frame = refused("the daemon serves root and its own user alone");
        let _ = send(&mut to, &frame).await;
        return;
    }
    let mut from = BufReader::new(from);
    let window = match request(&mut from).await {
        Ok(Request::Capture {
            protocol,
            window_ns,
        }) if protocol == PROTOCOL && window_ns <= LONGEST_WINDOW_NS => {
            Duration::from_nanos(window_ns)
        }
        Ok(Request::Capture { protocol, .. }) if protocol != PROTOCOL => {
            let why = format!(
                "the daemon is kctx {}, and speaks another protocol ({PROTOCOL}, not {protocol}); use the same version, \
                 or capture with --alone",
                env!("CARGO_PKG_VERSION")
            );
            let _ = send(&mut to, &refused(&why)).await;
            return;
        }
        // It looked whether somebody listens.
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return,
        Ok(_) | Err(_) => {
            let _ = send(
                &mut to,
                &refused("that is no request that the daemon knows"),
            )
            .await;
            return;
        }
    };
    let Ok(_place) = shared.captures.try_acquire() else {
        let why = format!(
            "the daemon serves {CLIENTS} captures already; wait for one to end, or capture with --alone"
        );
        let _ = send(&mut to, &refused(&why)).await;
        return;
    };
    let subscription = shared.flight.subscribe(clock::monotonic_ns());
    let counts = &shared.counts;
    let count = match capture(from, &mut to, shared, subscription, window).await {
        Served::Whole => &counts.served,
        Served::Gone => &counts.gone,
        Served::Ending => &counts.refused,
        Served::Slow => {
            tracing::warn!("a capture did not take its records in time, and was given up");
            &counts.slow
        }
    };
    count.fetch_add(1, Ordering::Relaxed);
}

/// How serving a capture ended.
enum Served {
    Whole,
    Gone,
    Slow,
    /// Not at all: the daemon is ending.
    Ending,
}

impl From<Unsent> for Served {
    fn from(unsent: Unsent) -> Self {
        match unsent {
            Unsent::Gone => Self::Gone,
            Unsent::Slow => Self::Slow,
        }
    }
}

async fn capture(
    from: BufReader<OwnedReadHalf>,
    to: &mut OwnedWriteHalf,
    shared: &Arc<Shared>,
    mut subscription: Subscription,
    window: Duration,
) -> Served {
    let hello = Frame::Hello(Hello {
        kctx_version: env!("CARGO_PKG_VERSION").to_owned(),
    });
    if let Err(unsent) = send(to, &hello).await {
        return unsent.into();
    }
    let (id, flight) = (subscription.id, shared.flight.clone());
    let (gone, mut is_gone) = oneshot::channel::<()>();
    // Beside what is sent: a client that takes it slowly must not make its window longer.
    let finishing = tokio::spawn(async move {
        tokio::select! {
            () = tokio::time::sleep(window) => flight.finish(id, clock::monotonic_ns()),
            enough = enough(from) => match enough {
                Ok(()) => flight.finish(id, clock::monotonic_ns()),
                // Dropped with this task.
                Err(_) => return,
            },
        }
        // Kept, so that it does not look gone.
        tokio::time::sleep(END_PATIENCE).await;
        drop(gone);
    });
    let served = loop {
        let piece = tokio::select! {
            piece = subscription.next() => piece,
            _ = &mut is_gone => break Served::Gone,
        };
        let (frame, last) = match piece {
            Some(Piece::Segment(segment)) => (Frame::Segment(segment), false),
            Some(Piece::End(ending)) => (Frame::End(ending), true),
            Some(Piece::GivenUp) => {
                let why =
                    "the daemon gave this capture up: records came faster than they were taken";
                let _ = send(to, &Frame::Refused(why.to_owned())).await;
                break Served::Slow;
            }
            // The recorder is gone.
            None => {
                let why = "the daemon is ending; capture again when one runs, or with --alone";
                let _ = send(to, &Frame::Refused(why.to_owned())).await;
                break Served::Ending;
            }
        };
        match send(to, &frame).await {
            Err(unsent) => break unsent.into(),
            Ok(()) if last => break Served::Whole,
            Ok(()) => {}
        }
    };
    finishing.abort();
    served
}

/// Waits until the client has enough; an error where it is gone.
async fn enough(mut from: BufReader<OwnedReadHalf>) -> io::Result<()> {
    match request_line(&mut from).await? {
        Request::Finish => Ok(()),
        Request::Capture { .. } => Err(io::ErrorKind::InvalidData.into()),
    }
}

async fn request(from: &mut BufReader<OwnedReadHalf>) -> io::Result<Request> {
    timeout(REQUEST_TIME, request_line(from))
        .await
        .map_err(|_| io::ErrorKind::TimedOut)?
}

async fn request_line(from: &mut BufReader<OwnedReadHalf>) -> io::Result<Request> {
    let mut line = Vec::new();
    from.take(REQUEST_BYTES)
        .read_until(b'\n', &mut line)
        .await?;
    if line.last() != Some(&b'\n') {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    serde_json::from_slice(&line).map_err(io::Error::other)
}

/// Why a frame was not sent.
enum Unsent {
    Gone,
    Slow,
}

async fn send(to: &mut OwnedWriteHalf, frame: &Frame) -> Result<(), Unsent> {
    let (head, body) = frame.encode();
    let write = async {
        to.write_all(&head).await?;
        to.write_all(&body).await
    };
    match timeout(FRAME_TIME, write).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) => Err(Unsent::Gone),
        Err(_) => Err(Unsent::Slow),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::client::{ClientError, Daemon};

    /// A server of a daemon whose recorder is gone.
    fn server() -> (tempfile::TempDir, ControlServer) {
        let folder = tempfile::tempdir().unwrap();
        let socket = ControlSocket::listen(&folder.path().join("kctx.sock")).unwrap();
        let (flight, _) = FlightHandle::new(Arc::new(|| {}));
        (folder, ControlServer::spawn(socket, flight).unwrap())
    }

    #[test]
    fn who_asks_a_daemon_that_is_ending_is_told_so() {
        let (_folder, server) = server();
        let daemon = Daemon::find(server.path()).unwrap().unwrap();
        let mut granted = daemon.capture(Duration::from_secs(60)).unwrap();
        let error = granted.frame().unwrap_err();
        let ClientError::Refused(why) = error else {
            panic!("{error}");
        };
        assert!(why.starts_with("the daemon is ending"), "{why}");
        // The place of that capture is given back after the answer; the look around was no request.
        let counts = || server.counts().refused.load(Ordering::Relaxed);
        for _ in 0..500 {
            if counts() == 0 {
                std::thread::sleep(Duration::from_millis(10));
            }
        }
        assert_eq!(counts(), 1);
    }
}
