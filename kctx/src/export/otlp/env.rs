//! Command line, configuration file and `OTEL_*` variables -> settings: a pure function.
//!
//! Order: command line, file, `OTEL_EXPORTER_OTLP_METRICS_*`, `OTEL_EXPORTER_OTLP_*`, default. An empty
//! variable is an unset one. A variable that cannot be understood is named in a warning and ignored, as
//! the specification demands; the same in the file or on the command line is an error.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use hyper::http::{HeaderName, HeaderValue};
use percent_encoding::percent_decode_str;

use super::endpoint::Endpoint;
use super::settings::{
    ClientIdentity, Compression, OtlpConfig, OtlpSettings, Protocol, SettingsError,
};
use crate::export::resource::Resource;

/// What came of all sources together.
#[derive(Clone, Debug)]
pub struct Resolved {
    /// How to export; `None` when no endpoint is set or the environment turns the export off.
    pub settings: Option<OtlpSettings>,
    /// Resource attributes that win over those found on the host, in the order to be set.
    pub resource: Vec<(String, String)>,
    /// What was ignored and why, one line each.
    pub warnings: Vec<String>,
}

impl Resolved {
    /// Sets the attributes of the user on those found on the host.
    pub fn apply_to(&self, resource: &mut Resource) {
        for (key, value) in &self.resource {
            resource.set(key, value);
        }
    }
}

/// Resolves the export's settings from the command line, the file and the environment.
///
/// # Errors
/// When an endpoint or something from the command line or the file cannot be used.
pub fn resolve(
    cli: &OtlpConfig,
    file: &OtlpConfig,
    lookup: &dyn Fn(&str) -> Option<String>,
) -> Result<Resolved, SettingsError> {
    let config = cli.over(file);
    let mut env = Env {
        lookup,
        warnings: Vec::new(),
    };
    let resource = resource_attributes(&config, &mut env);
    let settings = if env.turned_off(&config) {
        None
    } else {
        settings(&config, &mut env)?
    };
    Ok(Resolved {
        settings,
        resource,
        warnings: env.warnings,
    })
}

fn settings(config: &OtlpConfig, env: &mut Env<'_>) -> Result<Option<OtlpSettings>, SettingsError> {
    let Some(endpoint) = Endpoint::find(config, env) else {
        return Ok(None);
    };
    let protocol = match config.protocol {
        Some(protocol) => protocol,
        None => match env.otlp("PROTOCOL") {
            // Not to be ignored like other values: the endpoint would be spoken to in the wrong protocol.
            Some((name, text)) => text
                .parse()
                .map_err(|error| SettingsError(format!("{name}: {error}")))?,
            None => Protocol::HttpProtobuf,
        },
    };
    let insecure = match config.insecure {
        Some(insecure) => insecure,
        None => env.otlp("INSECURE").is_some_and(|(_, text)| is_true(&text)),
    };
    let uri = endpoint.uri(protocol, insecure, &mut env.warnings)?;
    let mut settings = OtlpSettings::new(uri, protocol);
    settings.headers = headers(config, env)?;
    if let Some(compression) = config
        .compression
        .or_else(|| env.parsed::<Compression>("COMPRESSION"))
    {
        settings.compression = compression;
    }
    if let Some(kind) = env.shape(
        "histogram",
        config.histogram,
        "DEFAULT_HISTOGRAM_AGGREGATION",
    ) {
        settings.histogram = kind;
    }
    if let Some(temporality) =
        env.shape("temporality", config.temporality, "TEMPORALITY_PREFERENCE")
    {
        settings.temporality = temporality;
    }
    settings.timeout = timeout(config, env, settings.timeout);
    let interval = config.interval.map(|span| span.0);
    if let Some(interval) =
        interval.or_else(|| env.milliseconds("OTEL_METRIC_EXPORT_INTERVAL", 100))
    {
        settings.interval = interval;
    }
    let path = |set: &Option<PathBuf>, env: &Env<'_>, suffix| {
        set.clone()
            .or_else(|| env.otlp(suffix).map(|(_, text)| PathBuf::from(text)))
    };
    settings.certificate = path(&config.certificate, env, "CERTIFICATE");
    let key = path(&config.client_key, env, "CLIENT_KEY");
    let chain = path(&config.client_certificate, env, "CLIENT_CERTIFICATE");
    settings.client_identity = match (key, chain) {
        (Some(key), Some(certificate)) => Some(ClientIdentity { key, certificate }),
        (None, None) => None,
        _ => {
            return Err(SettingsError(
                "a client key and a client certificate must be given together".to_owned(),
            ));
        }
    };
    if let Some(size) = config.max_request_size {
        settings.max_request_bytes = size.0;
    }
    if let Some(size) = config.max_response_size {
        settings.max_response_bytes = size.0;
    }
    settings.check()?;
    Ok(Some(settings))
}

/// The shorter of the exporter's timeout and the reader's, where 0 is no limit.
fn timeout(config: &OtlpConfig, env: &mut Env<'_>, default: Option<Duration>) -> Option<Duration> {
    let limit = |timeout: Duration| (!timeout.is_zero()).then_some(timeout);
    if let Some(span) = config.timeout {
        return limit(span.0);
    }
    let exporter = match env.otlp("TIMEOUT") {
        Some((name, text)) => env
            .parse_milliseconds(&name, &text, 0)
            .map_or(default, limit),
        None => default,
    };
    let reader = env
        .milliseconds("OTEL_METRIC_EXPORT_TIMEOUT", 0)
        .and_then(limit);
    match (exporter, reader) {
        (Some(exporter), Some(reader)) => Some(exporter.min(reader)),
        (exporter, reader) => exporter.or(reader),
    }
}

fn resource_attributes(config: &OtlpConfig, env: &mut Env<'_>) -> Vec<(String, String)> {
    let mut attributes = Vec::new();
    if let Some(text) = env.get("OTEL_RESOURCE_ATTRIBUTES") {
        match pairs(&text) {
            Ok(pairs) => attributes.extend(pairs),
            // Resource SDK: on any error the whole value is discarded.
            Err(why) => env
                .warnings
                .push(format!("OTEL_RESOURCE_ATTRIBUTES is ignored: {why}")),
        }
    }
    let mut set = |value: Option<String>| {
        attributes.extend(value.map(|value| ("service.name".to_owned(), value)));
    };
    set(env.get("OTEL_SERVICE_NAME"));
    if let Some(resource) = &config.resource {
        attributes.extend(resource.iter().map(|(k, v)| (k.clone(), v.clone())));
    }
    attributes.extend(
        config
            .service_name
            .iter()
            .map(|name| ("service.name".to_owned(), name.clone())),
    );
    attributes
}

/// `key=value,key2=value2` with percent-encoded values, as W3C baggage has it.
fn pairs(text: &str) -> Result<Vec<(String, String)>, String> {
    text.split(',')
        .map(str::trim)
        .enumerate()
        .filter(|(_, pair)| !pair.is_empty())
        .map(|(at, pair)| {
            // Values may be secrets: an error names the place, not the text.
            let at = at + 1;
            let (key, value) = pair
                .split_once('=')
                .ok_or_else(|| format!("entry {at} has no '='"))?;
            let decode = |text: &str| {
                percent_decode_str(text.trim())
                    .decode_utf8()
                    .map(String::from)
                    .map_err(|_| format!("entry {at} is not UTF-8 when decoded"))
            };
            let key = decode(key)?;
            if key.is_empty() {
                return Err(format!("entry {at} has no key"));
            }
            Ok((key, decode(value)?))
        })
        .collect()
}

fn headers(
    config: &OtlpConfig,
    env: &mut Env<'_>,
) -> Result<Vec<(HeaderName, HeaderValue)>, SettingsError> {
    if let Some(headers) = &config.headers {
        return headers
            .iter()
            .map(|(name, value)| {
                header(name, value).map_err(|why| SettingsError(format!("otlp.headers: {why}")))
            })
            .collect();
    }
    let Some((variable, text)) = env.otlp("HEADERS") else {
        return Ok(Vec::new());
    };
    let parsed = pairs(&text).and_then(|pairs| {
        pairs
            .iter()
            .map(|(name, value)| header(name, value))
            .collect::<Result<Vec<_>, _>>()
    });
    Ok(parsed.unwrap_or_else(|why| {
        env.warnings.push(format!("{variable} is ignored: {why}"));
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

fn is_true(text: &str) -> bool {
    text.eq_ignore_ascii_case("true")
}

/// The environment, and what was wrong with it.
pub(super) struct Env<'a> {
    lookup: &'a dyn Fn(&str) -> Option<String>,
    warnings: Vec<String>,
}

impl Env<'_> {
    fn get(&self, name: &str) -> Option<String> {
        (self.lookup)(name).filter(|value| !value.trim().is_empty())
    }

    /// The metrics' own variable, else that of all signals; with its name.
    pub(super) fn otlp(&self, suffix: &str) -> Option<(String, String)> {
        ["OTEL_EXPORTER_OTLP_METRICS_", "OTEL_EXPORTER_OTLP_"]
            .iter()
            .map(|prefix| format!("{prefix}{suffix}"))
            .find_map(|name| self.get(&name).map(|value| (name, value.trim().to_owned())))
    }

    fn parsed<T: FromStr<Err = String>>(&mut self, suffix: &str) -> Option<T> {
        let (name, _) = self.otlp(suffix)?;
        self.parsed_name(&name)
    }

    fn parsed_name<T: FromStr<Err = String>>(&mut self, name: &str) -> Option<T> {
        let text = self.get(name)?;
        text.trim()
            .parse()
            .map_err(|why: String| self.warnings.push(format!("{name} is ignored: {why}")))
            .ok()
    }

    /// What the configuration says about the points, else the metrics' own variable. Where both say something, and not
    /// the same, that is told: a backend may take one and drop the other without a word.
    fn shape<T>(&mut self, key: &str, configured: Option<T>, suffix: &str) -> Option<T>
    where
        T: FromStr<Err = String> + PartialEq + fmt::Display,
    {
        let name = format!("OTEL_EXPORTER_OTLP_METRICS_{suffix}");
        let found = self.parsed_name::<T>(&name);
        if let (Some(configured), Some(found)) = (&configured, &found)
            && configured != found
        {
            self.warnings.push(format!(
                "{name} says {found}, but otlp.{key} is {configured}, which wins"
            ));
        }
        configured.or(found)
    }

    fn milliseconds(&mut self, name: &str, least: u64) -> Option<Duration> {
        let text = self.get(name)?;
        self.parse_milliseconds(name, &text, least)
    }

    fn parse_milliseconds(&mut self, name: &str, text: &str, least: u64) -> Option<Duration> {
        match text.trim().parse::<u64>() {
            Ok(ms) if ms >= least => Some(Duration::from_millis(ms)),
            _ => {
                self.warnings.push(format!(
                    "{name} is ignored: {text:?} is no number of milliseconds from {least} up"
                ));
                None
            }
        }
    }

    /// Whether the environment turns the export off.
    fn turned_off(&mut self, config: &OtlpConfig) -> bool {
        if self
            .get("OTEL_SDK_DISABLED")
            .is_some_and(|text| is_true(text.trim()))
        {
            if config.endpoint.is_some() || config.metrics_endpoint.is_some() {
                self.warnings
                    .push("OTEL_SDK_DISABLED is true: nothing is exported".to_owned());
            }
            return true;
        }
        // Said by command line or file, an endpoint wins over the environment's choice of exporters.
        if config.endpoint.is_some() || config.metrics_endpoint.is_some() {
            return false;
        }
        let Some(text) = self.get("OTEL_METRICS_EXPORTER") else {
            return false;
        };
        let names: Vec<_> = text
            .split(',')
            .map(|name| name.trim().to_ascii_lowercase())
            .collect();
        for name in &names {
            if !["otlp", "prometheus", "console", "none", ""].contains(&name.as_str()) {
                self.warnings
                    .push(format!("OTEL_METRICS_EXPORTER: {name:?} is not known"));
            }
        }
        let wanted = names.iter().any(|name| name == "otlp");
        if wanted && self.otlp("ENDPOINT").is_none() {
            self.warnings.push(
                "OTEL_METRICS_EXPORTER asks for otlp, but OTEL_EXPORTER_OTLP_ENDPOINT is not set: \
                 nothing is exported"
                    .to_owned(),
            );
        }
        !wanted
    }
}

#[cfg(test)]
#[path = "env_tests.rs"]
mod tests;
