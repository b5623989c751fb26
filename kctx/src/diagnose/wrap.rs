//! Text in lines of a terminal's width.

/// Columns of a line.
const WIDTH: usize = 80;

/// Wraps words; the first line begins with one thing, all others with another. Ends with a newline.
pub(super) fn wrap(text: &str, first: &str, others: &str) -> String {
    let mut out = String::from(first);
    let mut column = first.chars().count();
    let mut empty = true;
    for word in text.split(' ').filter(|word| !word.is_empty()) {
        let length = word.chars().count();
        if !empty && column + 1 + length > WIDTH {
            out.truncate(out.trim_end().len());
            out.push('\n');
            out.push_str(others);
            column = others.chars().count();
            empty = true;
        }
        if !empty {
            out.push(' ');
            column += 1;
        }
        out.push_str(word);
        column += length;
        empty = false;
    }
    out.push('\n');
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lines_are_indented_and_words_stay_whole() {
        let text = "word ".repeat(30);
        let wrapped = wrap(&text, "1. ", "   ");
        let lines: Vec<_> = wrapped.lines().collect();
        assert_eq!((lines.len(), lines[0].len()), (2, 77));
        assert!(lines[0].starts_with("1. word") && lines[1].starts_with("   word"));
    }

    proptest! {
        #[test]
        fn nothing_is_lost_and_nothing_too_wide(words in prop::collection::vec("[a-zµ]{1,30}", 0..60)) {
            let wrapped = wrap(&words.join(" "), "- ", "  ");
            prop_assert!(wrapped.lines().all(|line| line.chars().count() <= WIDTH));
            let back: Vec<_> = wrapped[1..].split_whitespace().collect();
            prop_assert_eq!(back, words);
        }
    }
}
