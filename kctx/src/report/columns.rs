//! Text in columns, each as wide as its widest cell.

/// Where a column's text stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Align {
    Left,
    Right,
}

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
        let width = |column: usize| {
            let cells = self.rows.iter().map(|row| row[column].chars().count());
            cells.max().unwrap_or(0)
        };
        let widths: [usize; N] = std::array::from_fn(width);
        self.rows.iter().map(move |row| {
            let mut line = String::new();
            for ((cell, align), width) in row.iter().zip(self.align).zip(widths) {
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
