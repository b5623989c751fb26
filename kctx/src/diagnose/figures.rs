//! Numbers as findings say them.

use crate::report::human::{count, duration};

/// `97 %`, `3.2 %`, `<0.1 %`.
pub(super) fn percent(value: f64) -> String {
    match value {
        value if value >= 9.95 => format!("{value:.0} %"),
        value if value >= 0.095 => format!("{value:.1} %"),
        value if value > 0.0 => "<0.1 %".to_owned(),
        _ => "0 %".to_owned(),
    }
}

/// `630,431/s`, `2.3/s`.
pub(super) fn rate(per_second: f64) -> String {
    format!("{}/s", number(per_second))
}

/// `630,431`, `2.3`.
pub(super) fn number(value: f64) -> String {
    match value {
        // A float too large for a count is cut to the largest one.
        value if value >= 9.95 => count(value.round() as u64),
        value if value >= 0.05 => format!("{value:.1}"),
        value if value > 0.0 => "<0.1".to_owned(),
        _ => "0".to_owned(),
    }
}

/// A duration in nanoseconds.
pub(super) fn time(ns: f64) -> String {
    duration(ns.max(0.0).round() as u64)
}

/// `a`, `a and b`, `a, b and c`.
pub(super) fn list<T: AsRef<str>>(items: &[T]) -> String {
    match items {
        [] => String::new(),
        [one] => one.as_ref().to_owned(),
        [most @ .., last] => {
            let most: Vec<_> = most.iter().map(AsRef::as_ref).collect();
            format!("{} and {}", most.join(", "), last.as_ref())
        }
    }
}

/// `CPU 3`, `CPUs 0-3,7`.
pub(super) fn cpus(cpus: &[u32]) -> String {
    match cpus {
        [one] => format!("CPU {one}"),
        many => format!("CPUs {}", crate::host::cpus::format_cpu_list(many)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_have_the_digits_that_matter() {
        assert_eq!(
            [97.4, 9.94, 0.02, 0.0].map(percent),
            ["97 %", "9.9 %", "<0.1 %", "0 %"]
        );
        assert_eq!(
            [630_431.2, 2.34, 0.0].map(rate),
            ["630,431/s", "2.3/s", "0/s"]
        );
        assert_eq!(time(32_000.0), "32.0 µs");
        assert_eq!(list(&["a", "b", "c"]), "a, b and c");
        assert_eq!(
            (cpus(&[3]), cpus(&[0, 1, 2])),
            ("CPU 3".into(), "CPUs 0-2".into())
        );
    }
}
