//! The configuration file: TOML, every key optional, no key unknown.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use serde::{Deserialize, Deserializer, de::Error as _};

use crate::{
    aggregate::table::RowLimits,
    capture::trigger::Rule,
    export::{ExportConfig, otlp::OtlpConfig, prometheus::PrometheusConfig},
};

mod captures;
mod file;
mod probes;
mod recording;
mod taken_over;
mod top;
mod watch;

pub use captures::EvidenceConfig;
pub use file::ConfigFile;
pub use probes::ProbesConfig;
pub use recording::{CaptureConfig, ControlConfig, RecorderConfig, SocketChoice, parse_pause};
pub use taken_over::TakenOver;
pub use top::TopConfig;
pub use watch::{
    GovernorConfig, LogConfig, MeterConfig, StacksConfig, parse_cpu_share, parse_outlier,
    parse_sample,
};

/// Read when there is one and no other is named.
pub const DEFAULT_PATH: &str = "/etc/kctx/kctx.toml";

/// Why a configuration could not be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// Could not be read.
    #[error("cannot read the configuration {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Is no valid configuration.
    #[error("{path}: {message}")]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What is wrong, and where.
        message: String,
    },
}

/// The configuration.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// `kctx run`.
    pub run: RunConfig,
    /// `kctx top`.
    pub top: TopConfig,
    /// What is measured.
    pub probes: ProbesConfig,
    /// What is taken in the kernel.
    pub kernel: KernelConfig,
    /// How many rows are kept.
    pub limits: LimitsConfig,
    /// `kctx capture`.
    pub capture: CaptureConfig,
    /// The flight recorder.
    pub recorder: RecorderConfig,
    /// The control socket.
    pub control: ControlConfig,
    /// What has `kctx run` capture by itself.
    #[serde(deserialize_with = "recording::rules")]
    pub trigger: Vec<Rule>,
    /// What kctx itself may cost.
    pub governor: GovernorConfig,
    /// How that is measured in the kernel.
    pub meter: MeterConfig,
    /// The kernel log.
    pub log: LogConfig,
    /// Stack samples.
    pub stacks: StacksConfig,
    /// What both exports hand out.
    pub export: ExportConfig,
    /// The OTLP export.
    pub otlp: OtlpConfig,
    /// The Prometheus scrape.
    pub prometheus: PrometheusConfig,
}

/// `[run]`
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RunConfig {
    /// How often the live view changes: `1s`.
    #[serde(deserialize_with = "interval")]
    pub interval: Duration,
}

impl Default for RunConfig {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(1),
        }
    }
}

/// `[kernel]`
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct KernelConfig {
    /// Size of each CPU's ring: a power of two from 4KiB to 64MiB.
    #[serde(deserialize_with = "ring_size")]
    pub ring_size: u32,
    /// Rows of the spill on each CPU, from 32 to 4096.
    #[serde(deserialize_with = "spill_rows")]
    pub spill_rows: u32,
    /// Works that may be pending at once, from 1024 to 1048576.
    #[serde(deserialize_with = "pending_works")]
    pub pending_works: u32,
    /// The programs of rare events log what they see.
    pub bpf_log: bool,
}

impl Default for KernelConfig {
    fn default() -> Self {
        Self {
            ring_size: 1 << 20,
            spill_rows: 128,
            pending_works: 16384,
            bpf_log: false,
        }
    }
}

/// `[limits]`
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LimitsConfig {
    /// Rows of (interrupt, action, CPU) in one window.
    pub hardirq_rows: usize,
    /// Rows of (workqueue, function) in one window.
    pub workqueue_rows: usize,
    /// Rows of tasklet functions in one window.
    pub tasklet_rows: usize,
    /// Rows of (device, NAPI, CPU, place) in one window.
    pub napi_rows: usize,
    /// Rows of (kernel thread, workqueue) in one window.
    pub kthread_rows: usize,
}

impl Default for LimitsConfig {
    fn default() -> Self {
        let rows = RowLimits::default();
        Self {
            hardirq_rows: rows.hardirq,
            workqueue_rows: rows.workqueue,
            tasklet_rows: rows.tasklet,
            napi_rows: rows.napi,
            kthread_rows: rows.kthread,
        }
    }
}

impl Config {
    /// How many rows and lines are kept of a window.
    #[must_use]
    pub fn rows(&self) -> RowLimits {
        let limits = &self.limits;
        RowLimits {
            hardirq: limits.hardirq_rows,
            workqueue: limits.workqueue_rows,
            tasklet: limits.tasklet_rows,
            napi: limits.napi_rows,
            kthread: limits.kthread_rows,
            log_lines: self.log.lines as usize,
        }
    }

    /// The file at `path`; without one the default file where there is one, else the defaults.
    pub fn load(path: Option<&Path>) -> Result<Self, ConfigError> {
        ConfigFile::new(path).read()
    }

    /// For who reads a bundle: without a path, a default file that cannot be read or used keeps nobody from that. It is the
    /// daemon's, and may hold secrets or keys of another version.
    pub fn load_for_a_bundle(path: Option<&Path>) -> Result<Self, ConfigError> {
        match (path, Self::load(path)) {
            (None, Err(error)) => {
                eprintln!("kctx: {error}; going on with the defaults");
                Ok(Self::default())
            }
            (_, loaded) => loaded,
        }
    }

    /// Parses TOML; an error is one line with the place in it.
    pub fn parse(text: &str) -> Result<Self, String> {
        toml::from_str(text).map_err(|error| {
            let line = error
                .span()
                .map(|span| text[..span.start.min(text.len())].matches('\n').count() + 1);
            let message = error.message().replace('\n', " ");
            line.map_or_else(|| message.clone(), |line| format!("line {line}: {message}"))
        })
    }
}

/// A duration such as `10s`, `500ms`, `2m`.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text.trim())
        .map_err(|_| format!("{text:?} is no duration; write 10s, 500ms or 2m"))
}

/// A size such as `64MiB`.
pub fn parse_size(text: &str) -> Result<u64, String> {
    text.trim()
        .parse::<bytesize::ByteSize>()
        .map(|size| size.as_u64())
        .map_err(|_| format!("{text:?} is no size; write 64MiB or 512KiB"))
}

/// A ring's size.
pub fn parse_ring_size(text: &str) -> Result<u32, String> {
    let bytes = parse_size(text)?;
    match u32::try_from(bytes) {
        Ok(bytes) if bytes.is_power_of_two() && (4 << 10..=64 << 20).contains(&bytes) => Ok(bytes),
        _ => Err(format!(
            "{text:?} is no ring size: it must be a power of two from 4KiB to 64MiB"
        )),
    }
}

/// How long an estimate of kctx's cost measures.
pub fn parse_estimate(text: &str) -> Result<Duration, String> {
    let duration = parse_duration(text)?;
    if (Duration::from_secs(1)..=Duration::from_secs(600)).contains(&duration) {
        Ok(duration)
    } else {
        Err(format!(
            "{text:?} is out of range: an estimate takes 1s to 10m"
        ))
    }
}

/// The live view's interval.
pub fn parse_interval(text: &str) -> Result<Duration, String> {
    let interval = parse_duration(text)?;
    if (Duration::from_millis(100)..=Duration::from_secs(3600)).contains(&interval) {
        Ok(interval)
    } else {
        Err(format!(
            "{text:?} is out of range: an interval is from 100ms to 1h"
        ))
    }
}

fn interval<'de, D: Deserializer<'de>>(d: D) -> Result<Duration, D::Error> {
    parse_interval(&String::deserialize(d)?).map_err(D::Error::custom)
}

fn ring_size<'de, D: Deserializer<'de>>(d: D) -> Result<u32, D::Error> {
    parse_ring_size(&String::deserialize(d)?).map_err(D::Error::custom)
}

/// A bundle of less has no room for what is not records.
const SMALLEST_BUNDLE: u64 = 64 << 10;

/// A bundle's size limit.
pub fn parse_bundle_size(text: &str) -> Result<u64, String> {
    let bytes = parse_size(text)?;
    if bytes < SMALLEST_BUNDLE {
        return Err(format!(
            "{text:?} is too small for a bundle: at least 64KiB"
        ));
    }
    Ok(bytes)
}

fn within<E: serde::de::Error>(value: u32, low: u32, high: u32) -> Result<u32, E> {
    if (low..=high).contains(&value) {
        Ok(value)
    } else {
        Err(E::custom(format!(
            "{value} is out of range: from {low} to {high}"
        )))
    }
}

fn spill_rows<'de, D: Deserializer<'de>>(d: D) -> Result<u32, D::Error> {
    within(u32::deserialize(d)?, 32, 4096)
}

fn pending_works<'de, D: Deserializer<'de>>(d: D) -> Result<u32, D::Error> {
    within(u32::deserialize(d)?, 1024, 1 << 20)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aggregate::window::Family;

    #[test]
    fn an_empty_file_is_the_defaults() {
        assert_eq!(Config::parse("").unwrap(), Config::default());
    }

    #[test]
    fn a_full_file_is_read() {
        let config = Config::parse(
            "[run]\ninterval = \"500ms\"\n\
             [probes]\nfamilies = [\"softirq\", \"hardirq\"]\nsoftirq_vectors = [\"NET_RX\", \"timer\"]\n\
             [kernel]\nring_size = \"4KiB\"\nspill_rows = 64\n\
             [limits]\nworkqueue_rows = 10\n[capture]\nmax_size = \"8MiB\"\n",
        )
        .unwrap();
        assert_eq!(config.run.interval, Duration::from_millis(500));
        assert_eq!(config.probes.families, [Family::Softirq, Family::Hardirq]);
        assert_eq!(config.probes.softirq_vectors, 0b1010);
        assert_eq!(config.kernel.ring_size, 4096);
        assert_eq!(config.capture.max_size, 8 << 20);
        assert_eq!(config.limits.workqueue_rows, 10);
    }

    #[test]
    fn mistakes_are_one_line_that_says_where_and_what() {
        for (text, wanted) in [
            (
                "[probes]\nsoftirq_vectors = [\"NET_RXX\"]",
                "unknown softirq vector \"NET_RXX\"; the vectors are HI, TIMER",
            ),
            (
                "[probes]\nsoftirq_vectors = []",
                "no softirq vector is named",
            ),
            (
                "[probes]\nwithout = [\"irq:softirq_raised\"]",
                "unknown tracepoint \"irq:softirq_raised\"",
            ),
            ("[run]\nintervall = \"1s\"", "unknown field `intervall`"),
            ("[run]\ninterval = \"soon\"", "\"soon\" is no duration"),
            ("[run]\ninterval = \"0s\"", "out of range"),
            ("[kernel]\nring_size = \"5KiB\"", "power of two"),
            ("[kernel]\nspill_rows = 1", "out of range"),
            (
                "[probes]\nfamilies = [\"softirqs\"]",
                "unknown variant `softirqs`",
            ),
            (
                "[prometheus]\nlisten = \"9769\"",
                "line 2: \"9769\" is no address to listen on; write 127.0.0.1:9769",
            ),
            ("[run\n", "line 1"),
        ] {
            let message = Config::parse(text).unwrap_err();
            assert!(message.contains(wanted), "{text:?}: {message}");
            assert!(!message.contains('\n'), "{message:?}");
        }
    }
}
