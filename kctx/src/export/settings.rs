//! `[export]`: what both exports hand out, and how much of it.

use serde::{Deserialize, Deserializer, de::Error as _};

use super::cumulative::Limits;
use super::exponential::{DEFAULT_MAX_SIZE, SMALLEST_MAX_SIZE};
use super::metric::Selection;

/// Largest bound on the buckets of a histogram: scale 5 over 100 ns to 4 s.
pub const LARGEST_MAX_SIZE: usize = 1280;

/// Default bound on the series of one metric: the specification's.
const DEFAULT_MAX_SERIES: usize = 2000;

/// Up to so many CPUs, CPUs are kept apart where nothing else is said.
///
/// A busy CPU has some 160 series of its own, two thirds of them histograms. Some backends keep a series for each bucket
/// (Prometheus does of classic histograms: 31 of each here), so 16 CPUs come to 55,000 of those, and what is not by CPU to
/// about as many. 32 would go far beyond 100,000.
pub const AUTO_CPUS: usize = 16;

/// Whether CPUs are kept apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PerCpu {
    /// Up to [`AUTO_CPUS`] of them.
    #[default]
    Auto,
    /// They are.
    Apart,
    /// They are summed up.
    Together,
}

impl PerCpu {
    /// What that means for so many CPUs; `None`: it is not known how many there are, perhaps very many.
    #[must_use]
    pub fn apart(self, cpus: Option<usize>) -> bool {
        match self {
            Self::Auto => cpus.is_some_and(|cpus| cpus <= AUTO_CPUS),
            Self::Apart => true,
            Self::Together => false,
        }
    }
}

impl<'de> Deserialize<'de> for PerCpu {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Said {
            Flag(bool),
            Word(String),
        }
        match Said::deserialize(d) {
            Ok(Said::Flag(true)) => Ok(Self::Apart),
            Ok(Said::Flag(false)) => Ok(Self::Together),
            Ok(Said::Word(word)) if word == "auto" => Ok(Self::Auto),
            _ => Err(D::Error::custom("per_cpu is \"auto\", true or false")),
        }
    }
}

/// `[export]`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ExportConfig {
    /// Metrics of these families are exported, and kctx's own.
    #[serde(deserialize_with = "families")]
    pub families: Selection,
    /// But these are not.
    #[serde(deserialize_with = "metrics")]
    pub without: Selection,
    /// Whether CPUs are kept apart.
    pub per_cpu: PerCpu,
    /// Most series of one metric.
    #[serde(deserialize_with = "max_series")]
    pub max_series: usize,
    /// Most buckets of an exponential histogram.
    #[serde(deserialize_with = "max_buckets")]
    pub max_buckets: usize,
}

impl Default for ExportConfig {
    fn default() -> Self {
        Self {
            families: Selection::ALL,
            without: Selection::NONE,
            per_cpu: PerCpu::Auto,
            max_series: DEFAULT_MAX_SERIES,
            max_buckets: DEFAULT_MAX_SIZE,
        }
    }
}

impl ExportConfig {
    /// Bounds of the state on a machine with so many CPUs; `None`: that is not known.
    #[must_use]
    pub fn limits(&self, cpus: Option<usize>) -> Limits {
        Limits {
            max_buckets: self.max_buckets,
            max_series: self.max_series,
            per_cpu: self.per_cpu.apart(cpus),
            selection: self.families.except(self.without),
        }
    }
}

fn families<'de, D: Deserializer<'de>>(d: D) -> Result<Selection, D::Error> {
    Selection::of_families(&Vec::deserialize(d)?).map_err(D::Error::custom)
}

fn metrics<'de, D: Deserializer<'de>>(d: D) -> Result<Selection, D::Error> {
    Selection::of_metrics(&Vec::deserialize(d)?).map_err(D::Error::custom)
}

fn max_series<'de, D: Deserializer<'de>>(d: D) -> Result<usize, D::Error> {
    match usize::deserialize(d)? {
        // One is for what is over.
        few @ ..2 => Err(D::Error::custom(format!(
            "max_series is {few}: give at least 2"
        ))),
        enough => Ok(enough),
    }
}

fn max_buckets<'de, D: Deserializer<'de>>(d: D) -> Result<usize, D::Error> {
    let buckets = usize::deserialize(d)?;
    if (SMALLEST_MAX_SIZE..=LARGEST_MAX_SIZE).contains(&buckets) {
        return Ok(buckets);
    }
    Err(D::Error::custom(format!(
        "max_buckets is {buckets}: give {SMALLEST_MAX_SIZE} to {LARGEST_MAX_SIZE}"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn read(text: &str) -> Result<ExportConfig, String> {
        Config::parse(text).map(|config| config.export)
    }

    #[test]
    fn nothing_said_is_the_default() {
        assert_eq!(read("[export]\n").unwrap(), ExportConfig::default());
        assert_eq!(ExportConfig::default().limits(Some(1)), Limits::default());
    }

    #[test]
    fn cpus_are_kept_apart_as_long_as_they_are_few() {
        let apart = |text: &str, cpus| read(text).unwrap().limits(cpus).per_cpu;
        for (cpus, wanted) in [
            (Some(1), true),
            (Some(16), true),
            (Some(17), false),
            (None, false),
        ] {
            assert_eq!(apart("", cpus), wanted);
            assert_eq!(apart("[export]\nper_cpu = \"auto\"", cpus), wanted);
            assert!(apart("[export]\nper_cpu = true", cpus));
            assert!(!apart("[export]\nper_cpu = false", cpus));
        }
    }

    #[test]
    fn what_is_said_is_taken() {
        let said = read(
            "[export]\nfamilies = [\"napi\"]\nwithout = [\"kctx.napi.poll.packets\"]\nmax_series = 10\nmax_buckets = 160\n",
        );
        let limits = said.unwrap().limits(None);
        assert_eq!((limits.max_series, limits.max_buckets), (10, 160));
        let napi: Vec<_> = limits
            .selection
            .metrics()
            .map(|metric| metric.name)
            .collect();
        assert_eq!(
            napi[..2],
            ["kctx.napi.poll.duration", "kctx.napi.poll.exhausted"]
        );
    }

    #[test]
    fn mistakes_are_one_line_that_says_what_to_write() {
        for (text, wanted) in [
            (
                "[export]\nper_cpu = \"yes\"",
                "per_cpu is \"auto\", true or false",
            ),
            (
                "[export]\nper_cpu = 3",
                "per_cpu is \"auto\", true or false",
            ),
            (
                "[export]\nfamilies = [\"irq\"]",
                "unknown family \"irq\"; there are softirq, cpu, hardirq",
            ),
            (
                "[export]\nwithout = [\"kctx.softirq\"]",
                "unknown metric \"kctx.softirq\"; docs/metrics.md",
            ),
            (
                "[export]\nmax_series = 1",
                "max_series is 1: give at least 2",
            ),
            (
                "[export]\nmax_buckets = 100",
                "max_buckets is 100: give 160 to 1280",
            ),
            ("[export]\nmax_bucket = 200", "unknown field `max_bucket`"),
            // Where they were before.
            ("[otlp]\nper_cpu = true", "this key is in [export] now"),
            ("[otlp]\nmax_series = 10", "this key is in [export] now"),
            ("[otlp]\nmax_buckets = 200", "this key is in [export] now"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(wanted), "{text:?}: {error}");
            assert!(
                error.starts_with("line 2: ") && !error.contains('\n'),
                "{error}"
            );
        }
    }
}
