//! What is written, and how wide it may be.

use std::fmt;

use crate::report::columns::Columns;

/// Text that keeps to a width.
#[derive(Debug)]
pub(super) struct Paper {
    text: String,
    width: usize,
}

impl Paper {
    /// Blank.
    pub(super) fn new(width: usize) -> Self {
        Self {
            text: String::new(),
            width,
        }
    }

    pub(super) fn width(&self) -> usize {
        self.width
    }

    pub(super) fn push_str(&mut self, text: &str) {
        self.text.push_str(text);
    }

    pub(super) fn push(&mut self, character: char) {
        self.text.push(character);
    }

    /// A table, with as many columns as there is room for.
    pub(super) fn table<const N: usize>(&mut self, table: &Columns<N>) {
        let (lines, left_out) = table.within(self.width);
        for line in lines {
            self.text.push_str(&line);
            self.text.push('\n');
        }
        if !left_out.is_empty() {
            let left_out = left_out.join(", ");
            self.text
                .push_str(&format!("  (no room here for: {left_out})\n"));
        }
    }

    /// What was written; lines that are too long go on in the next, two columns further right.
    pub(super) fn into_text(self) -> String {
        let mut text = String::with_capacity(self.text.len());
        for line in self.text.lines() {
            wrap(&mut text, line, self.width);
        }
        text
    }
}

impl fmt::Write for Paper {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.text.push_str(text);
        Ok(())
    }
}

fn wrap(text: &mut String, line: &str, width: usize) {
    if line.chars().count() <= width {
        text.push_str(line);
        text.push('\n');
        return;
    }
    let indent = line.chars().take_while(|c| *c == ' ').count();
    let mut column = 0;
    for (index, word) in line.trim_start().split(' ').enumerate() {
        let length = word.chars().count();
        if index == 0 {
            text.extend(std::iter::repeat_n(' ', indent));
            column = indent;
        } else if column + 1 + length > width {
            text.push('\n');
            text.extend(std::iter::repeat_n(' ', indent + 2));
            column = indent + 2;
        } else {
            text.push(' ');
            column += 1;
        }
        text.push_str(word);
        column += length;
    }
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_long_goes_on_in_the_next_line() {
        let mut paper = Paper::new(20);
        paper.push_str("  short\n  a sentence of several words\n\nend\n");
        assert_eq!(
            paper.into_text(),
            "  short\n  a sentence of\n    several words\n\nend\n"
        );
    }

    #[test]
    fn a_table_says_what_it_has_no_room_for() {
        let mut table = Columns::new(["<name", "time", "wait max"]);
        table.push([
            "a name of thirty characters...".into(),
            "5 ns".into(),
            "9 ns".into(),
        ]);
        let mut paper = Paper::new(24);
        paper.table(&table);
        let text = paper.into_text();
        assert!(
            text.lines().all(|line| line.chars().count() <= 24),
            "{text}"
        );
        assert!(
            text.contains("a name of t~") && text.contains("wait max)"),
            "{text}"
        );
    }
}
