//! An OTLP endpoint over HTTP on loopback that is in trouble as it is told to be: it refuses, waits, breaks off, and talks nonsense.

use std::{
    io::{BufReader, Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::otlp::{self, Received};

/// A connection that a test forgot ends by itself.
const LONGEST: Duration = Duration::from_secs(60);

/// What it does with requests.
#[derive(Clone, Debug, PartialEq)]
pub enum Trouble {
    /// Takes them.
    None,
    /// Takes them, so long after they came.
    Slow(Duration),
    /// Answers with this status and these header lines.
    Status(u16, Vec<String>),
    /// Reads them, closes its side, and says nothing.
    HalfClosed,
    /// Answers what is no HTTP.
    Garbage,
    /// Answers 200 and so many bytes.
    Oversized(usize),
    /// Says nothing.
    Silent,
}

/// A request that came.
#[derive(Clone, Debug)]
pub struct Came {
    /// When.
    pub at: Instant,
    /// Whether it was taken: answered with 200 and nothing wrong.
    pub taken: bool,
    /// What it was.
    pub request: Received,
}

#[derive(Debug)]
struct Shared {
    trouble: Trouble,
    came: Vec<Came>,
    stopped: bool,
}

/// One at work until dropped. Its address stays its own: it can be closed, and opened again.
#[derive(Debug)]
pub struct Endpoint {
    /// Where.
    pub address: SocketAddr,
    shared: Arc<Mutex<Shared>>,
    tls: Option<Arc<ServerConfig>>,
    open: Option<JoinHandle<()>>,
}

fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Endpoint {
    /// Starts one that takes everything; with TLS where there is a configuration.
    pub fn start(tls: Option<ServerConfig>) -> Result<Self> {
        let mut endpoint = Self {
            address: ([127, 0, 0, 1], 0).into(),
            shared: Arc::new(Mutex::new(Shared {
                trouble: Trouble::None,
                came: Vec::new(),
                stopped: false,
            })),
            tls: tls.map(Arc::new),
            open: None,
        };
        endpoint.open()?;
        Ok(endpoint)
    }

    /// Listens again.
    pub fn open(&mut self) -> Result<()> {
        let listener = TcpListener::bind(self.address).context("the address is taken")?;
        self.address = listener.local_addr()?;
        lock(&self.shared).stopped = false;
        let (shared, tls) = (Arc::clone(&self.shared), self.tls.clone());
        self.open = Some(std::thread::spawn(move || {
            accept(&listener, &shared, tls.as_ref());
        }));
        Ok(())
    }

    /// Listens no more, and says nothing more on connections that there are: the next one is refused.
    pub fn close(&mut self) {
        lock(&self.shared).stopped = true;
        // Wakes it.
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.open.take() {
            let _ = thread.join();
        }
    }

    /// From the next request on.
    pub fn trouble(&self, trouble: Trouble) {
        lock(&self.shared).trouble = trouble;
    }

    /// What came to a path so far.
    #[must_use]
    pub fn came(&self, path: &str) -> Vec<Came> {
        let shared = lock(&self.shared);
        let there = shared.came.iter().filter(|came| came.request.path == path);
        there.cloned().collect()
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.close();
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Mutex<Shared>>, tls: Option<&Arc<ServerConfig>>) {
    for stream in listener.incoming().flatten() {
        if lock(shared).stopped {
            return;
        }
        let (shared, tls) = (Arc::clone(shared), tls.cloned());
        std::thread::spawn(move || connection(stream, &shared, tls));
    }
}

fn connection(
    stream: TcpStream,
    shared: &Mutex<Shared>,
    tls: Option<Arc<ServerConfig>>,
) -> Result<()> {
    stream.set_read_timeout(Some(LONGEST))?;
    let raw = stream.try_clone()?;
    match tls {
        None => serve(stream, &raw, shared),
        Some(config) => serve(
            StreamOwned::new(ServerConnection::new(config)?, stream),
            &raw,
            shared,
        ),
    }
}

fn serve(stream: impl Read + Write, raw: &TcpStream, shared: &Mutex<Shared>) -> Result<()> {
    let mut reader = BufReader::new(stream);
    while let Some(request) = otlp::read_request(&mut reader)? {
        let at = Instant::now();
        let (trouble, stopped) = {
            let shared = lock(shared);
            (shared.trouble.clone(), shared.stopped)
        };
        if stopped {
            return Ok(());
        }
        let taken = matches!(trouble, Trouble::None | Trouble::Slow(_));
        lock(shared).came.push(Came { at, taken, request });
        let writer = reader.get_mut();
        match trouble {
            Trouble::None => writer.write_all(&answer(200, &[], b""))?,
            Trouble::Slow(time) => {
                std::thread::sleep(time);
                writer.write_all(&answer(200, &[], b""))?;
            }
            Trouble::Status(status, headers) => {
                writer.write_all(&answer(status, &headers, b"as told"))?;
            }
            Trouble::HalfClosed => {
                raw.shutdown(Shutdown::Write)?;
                // Until the other side has had enough.
                let _ = reader.get_mut().read(&mut [0]);
                return Ok(());
            }
            Trouble::Garbage => {
                writer.write_all(b"\x00\xffno HTTP at all\r\n\r\n")?;
                return Ok(());
            }
            Trouble::Oversized(bytes) => writer.write_all(&answer(200, &[], &vec![7; bytes]))?,
            Trouble::Silent => {
                let _ = reader.get_mut().read(&mut [0]);
                return Ok(());
            }
        }
        reader.get_mut().flush()?;
    }
    Ok(())
}

fn answer(status: u16, headers: &[String], body: &[u8]) -> Vec<u8> {
    let mut answer = format!(
        "HTTP/1.1 {status} Said\r\ncontent-length: {}\r\n",
        body.len()
    );
    for header in headers {
        answer.push_str(header);
        answer.push_str("\r\n");
    }
    answer.push_str("\r\n");
    let mut answer = answer.into_bytes();
    answer.extend_from_slice(body);
    answer
}
