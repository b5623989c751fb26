//! What can be set about the export of logs, and what was.
//!
//! `[otlp.logs]` says what is the logs' own; what it does not say is that of `[otlp]`, which is over the environment's.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use crate::export::event::{Bounds, Level};
use crate::export::otlp::env::Env;
use crate::export::otlp::settings::{
    Bytes, Compression, OtlpConfig, Protocol, SettingsError, Span, check_interval,
};
use crate::export::otlp::signal::Signal;
use crate::export::otlp::transport::{Transport, TransportConfig};

/// Most records that may wait; each is 1 to 2 kB.
const LARGEST_QUEUE: usize = 100_000;

/// Most records of one window.
const LARGEST_WINDOW: usize = 10_000;

/// `[otlp.logs]`; what is `None` is that of `[otlp]`, comes from the environment, or is the default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogsConfig {
    /// Whether logs are exported where there is an endpoint.
    pub enabled: Option<bool>,
    /// Lines of the kernel's log at this level or worse: `warning`; `none`.
    pub level: Option<Level>,
    /// Most records of one window.
    pub records: Option<usize>,
    /// Most records that wait for the endpoint.
    pub queue: Option<usize>,
    /// Most records in a request.
    pub batch: Option<usize>,
    /// Between two exports.
    pub interval: Option<Span>,
    /// The whole URL, used as it is.
    pub endpoint: Option<String>,
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
    /// Sent with each request. Replaces all others.
    pub headers: Option<BTreeMap<String, String>>,
    /// `gzip` or `none`.
    pub compression: Option<Compression>,
    /// For one export, retries included; `0s` for no limit.
    pub timeout: Option<Span>,
    /// Largest request before compression.
    pub max_request_size: Option<Bytes>,
    /// Largest response read.
    pub max_response_size: Option<Bytes>,
}

impl LogsConfig {
    /// That of `higher`, and of `lower` where neither this in `higher` nor what holds for all signals there says anything.
    pub(in crate::export::otlp) fn merged(higher: &OtlpConfig, lower: &OtlpConfig) -> Self {
        let (own, other) = (&higher.logs, &lower.logs);
        macro_rules! first {
            (own: $($alone:ident),+; shared: $($field:ident),+ $(,)?) => {
                Self {
                    $($alone: own.$alone.clone().or_else(|| other.$alone.clone()),)+
                    $($field: own.$field.clone().or_else(|| {
                        let is_said = higher.$field.is_some();
                        if is_said { None } else { other.$field.clone() }
                    }),)+
                }
            };
        }
        first!(
            own: enabled, level, records, queue, batch, interval;
            shared: endpoint, protocol, insecure, certificate, client_key, client_certificate, headers, compression,
            timeout, max_request_size, max_response_size,
        )
    }
}

/// What the configuration says of how logs travel.
fn transport(config: &OtlpConfig) -> TransportConfig {
    let logs = &config.logs;
    let all = config.metrics_transport();
    let headers = logs.headers.clone();
    let endpoint = logs.endpoint.clone();
    TransportConfig {
        base: all.base,
        whole: endpoint.map(|url| ("otlp.logs.endpoint", url)),
        protocol: logs.protocol.or(all.protocol),
        insecure: logs.insecure.or(all.insecure),
        certificate: logs.certificate.clone().or(all.certificate),
        client_key: logs.client_key.clone().or(all.client_key),
        client_certificate: logs.client_certificate.clone().or(all.client_certificate),
        headers: headers
            .map(|headers| ("otlp.logs.headers", headers))
            .or(all.headers),
        compression: logs.compression.or(all.compression),
        timeout: logs.timeout.or(all.timeout),
        max_request_size: logs.max_request_size.or(all.max_request_size),
        max_response_size: logs.max_response_size.or(all.max_response_size),
    }
}

/// The export of logs as it will be.
#[derive(Clone, Debug)]
pub struct LogSettings {
    /// How its requests travel.
    pub transport: Transport,
    /// What becomes a record.
    pub bounds: Bounds,
    /// Most records that wait for the endpoint; for more the oldest go.
    pub queue: usize,
    /// Most records in a request.
    pub batch: usize,
    /// Between two exports.
    pub interval: Duration,
}

impl LogSettings {
    /// All defaults but the way there. Queue, batch and interval are the specification's (configuration,
    /// "Batch LogRecord Processor").
    #[must_use]
    pub fn new(transport: Transport) -> Self {
        Self {
            transport,
            bounds: Bounds::default(),
            queue: 2048,
            batch: 512,
            interval: Duration::from_secs(1),
        }
    }

    /// Of the configuration, and of the environment where that says nothing. `None` where no logs are to be exported.
    pub(in crate::export::otlp) fn resolve(
        config: &OtlpConfig,
        env: &mut Env<'_>,
    ) -> Result<Option<Self>, SettingsError> {
        let logs = &config.logs;
        let chosen = match logs.enabled {
            Some(_) => None,
            None if logs.endpoint.is_some() => None,
            // That there is an endpoint is not yet a word about logs.
            None => env.chooses_otlp(Signal::Logs),
        };
        if logs.enabled == Some(false) || chosen == Some(false) {
            return Ok(None);
        }
        let Some(transport) = Transport::resolve(&transport(config), Signal::Logs, env)? else {
            if logs.enabled == Some(true) {
                env.warn(
                    "otlp.logs.enabled is true, but no endpoint is set: no logs are exported"
                        .to_owned(),
                );
            } else if chosen == Some(true) {
                env.warn_of_no_endpoint(Signal::Logs);
            }
            return Ok(None);
        };
        let mut settings = Self::new(transport);
        if let Some(level) = logs.level {
            settings.bounds.level = level;
        }
        if let Some(records) = logs.records {
            settings.bounds.records = records;
        }
        let interval = logs.interval.map(|span| span.0);
        if let Some(interval) =
            interval.or_else(|| env.milliseconds("OTEL_BLRP_SCHEDULE_DELAY", 100))
        {
            settings.interval = interval;
        }
        if let Some(queue) = (logs.queue).or_else(|| env.number("OTEL_BLRP_MAX_QUEUE_SIZE")) {
            settings.queue = queue;
        }
        let batch = (logs.batch).or_else(|| env.number("OTEL_BLRP_MAX_EXPORT_BATCH_SIZE"));
        // Specification: a batch is no larger than the queue.
        settings.batch = batch.unwrap_or(settings.batch).min(settings.queue);
        settings.check()?;
        Ok(Some(settings))
    }

    /// Checks what the type does not.
    ///
    /// # Errors
    /// When a bound is out of its range.
    pub fn check(&self) -> Result<(), SettingsError> {
        check_interval(self.interval)?;
        for (what, value, most) in [
            ("otlp.logs.records", self.bounds.records, LARGEST_WINDOW),
            ("otlp.logs.queue", self.queue, LARGEST_QUEUE),
            ("otlp.logs.batch", self.batch, LARGEST_QUEUE),
        ] {
            if !(1..=most).contains(&value) {
                return Err(SettingsError(format!(
                    "{what} is {value}: give 1 to {most}"
                )));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "settings_tests.rs"]
mod tests;
