//! Which format and encoding a client wants: RFC 9110, sections 12.4.2, 12.5.1 and 12.5.3.

use std::fmt;

/// The formats.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Exposition {
    /// Prometheus' text 0.0.4.
    Text,
    /// OpenMetrics 1.0.0.
    OpenMetrics,
    /// `io.prometheus.client.MetricFamily`, delimited.
    Protobuf,
}

impl Exposition {
    /// All of them; what is asked for equally is served in this order.
    pub const ALL: [Self; 3] = [Self::Protobuf, Self::OpenMetrics, Self::Text];

    /// The answer's `Content-Type`.
    #[must_use]
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8; escaping=underscores",
            Self::OpenMetrics => {
                "application/openmetrics-text; version=1.0.0; charset=utf-8; escaping=underscores"
            }
            Self::Protobuf => {
                "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; \
                 encoding=delimited; escaping=underscores"
            }
        }
    }

    fn is_named_by(self, range: &Range<'_>) -> bool {
        let parameter = |name: &str, allowed: &[&str]| {
            let mut values = range
                .parameters()
                .filter(|(key, _)| key.eq_ignore_ascii_case(name));
            values.all(|(_, value)| allowed.iter().any(|a| a.eq_ignore_ascii_case(value)))
        };
        match self {
            // 1.0.0 is 0.0.4 with names that may be quoted; kctx has none that need to be.
            Self::Text => range.is("text/plain") && parameter("version", &["0.0.4", "1.0.0"]),
            Self::OpenMetrics => {
                range.is("application/openmetrics-text") && parameter("version", &["1.0.0"])
            }
            Self::Protobuf => {
                range.is("application/vnd.google.protobuf")
                    && parameter("proto", &["io.prometheus.client.MetricFamily"])
                    && parameter("encoding", &["delimited"])
            }
        }
    }
}

impl fmt::Display for Exposition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.content_type())
    }
}

/// The best of what an `Accept` header asks for. Text where there is none, and where it asks for nothing that there is:
/// Prometheus' rule, since a scrape that fails helps nobody.
#[must_use]
pub fn exposition(accept: Option<&str>) -> Exposition {
    let ranges: Vec<_> = accept.unwrap_or_default().split(',').map(Range).collect();
    let mut best = (0, Exposition::Text);
    for format in Exposition::ALL {
        let named = ranges.iter().filter(|range| format.is_named_by(range));
        let quality = named.map(Range::quality).max().unwrap_or(0);
        if quality > best.0 {
            best = (quality, format);
        }
    }
    // What is open to anything gets text, if it is wanted more than what is named.
    let open = ranges.iter().filter(|r| r.is("*/*") || r.is("text/*"));
    if open.map(Range::quality).max().unwrap_or(0) > best.0 {
        return Exposition::Text;
    }
    best.1
}

/// Whether an `Accept-Encoding` header permits gzip.
#[must_use]
pub fn gzip(accept_encoding: Option<&str>) -> bool {
    let ranges = accept_encoding.unwrap_or_default().split(',').map(Range);
    let quality = |name: &str| {
        let mut named = ranges.clone().filter(|range| range.is(name));
        named.next().map(|range| range.quality())
    };
    quality("gzip")
        .or_else(|| quality("x-gzip"))
        .or_else(|| quality("*"))
        .unwrap_or(0)
        > 0
}

/// An element of such a header: a name, parameters, and how much it is wanted.
struct Range<'a>(&'a str);

impl Range<'_> {
    fn is(&self, name: &str) -> bool {
        let own = self.0.split(';').next().unwrap_or_default();
        own.trim().eq_ignore_ascii_case(name)
    }

    fn parameters(&self) -> impl Iterator<Item = (&str, &str)> {
        let parameters = self.0.split(';').skip(1).filter_map(|p| p.split_once('='));
        parameters.map(|(key, value)| (key.trim(), value.trim().trim_matches('"')))
    }

    /// In thousandths; what cannot be read is not wanted.
    fn quality(&self) -> u32 {
        let mut weights = self
            .parameters()
            .filter(|(key, _)| key.eq_ignore_ascii_case("q"));
        match weights.next() {
            None => 1000,
            Some((_, text)) => match text.parse::<f64>() {
                Ok(weight) if (0.0..=1.0).contains(&weight) => (weight * 1000.0).round() as u32,
                _ => 0,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_clients_send_is_understood() {
        // prometheus 3.5 scrape/scrape.go acceptHeader, with and without native histograms; 2.4x; browsers; curl.
        let text = "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
        let native = format!(
            "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.7,\
             application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
             application/openmetrics-text;version=0.0.1;q=0.5,{text}"
        );
        let plain = format!(
            "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
             application/openmetrics-text;version=0.0.1;q=0.5,{text}"
        );
        for (accept, wanted) in [
            (Some(native.as_str()), Exposition::Protobuf),
            (Some(plain.as_str()), Exposition::OpenMetrics),
            (Some(text), Exposition::Text),
            (None, Exposition::Text),
            (Some(""), Exposition::Text),
            (Some("*/*"), Exposition::Text),
            (
                Some("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"),
                Exposition::Text,
            ),
            (
                Some("application/openmetrics-text"),
                Exposition::OpenMetrics,
            ),
            (
                Some("APPLICATION/OpenMetrics-Text; Version=\"1.0.0\"; Charset=utf-8"),
                Exposition::OpenMetrics,
            ),
            (
                Some("application/openmetrics-text;version=0.0.1"),
                Exposition::Text,
            ),
            (
                Some("application/openmetrics-text;version=2.0.0"),
                Exposition::Text,
            ),
            (
                Some("application/vnd.google.protobuf"),
                Exposition::Protobuf,
            ),
            (
                Some("application/vnd.google.protobuf;proto=other"),
                Exposition::Text,
            ),
            (
                Some("application/vnd.google.protobuf;encoding=text;q=1,text/plain;q=0.1"),
                Exposition::Text,
            ),
            (
                Some("application/openmetrics-text;q=0,text/plain"),
                Exposition::Text,
            ),
            (Some("application/openmetrics-text;q=0"), Exposition::Text),
            (
                Some("text/plain;q=0.5,application/openmetrics-text;q=0.5"),
                Exposition::OpenMetrics,
            ),
            (
                Some("application/openmetrics-text;q=0.1,*/*"),
                Exposition::Text,
            ),
            (Some("application/json"), Exposition::Text),
            (Some(";;;,=,q=x,\u{7f}"), Exposition::Text),
            (Some("application/openmetrics-text;q=nan"), Exposition::Text),
            (Some("application/openmetrics-text;q=1e3"), Exposition::Text),
        ] {
            assert_eq!(exposition(accept), wanted, "{accept:?}");
        }
    }

    #[test]
    fn gzip_only_where_it_is_accepted() {
        for (accept, wanted) in [
            (None, false),
            (Some(""), false),
            (Some("gzip"), true),
            (Some("deflate, GZIP;q=0.5"), true),
            (Some("gzip;q=0"), false),
            (Some("gzip;q=0, *"), false),
            (Some("*"), true),
            (Some("*;q=0"), false),
            (Some("identity"), false),
            (Some("br, zstd"), false),
        ] {
            assert_eq!(gzip(accept), wanted, "{accept:?}");
        }
    }
}
