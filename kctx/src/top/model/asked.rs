//! What the view asks of the model.

use super::{Model, Open};
use crate::top::{
    detail,
    happened::{self, Happened},
    history::Frame,
    rows,
    table::{Row, Tab},
};

impl Model {
    /// The window that is shown.
    pub(in crate::top) fn shown(&self) -> Option<&Frame> {
        match self.held {
            Some(number) => self.history.at(number),
            None => self.history.newest(),
        }
    }

    /// Held at a window, whatever comes.
    pub(in crate::top) fn is_held(&self) -> bool {
        self.held.is_some()
    }

    /// The recording is over.
    pub(in crate::top) fn is_over(&self) -> bool {
        self.over
    }

    /// How many windows are kept, and the how manieth of them is shown, from 1.
    pub(in crate::top) fn place(&self) -> (usize, usize) {
        let shown = self.shown().map_or(0, |frame| frame.number);
        let older = self.history.up_to(shown).count();
        (older, self.history.len())
    }

    pub(in crate::top) fn missed(&self) -> u64 {
        self.missed
    }

    pub(in crate::top) fn tab(&self) -> Tab {
        self.tab
    }

    pub(in crate::top) fn open(&self) -> Open {
        self.open
    }

    /// The column that the table is sorted by, and whether the largest is first.
    pub(in crate::top) fn sorting(&self) -> (usize, bool) {
        (self.look().sorted_by, self.look().descending)
    }

    pub(in crate::top) fn cursor(&self) -> usize {
        self.look().cursor
    }

    /// The filter, and whether it is being typed.
    pub(in crate::top) fn filter(&self) -> (&str, bool) {
        (&self.filter, self.typing)
    }

    pub(in crate::top) fn cpus_from(&self) -> usize {
        self.cpus_from
    }

    /// What kctx said last.
    pub(in crate::top) fn note(&self) -> Option<&str> {
        self.note.as_deref()
    }

    /// The newest that happened up to the window that is shown.
    pub(in crate::top) fn happened(&self, most: usize) -> Vec<Happened> {
        let shown = self.shown().map(|frame| frame.number);
        shown.map_or_else(Vec::new, |number| {
            happened::up_to(&self.history, number, most)
        })
    }

    /// The table's rows with their cells, as filter and sorting have them.
    pub(in crate::top) fn with_rows<T>(&self, look: impl FnOnce(&[Row<'_>]) -> T) -> T {
        let Some(frame) = self.shown() else {
            return look(&[]);
        };
        let happened = match self.tab {
            Tab::Events => self.happened(happened::SHOWN),
            _ => Vec::new(),
        };
        let mut rows = rows::rows(self.tab, frame, &happened);
        let columns = self.tab.columns();
        rows.retain(|row| row.matches(columns, &self.filter));
        let (sorted_by, descending) = self.sorting();
        // Stable: equal rows stay in the summary's order, so they do not jump about.
        rows.sort_by(|a, b| {
            let order = a.values[sorted_by].order(&b.values[sorted_by]);
            if descending { order.reverse() } else { order }
        });
        look(&rows)
    }

    /// The table's rows, without their cells.
    pub(in crate::top) fn rows(&self) -> Vec<Place> {
        self.with_rows(|rows| {
            let place = |row: &Row<'_>| Place {
                key: row.key.clone(),
                index: row.index,
            };
            rows.iter().map(place).collect()
        })
    }

    pub(in crate::top) fn selected(&self) -> Option<Place> {
        self.rows().into_iter().nth(self.cursor())
    }

    /// All of the selected row, in lines.
    pub(in crate::top) fn detail(&self) -> Vec<String> {
        let (Some(frame), Some(row)) = (self.shown(), self.selected()) else {
            return Vec::new();
        };
        let followed = self.look().followed.as_ref();
        if followed.is_some_and(|key| *key != row.key) {
            return vec!["It did not run in this window.".to_owned()];
        }
        match self.tab {
            Tab::Events => {
                let happened = self.happened(happened::SHOWN);
                happened.get(row.index).map_or_else(Vec::new, detail::event)
            }
            tab => detail::detail(tab, frame, row.index),
        }
    }

    /// Whether the selection is on a row there is.
    #[cfg(test)]
    pub(in crate::top) fn is_in_range(&self) -> bool {
        self.cursor() == 0 || self.cursor() < self.rows().len()
    }
}

/// A row of the table: what it is, and where its source is in the summary.
pub(in crate::top) struct Place {
    pub(super) key: String,
    index: usize,
}
