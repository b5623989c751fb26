//! Which failures may be retried, and when (OTLP specification: "Failures", "Throttling").

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::{Duration, SystemTime};

use tonic::Code;

/// What to do after a failed attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Send the same bytes again, not before `after` where the endpoint said so.
    Retry {
        /// What the endpoint asked for.
        after: Option<Duration>,
    },
    /// Not this request; smaller ones may pass.
    TooLarge,
    /// There is nothing that takes this signal.
    Unserved,
    /// It would fail again.
    Permanent,
}

/// What VictoriaMetrics answers with status 400 to a path that it does not know (lib/httpserver).
const UNKNOWN_PATH: &str = "unsupported path requested";

/// The verdict on an HTTP status other than 200. `said` is the answer's text.
#[must_use]
pub fn http_verdict(
    status: u16,
    retry_after: Option<&str>,
    said: &str,
    now: SystemTime,
) -> Verdict {
    match status {
        429 | 502 | 503 | 504 => Verdict::Retry {
            after: retry_after.and_then(|value| parse_retry_after(value, now)),
        },
        413 => Verdict::TooLarge,
        404 | 405 | 410 | 501 => Verdict::Unserved,
        400 if said.contains(UNKNOWN_PATH) => Verdict::Unserved,
        _ => Verdict::Permanent,
    }
}

/// `Retry-After`: seconds, or a date (RFC 9110, 10.2.3). A date in the past is no wait.
#[must_use]
pub fn parse_retry_after(value: &str, now: SystemTime) -> Option<Duration> {
    let value = value.trim();
    if let Ok(seconds) = value.parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let date = httpdate::parse_http_date(value).ok()?;
    Some(date.duration_since(now).unwrap_or_default())
}

/// The verdict on a gRPC status other than OK. `retry_info` is the delay of the `RetryInfo` detail.
#[must_use]
pub fn grpc_verdict(code: Code, retry_info: Option<Duration>, message: &str) -> Verdict {
    match code {
        Code::Cancelled
        | Code::DeadlineExceeded
        | Code::Aborted
        | Code::OutOfRange
        | Code::Unavailable
        | Code::DataLoss => Verdict::Retry { after: retry_info },
        // Only a server that says when is one that can recover.
        Code::ResourceExhausted if retry_info.is_some() => Verdict::Retry { after: retry_info },
        // Both the Go and the Python server word the size limit so.
        Code::ResourceExhausted if message.contains("larger than max") => Verdict::TooLarge,
        // What a server answers of a service that it does not have, and what HTTP's 404 stands for.
        Code::Unimplemented => Verdict::Unserved,
        _ => Verdict::Permanent,
    }
}

/// Exponential backoff with full jitter: a fleet that lost its collector must not return in step.
#[derive(Clone, Debug)]
pub struct Backoff {
    ceiling: Duration,
    most: Duration,
    random: u64,
}

impl Backoff {
    /// First wait: up to this.
    pub const INITIAL: Duration = Duration::from_millis(500);
    /// Any wait that the endpoint did not ask for: up to this.
    pub const MAX: Duration = Duration::from_secs(30);

    /// At the start, jittered by the process's own randomness.
    #[must_use]
    pub fn new() -> Self {
        Self::seeded(RandomState::new().build_hasher().finish())
    }

    /// At the start, with known jitter.
    #[must_use]
    pub fn seeded(seed: u64) -> Self {
        Self {
            ceiling: Self::INITIAL,
            most: Self::MAX,
            random: seed,
        }
    }

    /// The same with another bound than [`Self::MAX`].
    #[must_use]
    pub fn up_to(self, most: Duration) -> Self {
        Self { most, ..self }
    }

    /// How long to wait now: never less than the endpoint asked for, from which the backoff then grows.
    pub fn next(&mut self, asked: Option<Duration>) -> Duration {
        let floor = asked.unwrap_or_default();
        let ceiling = self.ceiling;
        self.ceiling = ceiling.max(floor).saturating_mul(2).min(self.most);
        floor.saturating_add(ceiling.mul_f64(self.fraction()))
    }

    /// In [0, 1), by splitmix64.
    fn fraction(&mut self) -> f64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^= z >> 31;
        (z >> 11) as f64 / (1_u64 << 53) as f64
    }
}

impl Default for Backoff {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_four_http_statuses_are_retried() {
        for status in 100..600 {
            let retried = matches!(
                http_verdict(status, None, "", SystemTime::UNIX_EPOCH),
                Verdict::Retry { .. }
            );
            assert_eq!(retried, [429, 502, 503, 504].contains(&status), "{status}");
        }
        let of = |status, said| http_verdict(status, None, said, SystemTime::UNIX_EPOCH);
        assert_eq!(of(413, ""), Verdict::TooLarge);
        assert_eq!(of(404, ""), Verdict::Unserved);
        assert_eq!(of(400, "out of order"), Verdict::Permanent);
        // As VictoriaMetrics words it.
        let said = "remoteAddr: \"10.0.0.9:53542\"; requestURI: /opentelemetry/v1/logs; unsupported path requested: \
                    \"/opentelemetry/v1/logs\"";
        assert_eq!(of(400, said), Verdict::Unserved);
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777 - 90);
        let cases = [
            ("7", Some(7)),
            (" 0 ", Some(0)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(90)),
            ("Sun, 06 Nov 1994 08:40:37 GMT", Some(0)),
            ("soon", None),
            ("-1", None),
            ("1.5", None),
        ];
        for (value, seconds) in cases {
            assert_eq!(
                parse_retry_after(value, now),
                seconds.map(Duration::from_secs),
                "{value}"
            );
        }
    }

    #[test]
    fn grpc_codes_follow_the_table() {
        let info = Some(Duration::from_secs(3));
        for number in 0..=16 {
            let code = Code::from(number);
            let expected = match number {
                1 | 4 | 10 | 11 | 14 | 15 => Verdict::Retry { after: None },
                12 => Verdict::Unserved,
                _ => Verdict::Permanent,
            };
            assert_eq!(grpc_verdict(code, None, ""), expected, "{code:?}");
        }
        assert_eq!(
            grpc_verdict(Code::ResourceExhausted, info, ""),
            Verdict::Retry { after: info }
        );
        assert_eq!(grpc_verdict(Code::Internal, info, ""), Verdict::Permanent);
        assert_eq!(
            grpc_verdict(
                Code::ResourceExhausted,
                None,
                "grpc: received message larger than max (5 vs. 4)"
            ),
            Verdict::TooLarge
        );
    }

    #[test]
    fn backoff_grows_to_its_bound_and_respects_the_endpoint() {
        for seed in 0..200 {
            let mut backoff = Backoff::seeded(seed);
            let mut ceiling = Backoff::INITIAL;
            for _ in 0..12 {
                assert!(backoff.next(None) <= ceiling);
                ceiling = (ceiling * 2).min(Backoff::MAX);
            }
            let asked = Duration::from_secs(45);
            let wait = backoff.next(Some(asked));
            assert!(wait >= asked && wait <= asked + Backoff::MAX);
        }
        let mut slow = Backoff::seeded(7).up_to(Duration::from_secs(3600));
        let asked = Duration::from_secs(60);
        let longest = (0..20).map(|_| slow.next(Some(asked))).max().unwrap();
        assert!(longest > Backoff::MAX * 10 && longest <= asked + Duration::from_secs(3600));
        let waits: std::collections::HashSet<_> = (0..50)
            .map(|seed| Backoff::seeded(seed).next(None))
            .collect();
        assert!(waits.len() > 40, "no jitter");
        let mut grown = Backoff::seeded(1);
        grown.next(Some(Duration::from_secs(4)));
        assert_eq!(grown.ceiling, Duration::from_secs(8));
    }
}
