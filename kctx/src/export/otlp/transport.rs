//! How a signal's requests travel: what was set about it, and what comes of that.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use hyper::http::{HeaderName, HeaderValue, Uri};

use super::endpoint::Endpoint;
use super::env::{Env, is_true, pairs};
use super::settings::{Bytes, Compression, Protocol, SettingsError, Span};
use super::signal::Signal;

/// What the configuration says of one signal; what is `None` comes from the environment or is the default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct TransportConfig {
    /// A base URL, and the whole one, which wins, with the keys that say so.
    pub(super) base: Option<(&'static str, String)>,
    pub(super) whole: Option<(&'static str, String)>,
    pub(super) protocol: Option<Protocol>,
    pub(super) insecure: Option<bool>,
    pub(super) certificate: Option<PathBuf>,
    pub(super) client_key: Option<PathBuf>,
    pub(super) client_certificate: Option<PathBuf>,
    /// With the key that says so.
    pub(super) headers: Option<(&'static str, BTreeMap<String, String>)>,
    pub(super) compression: Option<Compression>,
    pub(super) timeout: Option<Span>,
    pub(super) max_request_size: Option<Bytes>,
    pub(super) max_response_size: Option<Bytes>,
}

/// How a signal's requests travel.
#[derive(Clone)]
pub struct Transport {
    /// Whole URL over HTTP; scheme and authority over gRPC.
    pub endpoint: Uri,
    /// How requests travel.
    pub protocol: Protocol,
    /// Sent with each request; the values are secrets.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// Compression of requests.
    pub compression: Compression,
    /// For one export, retries included; `None` for no limit.
    pub timeout: Option<Duration>,
    /// PEM file of certificates to trust beside the system's.
    pub certificate: Option<PathBuf>,
    /// PEM files of the client's key and certificate chain.
    pub client_identity: Option<ClientIdentity>,
    /// Largest request before compression.
    pub max_request_bytes: usize,
    /// Largest response read.
    pub max_response_bytes: usize,
}

/// A client certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientIdentity {
    /// PEM file of the key.
    pub key: PathBuf,
    /// PEM file of the chain.
    pub certificate: PathBuf,
}

impl Transport {
    /// All defaults but the endpoint, which is used as it is.
    #[must_use]
    pub fn new(endpoint: Uri, protocol: Protocol) -> Self {
        Self {
            endpoint,
            protocol,
            headers: Vec::new(),
            compression: Compression::Gzip,
            timeout: Some(Duration::from_secs(10)),
            certificate: None,
            client_identity: None,
            max_request_bytes: 3 << 20,
            max_response_bytes: 4 << 20,
        }
    }

    /// Of the configuration, and of the environment where that says nothing. `None` where neither has an endpoint.
    pub(super) fn resolve(
        config: &TransportConfig,
        signal: Signal,
        env: &mut Env<'_>,
    ) -> Result<Option<Self>, SettingsError> {
        let Some(endpoint) = Endpoint::find(config, signal, env) else {
            return Ok(None);
        };
        let protocol = match config.protocol {
            Some(protocol) => protocol,
            None => match env.otlp(signal, "PROTOCOL") {
                // Not to be ignored like other values: the endpoint would be spoken to in the wrong protocol.
                Some((name, text)) => text
                    .parse()
                    .map_err(|error| SettingsError(format!("{name}: {error}")))?,
                None => Protocol::HttpProtobuf,
            },
        };
        let insecure = match config.insecure {
            Some(insecure) => insecure,
            None => (env.otlp(signal, "INSECURE")).is_some_and(|(_, text)| is_true(&text)),
        };
        let uri = endpoint.uri(protocol, insecure, signal, env)?;
        let mut transport = Self::new(uri, protocol);
        transport.headers = headers(config, signal, env)?;
        if let Some(compression) = config
            .compression
            .or_else(|| env.parsed::<Compression>(signal, "COMPRESSION"))
        {
            transport.compression = compression;
        }
        transport.timeout = timeout(config, signal, env, transport.timeout);
        let path = |set: &Option<PathBuf>, suffix| {
            let found = || env.otlp(signal, suffix).map(|(_, text)| text.into());
            set.clone().or_else(found)
        };
        transport.certificate = path(&config.certificate, "CERTIFICATE");
        let key = path(&config.client_key, "CLIENT_KEY");
        let chain = path(&config.client_certificate, "CLIENT_CERTIFICATE");
        transport.client_identity = match (key, chain) {
            (Some(key), Some(certificate)) => Some(ClientIdentity { key, certificate }),
            (None, None) => None,
            _ => {
                return Err(SettingsError(
                    "a client key and a client certificate must be given together".to_owned(),
                ));
            }
        };
        if let Some(size) = config.max_request_size {
            transport.max_request_bytes = size.0;
        }
        if let Some(size) = config.max_response_size {
            transport.max_response_bytes = size.0;
        }
        if transport.max_request_bytes < 64 << 10 {
            return Err(SettingsError(format!(
                "otlp.max_request_size is {} bytes: give at least 64KiB",
                transport.max_request_bytes
            )));
        }
        Ok(Some(transport))
    }
}

/// The shorter of the exporter's timeout and that of what has it export, where 0 is no limit.
fn timeout(
    config: &TransportConfig,
    signal: Signal,
    env: &mut Env<'_>,
    default: Option<Duration>,
) -> Option<Duration> {
    let limit = |timeout: Duration| (!timeout.is_zero()).then_some(timeout);
    if let Some(span) = config.timeout {
        return limit(span.0);
    }
    let exporter = match env.otlp(signal, "TIMEOUT") {
        Some((name, text)) => env
            .parse_milliseconds(&name, &text, 0)
            .map_or(default, limit),
        None => default,
    };
    let whole = match signal {
        Signal::Metrics => "OTEL_METRIC_EXPORT_TIMEOUT",
        Signal::Logs => "OTEL_BLRP_EXPORT_TIMEOUT",
    };
    let whole = env.milliseconds(whole, 0).and_then(limit);
    match (exporter, whole) {
        (Some(exporter), Some(whole)) => Some(exporter.min(whole)),
        (exporter, whole) => exporter.or(whole),
    }
}

fn headers(
    config: &TransportConfig,
    signal: Signal,
    env: &mut Env<'_>,
) -> Result<Vec<(HeaderName, HeaderValue)>, SettingsError> {
    if let Some((key, headers)) = &config.headers {
        return headers
            .iter()
            .map(|(name, value)| {
                header(name, value).map_err(|why| SettingsError(format!("{key}: {why}")))
            })
            .collect();
    }
    let Some((variable, text)) = env.otlp(signal, "HEADERS") else {
        return Ok(Vec::new());
    };
    let parsed = pairs(&text).and_then(|pairs| {
        pairs
            .iter()
            .map(|(name, value)| header(name, value))
            .collect::<Result<Vec<_>, _>>()
    });
    Ok(parsed.unwrap_or_else(|why| {
        env.warn(format!("{variable} is ignored: {why}"));
        Vec::new()
    }))
}

fn header(name: &str, value: &str) -> Result<(HeaderName, HeaderValue), String> {
    let parsed = HeaderName::from_str(name).map_err(|_| format!("{name:?} is no header name"))?;
    let mut value =
        HeaderValue::from_str(value).map_err(|_| format!("the value of {name} is not sendable"))?;
    value.set_sensitive(true);
    Ok((parsed, value))
}

/// Header values are secrets: only their names are shown.
impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let headers: Vec<_> = self.headers.iter().map(|(name, _)| name.as_str()).collect();
        f.debug_struct("Transport")
            .field("endpoint", &self.endpoint)
            .field("protocol", &self.protocol)
            .field("headers", &headers)
            .field("compression", &self.compression)
            .field("timeout", &self.timeout)
            .field("certificate", &self.certificate)
            .field("client_identity", &self.client_identity)
            .field("max_request_bytes", &self.max_request_bytes)
            .field("max_response_bytes", &self.max_response_bytes)
            .finish()
    }
}
