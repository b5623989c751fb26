//! kctx as a scraper sees it.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use flate2::read::GzDecoder;
use kctx::export::prometheus::model::MetricFamily;
use prost::Message as _;

use crate::program::Running;

/// An emulated machine takes its time.
const PATIENCE: Duration = Duration::from_secs(90);

/// What Prometheus 3.5 sends when it wants native histograms (scrape/scrape.go).
pub const PROTOBUF: &str = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;\
     encoding=delimited;q=0.7,application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
     text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
/// What it sends when it does not.
pub const OPEN_METRICS: &str = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
     text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
/// Text 0.0.4.
pub const TEXT: &str = "text/plain;version=0.0.4";

/// An answer.
#[derive(Debug)]
pub struct Answer {
    /// Its status.
    pub status: u16,
    /// Its `Content-Type`.
    pub content_type: String,
    /// Its body, decompressed.
    pub body: Vec<u8>,
}

impl Answer {
    /// The body as text.
    pub fn text(&self) -> Result<&str> {
        Ok(std::str::from_utf8(&self.body)?)
    }

    /// The body as families.
    pub fn families(&self) -> Result<Vec<MetricFamily>> {
        let mut bytes = self.body.as_slice();
        let mut families = Vec::new();
        while !bytes.is_empty() {
            families.push(MetricFamily::decode_length_delimited(&mut bytes)?);
        }
        Ok(families)
    }
}

/// Where a kctx answers, from what it says when it starts.
pub fn address(kctx: &Running) -> Result<SocketAddr> {
    let start = Instant::now();
    while start.elapsed() < PATIENCE {
        let said = kctx.read_stderr()?;
        let line = said.lines().find_map(|line| {
            let rest = line.strip_prefix("kctx: answering scrapes on http://")?;
            rest.strip_suffix("/metrics")
        });
        if let Some(address) = line {
            return Ok(address.parse()?);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    bail!("it does not listen: {}", kctx.read_stderr()?)
}

/// Asks for a path, with gzip or without.
pub fn get(address: SocketAddr, path: &str, accept: &str, gzip: bool) -> Result<Answer> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let encoding = if gzip {
        "accept-encoding: gzip\r\n"
    } else {
        ""
    };
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nhost: {address}\r\naccept: {accept}\r\n{encoding}\r\n"
    )?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes)?;
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n");
    let end = end.context("an answer has a head")?;
    let head = std::str::from_utf8(&bytes[..end])?.to_owned();
    let field = |name: &str| {
        let mut fields = head
            .lines()
            .skip(1)
            .filter_map(|line| line.split_once(": "));
        let field = fields.find(|(field, _)| field.eq_ignore_ascii_case(name));
        field.map(|(_, value)| value.to_owned())
    };
    let body = bytes.split_off(end + 4);
    let length: usize = field("content-length").context("a length")?.parse()?;
    ensure!(body.len() == length, "{} of {length} bytes", body.len());
    let body = match field("content-encoding").as_deref() {
        Some("gzip") => {
            ensure!(gzip, "nobody asked for gzip");
            let mut plain = Vec::new();
            GzDecoder::new(body.as_slice()).read_to_end(&mut plain)?;
            plain
        }
        None => {
            // A probe's answer is too short to be worth it.
            ensure!(!gzip || path != "/metrics", "gzip was asked for");
            body
        }
        Some(other) => bail!("encoded as {other}"),
    };
    let status = head.split(' ').nth(1).context("a status")?.parse()?;
    Ok(Answer {
        status,
        content_type: field("content-type").context("a content type")?,
        body,
    })
}

/// Waits until there is something to scrape. A connection that is one too many is reset: that is not ready either.
pub fn wait_until_ready(address: SocketAddr) -> Result<()> {
    let start = Instant::now();
    let mut last = String::new();
    while start.elapsed() < PATIENCE {
        match get(address, "/readyz", "*/*", false) {
            Ok(answer) if answer.status == 200 => return Ok(()),
            Ok(answer) => last = format!("status {}", answer.status),
            Err(error) => last = format!("{error:#}"),
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    bail!("not ready after {PATIENCE:?}: {last}")
}

/// The sum of a metric's samples that have all of these labels, of a text exposition.
pub fn total(text: &str, name: &str, labels: &[(&str, &str)]) -> Result<f64> {
    let labels: Vec<_> = labels
        .iter()
        .map(|(name, value)| format!("{name}=\"{value}\""))
        .collect();
    let mut total = 0.0;
    for line in text.lines() {
        let Some(rest) = line
            .strip_prefix(name)
            .filter(|rest| rest.starts_with(['{', ' ']))
        else {
            continue;
        };
        if labels.iter().all(|label| rest.contains(label)) {
            let (_, value) = rest.rsplit_once(' ').context("a value")?;
            total += value.parse::<f64>()?;
        }
    }
    Ok(total)
}
