//! The text formats: Prometheus' own (0.0.4) and OpenMetrics (1.0.0).
//!
//! Both have no native histograms: durations are in buckets of fixed bounds, powers of two of a second, which are
//! bounds of exponential buckets too, so no count is moved. OpenMetrics could tell when a series began (`_created`);
//! that is left out, since a Prometheus without `created-timestamp-zero-ingestion` stores it as one more series.

use std::io::{self, Write};

use super::family::{Family, FamilyKind, Format, Labels, Sample};
use super::name::TOTAL;
use crate::export::exponential::{ExponentialHistogram, explicit_bounds};

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// Text 0.0.4.
    Classic,
    /// OpenMetrics 1.0.0.
    OpenMetrics,
}

/// Writes one of them.
#[derive(Debug)]
pub struct Text {
    dialect: Dialect,
    /// Of the samples of the family begun last.
    name: String,
    /// `le` of each bucket.
    bounds: Vec<String>,
}

impl Text {
    /// A writer of this dialect.
    #[must_use]
    pub fn new(dialect: Dialect) -> Self {
        let bounds = explicit_bounds().into_iter().chain([f64::INFINITY]);
        Self {
            dialect,
            name: String::new(),
            bounds: bounds.map(bound).collect(),
        }
    }

    fn line(
        &self,
        suffix: &str,
        labels: &Labels<'_>,
        le: Option<&str>,
        value: &str,
        out: &mut dyn Write,
    ) -> io::Result<()> {
        write!(out, "{}{suffix}", self.name)?;
        let mut before = '{';
        for (name, value) in labels {
            write!(out, "{before}{name}=\"")?;
            escape(value, true, out)?;
            out.write_all(b"\"")?;
            before = ',';
        }
        if let Some(le) = le {
            write!(out, "{before}le=\"{le}\"")?;
            before = ',';
        }
        if before == ',' {
            out.write_all(b"}")?;
        }
        writeln!(out, " {value}")
    }

    fn histogram(
        &self,
        labels: &Labels<'_>,
        histogram: &ExponentialHistogram,
        out: &mut dyn Write,
    ) -> io::Result<()> {
        let mut below = 0;
        for (le, count) in self.bounds.iter().zip(histogram.explicit_counts()) {
            below += count;
            self.line("_bucket", labels, Some(le), &below.to_string(), out)?;
        }
        let sum = number(histogram.sum_ns() as f64 / 1e9);
        self.line("_sum", labels, None, &sum, out)?;
        let count = histogram.count().to_string();
        self.line("_count", labels, None, &count, out)
    }
}

impl Format for Text {
    fn family(&mut self, family: &Family, out: &mut dyn Write) -> io::Result<()> {
        self.name.clone_from(&family.name);
        match family.kind {
            FamilyKind::Counter => self.name.push_str(TOTAL),
            FamilyKind::Info => self.name.push_str("_info"),
            FamilyKind::Gauge | FamilyKind::Histogram => {}
        }
        // The older format knows no families of counters and infos, only samples.
        let name = match self.dialect {
            Dialect::Classic => &self.name,
            Dialect::OpenMetrics => &family.name,
        };
        let kind = match (family.kind, self.dialect) {
            (FamilyKind::Counter, _) => "counter",
            (FamilyKind::Histogram, _) => "histogram",
            (FamilyKind::Info, Dialect::OpenMetrics) => "info",
            (FamilyKind::Info, Dialect::Classic) | (FamilyKind::Gauge, _) => "gauge",
        };
        write!(out, "# HELP {name} ")?;
        escape(family.help, self.dialect == Dialect::OpenMetrics, out)?;
        write!(out, "\n# TYPE {name} {kind}\n")?;
        if self.dialect == Dialect::OpenMetrics && !family.unit.is_empty() {
            writeln!(out, "# UNIT {name} {}", family.unit)?;
        }
        Ok(())
    }

    fn sample(
        &mut self,
        labels: &Labels<'_>,
        _start_unix_ns: u64,
        sample: Sample<'_>,
        out: &mut dyn Write,
    ) -> io::Result<()> {
        match sample {
            Sample::Count(value) => self.line("", labels, None, &value.to_string(), out),
            Sample::Real(value) => self.line("", labels, None, &number(value), out),
            Sample::Durations(histogram) => self.histogram(labels, histogram, out),
        }
    }

    fn end(&mut self, out: &mut dyn Write) -> io::Result<()> {
        match self.dialect {
            Dialect::Classic => Ok(()),
            Dialect::OpenMetrics => out.write_all(b"# EOF\n"),
        }
    }
}

/// Label values escape quotes in both formats, help only in OpenMetrics.
fn escape(text: &str, quotes: bool, out: &mut dyn Write) -> io::Result<()> {
    let mut rest = text;
    while let Some(at) = rest.find(|c| matches!(c, '\\' | '\n') || quotes && c == '"') {
        out.write_all(&rest.as_bytes()[..at])?;
        out.write_all(match rest.as_bytes()[at] {
            b'\\' => b"\\\\",
            b'\n' => b"\\n",
            _ => b"\\\"",
        })?;
        rest = &rest[at + 1..];
    }
    out.write_all(rest.as_bytes())
}

/// A number as Go writes it (`%g`, the shortest that reads back the same): what everybody's parsers have seen.
#[must_use]
pub fn number(value: f64) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    let text = format!("{value:e}");
    let Some((digits, exponent)) = text.split_once('e') else {
        return text;
    };
    match exponent.parse::<i32>() {
        Ok(exponent) if (-4..21).contains(&exponent) => format!("{value}"),
        Ok(exponent) => {
            let sign = if exponent < 0 { '-' } else { '+' };
            format!("{digits}e{sign}{:02}", exponent.unsigned_abs())
        }
        Err(_) => text,
    }
}

/// A bound as Prometheus 3 makes all of them, whatever format they came in: never without a point or an exponent.
/// So the series are the same ones whichever format is scraped.
fn bound(value: f64) -> String {
    let mut text = number(value);
    if value.is_finite() && !text.contains(['.', 'e']) {
        text.push_str(".0");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_go_does() {
        // strconv.FormatFloat(x, 'g', -1, 64)
        for (value, text) in [
            (0.0, "0"),
            (1.0, "1"),
            (-2.5, "-2.5"),
            (0.0001, "0.0001"),
            (0.00001, "1e-05"),
            (1.1920928955078125e-7, "1.1920928955078125e-07"),
            (1e20, "100000000000000000000"),
            (1e21, "1e+21"),
            (1.5e300, "1.5e+300"),
            (f64::NAN, "NaN"),
            (f64::INFINITY, "+Inf"),
            (f64::NEG_INFINITY, "-Inf"),
        ] {
            assert_eq!(number(value), text);
            let back: f64 = text.parse().unwrap();
            assert!(back == value || value.is_nan() && back.is_nan());
        }
        assert_eq!((bound(4.0).as_str(), bound(0.5).as_str()), ("4.0", "0.5"));
        assert_eq!(bound(f64::INFINITY), "+Inf");
    }

    #[test]
    fn what_would_end_a_value_is_escaped() {
        let escaped = |text, quotes| {
            let mut out = Vec::new();
            escape(text, quotes, &mut out).unwrap();
            String::from_utf8(out).unwrap()
        };
        assert_eq!(escaped("a\"b\\c\nd", true), "a\\\"b\\\\c\\nd");
        assert_eq!(escaped("a\"b\\c\nd", false), "a\"b\\\\c\\nd");
        assert_eq!(escaped("µ\n", true), "µ\\n");
        assert_eq!(escaped("", true), "");
    }
}
