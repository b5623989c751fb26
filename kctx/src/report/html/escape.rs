//! Text on a page: names come from the kernel, and whoever chose them may have had a page in mind.

use std::fmt::Write as _;

/// Text as HTML shows it, in an element or in a quoted attribute. What is not printable ASCII is escaped as for a
/// terminal, but for the units' µ and the like, which kctx itself writes.
pub(in crate::report) fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            'µ' | '·' | '–' | '→' => safe.push(character),
            ' ' => safe.push(' '),
            _ if character.is_ascii_graphic() => safe.push(character),
            // Writing into a String cannot fail.
            _ => {
                let _ = write!(safe, "{}", character.escape_default());
            }
        }
    }
    safe
}

/// JSON that may stand in a script element: nothing in it ends that, or begins a comment (HTML, 4.12.1.3).
pub(super) fn script_json(json: &str) -> String {
    let mut safe = String::with_capacity(json.len());
    for character in json.chars() {
        match character {
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                let _ = write!(safe, "\\u{:04x}", u32::from(character));
            }
            _ => safe.push(character),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn markup_is_text() {
        assert_eq!(
            escaped("<img src=x onerror='a(\"b\")'>&\u{7}\u{202e} µs"),
            "&lt;img src=x onerror=&#39;a(&quot;b&quot;)&#39;&gt;&amp;\\u{7}\\u{202e} µs"
        );
    }

    proptest! {
        #[test]
        fn no_text_gets_out(text in "(?s).{0,60}") {
            let safe = escaped(&text);
            prop_assert!(!safe.contains(['<', '>', '"', '\'']));
            let json = script_json(&serde_json::to_string(&text).unwrap());
            prop_assert!(!json.contains(['<', '>', '&']));
            prop_assert_eq!(serde_json::from_str::<String>(&json).unwrap(), text);
        }
    }
}
