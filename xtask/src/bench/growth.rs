//! What grows: memory with CPUs and work functions, exports with what there is to export.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use anyhow::{Context, Result};

use super::figures::{Figure, median};
use super::process::{Daemon, Loads, figure};
use crate::command;

/// More of each than there was.
const CPUS: u32 = 256;
const FUNCTIONS: u32 = 1000;

pub(super) fn of_memory(example: &Path) -> Result<Vec<Figure>> {
    eprintln!("bench: memory with CPUs and functions");
    let kib = |cpus: u32, functions: u32| -> Result<f64> {
        let arguments = [cpus.to_string(), functions.to_string()];
        let text = command::capture(Command::new(example).args(arguments))?;
        text.trim().parse().with_context(|| format!("{text:?}"))
    };
    let few = kib(2, 1)?;
    let how = "kctx/examples/memory_growth.rs: own memory after three windows, 300 records a row of 100 ns to 1 ms";
    Ok(vec![
        figure(
            "memory of userspace for a CPU with ten vectors",
            (kib(2 + CPUS, 1)? - few) / f64::from(CPUS),
            "KiB",
            how,
        ),
        figure(
            "the same for a work function",
            (kib(2, 1 + FUNCTIONS)? - few) / f64::from(FUNCTIONS),
            "KiB",
            how,
        ),
    ])
}

/// Exports of a `kctx run` under load, by an endpoint that takes them.
pub(super) fn of_export(kctx: &Path, load: &Path, folder: &Path) -> Result<Vec<Figure>> {
    eprintln!("bench: export");
    let endpoint = Endpoint::start()?;
    let size = |compression: &str| -> Result<f64> {
        let daemon = Daemon::start(
            Command::new(kctx)
                .arg("run")
                .env("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint.url)
                .env("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")
                .env("OTEL_EXPORTER_OTLP_COMPRESSION", compression)
                .env("OTEL_METRIC_EXPORT_INTERVAL", "1000"),
        )?;
        let loads = Loads::start(load, folder)?;
        std::thread::sleep(Duration::from_secs(6));
        drop(loads);
        drop(daemon);
        let sizes: Vec<f64> = endpoint.sizes.try_iter().collect();
        // The first ones have not seen all there is.
        let later = sizes.get(sizes.len() / 2..).unwrap_or_default();
        median(later).context("nothing was exported")
    };
    let how = "kctx run, OTLP/HTTP, every family, datagrams on each CPU; medians";
    Ok(vec![
        figure("an export, as it is", size("none")?, "bytes", how),
        figure("an export, compressed", size("gzip")?, "bytes", how),
    ])
}

/// Takes exports of metrics, and tells how long each was.
struct Endpoint {
    url: String,
    sizes: Receiver<f64>,
}

impl Endpoint {
    fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let url = format!("http://{}", listener.local_addr()?);
        let (tell, sizes) = channel();
        // It ends with this process.
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let tell = tell.clone();
                std::thread::spawn(move || {
                    while let Ok(Some((path, bytes))) = take(&stream) {
                        if path == "/v1/metrics" && tell.send(bytes as f64).is_err() {
                            break;
                        }
                    }
                });
            }
        });
        Ok(Self { url, sizes })
    }
}

/// One request, its path and the length of its body; `None` where the client has gone.
fn take(mut stream: &TcpStream) -> Result<Option<(String, usize)>> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        if stream.read(&mut byte)? == 0 {
            return Ok(None);
        }
        head.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&head).to_lowercase();
    let path = head.split(' ').nth(1).context("a path")?.to_owned();
    let length = command::field(&head, "content-length:").context("a length")?;
    let mut body = vec![0; length.trim().parse()?];
    stream.read_exact(&mut body)?;
    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")?;
    Ok(Some((path, body.len())))
}
