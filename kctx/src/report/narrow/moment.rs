//! A moment as `--from` and `--to` name it.

use std::{str::FromStr, time::Duration, time::UNIX_EPOCH};

use crate::config::parse_duration;

/// A moment of a captured window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// So many nanoseconds after the window's start.
    After(u64),
    /// Nanoseconds since the Unix epoch.
    Unix(u64),
}

impl Moment {
    /// The same by the clock whose `start_ns` is `start_unix_ns`. What lies before the start is the start.
    pub(super) fn by_clock(self, start_ns: u64, start_unix_ns: u64) -> u64 {
        let after = match self {
            Self::After(ns) => ns,
            Self::Unix(ns) => ns.saturating_sub(start_unix_ns),
        };
        start_ns.saturating_add(after)
    }
}

impl FromStr for Moment {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if let Ok(after) = parse_duration(text) {
            return Ok(Self::After(nanos(after)));
        }
        wall_clock(text).map(Self::Unix).ok_or_else(|| {
            format!(
                "{text:?} is no moment; write how long after the window's start (2.5s, 300ms) or a time such as \
                 2026-11-22T03:04:05.5Z"
            )
        })
    }
}

/// RFC 3339, with `Z` or an offset.
fn wall_clock(text: &str) -> Option<u64> {
    let (utc, behind_ns) = match text
        .len()
        .checked_sub(6)
        .and_then(|at| text.split_at_checked(at))
    {
        Some((utc, offset)) if offset.starts_with(['+', '-']) && text.contains('T') => {
            (format!("{utc}Z"), offset_ns(offset)?)
        }
        _ => (text.to_owned(), 0),
    };
    let time = humantime::parse_rfc3339(&utc).ok()?;
    let since_epoch = nanos(time.duration_since(UNIX_EPOCH).ok()?);
    since_epoch.checked_add_signed(-behind_ns)
}

/// `+01:30`: how far that clock is before UTC.
fn offset_ns(text: &str) -> Option<i64> {
    let (sign, rest) = text.split_at_checked(1)?;
    let (hours, minutes) = rest.split_once(':')?;
    let (hours, minutes): (i64, i64) = (hours.parse().ok()?, minutes.parse().ok()?);
    if !(0..24).contains(&hours) || !(0..60).contains(&minutes) {
        return None;
    }
    let ns = (hours * 60 + minutes) * 60_000_000_000;
    Some(if sign == "-" { -ns } else { ns })
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_an_offset_or_a_time() {
        let moment = |text: &str| text.parse::<Moment>();
        assert_eq!(moment("2500ms"), Ok(Moment::After(2_500_000_000)));
        assert_eq!(moment(" 1s 500ms"), Ok(Moment::After(1_500_000_000)));
        let utc = Ok(Moment::Unix(1_795_316_645_500_000_000));
        assert_eq!(moment("2026-11-22T03:04:05.5Z"), utc);
        assert_eq!(moment("2026-11-22T04:34:05.5+01:30"), utc);
        assert_eq!(moment("2026-11-21T22:04:05.5-05:00"), utc);
        for wrong in [
            "",
            "later",
            "2026-11-22",
            "2026-11-22T03:04:05+99:00",
            "-1s",
        ] {
            assert!(moment(wrong).is_err_and(|error| error.contains("is no moment")));
        }
    }

    #[test]
    fn both_are_places_on_the_stream_s_clock() {
        assert_eq!(Moment::After(7).by_clock(100, 5_000), 107);
        assert_eq!(Moment::Unix(5_007).by_clock(100, 5_000), 107);
        assert_eq!(Moment::Unix(4_000).by_clock(100, 5_000), 100);
    }
}
