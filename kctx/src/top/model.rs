//! What is looked at: pure, events in, state out.

mod asked;

use ratatui_core::layout::Rect;
use ratatui_crossterm::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::{
    history::{Frame, History},
    keys::{Action, KEYS, action},
    table::{TABS, Tab},
    view,
};

/// Longest filter.
const FILTER_LENGTH: usize = 60;

/// Something from outside.
#[derive(Debug)]
pub enum Event {
    /// A window closed.
    Window(Box<Frame>),
    /// Windows that closed while the terminal took nothing, so far.
    Missed(u64),
    /// A key was pressed.
    Key(KeyEvent),
    /// The terminal has so many columns and lines.
    Size(u16, u16),
    /// kctx had something to say.
    Note(String),
    /// The recording is over: no more windows come.
    Over,
}

/// What an event did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// What is shown is the same.
    Same,
    /// Something else is to be shown.
    Redraw,
    /// It is over.
    Quit,
}

/// How a table is looked at.
#[derive(Clone, Debug)]
struct Look {
    sorted_by: usize,
    descending: bool,
    cursor: usize,
    /// The row that is selected, wherever it moves; `None`: whichever is first.
    followed: Option<String>,
}

/// What is open over or instead of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Open {
    /// The table itself.
    Table,
    /// All of a row, from a line on.
    Detail(usize),
    /// The keys, from a line on.
    Help(usize),
}

/// The state.
#[derive(Debug)]
pub struct Model {
    history: History,
    /// The number of the window that is shown; `None`: the newest.
    held: Option<u64>,
    /// There will be no newer one.
    over: bool,
    missed: u64,
    tab: Tab,
    looks: [Look; TABS],
    filter: String,
    typing: bool,
    open: Open,
    cpus_from: usize,
    size: (u16, u16),
    note: Option<String>,
}

impl Model {
    /// Nothing yet, on a terminal of so many columns and lines; keeps about so many bytes of windows.
    #[must_use]
    pub fn new(history_bytes: usize, (width, height): (u16, u16)) -> Self {
        Self {
            history: History::new(history_bytes),
            held: None,
            over: false,
            missed: 0,
            tab: Tab::Softirqs,
            looks: Tab::ALL.map(|tab| Look {
                sorted_by: tab.first_sort(),
                descending: tab.first_descending(),
                cursor: 0,
                followed: None,
            }),
            filter: String::new(),
            typing: false,
            open: Open::Table,
            cpus_from: 0,
            size: (width, height),
            note: None,
        }
    }

    /// Takes an event.
    pub fn take(&mut self, event: Event) -> Outcome {
        match event {
            Event::Window(frame) => {
                self.history.push(*frame);
                // Paused means that nothing moves, unless the window looked at had to go.
                let gone = |held| self.history.at(held).is_none_or(|f| f.number != held);
                match self.held {
                    Some(held) if !gone(held) => return Outcome::Same,
                    Some(held) => self.held = self.history.at(held).map(|frame| frame.number),
                    None => {}
                }
                self.follow();
            }
            Event::Missed(missed) if self.held.is_some() || missed == self.missed => {
                self.missed = missed;
                return Outcome::Same;
            }
            Event::Missed(missed) => self.missed = missed,
            Event::Key(key) => return self.key(key),
            Event::Size(width, height) => self.size = (width, height),
            Event::Note(line) => self.note = Some(line),
            Event::Over => self.over = true,
        }
        Outcome::Redraw
    }

    fn key(&mut self, key: KeyEvent) -> Outcome {
        // Whoever presses a key has read it.
        let read = self.note.take().is_some();
        match self.pressed(key) {
            Outcome::Same if read => Outcome::Redraw,
            outcome => outcome,
        }
    }

    fn pressed(&mut self, key: KeyEvent) -> Outcome {
        if self.typing {
            return self.typed(key);
        }
        match action(key) {
            None => Outcome::Same,
            Some(action) => self.act(action),
        }
    }

    /// A key while a filter is being typed.
    fn typed(&mut self, key: KeyEvent) -> Outcome {
        let control = key.modifiers.contains(KeyModifiers::CONTROL);
        match key.code {
            KeyCode::Char('c') if control => return Outcome::Quit,
            KeyCode::Char('u') if control => self.filter.clear(),
            KeyCode::Char(letter) if !control && self.filter.len() < FILTER_LENGTH => {
                self.filter.extend(letter.to_lowercase());
            }
            KeyCode::Backspace => drop(self.filter.pop()),
            KeyCode::Enter => self.typing = false,
            KeyCode::Esc => {
                self.typing = false;
                self.filter.clear();
            }
            _ => return Outcome::Same,
        }
        self.follow();
        Outcome::Redraw
    }

    fn act(&mut self, action: Action) -> Outcome {
        match action {
            Action::Quit => return Outcome::Quit,
            Action::Close => match self.open {
                Open::Table if self.filter.is_empty() => return Outcome::Quit,
                Open::Table => self.filter.clear(),
                _ => self.open = Open::Table,
            },
            Action::Help => {
                self.open = match self.open {
                    Open::Help(_) => Open::Table,
                    _ => Open::Help(0),
                }
            }
            Action::Detail => {
                self.open = match self.open {
                    Open::Table if self.selected().is_some() => Open::Detail(0),
                    _ => Open::Table,
                };
                // What is open is that row's, also when others overtake it.
                self.select(self.cursor());
            }
            Action::Down => self.step(1),
            Action::Up => self.step(-1),
            Action::PageDown => self.step(self.page()),
            Action::PageUp => self.step(-self.page()),
            Action::First => self.step(isize::MIN),
            Action::Last => self.step(isize::MAX),
            Action::NextTab => self.show(self.tab.index() + 1),
            Action::PreviousTab => self.show(self.tab.index() + TABS - 1),
            Action::Show(tab) => self.show(tab.index()),
            Action::SortRight => self.sort(1),
            Action::SortLeft => self.sort(-1),
            Action::Reverse => {
                let look = self.look_mut();
                look.descending = !look.descending;
                self.follow();
            }
            Action::Filter => {
                self.typing = true;
                self.open = Open::Table;
            }
            Action::Pause => {
                self.held = match self.held {
                    Some(_) => None,
                    None => self.shown().map(|frame| frame.number),
                };
                self.follow();
            }
            Action::Back => self.turn(true),
            Action::Forward => self.turn(false),
            Action::CpusDown => {
                let cpus = self.shown().map_or(0, |frame| frame.summary.cpu.len());
                let more = view::cpu_columns(self.size.0, cpus);
                if self.cpus_from + more < cpus {
                    self.cpus_from += more;
                }
            }
            Action::CpusUp => {
                let cpus = self.shown().map_or(0, |frame| frame.summary.cpu.len());
                let less = view::cpu_columns(self.size.0, cpus);
                self.cpus_from = self.cpus_from.saturating_sub(less);
            }
        }
        Outcome::Redraw
    }

    /// The window before or after, which is then held.
    fn turn(&mut self, back: bool) {
        let Some(shown) = self.shown().map(|frame| frame.number) else {
            return;
        };
        let beside = self.history.beside(shown, back).map(|frame| frame.number);
        self.held = Some(beside.unwrap_or(shown));
        self.follow();
    }

    fn show(&mut self, index: usize) {
        self.tab = Tab::ALL[index % TABS];
        self.open = Open::Table;
        self.follow();
    }

    fn sort(&mut self, step: isize) {
        let columns = self.tab.columns().len();
        let look = self.look_mut();
        look.sorted_by = look.sorted_by.saturating_add_signed(step).min(columns - 1);
        self.follow();
    }

    /// Moves the selection, or what is open.
    fn step(&mut self, by: isize) {
        let moved = |from: usize, last: usize| from.saturating_add_signed(by).min(last);
        match self.open {
            Open::Table => {
                let last = self.rows().len().saturating_sub(1);
                self.select(moved(self.cursor(), last));
            }
            Open::Detail(from) => {
                let last = self.detail().len().saturating_sub(1);
                self.open = Open::Detail(moved(from, last));
            }
            Open::Help(from) => self.open = Open::Help(moved(from, KEYS.len() - 1)),
        }
    }

    fn page(&self) -> isize {
        let area = Rect::new(0, 0, self.size.0, self.size.1);
        isize::from(view::page(self, area).max(1).cast_signed())
    }

    /// Selects a row, and follows it from now on; the first is whichever is first.
    fn select(&mut self, cursor: usize) {
        let detail = matches!(self.open, Open::Detail(_));
        let key = (self.rows().get(cursor)).map(|row| row.key.clone());
        let look = self.look_mut();
        look.cursor = cursor;
        look.followed = key.filter(|_| cursor > 0 || detail);
    }

    /// The selected row may be elsewhere now.
    fn follow(&mut self) {
        let rows = self.rows();
        let look = self.look();
        let found = (look.followed.as_ref()).map(|key| rows.iter().position(|row| row.key == *key));
        let cursor = match found {
            // Nobody chose one.
            None => 0,
            Some(Some(place)) => place,
            // It did not run in this window, and may come back.
            Some(None) => look.cursor.min(rows.len().saturating_sub(1)),
        };
        self.look_mut().cursor = cursor;
    }

    fn look(&self) -> &Look {
        &self.looks[self.tab.index()]
    }

    fn look_mut(&mut self) -> &mut Look {
        &mut self.looks[self.tab.index()]
    }
}

#[cfg(test)]
mod tests;
