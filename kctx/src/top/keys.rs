//! What each key does: one list, which the help, the documentation and the keyboard share.

use ratatui_crossterm::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::table::Tab;

/// What a key asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// The next row, or line.
    Down,
    /// The one before.
    Up,
    /// A screen of rows further.
    PageDown,
    /// And back.
    PageUp,
    /// The first row.
    First,
    /// The last one.
    Last,
    /// The next table.
    NextTab,
    /// The one before.
    PreviousTab,
    /// That table.
    Show(Tab),
    /// Sort by the next column.
    SortRight,
    /// By the one before.
    SortLeft,
    /// The other way round.
    Reverse,
    /// Type a filter.
    Filter,
    /// All of the selected row, and back.
    Detail,
    /// Stop at this window, and go on.
    Pause,
    /// The window before.
    Back,
    /// The next window.
    Forward,
    /// Other CPUs' bars.
    CpusDown,
    /// And back.
    CpusUp,
    /// Which key does what, and back.
    Help,
    /// Close what is open; quit where nothing is.
    Close,
    /// Quit.
    Quit,
}

/// A line of the help: keys as they are named, what they do.
#[derive(Clone, Copy, Debug)]
pub struct Keys {
    /// Their names.
    pub names: &'static str,
    /// What they do.
    pub does: &'static str,
}

const fn keys(names: &'static str, does: &'static str) -> Keys {
    Keys { names, does }
}

/// All keys.
pub const KEYS: [Keys; 14] = [
    keys("Up Down k j", "select a row"),
    keys("PgUp PgDn Home End", "select further"),
    keys(
        "Enter",
        "all of the selected row: quantiles, raisers, stacks; again: back",
    ),
    keys(
        "1 to 9, 0",
        "softirqs, raisers, interrupts, works, NAPI, kernel threads, tasklets, events, probes, findings",
    ),
    keys("Tab Shift-Tab", "next table, table before"),
    keys("< >", "sort by the column to the left, to the right"),
    keys("r", "sort the other way round"),
    keys(
        "/",
        "show only rows with these words; cpu3 is CPU 3; Enter keeps it, Esc drops it",
    ),
    keys("Space", "pause, and go on"),
    keys("Left Right", "the window before, the next one; pauses"),
    keys("[ ]", "scroll the CPUs"),
    keys("?", "this help"),
    keys("Esc", "close what is open; else quit"),
    keys("q Ctrl-C", "quit"),
];

/// What a key does where no filter is being typed.
#[must_use]
pub fn action(key: KeyEvent) -> Option<Action> {
    if key.modifiers.contains(KeyModifiers::CONTROL) {
        return (key.code == KeyCode::Char('c')).then_some(Action::Quit);
    }
    let action = match key.code {
        KeyCode::Down | KeyCode::Char('j') => Action::Down,
        KeyCode::Up | KeyCode::Char('k') => Action::Up,
        KeyCode::PageDown => Action::PageDown,
        KeyCode::PageUp => Action::PageUp,
        KeyCode::Home => Action::First,
        KeyCode::End => Action::Last,
        KeyCode::Tab => Action::NextTab,
        KeyCode::BackTab => Action::PreviousTab,
        KeyCode::Char('<') => Action::SortLeft,
        KeyCode::Char('>') => Action::SortRight,
        KeyCode::Char('r') => Action::Reverse,
        KeyCode::Char('/') => Action::Filter,
        KeyCode::Enter => Action::Detail,
        KeyCode::Char(' ') => Action::Pause,
        KeyCode::Left => Action::Back,
        KeyCode::Right => Action::Forward,
        KeyCode::Char(']') => Action::CpusDown,
        KeyCode::Char('[') => Action::CpusUp,
        KeyCode::Char('?') => Action::Help,
        KeyCode::Esc => Action::Close,
        KeyCode::Char('q') => Action::Quit,
        KeyCode::Char(digit) => {
            let tab = Tab::ALL.into_iter().find(|tab| tab.label().0 == digit);
            return tab.map(Action::Show);
        }
        _ => return None,
    };
    Some(action)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(code: KeyCode) -> Option<Action> {
        action(KeyEvent::new(code, KeyModifiers::NONE))
    }

    /// The key that a name in the list stands for.
    fn key(name: &str) -> KeyEvent {
        let (name, modifiers) = match name.strip_prefix("Ctrl-") {
            Some(letter) => (letter, KeyModifiers::CONTROL),
            None => (name, KeyModifiers::NONE),
        };
        let code = match name {
            "Up" => KeyCode::Up,
            "Down" => KeyCode::Down,
            "PgUp" => KeyCode::PageUp,
            "PgDn" => KeyCode::PageDown,
            "Home" => KeyCode::Home,
            "End" => KeyCode::End,
            "Enter" => KeyCode::Enter,
            "Tab" => KeyCode::Tab,
            "Shift-Tab" => KeyCode::BackTab,
            "Space" => KeyCode::Char(' '),
            "Left" => KeyCode::Left,
            "Right" => KeyCode::Right,
            "Esc" => KeyCode::Esc,
            one => KeyCode::Char(one.to_lowercase().chars().next().unwrap()),
        };
        KeyEvent::new(code, modifiers)
    }

    #[test]
    fn every_key_in_the_list_does_something_of_its_own() {
        let mut done: Vec<Action> = Vec::new();
        for line in KEYS.iter().filter(|line| !line.names.contains("1 to 9")) {
            for name in line.names.split(' ') {
                done.push(action(key(name)).unwrap_or_else(|| panic!("{name}")));
            }
        }
        // j, k and Ctrl-C are second keys.
        let distinct = done
            .iter()
            .enumerate()
            .filter(|(i, one)| !done[..*i].contains(one));
        assert_eq!(distinct.count(), done.len() - 3);
        for digit in "1234567890".chars() {
            assert!(matches!(of(KeyCode::Char(digit)), Some(Action::Show(_))));
        }
        assert_eq!(of(KeyCode::Char('x')), None);
        assert_eq!(
            action(KeyEvent::new(KeyCode::Char('q'), KeyModifiers::CONTROL)),
            None
        );
    }

    /// The table in the documentation is this list.
    #[test]
    fn the_documentation_has_the_same_keys() {
        let page = include_str!("../../../docs/top.md");
        for line in KEYS {
            let row = format!("| {} | {} |", line.names, line.does);
            assert!(page.contains(&row), "docs/top.md lacks: {row}");
        }
        let rows = page.lines().filter(|line| line.starts_with("| "));
        assert_eq!(rows.count(), KEYS.len() + 1, "and a heading");
    }
}
