//! Servers that are not kctx's, on loopback, and what they answer.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    path::PathBuf,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use crate::program::Running;

/// A server that is there takes some seconds to start on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A program that `cargo xtask test` found or fetched, by the variable that names it.
pub fn program(variable: &str) -> Result<PathBuf> {
    let named = std::env::var_os(variable).map(PathBuf::from);
    named.with_context(|| {
        format!("{variable} names no program: run the tests by `cargo xtask test`")
    })
}

/// A port that nobody listens on, for servers that do not take 0 for any.
pub fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

/// A server that answers HTTP; ends when dropped.
#[derive(Debug)]
pub struct Server {
    /// Where.
    pub address: SocketAddr,
    child: Running,
}

impl Server {
    /// Starts it, and waits until it answers 200 to a GET of `ready`.
    pub fn start(command: Command, address: SocketAddr, ready: &str) -> Result<Self> {
        let server = Self {
            address,
            child: Running::start(command)?,
        };
        let start = Instant::now();
        while start.elapsed() < PATIENCE {
            if matches!(get(address, ready), Ok((200, _))) {
                return Ok(server);
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        bail!("no server on {address}: {}", server.child.read_stderr()?)
    }

    /// What it said on standard error so far.
    pub fn said(&self) -> Result<String> {
        self.child.read_stderr()
    }

    /// What Prometheus' HTTP API answers to a GET.
    pub fn api(&self, path: &str, parameters: &[(&str, &str)]) -> Result<Value> {
        let mut path = format!("/api/v1/{path}");
        for (at, (name, value)) in parameters.iter().enumerate() {
            let separator = if at == 0 { '?' } else { '&' };
            write!(path, "{separator}{name}={}", percent_encoded(value))?;
        }
        let (status, body) = get(self.address, &path)?;
        let json: Value = serde_json::from_str(&body)
            .with_context(|| format!("{path}: status {status}, {body:?} is no JSON"))?;
        ensure!(json["status"] == "success", "{path}: {json}");
        Ok(json)
    }

    /// An instant query, at a time in seconds since the Unix epoch.
    pub fn query(&self, expression: &str, time: f64) -> Result<Rows> {
        let time = format!("{time:.3}");
        let answer = self.api("query", &[("query", expression), ("time", &time)])?;
        for trouble in ["warnings", "infos"] {
            let none = answer[trouble].as_array().is_none_or(Vec::is_empty);
            ensure!(none, "{expression}: {}", answer[trouble]);
        }
        let result = answer["data"]["result"].as_array();
        let rows = result.with_context(|| format!("{expression}: {answer}"))?;
        rows.iter().map(row).collect::<Result<_>>().map(Rows)
    }
}

/// A GET. HTTP/1.0, so that the answer comes in one piece and ends with the connection.
pub fn get(address: SocketAddr, path: &str) -> Result<(u16, String)> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    write!(stream, "GET {path} HTTP/1.0\r\nhost: {address}\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let answer = String::from_utf8(answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").context("no head")?;
    let status = head.split(' ').nth(1).context("no status")?;
    Ok((status.parse()?, body.to_owned()))
}

fn percent_encoded(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() {
            encoded.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

/// Series with a value each.
#[derive(Clone, Debug, Default)]
pub struct Rows(pub Vec<(BTreeMap<String, String>, f64)>);

impl Rows {
    /// The value of the one series with these labels, whatever others it has.
    pub fn one(&self, labels: &[(&'static str, String)]) -> Result<f64> {
        let has = |row: &&(BTreeMap<String, String>, f64)| {
            (labels.iter()).all(|(name, value)| row.0.get(*name).is_some_and(|v| v == value))
        };
        let mut found = self.0.iter().filter(has);
        match (found.next(), found.next()) {
            (Some((_, value)), None) => Ok(*value),
            (None, _) => bail!("no series with {labels:?} among {}", self.0.len()),
            (Some(one), Some(other)) => bail!("{labels:?}: {one:?} and {other:?}"),
        }
    }
}

fn row(row: &Value) -> Result<(BTreeMap<String, String>, f64)> {
    let labels = row["metric"].as_object().context("labels")?;
    let labels = labels.iter().map(|(name, value)| {
        let value = value.as_str().unwrap_or_default();
        (name.clone(), value.to_owned())
    });
    let value = match (&row["value"][1], &row["histogram"][1]["count"]) {
        (Value::String(value), _) | (_, Value::String(value)) => value.parse()?,
        _ => bail!("no value: {row}"),
    };
    Ok((labels.collect(), value))
}
