//! The keys of what kctx watches beside its probes: its own cost, the kernel log, stacks.

use std::{fmt, time::Duration};

use serde::{
    Deserialize, Deserializer,
    de::{Error, Visitor},
};

use super::{parse_duration, within};
use crate::{
    governor::{CpuShare, PPM},
    host::kmsg_follow::LogBounds,
    meter::Sample,
};

/// `[governor]`
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GovernorConfig {
    /// What kctx may use of one CPU: `2%`; 0: no limit.
    #[serde(deserialize_with = "cpu_share")]
    pub cpu_limit: CpuShare,
    /// Durations from this on are streamed even while their family is limited: `1ms`.
    #[serde(deserialize_with = "outlier")]
    pub outlier: Duration,
}

impl Default for GovernorConfig {
    fn default() -> Self {
        Self {
            cpu_limit: CpuShare::from_ppm(20_000),
            outlier: Duration::from_millis(1),
        }
    }
}

/// `[meter]`
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MeterConfig {
    /// For how long after its start `kctx run` has the kernel count the run time of BPF programs: `1s`; 0s: not at
    /// all.
    #[serde(deserialize_with = "sample")]
    pub sample: Duration,
}

impl Default for MeterConfig {
    fn default() -> Self {
        Self {
            sample: Duration::from_secs(1),
        }
    }
}

impl MeterConfig {
    /// As the meter takes it.
    #[must_use]
    pub fn sample(&self) -> Sample {
        if self.sample.is_zero() {
            Sample::Never("switched off by the configuration")
        } else {
            Sample::For(self.sample)
        }
    }
}

/// `[log]`
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogConfig {
    /// Lines of the kernel log that are kept of one window, the first: 0 to 10000. With 0 they are only
    /// counted.
    #[serde(deserialize_with = "log_lines")]
    pub lines: u32,
    /// Lines kept per second, 1 to 10000; so many may come at once.
    #[serde(deserialize_with = "log_rate")]
    pub rate: u32,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self {
            lines: 200,
            rate: 50,
        }
    }
}

impl LogConfig {
    /// As the follower takes them.
    #[must_use]
    pub fn bounds(&self) -> LogBounds {
        LogBounds {
            lines_per_window: self.lines as usize,
            lines_per_second: self.rate,
            ..LogBounds::default()
        }
    }
}

/// `[stacks]`
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StacksConfig {
    /// Samples per second on each CPU, up to 999; 0: none. The default is no divisor of any `HZ`, so that
    /// the samples do not keep step with the tick.
    #[serde(deserialize_with = "frequency")]
    pub frequency: u32,
    /// Stacks that are told apart in one window, the most frequent first: 10 to 2000. The others are one row.
    #[serde(deserialize_with = "stacks")]
    pub most: u32,
    /// What softirqs and kernel threads take of a CPU that `kctx run` and `kctx top` sample; 0: each CPU, always. A capture and
    /// a diagnosis sample each.
    #[serde(deserialize_with = "cpu_share")]
    pub busy: CpuShare,
}

impl Default for StacksConfig {
    fn default() -> Self {
        Self {
            frequency: 49,
            most: 500,
            busy: CpuShare::from_ppm(20_000),
        }
    }
}

/// A share of one CPU such as `2%` or `0.5%`, from 0.1% to 100%; `0` is no limit.
pub fn parse_cpu_share(text: &str) -> Result<CpuShare, String> {
    let trimmed = text.trim();
    let (number, percent) = match trimmed.strip_suffix('%') {
        Some(number) => (number.trim_end(), true),
        None => (trimmed, false),
    };
    let no_share = || format!("{text:?} is no share of a CPU; write 2%, 0.5%, or 0");
    let ppm = percent_to_ppm(number).ok_or_else(no_share)?;
    match (ppm, percent) {
        (0, _) => Ok(CpuShare::from_ppm(0)),
        (_, false) => Err(no_share()),
        (1_000..=PPM, true) => Ok(CpuShare::from_ppm(ppm)),
        _ => Err(format!(
            "{text:?} is out of range: a share of a CPU is from 0.1% to 100%, or 0"
        )),
    }
}

/// Percent with up to four decimals, which is all there is in a millionth.
fn percent_to_ppm(number: &str) -> Option<u32> {
    let (whole, decimals) = number.split_once('.').unwrap_or((number, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if !digits(whole) || !digits(decimals) || decimals.len() > 4 {
        return None;
    }
    let decimals: u32 = format!("{decimals:0<4}").parse().ok()?;
    let whole: u32 = whole.parse().ok()?;
    whole.checked_mul(PPM / 100)?.checked_add(decimals)
}

/// The least duration that is streamed while its family is limited.
pub fn parse_outlier(text: &str) -> Result<Duration, String> {
    let outlier = parse_duration(text)?;
    if (Duration::from_micros(1)..=Duration::from_secs(3600)).contains(&outlier) {
        Ok(outlier)
    } else {
        Err(format!(
            "{text:?} is out of range: an outlier is from 1us to 1h"
        ))
    }
}

/// How long the kernel counts the run time of BPF programs.
pub fn parse_sample(text: &str) -> Result<Duration, String> {
    let sample = parse_duration(text)?;
    if sample.is_zero() || (Duration::from_secs(1)..=Duration::from_secs(60)).contains(&sample) {
        Ok(sample)
    } else {
        Err(format!(
            "{text:?} is out of range: a sample takes 1s to 1m, or 0s for none"
        ))
    }
}

fn sample<'de, D: Deserializer<'de>>(d: D) -> Result<Duration, D::Error> {
    parse_sample(&String::deserialize(d)?).map_err(D::Error::custom)
}

fn outlier<'de, D: Deserializer<'de>>(d: D) -> Result<Duration, D::Error> {
    parse_outlier(&String::deserialize(d)?).map_err(D::Error::custom)
}

fn log_lines<'de, D: Deserializer<'de>>(d: D) -> Result<u32, D::Error> {
    within(u32::deserialize(d)?, 0, 10_000)
}

fn log_rate<'de, D: Deserializer<'de>>(d: D) -> Result<u32, D::Error> {
    within(u32::deserialize(d)?, 1, 10_000)
}

fn frequency<'de, D: Deserializer<'de>>(d: D) -> Result<u32, D::Error> {
    within(u32::deserialize(d)?, 0, 999)
}

/// The kernel's table is emptied when it holds a few more.
fn stacks<'de, D: Deserializer<'de>>(d: D) -> Result<u32, D::Error> {
    within(u32::deserialize(d)?, 10, 2000)
}

pub(super) fn cpu_share<'de, D: Deserializer<'de>>(d: D) -> Result<CpuShare, D::Error> {
    d.deserialize_any(ShareVisitor)
}

/// Takes `"2%"`, and a bare 0.
struct ShareVisitor;

impl Visitor<'_> for ShareVisitor {
    type Value = CpuShare;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a share of a CPU such as \"2%\", or 0")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<CpuShare, E> {
        parse_cpu_share(text).map_err(E::custom)
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<CpuShare, E> {
        parse_cpu_share(&value.to_string()).map_err(E::custom)
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<CpuShare, E> {
        parse_cpu_share(&value.to_string()).map_err(E::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Config, ControlConfig};
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_keys_are_read() {
        let config = Config::parse(
            "[governor]\ncpu_limit = \"0.5%\"\noutlier = \"500us\"\n\
             [log]\nlines = 0\nrate = 10\n[stacks]\nfrequency = 999\nmost = 2000\nbusy = \"5%\"\n",
        )
        .unwrap();
        assert_eq!(config.governor.cpu_limit.ppm(), 5_000);
        assert_eq!(config.governor.outlier, Duration::from_micros(500));
        assert_eq!((config.stacks.frequency, config.stacks.most), (999, 2000));
        assert_eq!(config.stacks.busy.ppm(), 50_000);
        let bounds = config.log.bounds();
        assert_eq!((bounds.lines_per_window, bounds.lines_per_second), (0, 10));
        assert_eq!(config.stacks.frequency, 999);
        for off in ["0", "\"0\"", "\"0%\""] {
            let config = Config::parse(&format!("[governor]\ncpu_limit = {off}")).unwrap();
            assert_eq!(config.governor.cpu_limit.ppm(), 0);
        }
    }

    #[test]
    fn the_defaults_are_those_of_the_parts() {
        let config = Config::default();
        assert_eq!(config.governor.cpu_limit, parse_cpu_share("2%").unwrap());
        assert_eq!(config.log.bounds(), LogBounds::default());
    }

    #[test]
    fn the_documented_triggers_are_valid() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/triggers.toml");
        let rules = Config::parse(&std::fs::read_to_string(path).unwrap()).unwrap();
        assert!(rules.trigger.len() >= 8);
        let triggers = Config {
            trigger: rules.trigger.clone(),
            ..Config::default()
        };
        assert_eq!(rules, triggers);
    }

    #[test]
    fn the_documented_file_is_valid_and_shows_the_defaults() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/config.md");
        let page = std::fs::read_to_string(path).unwrap();
        let (_, from) = page.split_once("```toml\n").unwrap();
        let (file, _) = from.split_once("```").unwrap();
        let config = Config::parse(file).unwrap();
        // OTLP is off by default, an address switches it on; scrapes are answered where nobody says where.
        let (otlp, prometheus) = (config.otlp.clone(), config.prometheus.clone());
        // A socket that is named has to be had, which the default one has not.
        let control = config.control.clone();
        let chosen = |control: &ControlConfig| control.choose(None, None).path;
        assert_eq!(chosen(&control), chosen(&ControlConfig::default()));
        let defaults = Config {
            otlp,
            prometheus,
            control,
            ..Config::default()
        };
        assert_eq!(config, defaults);
    }

    #[test]
    fn mistakes_are_one_line_that_says_where_and_what() {
        for (text, wanted) in [
            (
                "[governor]\ncpu_limit = \"2\"",
                "\"2\" is no share of a CPU",
            ),
            ("[governor]\ncpu_limit = 2", "\"2\" is no share of a CPU"),
            ("[governor]\ncpu_limit = \"-1%\"", "no share of a CPU"),
            ("[governor]\ncpu_limit = \"%\"", "no share of a CPU"),
            ("[governor]\ncpu_limit = \"1.00001%\"", "no share of a CPU"),
            ("[governor]\ncpu_limit = \"0.01%\"", "from 0.1% to 100%"),
            ("[governor]\ncpu_limit = \"101%\"", "from 0.1% to 100%"),
            ("[governor]\ncpu_limit = true", "expected a share of a CPU"),
            ("[governor]\noutlier = \"1\"", "is no duration"),
            (
                "[governor]\noutlier = \"0s\"",
                "an outlier is from 1us to 1h",
            ),
            ("[governor]\nlimit = \"2%\"", "unknown field `limit`"),
            ("[log]\nlines = 10001", "10001 is out of range"),
            ("[log]\nrate = 0", "0 is out of range: from 1"),
            (
                "[stacks]\nfrequency = 1000",
                "1000 is out of range: from 0 to 999",
            ),
            ("[stacks]\nmost = 2001", "2001 is out of range: from 10"),
            ("[stacks]\nbusy = \"0.01%\"", "from 0.1% to 100%"),
        ] {
            let message = Config::parse(text).unwrap_err();
            assert!(message.starts_with("line 2: "), "{text:?}: {message}");
            assert!(message.contains(wanted), "{text:?}: {message}");
            assert!(!message.contains('\n'), "{message:?}");
        }
    }

    proptest! {
        #[test]
        fn a_share_is_read_as_written(ppm in 1_000u32..=PPM) {
            let text = format!("{}.{:04}%", ppm / 10_000, ppm % 10_000);
            prop_assert_eq!(parse_cpu_share(&text).unwrap().ppm(), ppm);
        }

        #[test]
        fn never_panics(text in "[0-9.% -]{0,14}") {
            if let Ok(share) = parse_cpu_share(&text) {
                prop_assert!(share.ppm() <= PPM);
            }
        }
    }
}
