//! Numbers and names as a person reads them on a terminal.

/// A duration in three digits or so: `850 ns`, `12.3 µs`, `4.56 ms`, `1.23 s`.
#[must_use]
pub fn duration(ns: u64) -> String {
    const UNITS: [(f64, &str); 3] = [(1e3, "µs"), (1e6, "ms"), (1e9, "s")];
    if ns < 1000 {
        return format!("{ns} ns");
    }
    let (mut scale, mut unit) = UNITS[0];
    for (next, name) in &UNITS[1..] {
        // 999.5 µs would be written as 1000 µs: it belongs to the next unit already.
        if ns as f64 >= next * 0.999_5 {
            (scale, unit) = (*next, *name);
        }
    }
    let value = ns as f64 / scale;
    let decimals = match value {
        value if value < 9.995 => 2,
        value if value < 99.95 => 1,
        _ => 0,
    };
    format!("{value:.decimals$} {unit}")
}

/// A count in groups of three: `1,234,567`.
#[must_use]
pub fn count(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A count in seven columns: in groups of three, from a million on rounded: `12.3 M`.
#[must_use]
pub fn brief(value: u64) -> String {
    const SCALES: [(f64, &str); 4] = [(1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M")];
    if value < 1_000_000 {
        return count(value);
    }
    // Just below a unit's first value the number would be written with four digits.
    let of = |(scale, unit): &(f64, &'static str)| (value as f64 / scale, *unit);
    let (value, unit) = SCALES
        .iter()
        .map(of)
        .find(|(v, _)| *v >= 0.999_5)
        .unwrap_or((0.0, ""));
    let decimals = match value {
        value if value < 9.995 => 2,
        value if value < 99.95 => 1,
        _ => 0,
    };
    format!("{value:.decimals$} {unit}")
}

/// A share of counts: a whole number of per cent, `<1 %` of what is less than one.
#[must_use]
pub fn percent(part: u64, whole: u64) -> String {
    if whole == 0 {
        return "-".to_owned();
    }
    let percent = part as f64 * 100.0 / whole as f64;
    if part > 0 && percent < 1.0 {
        return "<1 %".to_owned();
    }
    format!("{percent:.0} %")
}

/// A part of a whole in per cent; `-` of nothing.
#[must_use]
pub fn share(part_ns: u64, whole_ns: u64) -> String {
    if whole_ns == 0 {
        return "-".to_owned();
    }
    let percent = part_ns as f64 * 100.0 / whole_ns as f64;
    // "0.00 %" of something that did happen would read as nothing.
    if part_ns > 0 && percent < 0.005 {
        return "<0.01 %".to_owned();
    }
    format!("{percent:.2} %")
}

/// A size with one decimal: `24.1 MiB`.
#[must_use]
pub fn bytes(value: u64) -> String {
    bytesize::ByteSize::b(value).to_string()
}

/// A name that came from the kernel, safe to print: a driver or a process chooses it, and an escape
/// sequence in it must not reach the terminal. What is not printable ASCII is escaped, but for the micro sign of
/// [`duration`]: sentences of ours with such names in them pass through here too.
#[must_use]
pub fn name(text: &str) -> String {
    text.chars()
        .flat_map(|character| {
            let printable = matches!(character, ' ' | 'µ') || character.is_ascii_graphic();
            let escaped = (!printable).then(|| character.escape_default());
            escaped
                .into_iter()
                .flatten()
                .chain(printable.then_some(character))
        })
        .collect()
}

/// A safe name of at most `width` columns, with `~` where it was cut.
#[must_use]
pub fn cut(text: &str, width: usize) -> String {
    let safe = name(text);
    if safe.chars().count() <= width {
        return safe;
    }
    let kept = safe.chars().take(width.saturating_sub(1));
    kept.chain((width > 0).then_some('~')).collect()
}

/// A UTC time to the second: `2026-11-22 03:04:05 UTC`.
#[must_use]
pub fn utc(unix_ns: u64) -> String {
    let seconds = unix_ns / 1_000_000_000;
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    // Days to a date of the Gregorian calendar, with years that begin in March so that the leap day
    // is a year's last: H. Hinnant, "chrono-compatible low-level date algorithms".
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 {
        march_month + 3
    } else {
        march_month - 9
    };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} UTC")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn durations_have_three_digits_and_the_unit_that_fits() {
        let shown = [
            (0, "0 ns"),
            (850, "850 ns"),
            (999, "999 ns"),
            (1_000, "1.00 µs"),
            (12_345, "12.3 µs"),
            (999_499, "999 µs"),
            (999_500, "1.00 ms"),
            (4_560_000, "4.56 ms"),
            (1_200_000_000, "1.20 s"),
            (3_600_000_000_000, "3600 s"),
        ];
        for (ns, text) in shown {
            assert_eq!(duration(ns), text);
        }
    }

    #[test]
    fn counts_and_shares() {
        assert_eq!(count(0), "0");
        assert_eq!(count(999), "999");
        assert_eq!(count(1_234_567), "1,234,567");
        assert_eq!(share(1, 2), "50.00 %");
        assert_eq!(share(1, 1_000_000), "<0.01 %");
        assert_eq!(share(0, 5), "0.00 %");
        assert_eq!(share(5, 0), "-");
        let briefs = [
            999_999,
            1_000_000,
            12_345_678,
            999_499_999,
            999_500_000,
            u64::MAX,
        ];
        assert_eq!(
            briefs.map(brief),
            ["999,999", "1.00 M", "12.3 M", "999 M", "1.00 G", "18447 P"]
        );
        assert_eq!(percent(1, 3), "33 %");
        assert_eq!(
            (percent(1, 200), percent(0, 5), percent(1, 0)),
            ("<1 %".into(), "0 %".into(), "-".into())
        );
    }

    #[test]
    fn names_cannot_reach_the_terminal_as_control_characters() {
        assert_eq!(name("eth0-rx\x1b[2J\n"), "eth0-rx\\u{1b}[2J\\n");
        assert_eq!(name("PCIe PME"), "PCIe PME");
        assert_eq!(cut("abcdef", 6), "abcdef");
        assert_eq!(cut("abcdefg", 6), "abcde~");
        assert_eq!(cut("a", 0), "");
    }

    #[test]
    fn dates() {
        assert_eq!(utc(0), "1970-01-01 00:00:00 UTC");
        assert_eq!(utc(951_782_399_000_000_000), "2000-02-28 23:59:59 UTC");
        assert_eq!(utc(951_782_400_000_000_000), "2000-02-29 00:00:00 UTC");
        assert_eq!(utc(1_795_316_645_999_999_999), "2026-11-22 03:04:05 UTC");
    }

    proptest! {
        #[test]
        fn nothing_panics_and_all_is_short(ns in any::<u64>(), text in "(?s).{0,40}", width in 0usize..30) {
            prop_assert!(duration(ns).len() < 20);
            prop_assert!(utc(ns).ends_with(" UTC"));
            prop_assert!(cut(&text, width).chars().count() <= width);
            prop_assert!(name(&text).chars().all(|c| matches!(c, ' ' | 'µ') || c.is_ascii_graphic()));
        }

        #[test]
        fn a_duration_reads_back_within_its_digits(ns in 1u64..10_000_000_000_000) {
            let text = duration(ns);
            let (value, unit) = text.split_once(' ').unwrap();
            let scale = match unit { "ns" => 1.0, "µs" => 1e3, "ms" => 1e6, _ => 1e9 };
            let back = value.parse::<f64>().unwrap() * scale;
            prop_assert!((back - ns as f64).abs() <= ns as f64 * 0.0051, "{ns}: {text}");
        }
    }
}
