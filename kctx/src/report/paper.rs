//! What a report is written on: a terminal's columns, or a page for a browser.

use std::fmt;

use super::{columns::Columns, html::escape::escaped, human};

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// So many columns.
    Text(usize),
    /// HTML: a section a title.
    Page,
}

/// Names on a page have more room, but not more than this.
const PAGE_NAME: usize = 120;

/// Rows of a page's tables, for each that a terminal has.
const PAGE_ROWS: usize = 3;

/// A report that is being written.
#[derive(Debug)]
pub(super) struct Paper {
    form: Form,
    text: String,
    /// Of a page: lines that are not among the text yet.
    lines: String,
    /// Of a page: a section is open.
    is_open: bool,
}

impl Paper {
    /// For a terminal with so many columns.
    pub(super) fn text(width: usize) -> Self {
        Self::new(Form::Text(width))
    }

    /// For a page.
    pub(super) fn page() -> Self {
        Self::new(Form::Page)
    }

    fn new(form: Form) -> Self {
        Self {
            form,
            text: String::new(),
            lines: String::new(),
            is_open: false,
        }
    }

    /// Columns of a line of text; a page breaks its lines itself.
    pub(super) fn width(&self) -> usize {
        match self.form {
            Form::Text(width) => width,
            Form::Page => usize::MAX,
        }
    }

    /// A safe name in so many columns of a terminal, or as long as a page has room for.
    pub(super) fn cut(&self, text: &str, width: usize) -> String {
        match self.form {
            Form::Text(_) => human::cut(text, width),
            Form::Page => human::cut(text, width.max(PAGE_NAME)),
        }
    }

    /// How many rows a table has where a terminal's has so many.
    pub(super) fn rows(&self, of_text: usize) -> usize {
        match self.form {
            Form::Text(_) => of_text,
            Form::Page => of_text * PAGE_ROWS,
        }
    }

    /// Begins something new.
    pub(super) fn title(&mut self, title: &str) {
        match self.form {
            Form::Text(_) => {
                self.text.push('\n');
                self.text.push_str(title);
                self.text.push('\n');
            }
            Form::Page => {
                self.end_section();
                // What is in brackets explains, and is no part of the heading.
                let (heading, note) = match title.split_once(" (") {
                    Some((heading, note)) => (heading, note.trim_end_matches(')')),
                    None => (title, ""),
                };
                self.text.push_str("<section><h3>");
                self.text.push_str(&escaped(heading));
                self.text.push_str("</h3>");
                self.is_open = true;
                if !note.is_empty() {
                    let note = escaped(note);
                    self.text.push_str(&format!("<p class=\"note\">{note}</p>"));
                }
            }
        }
    }

    pub(super) fn push_str(&mut self, text: &str) {
        match self.form {
            Form::Text(_) => self.text.push_str(text),
            Form::Page => self.lines.push_str(text),
        }
    }

    /// A table; on a terminal with as many columns as there is room for.
    pub(super) fn table<const N: usize>(&mut self, table: &Columns<N>) {
        if self.form == Form::Page {
            self.end_lines();
            self.text.push_str(&table.html());
            return;
        }
        let (lines, left_out) = table.within(self.width());
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

    /// What was written. Lines of text that are too long go on in the next, two columns further right.
    pub(super) fn finish(mut self) -> String {
        match self.form {
            Form::Page => {
                self.end_section();
                self.text
            }
            Form::Text(width) => {
                let mut text = String::with_capacity(self.text.len());
                for line in self.text.lines() {
                    wrap(&mut text, line, width);
                }
                text
            }
        }
    }

    fn end_lines(&mut self) {
        for line in std::mem::take(&mut self.lines).lines() {
            if !line.trim().is_empty() {
                self.text.push_str("<p class=\"line\">");
                self.text.push_str(&escaped(line.trim()));
                self.text.push_str("</p>");
            }
        }
    }

    fn end_section(&mut self) {
        self.end_lines();
        if self.is_open {
            self.text.push_str("</section>\n");
        }
        self.is_open = false;
    }
}

impl fmt::Write for Paper {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.push_str(text);
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
        let mut paper = Paper::text(20);
        paper.push_str("  short\n  a sentence of several words\n\nend\n");
        assert_eq!(
            paper.finish(),
            "  short\n  a sentence of\n    several words\n\nend\n"
        );
    }

    #[test]
    fn a_table_says_what_it_has_no_room_for() {
        let mut table = Columns::new(["<name", "time", "wait max"]);
        let name = "a name of thirty characters...";
        table.push([name.into(), "5 ns".into(), "9 ns".into()]);
        let mut paper = Paper::text(24);
        paper.table(&table);
        let text = paper.finish();
        assert!(
            text.lines().all(|line| line.chars().count() <= 24),
            "{text}"
        );
        assert!(
            text.contains("a name of t~") && text.contains("wait max)"),
            "{text}"
        );
    }

    #[test]
    fn a_page_has_sections_and_nothing_in_them_is_markup() {
        let mut table = Columns::new(["<name", "time"]);
        table.push(["<b>x</b>".into(), "5 ns".into()]);
        let mut paper = Paper::page();
        paper.title("Things (by <time>)");
        paper.table(&table);
        paper.push_str("  and 3 more & others\n");
        assert_eq!(
            paper.finish(),
            "<section><h3>Things</h3><p class=\"note\">by &lt;time&gt;</p>\
             <div class=\"wide\"><table><thead><tr><th>name</th><th class=\"n\">time</th></tr></thead>\
             <tbody><tr><td>&lt;b&gt;x&lt;/b&gt;</td><td class=\"n\">5 ns</td></tr></tbody></table></div>\
             <p class=\"line\">and 3 more &amp; others</p></section>\n"
        );
    }
}
