//! The keys of what is recorded: the flight recorder, captures, and the socket that they are asked for by.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use serde::{Deserialize, Deserializer, de::Error as _};

use super::{
    EvidenceConfig, captures, parse_bundle_size, parse_duration, parse_size, watch, within,
};
use crate::{
    capture::{
        flight::FlightLimits,
        trigger::{Rule, rule},
    },
    control,
    governor::{CpuShare, PPM},
};

/// `[recorder]`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RecorderConfig {
    /// How much of the past `kctx run` keeps: `30s`, up to `10m`; `0s`: nothing.
    #[serde(deserialize_with = "length")]
    pub length: Duration,
    /// The most memory for it, 1MiB to 1GiB; over it the oldest goes.
    #[serde(deserialize_with = "memory")]
    pub memory: usize,
}

impl Default for RecorderConfig {
    fn default() -> Self {
        Self {
            length: Duration::from_secs(30),
            memory: 32 << 20,
        }
    }
}

impl RecorderConfig {
    /// As the recorder takes them.
    #[must_use]
    pub fn limits(&self) -> FlightLimits {
        FlightLimits {
            length: self.length,
            bytes: self.memory,
        }
    }
}

/// `[control]`
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ControlConfig {
    /// The socket's path; empty: none. Without it, [`control::DEFAULT_SOCKET`].
    pub socket: Option<String>,
}

/// Which socket, and whether somebody asked for that one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SocketChoice {
    /// Its path; `None`: no socket.
    pub path: Option<PathBuf>,
    /// It was named: that it cannot be had is an error.
    pub named: bool,
}

impl ControlConfig {
    /// The command line's word, else the environment's, else this, else the default.
    #[must_use]
    pub fn choose(&self, argument: Option<&str>, variable: Option<&str>) -> SocketChoice {
        let named = argument.or(variable).or(self.socket.as_deref());
        let path = named.unwrap_or(control::DEFAULT_SOCKET);
        SocketChoice {
            path: (!path.is_empty()).then(|| PathBuf::from(path)),
            named: named.is_some(),
        }
    }
}

/// `[capture]`
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CaptureConfig {
    /// The most that a bundle's file may take; records over it are left out and counted.
    #[serde(deserialize_with = "bundle_size")]
    pub max_size: u64,
    /// The longest window that may be asked for.
    #[serde(deserialize_with = "captures::max_window")]
    pub max_window: Duration,
    /// The most memory that kctx may take; a window in which it takes more ends there.
    #[serde(deserialize_with = "captures::max_memory")]
    pub max_memory: u64,
    /// The most of one CPU that kctx may use; over it the busiest family goes into the kernel's histograms.
    #[serde(deserialize_with = "watch::cpu_share")]
    pub max_cpu: CpuShare,
    /// Addresses and secrets are taken out.
    pub redact: bool,
    /// What is taken beside the records.
    pub evidence: EvidenceConfig,
    /// Where triggers leave their bundles.
    #[serde(deserialize_with = "directory")]
    pub directory: PathBuf,
    /// At most so many of theirs are kept there, 1 to 10000; the oldest go first.
    #[serde(deserialize_with = "bundles")]
    pub max_bundles: u32,
    /// Together they take no more than this.
    #[serde(deserialize_with = "bundle_size")]
    pub max_total: u64,
    /// Between two captures of triggers lies at least this, whichever fires.
    #[serde(deserialize_with = "pause")]
    pub pause: Duration,
}

impl Default for CaptureConfig {
    fn default() -> Self {
        Self {
            max_size: 256 << 20,
            max_window: Duration::from_secs(3600),
            max_memory: 512 << 20,
            max_cpu: CpuShare::from_ppm(PPM),
            redact: true,
            evidence: EvidenceConfig::default(),
            directory: PathBuf::from("/var/lib/kctx"),
            max_bundles: 20,
            max_total: 1 << 30,
            pause: Duration::from_secs(300),
        }
    }
}

impl CaptureConfig {
    /// The most that a trigger's bundle may take: room is made for that much before it is known how much it will be, and the
    /// bundles from before are not to be lost to it.
    #[must_use]
    pub fn trigger_size(&self) -> u64 {
        let share = (self.max_total / 4).max(super::SMALLEST_BUNDLE);
        self.max_size.min(share)
    }
}

pub(super) fn rules<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<Rule>, D::Error> {
    let rules = Vec::<Rule>::deserialize(d)?;
    rule::check_all(&rules).map_err(D::Error::custom)?;
    Ok(rules)
}

/// How long lies between two captures of triggers.
pub fn parse_pause(text: &str) -> Result<Duration, String> {
    bounded(
        text,
        Duration::from_secs(10),
        Duration::from_secs(86_400),
        "a pause is from 10s to 1day",
    )
}

fn bounded(text: &str, low: Duration, high: Duration, range: &str) -> Result<Duration, String> {
    let duration = parse_duration(text)?;
    if (low..=high).contains(&duration) {
        Ok(duration)
    } else {
        Err(format!("{text:?} is out of range: {range}"))
    }
}

fn length<'de, D: Deserializer<'de>>(d: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(d)?;
    let longest = Duration::from_secs(600);
    bounded(
        &text,
        Duration::ZERO,
        longest,
        "the recorder keeps up to 10m, or 0s for nothing",
    )
    .map_err(D::Error::custom)
}

fn memory<'de, D: Deserializer<'de>>(d: D) -> Result<usize, D::Error> {
    let text = String::deserialize(d)?;
    let bytes = parse_size(&text).map_err(D::Error::custom)?;
    match usize::try_from(bytes) {
        Ok(bytes) if (1 << 20..=1 << 30).contains(&bytes) => Ok(bytes),
        _ => Err(D::Error::custom(format!(
            "{text:?} is out of range: the recorder takes 1MiB to 1GiB"
        ))),
    }
}

fn bundle_size<'de, D: Deserializer<'de>>(d: D) -> Result<u64, D::Error> {
    let text = String::deserialize(d)?;
    parse_bundle_size(&text).map_err(D::Error::custom)
}

fn bundles<'de, D: Deserializer<'de>>(d: D) -> Result<u32, D::Error> {
    within(u32::deserialize(d)?, 1, 10_000)
}

fn pause<'de, D: Deserializer<'de>>(d: D) -> Result<Duration, D::Error> {
    parse_pause(&String::deserialize(d)?).map_err(D::Error::custom)
}

fn directory<'de, D: Deserializer<'de>>(d: D) -> Result<PathBuf, D::Error> {
    let text = String::deserialize(d)?;
    if Path::new(&text).is_absolute() {
        Ok(text.into())
    } else {
        Err(D::Error::custom(format!(
            "{text:?} is no absolute path of a directory; write /var/lib/kctx"
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::super::Config;
    use super::*;

    #[test]
    fn the_keys_are_read() {
        let config = Config::parse(
            "[recorder]\nlength = \"10s\"\nmemory = \"8MiB\"\n[control]\nsocket = \"/run/k.sock\"\n\
             [capture]\ndirectory = \"/srv\"\nmax_bundles = 3\nmax_total = \"2MiB\"\npause = \"1m\"\n",
        )
        .unwrap();
        let limits = config.recorder.limits();
        assert_eq!(
            (limits.length, limits.bytes),
            (Duration::from_secs(10), 8 << 20)
        );
        assert_eq!(config.control.socket.as_deref(), Some("/run/k.sock"));
        let capture = config.capture;
        assert_eq!(capture.directory, Path::new("/srv"));
        assert_eq!((capture.max_bundles, capture.max_total), (3, 2 << 20));
        assert_eq!(capture.pause, Duration::from_secs(60));
    }

    #[test]
    fn a_trigger_has_at_most_a_quarter_of_what_all_have() {
        let sizes = |text: &str| Config::parse(text).unwrap().capture.trigger_size();
        assert_eq!(sizes(""), 256 << 20);
        assert_eq!(sizes("[capture]\nmax_size = \"100MiB\"\n"), 100 << 20);
        assert_eq!(sizes("[capture]\nmax_total = \"64MiB\"\n"), 16 << 20);
        assert_eq!(sizes("[capture]\nmax_total = \"100KiB\"\n"), 64 << 10);
    }

    #[test]
    fn who_names_a_socket_first_is_heard() {
        let config = ControlConfig {
            socket: Some("/c".to_owned()),
        };
        let choice = |argument, variable| config.choose(argument, variable);
        assert_eq!(choice(Some("/a"), Some("/v")).path, Some("/a".into()));
        assert_eq!(choice(None, Some("/v")).path, Some("/v".into()));
        assert_eq!(choice(None, None).path, Some("/c".into()));
        assert_eq!(choice(Some(""), None).path, None, "none");
        let default = ControlConfig::default().choose(None, None);
        assert_eq!(default.path, Some(control::DEFAULT_SOCKET.into()));
        assert!(!default.named && choice(None, None).named);
    }

    #[test]
    fn mistakes_are_one_line_that_says_where_and_what() {
        for (text, wanted) in [
            (
                "[recorder]\nlength = \"11m\"",
                "the recorder keeps up to 10m",
            ),
            ("[recorder]\nmemory = \"1KiB\"", "1MiB to 1GiB"),
            ("[recorder]\nsize = 3", "unknown field `size`"),
            ("[control]\npath = 3", "unknown field `path`"),
            ("[capture]\ndirectory = \"here\"", "no absolute path"),
            ("[capture]\nmax_bundles = 0", "0 is out of range"),
            ("[capture]\npause = \"1s\"", "a pause is from 10s to 1day"),
        ] {
            let message = Config::parse(text).unwrap_err();
            assert!(message.starts_with("line 2: "), "{text:?}: {message}");
            assert!(message.contains(wanted), "{text:?}: {message}");
        }
    }
}
