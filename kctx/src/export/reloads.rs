//! How often the configuration was read again, in the series that are exported.

use super::attributes::Attributes;
use super::cumulative::Cumulative;

/// What became of a reload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reloaded {
    /// The new configuration is in force.
    InForce,
    /// The file could not be read.
    Unreadable,
    /// It is no valid configuration.
    Invalid,
    /// It is one, but could not be put in force.
    Unusable,
}

impl Reloaded {
    const ALL: [Self; 4] = [
        Self::InForce,
        Self::Unreadable,
        Self::Invalid,
        Self::Unusable,
    ];

    /// Its `error.type`, where it is an error.
    #[must_use]
    pub fn error(self) -> Option<&'static str> {
        match self {
            Self::InForce => None,
            Self::Unreadable => Some("unreadable"),
            Self::Invalid => Some("invalid"),
            Self::Unusable => Some("unusable"),
        }
    }
}

/// Reloads since some time, by what became of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Reloads([u64; Reloaded::ALL.len()]);

impl Reloads {
    pub(super) fn count(&mut self, reloaded: Reloaded) {
        self.0[reloaded as usize] += 1;
    }
}

impl Cumulative {
    /// Adds reloads of the time that the last window was of. Each outcome has its series from the start, at 0: an increase from
    /// nothing is none to most backends.
    pub(super) fn fold_reloads(&mut self, reloads: Reloads) {
        let start = self.opened_unix_ns();
        for (reloaded, count) in Reloaded::ALL.into_iter().zip(reloads.0) {
            let attributes = Attributes::new().with_some("error.type", reloaded.error());
            let add = |total: &mut u64| *total = total.saturating_add(count);
            self.config_reloads.change(attributes, start, || 0, add);
        }
    }
}
