//! What the governor limits, since when and why, in the live view's words.

use super::human::{cut, utc};
use crate::aggregate::window::Window;

/// Widest reason: a recording may bring any text.
const REASON_WIDTH: usize = 200;

/// One sentence for each family that is kept from the rings at the window's end, the longest limited first, and one
/// where that is not enough.
pub(crate) fn sentences(window: &Window) -> Vec<String> {
    let limited = (window.governor.iter()).filter(|row| row.until_unix_ns.is_none());
    let sentence = |what: &str, since_unix_ns: u64, reason: &str| {
        let (since, why) = (utc(since_unix_ns), cut(reason, REASON_WIDTH));
        format!("{what} since {since}: {why}")
    };
    let mut sentences: Vec<String> = limited
        .map(|row| {
            let what = format!("limited {}", row.family.as_str());
            sentence(&what, row.since_unix_ns, &row.reason)
        })
        .collect();
    let helpless = window.governor_helpless.as_ref();
    sentences.extend(
        helpless.map(|state| sentence("over the limit", state.since_unix_ns, &state.reason)),
    );
    sentences
}

/// A sentence in lines of at most `width` columns, broken between words.
pub(crate) fn wrapped(sentence: &str, width: usize) -> Vec<String> {
    const INDENT: &str = "  ";
    let mut lines: Vec<String> = Vec::new();
    for word in sentence.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.len() + 1 + word.len() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            Some(_) => lines.push(format!("{INDENT}{word}")),
            None => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aggregate::window::{Family, GovernorHelpless, GovernorRow};

    const SINCE: u64 = 1_795_316_645_000_000_000;
    const WHY: &str = "kctx used 3.6 % of a CPU, its limit is 2.0 %; 30000 records of this family in the last tick, the \
                       most; limited for 10 s at least";

    fn row(family: Family, until_unix_ns: Option<u64>) -> GovernorRow {
        GovernorRow {
            family,
            since_unix_ns: SINCE,
            until_unix_ns,
            reason: WHY.to_owned(),
        }
    }

    #[test]
    fn each_limited_family_has_its_since_and_its_why() {
        let mut window = Window {
            governor: vec![
                row(Family::Napi, None),
                row(Family::Kthread, Some(SINCE + 1)),
                row(Family::Softirq, None),
            ],
            ..Window::default()
        };
        let of = |family| format!("limited {family} since 2026-11-22 03:04:05 UTC: {WHY}");
        assert_eq!(sentences(&window), [of("napi"), of("softirq")]);
        window.governor.clear();
        window.governor_helpless = Some(GovernorHelpless {
            since_unix_ns: SINCE,
            reason: "nothing\x1b[2J is left".to_owned(),
        });
        assert_eq!(
            sentences(&window),
            ["over the limit since 2026-11-22 03:04:05 UTC: nothing\\u{1b}[2J is left"]
        );
        assert!(sentences(&Window::default()).is_empty());
    }

    #[test]
    fn a_sentence_that_is_too_long_for_the_terminal_goes_on_in_the_next_line() {
        let lines = wrapped(WHY, 80);
        assert_eq!(lines.len(), 2);
        assert!(lines.iter().all(|line| line.len() <= 80), "{lines:?}");
        assert!(lines[1].starts_with("  "));
        let words = lines.join(" ");
        let words: Vec<_> = words.split_whitespace().collect();
        assert_eq!(words.join(" "), WHY);
        assert!(wrapped("", 80).is_empty());
    }
}
