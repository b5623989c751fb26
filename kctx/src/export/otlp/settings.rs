//! What can be set about the export, and what was.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, de::Error as _};

use super::logs::LogsConfig;
use super::transport::{Transport, TransportConfig};
use crate::config::{parse_duration, parse_size};
use crate::export::interval::Temporality;

/// How requests travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum Protocol {
    /// gRPC over HTTP/2.
    Grpc,
    /// Protobuf in an HTTP POST.
    HttpProtobuf,
}

impl FromStr for Protocol {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text.to_ascii_lowercase().as_str() {
            "grpc" => Ok(Self::Grpc),
            "http/protobuf" => Ok(Self::HttpProtobuf),
            "http/json" => Err("http/json is not supported: use http/protobuf or grpc".to_owned()),
            _ => Err(format!("{text:?} is not one of http/protobuf, grpc")),
        }
    }
}

/// Compression of requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum Compression {
    /// As they are.
    None,
    /// gzip.
    Gzip,
}

impl FromStr for Compression {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text.to_ascii_lowercase().as_str() {
            "none" => Ok(Self::None),
            "gzip" => Ok(Self::Gzip),
            _ => Err(format!("{text:?} is not one of none, gzip")),
        }
    }
}

/// How durations are aggregated for the endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum HistogramKind {
    /// Base-2 exponential buckets.
    Exponential,
    /// Fixed power-of-two bounds, for backends without exponential histograms.
    Explicit,
}

impl fmt::Display for HistogramKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Exponential => "base2_exponential_bucket_histogram",
            Self::Explicit => "explicit_bucket_histogram",
        })
    }
}

impl FromStr for HistogramKind {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text.to_ascii_lowercase().as_str() {
            "base2_exponential_bucket_histogram" | "exponential" => Ok(Self::Exponential),
            "explicit_bucket_histogram" | "explicit" => Ok(Self::Explicit),
            _ => Err(format!(
                "{text:?} is not one of base2_exponential_bucket_histogram, explicit_bucket_histogram"
            )),
        }
    }
}

macro_rules! from_string {
    ($($kind:ty),+) => {$(
        impl TryFrom<String> for $kind {
            type Error = String;
            fn try_from(text: String) -> Result<Self, String> {
                text.parse()
            }
        }
    )+};
}
from_string!(Protocol, Compression, HistogramKind, Span, Bytes);

/// A length of time as text: `10s`, `500ms`, `2m`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Span(pub Duration);

impl FromStr for Span {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        parse_duration(text).map(Self)
    }
}

/// A number of bytes as text: `3MiB`, `512KiB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Bytes(pub usize);

impl FromStr for Bytes {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let bytes = parse_size(text)?;
        usize::try_from(bytes)
            .map(Self)
            .map_err(|_| format!("{text:?} is more than this machine can hold"))
    }
}

/// The export as configured in the file or on the command line; what is `None` comes from the
/// environment or is the default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OtlpConfig {
    /// Base URL; over HTTP `v1/metrics` and `v1/logs` are appended. Setting it turns the export on.
    pub endpoint: Option<String>,
    /// The whole URL for metrics, used as it is. Wins over `endpoint`.
    pub metrics_endpoint: Option<String>,
    /// `http/protobuf` or `grpc`.
    pub protocol: Option<Protocol>,
    /// Plain text where a gRPC endpoint has no scheme.
    pub insecure: Option<bool>,
    /// PEM file of certificates to trust beside the system's.
    pub certificate: Option<PathBuf>,
    /// PEM file of the client's key.
    pub client_key: Option<PathBuf>,
    /// PEM file of the client's certificate chain.
    pub client_certificate: Option<PathBuf>,
    /// Sent with each request. Replaces those of the environment.
    pub headers: Option<BTreeMap<String, String>>,
    /// `gzip` or `none`.
    pub compression: Option<Compression>,
    /// For one export, retries included; `0s` for no limit.
    pub timeout: Option<Span>,
    /// `exponential` or `explicit`.
    pub histogram: Option<HistogramKind>,
    /// `cumulative`, `delta` or `lowmemory`.
    pub temporality: Option<Temporality>,
    /// Between two exports.
    pub interval: Option<Span>,
    /// Largest request before compression.
    pub max_request_size: Option<Bytes>,
    /// Largest response read.
    pub max_response_size: Option<Bytes>,
    /// `service.name`.
    pub service_name: Option<String>,
    /// Resource attributes, which win over those found on the host.
    pub resource: Option<BTreeMap<String, String>>,
    /// The logs' own.
    pub logs: LogsConfig,
    /// No longer here.
    pub per_cpu: Moved,
    /// No longer here.
    pub max_series: Moved,
    /// No longer here.
    pub max_buckets: Moved,
}

/// A key that is in `[export]` now: whoever writes it here is told so.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moved;

impl<'de> Deserialize<'de> for Moved {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Err(D::Error::custom(
            "this key is in [export] now: it holds for scrapes too",
        ))
    }
}

impl OtlpConfig {
    /// This, and `lower` where this says nothing.
    #[must_use]
    pub fn over(&self, lower: &Self) -> Self {
        macro_rules! first {
            ($($field:ident),+ $(,)?) => {
                Self {
                    $($field: self.$field.clone().or_else(|| lower.$field.clone()),)+
                    logs: LogsConfig::merged(self, lower),
                    ..Self::default()
                }
            };
        }
        let mut merged = first!(
            endpoint,
            metrics_endpoint,
            protocol,
            insecure,
            certificate,
            client_key,
            client_certificate,
            headers,
            compression,
            timeout,
            histogram,
            temporality,
            interval,
            max_request_size,
            max_response_size,
            service_name,
            resource,
        );
        // One thing said in two ways: the higher source wins whichever way it says it.
        if self.endpoint.is_some() && self.metrics_endpoint.is_none() {
            merged.metrics_endpoint = None;
        }
        merged
    }

    /// What it says of how metrics travel.
    pub(super) fn metrics_transport(&self) -> TransportConfig {
        let given = |key, text: &Option<String>| text.clone().map(|text| (key, text));
        TransportConfig {
            base: given("otlp.endpoint", &self.endpoint),
            whole: given("otlp.metrics_endpoint", &self.metrics_endpoint),
            protocol: self.protocol,
            insecure: self.insecure,
            certificate: self.certificate.clone(),
            client_key: self.client_key.clone(),
            client_certificate: self.client_certificate.clone(),
            headers: (self.headers.clone()).map(|headers| ("otlp.headers", headers)),
            compression: self.compression,
            timeout: self.timeout,
            max_request_size: self.max_request_size,
            max_response_size: self.max_response_size,
        }
    }
}

/// The export of metrics as it will be.
#[derive(Clone, Debug)]
pub struct OtlpSettings {
    /// How its requests travel.
    pub transport: Transport,
    /// How durations are aggregated.
    pub histogram: HistogramKind,
    /// Since when points count.
    pub temporality: Temporality,
    /// Between two exports; whoever closes windows keeps it.
    pub interval: Duration,
}

impl OtlpSettings {
    /// All defaults but the way there.
    #[must_use]
    pub fn new(transport: Transport) -> Self {
        Self {
            transport,
            histogram: HistogramKind::Exponential,
            temporality: Temporality::Cumulative,
            interval: Duration::from_secs(10),
        }
    }

    /// Checks what the type does not.
    ///
    /// # Errors
    /// When a bound is out of its range.
    pub fn check(&self) -> Result<(), SettingsError> {
        check_interval(self.interval)
    }
}

/// Checks the time between two exports.
pub(super) fn check_interval(interval: Duration) -> Result<(), SettingsError> {
    if interval < Duration::from_millis(100) {
        return Err(SettingsError(format!(
            "the export interval is {interval:?}: give at least 100ms"
        )));
    }
    Ok(())
}

/// A setting that cannot be used: one line that says which and what to give instead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SettingsError(pub String);
