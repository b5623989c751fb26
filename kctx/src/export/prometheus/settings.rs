//! Where to answer scrapes, if at all.
//!
//! Order: command line, file, `OTEL_METRICS_EXPORTER` with `OTEL_EXPORTER_PROMETHEUS_*`, and what is done unasked: `kctx run`
//! listens on loopback, a replay nowhere.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::str::FromStr;
use std::time::Duration;

use serde::Deserialize;

use super::health;
use crate::export::otlp::settings::SettingsError;

/// Where `kctx run` answers scrapes unless something else is asked for.
pub const DEFAULT_LISTEN: &str = "127.0.0.1:9769";

/// The specification's port (configuration/sdk-environment-variables.md).
const OTEL_PORT: u16 = 9464;

/// Where to listen, as users say it: `127.0.0.1:9769`, `[::1]:9769`, `localhost:9769`, `none`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum Listen {
    /// On this address.
    At(SocketAddr),
    /// Nowhere.
    None,
}

impl Listen {
    /// On [`DEFAULT_LISTEN`].
    pub const UNASKED: Self = Self::At(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9769));

    fn address(self) -> Option<SocketAddr> {
        match self {
            Self::At(address) => Some(address),
            Self::None => None,
        }
    }
}

impl FromStr for Listen {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if text.eq_ignore_ascii_case("none") {
            return Ok(Self::None);
        }
        let local = text
            .strip_prefix("localhost:")
            .map(|port| format!("127.0.0.1:{port}"));
        local
            .as_deref()
            .unwrap_or(text)
            .parse()
            .map(Self::At)
            .map_err(|_| format!("{text:?} is no address to listen on; write 127.0.0.1:9769, [::1]:9769, 0.0.0.0:9769 or none"))
    }
}

impl TryFrom<String> for Listen {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

/// `[prometheus]`
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PrometheusConfig {
    /// Where to answer scrapes.
    pub listen: Option<Listen>,
}

/// The scrape as it will be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PrometheusSettings {
    /// Where to listen.
    pub listen: SocketAddr,
    /// How often a window is closed; `None` where no more may come, in a replay.
    pub window: Option<Duration>,
    /// Bounds on what clients may take.
    pub bounds: Bounds,
}

/// Bounds on what clients may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Connections at a time; the next is refused.
    pub connections: usize,
    /// Connections per second; the next waits.
    pub per_second: u32,
    /// Of a request's head, in bytes.
    pub head: usize,
    /// Until a request's head is there.
    pub head_time: Duration,
    /// From the connection to the end of the answer.
    pub time: Duration,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            connections: 16,
            per_second: 20,
            head: 16 << 10,
            head_time: Duration::from_secs(5),
            time: Duration::from_secs(30),
        }
    }
}

impl PrometheusSettings {
    /// With the usual bounds.
    #[must_use]
    pub fn new(listen: SocketAddr, window: Option<Duration>) -> Self {
        Self {
            listen,
            window,
            bounds: Bounds::default(),
        }
    }

    pub(super) fn patience(&self) -> Option<Duration> {
        self.window.map(health::patience)
    }

    /// What whoever runs kctx ought to know about the address.
    #[must_use]
    pub fn warning(&self) -> Option<String> {
        (!self.listen.ip().is_loopback()).then(|| {
            format!(
                "scrapes are answered on {}, which other hosts may reach: without encryption, to anybody who asks",
                self.listen
            )
        })
    }
}

/// What came of all sources together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    /// Where to listen; `None`: nowhere.
    pub listen: Option<SocketAddr>,
    /// Whether nobody asked for that: that it cannot be done is then no failure.
    pub unasked: bool,
    /// What was ignored and why, one line each.
    pub warnings: Vec<String>,
}

/// Resolves where to listen from the command line, the file, the environment, and what is done where none of them says.
///
/// # Errors
/// When the environment asks for a port that is none: to be scraped elsewhere than where Prometheus looks is worse.
pub fn resolve(
    cli: Option<Listen>,
    file: &PrometheusConfig,
    lookup: &dyn Fn(&str) -> Option<String>,
    unasked: Listen,
) -> Result<Resolved, SettingsError> {
    let get = |name: &str| {
        let value = lookup(name).map(|value| value.trim().to_owned());
        value.filter(|value| !value.is_empty())
    };
    let disabled = get("OTEL_SDK_DISABLED").is_some_and(|text| text.eq_ignore_ascii_case("true"));
    let mut warnings = Vec::new();
    let said = match (cli.or(file.listen), get("OTEL_METRICS_EXPORTER")) {
        (Some(listen), _) => Some(listen),
        (None, None) => None,
        (None, Some(exporters)) if has_prometheus(&exporters) => {
            let address = SocketAddr::new(host(&get, &mut warnings), port(&get)?);
            Some(Listen::At(address))
        }
        // The variable names all exports of metrics that there are to be.
        (None, Some(_)) => Some(Listen::None),
    };
    let listen = said.unwrap_or(unasked).address();
    let unasked = said.is_none();
    if disabled && listen.is_some() {
        if !unasked {
            warnings.push("OTEL_SDK_DISABLED is true: scrapes are not answered".to_owned());
        }
        return Ok(Resolved {
            listen: None,
            unasked,
            warnings,
        });
    }
    Ok(Resolved {
        listen,
        unasked,
        warnings,
    })
}

fn has_prometheus(exporters: &str) -> bool {
    let mut names = exporters.split(',').map(str::trim);
    names.any(|name| name.eq_ignore_ascii_case("prometheus"))
}

fn host(get: &dyn Fn(&str) -> Option<String>, warnings: &mut Vec<String>) -> IpAddr {
    const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let name = "OTEL_EXPORTER_PROMETHEUS_HOST";
    let Some(text) = get(name).filter(|text| !text.eq_ignore_ascii_case("localhost")) else {
        return LOCAL;
    };
    text.trim_matches(['[', ']']).parse().unwrap_or_else(|_| {
        warnings.push(format!(
            "{name} is ignored: {text:?} is no IP address; listening on {LOCAL}"
        ));
        LOCAL
    })
}

fn port(get: &dyn Fn(&str) -> Option<String>) -> Result<u16, SettingsError> {
    let name = "OTEL_EXPORTER_PROMETHEUS_PORT";
    get(name).map_or(Ok(OTEL_PORT), |text| {
        text.parse()
            .map_err(|_| SettingsError(format!("{name}: {text:?} is no port")))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(
        cli: Option<&str>,
        file: Option<&str>,
        env: &[(&str, &str)],
    ) -> Result<Resolved, SettingsError> {
        let parse = |text: &str| text.parse().unwrap();
        let file = PrometheusConfig {
            listen: file.map(parse),
        };
        let lookup = |name: &str| {
            let found = env.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        resolve(cli.map(parse), &file, &lookup, Listen::UNASKED)
    }

    fn listen(cli: Option<&str>, file: Option<&str>, env: &[(&str, &str)]) -> Option<String> {
        let resolved = of(cli, file, env).unwrap();
        assert_eq!(resolved.warnings, [""; 0]);
        resolved.listen.map(|address| address.to_string())
    }

    #[test]
    fn loopback_is_listened_on_unless_something_else_is_said() {
        let port = ("OTEL_EXPORTER_PROMETHEUS_PORT", "1");
        for env in [&[][..], &[port]] {
            let resolved = of(None, None, env).unwrap();
            assert_eq!(resolved.listen.unwrap().to_string(), DEFAULT_LISTEN);
            assert!(resolved.unasked);
        }
        let otlp = ("OTEL_METRICS_EXPORTER", "otlp,none");
        assert_eq!(listen(None, None, &[otlp]), None);
        assert_eq!(listen(None, Some("none"), &[]), None);
        assert_eq!(listen(Some("None"), Some("localhost:2"), &[]), None);
        assert!(!of(None, Some(DEFAULT_LISTEN), &[]).unwrap().unasked);
        let off = of(None, None, &[("OTEL_SDK_DISABLED", "true")]).unwrap();
        assert_eq!((off.listen, off.warnings.len()), (None, 0));
        let replayed = resolve(None, &PrometheusConfig::default(), &|_| None, Listen::None);
        assert_eq!(replayed.unwrap().listen, None);
    }

    #[test]
    fn the_higher_source_wins() {
        let env = [
            ("OTEL_METRICS_EXPORTER", "otlp, Prometheus"),
            ("OTEL_EXPORTER_PROMETHEUS_HOST", "::1"),
        ];
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(listen(None, None, &env[..1]), some("127.0.0.1:9464"));
        assert_eq!(listen(None, None, &env), some("[::1]:9464"));
        assert_eq!(listen(None, Some("localhost:2"), &env), some("127.0.0.1:2"));
        assert_eq!(
            listen(Some("[::]:1"), Some("localhost:2"), &env),
            some("[::]:1")
        );
    }

    #[test]
    fn what_the_environment_gets_wrong_is_said() {
        let on = ("OTEL_METRICS_EXPORTER", "prometheus");
        let resolved = of(None, None, &[on, ("OTEL_EXPORTER_PROMETHEUS_HOST", "all")]).unwrap();
        assert_eq!(resolved.listen.unwrap().to_string(), "127.0.0.1:9464");
        assert!(resolved.warnings[0].contains("\"all\" is no IP address"));
        let error = of(
            None,
            None,
            &[on, ("OTEL_EXPORTER_PROMETHEUS_PORT", "70000")],
        )
        .unwrap_err();
        assert_eq!(
            error.0,
            "OTEL_EXPORTER_PROMETHEUS_PORT: \"70000\" is no port"
        );
        let off = of(Some(DEFAULT_LISTEN), None, &[("OTEL_SDK_DISABLED", "True")]).unwrap();
        assert_eq!((off.listen, off.warnings.len()), (None, 1));
    }

    #[test]
    fn only_what_others_may_reach_is_warned_about() {
        let warned = |text: &str| {
            let listen: Listen = text.parse().unwrap();
            PrometheusSettings::new(listen.address().unwrap(), None)
                .warning()
                .is_some()
        };
        assert!(!warned(DEFAULT_LISTEN) && !warned("[::1]:1") && !warned("127.1.2.3:1"));
        assert!(warned("0.0.0.0:1") && warned("[::]:1") && warned("10.0.0.1:1"));
        for text in [
            "",
            "9769",
            "example.org:1",
            "127.0.0.1",
            "localhost:x",
            "1.2.3.4:99999",
        ] {
            assert!(
                text.parse::<Listen>()
                    .unwrap_err()
                    .contains("no address to listen on")
            );
        }
    }
}
