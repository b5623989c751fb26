//! The endpoint: HTTP/1 on a thread of its own, bounded in every way that a client could use.
//!
//! A client gets one answer a connection. It may take so long, send so much of a head, come so often, and have so many
//! beside it, and no more (see [`Bounds`]); none of it is felt by the pipeline, which only leaves its windows with the
//! totals.

use std::convert::Infallible;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::sync::{Notify, Semaphore};
use tokio::time::timeout;
use tracing::debug;

use super::answer::Desk;
use super::pace::Pace;
use super::page::Pages;
use super::settings::{Bounds, PrometheusSettings};
use crate::export::resource::Resource;
use crate::export::totals::Totals;

/// Said to a client when there are too many.
const TOO_MANY: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 21\r\nconnection: close\r\n\r\ntoo many connections\n";

/// How long to wait when the process has no file descriptors left.
const BREATH: Duration = Duration::from_millis(100);

/// Why scrapes cannot be answered.
#[derive(Debug, thiserror::Error)]
#[error("cannot answer scrapes on {listen}: {source}{}", hint(.source))]
pub struct StartError {
    listen: SocketAddr,
    source: io::Error,
}

fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => "; is another kctx running? Give another address or port",
        io::ErrorKind::PermissionDenied => {
            "; kctx has given up its privileges: give a port from 1024 up"
        }
        io::ErrorKind::AddrNotAvailable => "; this host has no such address",
        _ => "",
    }
}

/// Answers scrapes until it is dropped.
#[derive(Debug)]
pub struct PrometheusServer {
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    /// A window came.
    window: Notify,
    stop: Notify,
}

impl PrometheusServer {
    /// Listens, and answers from a thread of its own.
    ///
    /// # Errors
    /// When the address cannot be listened on, or the thread cannot start.
    pub fn spawn(
        settings: PrometheusSettings,
        resource: Resource,
        totals: Arc<Totals>,
    ) -> Result<Self, StartError> {
        let start = || -> io::Result<Self> {
            let listener = TcpListener::bind(settings.listen)?;
            listener.set_nonblocking(true)?;
            let address = listener.local_addr()?;
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            let shared = Arc::new(Shared::default());
            let serving = Arc::clone(&shared);
            let desk = Arc::new(Desk {
                pages: Mutex::new(Pages::new(Arc::clone(&totals), resource)),
                totals,
                settings,
                started: Instant::now(),
            });
            let listener = {
                let _inside = runtime.enter();
                tokio::net::TcpListener::from_std(listener)?
            };
            std::thread::Builder::new()
                .name("kctx-prometheus".to_owned())
                .spawn(move || {
                    runtime.block_on(async {
                        tokio::select! {
                            () = serving.stop.notified() => {}
                            () = fold(&serving, &desk.totals) => {}
                            () = serve(listener, &desk) => {}
                        }
                    });
                    runtime.shutdown_background();
                })?;
            Ok(Self { address, shared })
        };
        start().map_err(|source| StartError {
            listen: settings.listen,
            source,
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Says that the totals were offered one more window.
    pub fn announce(&self) {
        self.shared.window.notify_one();
    }
}

impl Drop for PrometheusServer {
    fn drop(&mut self) {
        self.shared.stop.notify_one();
    }
}

/// Folds windows as they come, so that the pipeline's thread need not.
async fn fold(shared: &Shared, totals: &Totals) {
    loop {
        shared.window.notified().await;
        totals.fold_queued();
    }
}

async fn serve(listener: tokio::net::TcpListener, desk: &Arc<Desk>) {
    let bounds = desk.settings.bounds;
    let places = Arc::new(Semaphore::new(bounds.connections));
    let mut pace = Pace::new(bounds.per_second);
    let mut pause = Duration::ZERO;
    loop {
        if !pause.is_zero() {
            tokio::time::sleep(pause).await;
        }
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                debug!("cannot accept a connection: {error}");
                tokio::time::sleep(BREATH).await;
                continue;
            }
        };
        pause = pace.taken(Instant::now());
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
            debug!(
                "{peer} is refused: there are {} connections",
                bounds.connections
            );
            // Without waiting: whether it arrives is the client's affair.
            let _ = stream.try_write(TOO_MANY);
            continue;
        };
        let desk = Arc::clone(desk);
        tokio::spawn(async move {
            if let Err(error) = connection(stream, bounds, desk).await {
                debug!("the connection of {peer} ended: {error}");
            }
            drop(place);
        });
    }
}

async fn connection(stream: TcpStream, bounds: Bounds, desk: Arc<Desk>) -> io::Result<()> {
    let service = service_fn(move |request| {
        let answer = desk.answer(&request);
        async move { Ok::<_, Infallible>(answer) }
    });
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(bounds.head_time)
        .max_buf_size(bounds.head)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    match timeout(bounds.time, serving).await {
        Ok(served) => served.map_err(io::Error::other),
        Err(_) => Err(io::ErrorKind::TimedOut.into()),
    }
}
