//! Colours: few, as the terminal defines them, and never the only sign of something.

use ratatui_core::style::{Color, Modifier, Style};

/// What things look like. Foregrounds alone, and none that a light background swallows: no yellow, no white.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Palette {
    colours: bool,
}

impl Palette {
    /// With colours, or without: bold and reverse say all that is left to say.
    #[must_use]
    pub fn new(colours: bool) -> Self {
        Self { colours }
    }

    /// By `NO_COLOR` (<https://no-color.org>): any text but none turns them off.
    #[must_use]
    pub fn of_environment() -> Self {
        let no_colour = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self::new(!no_colour)
    }

    fn coloured(self, colour: Color) -> Style {
        match self.colours {
            true => Style::new().fg(colour),
            false => Style::new(),
        }
    }

    pub(super) fn plain(self) -> Style {
        Style::new()
    }

    pub(super) fn strong(self) -> Style {
        Style::new().add_modifier(Modifier::BOLD)
    }

    pub(super) fn selected(self) -> Style {
        Style::new().add_modifier(Modifier::REVERSED)
    }

    pub(super) fn alarm(self) -> Style {
        self.coloured(Color::Red).add_modifier(Modifier::BOLD)
    }

    pub(super) fn hardirq(self) -> Style {
        self.coloured(Color::Red)
    }

    pub(super) fn softirq(self) -> Style {
        self.coloured(Color::Magenta)
    }

    pub(super) fn ksoftirqd(self) -> Style {
        self.coloured(Color::Blue)
    }

    pub(super) fn kthread(self) -> Style {
        self.coloured(Color::Green)
    }
}
