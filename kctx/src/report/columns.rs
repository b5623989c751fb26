//! Text in columns, each as wide as its widest cell.

use std::borrow::Cow;

use super::html::escape::escaped;

/// Where a column's text stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Align {
    Left,
    Right,
}

/// Blanks before each column.
const GAP: usize = 2;

/// Columns that a text has at least.
const NARROWEST_TEXT: usize = 12;

/// Rows under a heading.
#[derive(Debug)]
pub(crate) struct Columns<const N: usize> {
    align: [Align; N],
    rows: Vec<[String; N]>,
}

impl<const N: usize> Columns<N> {
    /// A table with its headings: names that begin with `<` stand left, others right.
    pub(crate) fn new(headings: [&str; N]) -> Self {
        let align = headings.map(|heading| match heading.starts_with('<') {
            true => Align::Left,
            false => Align::Right,
        });
        let headings = headings.map(|heading| heading.trim_start_matches('<').to_owned());
        Self {
            align,
            rows: vec![headings],
        }
    }

    pub(crate) fn push(&mut self, row: [String; N]) {
        self.rows.push(row);
    }

    /// The lines, indented, without blanks at their ends.
    pub(crate) fn lines(&self) -> impl Iterator<Item = String> {
        self.laid_out(self.widths())
    }

    /// The lines in so many columns of a terminal, and the headings of what there was no room for: texts are cut first,
    /// then the last numbers left out.
    pub(crate) fn within(&self, room: usize) -> (Vec<String>, Vec<&str>) {
        let mut widths = self.widths();
        let too_wide = |widths: &[usize; N]| {
            let shown = widths.iter().filter(|width| **width > 0);
            shown.map(|width| width + GAP).sum::<usize>() > room
        };
        let mut left_out = Vec::new();
        while too_wide(&widths) {
            let texts = (0..N).filter(|&column| self.align[column] == Align::Left);
            let widest = texts.max_by_key(|&column| widths[column]);
            if let Some(widest) = widest.filter(|&column| widths[column] > NARROWEST_TEXT) {
                widths[widest] -= 1;
                continue;
            }
            // The first says what the row is of.
            let is_shown =
                |&column: &usize| self.align[column] == Align::Right && widths[column] > 0;
            let Some(last) = (1..N).rfind(is_shown) else {
                break;
            };
            widths[last] = 0;
            left_out.insert(0, self.rows[0][last].as_str());
        }
        (self.laid_out(widths).collect(), left_out)
    }

    /// The same as HTML.
    pub(crate) fn html(&self) -> String {
        let mut html = String::from("<div class=\"wide\"><table><thead>");
        for (index, row) in self.rows.iter().enumerate() {
            let tag = if index == 0 { "th" } else { "td" };
            html.push_str("<tr>");
            for (cell, align) in row.iter().zip(self.align) {
                let class = match align {
                    Align::Left => "",
                    Align::Right => " class=\"n\"",
                };
                html.push_str(&format!("<{tag}{class}>{}</{tag}>", escaped(cell)));
            }
            html.push_str("</tr>");
            if index == 0 {
                html.push_str("</thead><tbody>");
            }
        }
        html.push_str("</tbody></table></div>");
        html
    }

    fn widths(&self) -> [usize; N] {
        std::array::from_fn(|column| {
            let cells = self.rows.iter().map(|row| row[column].chars().count());
            cells.max().unwrap_or(0)
        })
    }

    /// Columns of no width are not there.
    fn laid_out(&self, widths: [usize; N]) -> impl Iterator<Item = String> {
        self.rows.iter().map(move |row| {
            let mut line = String::new();
            for ((cell, align), width) in row.iter().zip(self.align).zip(widths) {
                if width == 0 {
                    continue;
                }
                let cell = cut(cell, width);
                line.push_str("  ");
                match align {
                    Align::Left => line.push_str(&format!("{cell:<width$}")),
                    Align::Right => line.push_str(&format!("{cell:>width$}")),
                }
            }
            line.truncate(line.trim_end().len());
            line
        })
    }
}

/// A cell that is too wide, with `~` where it was cut.
fn cut(cell: &str, width: usize) -> Cow<'_, str> {
    if cell.chars().count() <= width {
        return Cow::Borrowed(cell);
    }
    let kept: String = cell.chars().take(width.saturating_sub(1)).collect();
    Cow::Owned(kept + "~")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut columns = Columns::new(["<name", "time"]);
        columns.push(["a".into(), "12.3 µs".into()]);
        columns.push(["longer".into(), "5 ns".into()]);
        let lines: Vec<_> = columns.lines().collect();
        assert_eq!(
            lines,
            [
                "  name       time",
                "  a       12.3 µs",
                "  longer     5 ns"
            ]
        );
    }
}
