//! What figures are counted in: how thresholds are written and said.

use crate::{
    config::{parse_cpu_share, parse_duration, parse_size},
    report::human,
};

/// What a figure is counted in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Nanoseconds.
    Time,
    /// Millionths of a CPU, or of what there is.
    Share,
    /// Millionths of one CPU, of any number of them.
    CpuTime,
    /// A second.
    Rate,
    /// Things.
    Number,
    /// Bytes.
    Bytes,
    /// Bytes a second.
    ByteRate,
    /// 1 or 0.
    Truth,
}

impl Unit {
    /// How one writes it.
    #[must_use]
    pub fn example(self) -> &'static str {
        match self {
            Self::Time => "10ms",
            Self::Share => "50%",
            Self::CpuTime => "150%",
            Self::Rate => "100/s",
            Self::Number => "100",
            Self::Bytes => "64MiB",
            Self::ByteRate => "10MiB/s",
            Self::Truth => "",
        }
    }

    /// From the configuration.
    pub fn parse(self, text: &str) -> Result<u64, String> {
        let of_a_second = || text.trim().strip_suffix("/s").map(str::trim);
        match self {
            Self::Time => {
                parse_duration(text).map(|time| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX))
            }
            Self::Share => parse_cpu_share(text).map(|share| u64::from(share.ppm())),
            Self::CpuTime => (text.trim().strip_suffix('%'))
                .and_then(|number| number.trim().parse::<f64>().ok())
                .filter(|percent| (0.0..=1e9).contains(percent))
                .map(|percent| (percent * 1e4).round() as u64)
                .ok_or_else(|| {
                    format!("{text:?} is no time of CPUs; write 50%, or 150% for more than one")
                }),
            Self::Rate => of_a_second()
                .and_then(|number| number.parse().ok())
                .ok_or_else(|| format!("{text:?} is no rate; write 100/s")),
            Self::Number => (text.trim().parse())
                .map_err(|_| format!("{text:?} is no number of things; write 100")),
            Self::Bytes => parse_size(text),
            Self::ByteRate => of_a_second()
                .and_then(|size| parse_size(size).ok())
                .ok_or_else(|| format!("{text:?} is no rate of bytes; write 10MiB/s")),
            Self::Truth => Err(format!("{text:?} is no threshold: it holds or it does not")),
        }
    }

    /// For people.
    #[must_use]
    pub fn words(self, value: u64) -> String {
        match self {
            Self::Time => human::duration(value),
            Self::Share | Self::CpuTime => human::percent(value, 1_000_000),
            Self::Rate => format!("{value}/s"),
            Self::Number => value.to_string(),
            Self::Bytes => human::bytes(value),
            Self::ByteRate => format!("{}/s", human::bytes(value)),
            Self::Truth => "there".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reads_what_it_gives_as_an_example() {
        for (unit, value) in [
            (Unit::Time, 10_000_000),
            (Unit::Share, 500_000),
            (Unit::CpuTime, 1_500_000),
            (Unit::Rate, 100),
            (Unit::Number, 100),
            (Unit::Bytes, 64 << 20),
            (Unit::ByteRate, 10 << 20),
        ] {
            assert_eq!(unit.parse(unit.example()), Ok(value), "{unit:?}");
            assert!(unit.parse("x").unwrap_err().contains("\"x\""), "{unit:?}");
        }
        assert_eq!(Unit::CpuTime.words(1_500_000), "150 %");
        assert_eq!(Unit::ByteRate.words(10 << 20), "10.0 MiB/s");
        assert!(Unit::CpuTime.parse("-1%").is_err());
    }
}
