//! The keys of `[capture]` that bound what it takes beside its records.

use std::time::Duration;

use serde::{Deserialize, Deserializer, de::Error};

use super::{parse_duration, parse_size, within};
use crate::{
    capture::{evidence::EvidenceLimits, evidence_set::SAMPLE_BYTES},
    host::kmsg::KmsgLimits,
};

/// The longest that a window may be made.
const LONGEST_WINDOW: Duration = Duration::from_secs(24 * 3600);

/// `[capture.evidence]`: of one sample.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EvidenceConfig {
    /// The most of one file: 4KiB to 64MiB.
    #[serde(deserialize_with = "file_size")]
    pub file_size: u64,
    /// The most of all, held in memory: 64KiB to 128MiB, which is what is read again.
    #[serde(deserialize_with = "size")]
    pub size: u64,
    /// How many files: 10 to 100000.
    #[serde(deserialize_with = "files")]
    pub files: u32,
    /// How long one item may take: 10ms to 10s.
    #[serde(deserialize_with = "item_time")]
    pub item_time: Duration,
    /// How long all may take but the counters at the window's edge: 0s to 1m.
    #[serde(deserialize_with = "time")]
    pub time: Duration,
    /// Records of the kernel's log: 0 to 1000000. A fifth are the first, the rest the last.
    #[serde(deserialize_with = "kmsg_records")]
    pub kmsg_records: u32,
}

impl Default for EvidenceConfig {
    fn default() -> Self {
        let limits = EvidenceLimits::default();
        Self {
            file_size: limits.file_bytes as u64,
            size: limits.total_bytes as u64,
            files: limits.files as u32,
            item_time: limits.item_time,
            time: limits.total_time,
            kmsg_records: (limits.kmsg.first + limits.kmsg.last) as u32,
        }
    }
}

impl EvidenceConfig {
    /// As evidence takes them.
    #[must_use]
    pub fn limits(&self) -> EvidenceLimits {
        let records = self.kmsg_records as usize;
        EvidenceLimits {
            file_bytes: self.file_size as usize,
            total_bytes: self.size as usize,
            files: self.files as usize,
            item_time: self.item_time,
            total_time: self.time,
            kmsg: KmsgLimits {
                first: records / 5,
                last: records - records / 5,
                ..KmsgLimits::default()
            },
        }
    }
}

fn a_duration<'de, D: Deserializer<'de>>(
    d: D,
    low: Duration,
    high: Duration,
) -> Result<Duration, D::Error> {
    let text = String::deserialize(d)?;
    let duration = parse_duration(&text).map_err(D::Error::custom)?;
    if (low..=high).contains(&duration) {
        return Ok(duration);
    }
    let (low, high) = (
        humantime::format_duration(low),
        humantime::format_duration(high),
    );
    Err(D::Error::custom(format!(
        "{text:?} is out of range: from {low} to {high}"
    )))
}

fn a_size<'de, D: Deserializer<'de>>(d: D, low: u64, high: u64) -> Result<u64, D::Error> {
    let text = String::deserialize(d)?;
    let size = parse_size(&text).map_err(D::Error::custom)?;
    if (low..=high).contains(&size) {
        return Ok(size);
    }
    let (low, high) = (low >> 10, high >> 10);
    Err(D::Error::custom(format!(
        "{text:?} is out of range: from {low}KiB to {high}KiB"
    )))
}

pub(super) fn max_window<'de, D: Deserializer<'de>>(d: D) -> Result<Duration, D::Error> {
    a_duration(d, Duration::from_millis(10), LONGEST_WINDOW)
}

pub(super) fn max_memory<'de, D: Deserializer<'de>>(d: D) -> Result<u64, D::Error> {
    a_size(d, 4 << 20, 64 << 30)
}

fn item_time<'de, D: Deserializer<'de>>(d: D) -> Result<Duration, D::Error> {
    a_duration(d, Duration::from_millis(10), Duration::from_secs(10))
}

fn time<'de, D: Deserializer<'de>>(d: D) -> Result<Duration, D::Error> {
    a_duration(d, Duration::ZERO, Duration::from_secs(60))
}

fn file_size<'de, D: Deserializer<'de>>(d: D) -> Result<u64, D::Error> {
    a_size(d, 4 << 10, 64 << 20)
}

fn size<'de, D: Deserializer<'de>>(d: D) -> Result<u64, D::Error> {
    a_size(d, 64 << 10, SAMPLE_BYTES as u64)
}

fn files<'de, D: Deserializer<'de>>(d: D) -> Result<u32, D::Error> {
    within(u32::deserialize(d)?, 10, 100_000)
}

fn kmsg_records<'de, D: Deserializer<'de>>(d: D) -> Result<u32, D::Error> {
    within(u32::deserialize(d)?, 0, 1_000_000)
}

#[cfg(test)]
mod tests {
    use super::super::Config;
    use super::*;

    #[test]
    fn the_bounds_of_a_capture_are_settings() {
        let config = Config::parse(
            "[capture]\nmax_window = \"2h\"\nmax_memory = \"64MiB\"\nmax_cpu = \"50%\"\nredact = false\n\
             [capture.evidence]\nfile_size = \"8KiB\"\nsize = \"1MiB\"\nfiles = 10\nitem_time = \"20ms\"\n\
             time = \"1s\"\nkmsg_records = 50\n",
        );
        let capture = config.unwrap().capture;
        assert_eq!(capture.max_window, Duration::from_secs(7200));
        assert_eq!((capture.max_memory, capture.redact), (64 << 20, false));
        let limits = capture.evidence.limits();
        assert_eq!(
            (limits.file_bytes, limits.total_bytes, limits.files),
            (8192, 1 << 20, 10)
        );
        assert_eq!((limits.kmsg.first, limits.kmsg.last), (10, 40));
        assert_eq!(
            EvidenceConfig::default().limits(),
            EvidenceLimits::default()
        );
    }

    #[test]
    fn what_is_out_of_range_is_told_with_the_range() {
        for (text, wanted) in [
            ("[capture]\nmax_window = \"2d\"", "from 10ms to 1day"),
            ("[capture]\nmax_memory = \"1MiB\"", "from 4096KiB"),
            ("[capture.evidence]\nfiles = 1", "from 10 to 100000"),
            (
                "[capture.evidence]\nsize = \"1GiB\"",
                "from 64KiB to 131072KiB",
            ),
            (
                "[capture.evidence]\nitem_time = \"1ms\"",
                "from 10ms to 10s",
            ),
            ("[capture.evidence]\nfile = 1", "unknown field `file`"),
        ] {
            let message = Config::parse(text).unwrap_err();
            assert!(message.contains(wanted), "{text:?}: {message}");
        }
    }
}
