//! Command line, configuration file and `OTEL_*` variables -> settings: a pure function.
//!
//! Order: command line, file, `OTEL_EXPORTER_OTLP_METRICS_*` or `_LOGS_*`, `OTEL_EXPORTER_OTLP_*`, default. An empty
//! variable is an unset one. A variable that cannot be understood is named in a warning and ignored, as
//! the specification demands; the same in the file or on the command line is an error.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use percent_encoding::percent_decode_str;

use super::logs::LogSettings;
use super::settings::{OtlpConfig, OtlpSettings, SettingsError};
use super::signal::Signal;
use super::transport::Transport;
use crate::export::resource::Resource;

/// What came of all sources together.
#[derive(Clone, Debug)]
pub struct Resolved {
    /// How to export metrics; `None` when no endpoint is set or the environment turns the export off.
    pub settings: Option<OtlpSettings>,
    /// How to export logs; `None` where they are not.
    pub logs: Option<LogSettings>,
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
    let (settings, logs) = if env.turned_off(&config) {
        (None, None)
    } else {
        (
            metrics(&config, &mut env)?,
            LogSettings::resolve(&config, &mut env)?,
        )
    };
    Ok(Resolved {
        settings,
        logs,
        resource,
        warnings: env.warnings,
    })
}

fn metrics(config: &OtlpConfig, env: &mut Env<'_>) -> Result<Option<OtlpSettings>, SettingsError> {
    // Said by command line or file, an endpoint wins over the environment's choice of exporters.
    let is_said = config.endpoint.is_some() || config.metrics_endpoint.is_some();
    let chosen = match is_said {
        true => None,
        false => env.chooses_otlp(Signal::Metrics),
    };
    if chosen == Some(false) {
        return Ok(None);
    }
    let way = config.metrics_transport();
    let Some(transport) = Transport::resolve(&way, Signal::Metrics, env)? else {
        if chosen == Some(true) {
            env.warn_of_no_endpoint(Signal::Metrics);
        }
        return Ok(None);
    };
    let mut settings = OtlpSettings::new(transport);
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
    let interval = config.interval.map(|span| span.0);
    if let Some(interval) =
        interval.or_else(|| env.milliseconds("OTEL_METRIC_EXPORT_INTERVAL", 100))
    {
        settings.interval = interval;
    }
    settings.check()?;
    Ok(Some(settings))
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
pub(super) fn pairs(text: &str) -> Result<Vec<(String, String)>, String> {
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

pub(super) fn is_true(text: &str) -> bool {
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

    /// The signal's own variable, else that of all signals; with its name.
    pub(super) fn otlp(&self, signal: Signal, suffix: &str) -> Option<(String, String)> {
        let own = format!("OTEL_EXPORTER_OTLP_{}_{suffix}", signal.variable());
        let all = format!("OTEL_EXPORTER_OTLP_{suffix}");
        let mut names = [own, all].into_iter();
        names.find_map(|name| self.get(&name).map(|value| (name, value.trim().to_owned())))
    }

    /// Remarks upon something, once: signals share variables.
    pub(super) fn warn(&mut self, text: String) {
        if !self.warnings.contains(&text) {
            self.warnings.push(text);
        }
    }

    pub(super) fn parsed<T: FromStr<Err = String>>(
        &mut self,
        signal: Signal,
        suffix: &str,
    ) -> Option<T> {
        let (name, _) = self.otlp(signal, suffix)?;
        self.parsed_name(&name)
    }

    fn parsed_name<T: FromStr<Err = String>>(&mut self, name: &str) -> Option<T> {
        let text = self.get(name)?;
        text.trim()
            .parse()
            .map_err(|why: String| self.warn(format!("{name} is ignored: {why}")))
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
            self.warn(format!(
                "{name} says {found}, but otlp.{key} is {configured}, which wins"
            ));
        }
        configured.or(found)
    }

    pub(super) fn milliseconds(&mut self, name: &str, least: u64) -> Option<Duration> {
        let text = self.get(name)?;
        self.parse_milliseconds(name, &text, least)
    }

    pub(super) fn parse_milliseconds(
        &mut self,
        name: &str,
        text: &str,
        least: u64,
    ) -> Option<Duration> {
        match text.trim().parse::<u64>() {
            Ok(ms) if ms >= least => Some(Duration::from_millis(ms)),
            _ => {
                self.warn(format!(
                    "{name} is ignored: {text:?} is no number of milliseconds from {least} up"
                ));
                None
            }
        }
    }

    /// A number from 1 up.
    pub(super) fn number(&mut self, name: &str) -> Option<usize> {
        let text = self.get(name)?;
        match text.trim().parse() {
            Ok(number) if number > 0 => Some(number),
            _ => {
                self.warn(format!(
                    "{name} is ignored: {text:?} is no number from 1 up"
                ));
                None
            }
        }
    }

    /// Whether the environment turns all exports off.
    fn turned_off(&mut self, config: &OtlpConfig) -> bool {
        let disabled = self.get("OTEL_SDK_DISABLED");
        if !disabled.is_some_and(|text| is_true(text.trim())) {
            return false;
        }
        let endpoints = [
            &config.endpoint,
            &config.metrics_endpoint,
            &config.logs.endpoint,
        ];
        if endpoints.into_iter().any(Option::is_some) {
            self.warn("OTEL_SDK_DISABLED is true: nothing is exported".to_owned());
        }
        true
    }

    /// Whether the environment's choice of exporters for a signal has OTLP in it; `None`: it makes no choice.
    pub(super) fn chooses_otlp(&mut self, signal: Signal) -> Option<bool> {
        let variable = format!("OTEL_{}_EXPORTER", signal.variable());
        let text = self.get(&variable)?;
        let known: &[&str] = match signal {
            Signal::Metrics => &["otlp", "prometheus", "console", "none", ""],
            Signal::Logs => &["otlp", "console", "none", ""],
        };
        let names: Vec<_> = text
            .split(',')
            .map(|name| name.trim().to_ascii_lowercase())
            .collect();
        for name in &names {
            if !known.contains(&name.as_str()) {
                self.warn(format!("{variable}: {name:?} is not known"));
            }
        }
        Some(names.iter().any(|name| name == "otlp"))
    }

    /// The environment chooses OTLP, and nobody says where to.
    pub(super) fn warn_of_no_endpoint(&mut self, signal: Signal) {
        self.warn(format!(
            "OTEL_{}_EXPORTER asks for otlp, but OTEL_EXPORTER_OTLP_ENDPOINT is not set: no {} are exported",
            signal.variable(),
            signal.as_str()
        ));
    }
}

#[cfg(test)]
#[path = "env_tests.rs"]
mod tests;
