//! An OTLP endpoint over HTTP on loopback.

use std::{
    io::{BufRead, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::{Context as _, Result};
use flate2::read::GzDecoder;

/// What it answers, by the path.
pub type Answer = fn(&str) -> u16;

/// A request as it came in.
#[derive(Clone, Debug)]
pub struct Received {
    /// Its path.
    pub path: String,
    /// Its other lines, as they came but in lower case.
    pub headers: Vec<String>,
    /// Its body, decompressed.
    pub body: Vec<u8>,
    /// How long that was before.
    pub sent_bytes: usize,
}

/// Takes requests until the test ends.
#[derive(Debug)]
pub struct Endpoint {
    /// Where.
    pub address: SocketAddr,
    received: Arc<Mutex<Vec<Received>>>,
}

impl Endpoint {
    /// Starts one that gives these answers, without a body.
    pub fn start(answer: Answer) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let received = Arc::new(Mutex::new(Vec::new()));
        let taken = Arc::clone(&received);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let taken = Arc::clone(&taken);
                // Ends with the connection.
                std::thread::spawn(move || serve(&stream, answer, &taken));
            }
        });
        Ok(Self { address, received })
    }

    /// What came to a path so far.
    #[must_use]
    pub fn received(&self, path: &str) -> Vec<Received> {
        let received = self.received.lock().unwrap_or_else(PoisonError::into_inner);
        let there = received.iter().filter(|request| request.path == path);
        there.cloned().collect()
    }
}

fn serve(stream: &TcpStream, answer: Answer, taken: &Mutex<Vec<Received>>) -> Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut writer = stream;
    while let Some(request) = read_request(&mut reader)? {
        let status = answer(&request.path);
        taken
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(request);
        write!(
            writer,
            "HTTP/1.1 {status} Said\r\ncontent-length: 0\r\n\r\n"
        )?;
        writer.flush()?;
    }
    Ok(())
}

/// `None` at the connection's end.
pub(crate) fn read_request(reader: &mut impl BufRead) -> Result<Option<Received>> {
    let mut first = String::new();
    if reader.read_line(&mut first)? == 0 {
        return Ok(None);
    }
    let path = first.split(' ').nth(1).context("a request has a path")?;
    let (mut length, mut is_gzip, mut headers) = (0, false, Vec::new());
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let line = line.trim_end().to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse()?;
        }
        is_gzip |= line == "content-encoding: gzip";
        headers.push(line);
    }
    let mut sent = vec![0; length];
    reader.read_exact(&mut sent)?;
    let mut body = Vec::new();
    if is_gzip {
        GzDecoder::new(sent.as_slice()).read_to_end(&mut body)?;
    } else {
        body = sent;
    }
    Ok(Some(Received {
        path: path.to_owned(),
        headers,
        body,
        sent_bytes: length,
    }))
}
