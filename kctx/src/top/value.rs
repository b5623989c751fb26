//! What a cell holds: sorted by what it is, written as the report writes it.

use std::{borrow::Cow, cmp::Ordering};

use crate::report::human;

/// A cell's content.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value<'a> {
    /// A name or a sentence.
    Text(Cow<'a, str>),
    /// A number that names something: a CPU, a process.
    Id(Option<u32>),
    /// So many in so many nanoseconds.
    Rate(u64, u64),
    /// A part of a whole; `None` where it was not measured.
    Share(Option<u64>, u64),
    /// A duration in nanoseconds; `None` where none was measured.
    Duration(Option<u64>),
    /// Nanoseconds since the Unix epoch.
    Time(u64),
}

impl<'a> Value<'a> {
    /// A text that is there already.
    pub(super) fn text(text: impl Into<Cow<'a, str>>) -> Self {
        Self::Text(text.into())
    }

    /// What is shown; safe on a terminal.
    pub(super) fn shown(&self) -> String {
        let dash = || "-".to_owned();
        match self {
            Self::Text(text) if text.is_empty() => dash(),
            Self::Text(text) => human::name(text),
            Self::Id(id) => id.map_or_else(dash, |id| id.to_string()),
            Self::Rate(count, ns) => rate(*count, *ns),
            Self::Share(part, whole) => part.map_or_else(dash, |part| human::share(part, *whole)),
            Self::Duration(ns) => ns.map_or_else(dash, human::duration),
            // `HH:MM:SS` of `YYYY-MM-DD HH:MM:SS UTC`.
            Self::Time(unix_ns) => {
                let utc = human::utc(*unix_ns);
                let time = utc.split(' ').nth(1);
                time.unwrap_or_default().to_owned()
            }
        }
    }

    /// Numbers by their size, texts by their letters; what was not measured is less than all else.
    pub(super) fn order(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Text(a), Self::Text(b)) => a.cmp(b),
            _ => self.number().total_cmp(&other.number()),
        }
    }

    fn number(&self) -> f64 {
        let known = |part: Option<u64>| part.map_or(-1.0, |part| part as f64);
        match self {
            Self::Text(_) => -1.0,
            Self::Id(id) => known(id.map(u64::from)),
            Self::Rate(count, ns) | Self::Share(Some(count), ns) => {
                *count as f64 / (*ns).max(1) as f64
            }
            Self::Share(None, _) => -1.0,
            Self::Duration(ns) => known(*ns),
            Self::Time(unix_ns) => *unix_ns as f64,
        }
    }
}

/// Per second; with decimals where it is little.
fn rate(count: u64, ns: u64) -> String {
    let per_second = count as f64 * 1e9 / ns.max(1) as f64;
    match per_second {
        0.0 => "0".to_owned(),
        few if few < 0.095 => "<0.1".to_owned(),
        few if few < 9.95 => format!("{few:.1}"),
        many => human::brief(many.round() as u64),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_written_as_the_report_writes_them() {
        let second = 1_000_000_000;
        for (value, shown) in [
            (Value::text("eth0\x1b[2J"), "eth0\\u{1b}[2J"),
            (Value::text(""), "-"),
            (Value::Id(None), "-"),
            (Value::Rate(0, second), "0"),
            (Value::Rate(1, 60 * second), "<0.1"),
            (Value::Rate(3, 2 * second), "1.5"),
            (Value::Rate(123_456, second / 10), "1.23 M"),
            (Value::Rate(5, 0), "5.00 G"),
            (Value::Share(Some(400), 1000), "40.00 %"),
            (Value::Share(None, 1000), "-"),
            (Value::Duration(Some(12_345)), "12.3 µs"),
            (Value::Time(1_795_316_645_000_000_000), "03:04:05"),
        ] {
            assert_eq!(value.shown(), shown, "{value:?}");
        }
    }

    #[test]
    fn what_was_not_measured_is_least() {
        let less = |a: &Value<'_>, b: &Value<'_>| a.order(b) == Ordering::Less;
        assert!(less(&Value::Duration(None), &Value::Duration(Some(0))));
        assert!(less(&Value::Share(None, 9), &Value::Share(Some(0), 9)));
        assert!(less(&Value::Id(None), &Value::Id(Some(0))));
        // Not as texts: "9" comes after "10" there.
        assert!(less(&Value::Id(Some(9)), &Value::Id(Some(10))));
        assert!(less(&Value::text("a"), &Value::text("b")));
    }
}
