//! What the daemon records and captures by itself, into the series of their metrics.

use super::attributes::Attributes;
use super::cumulative::Cumulative;
use super::rows::add;

/// What became of a bundle that a trigger's rule asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BundleResult {
    /// It is there.
    Written,
    /// It is not, or it is cut short.
    Failed,
    /// The rule was held back by a limit.
    Refused,
}

impl BundleResult {
    fn as_str(self) -> &'static str {
        match self {
            Self::Written => "written",
            Self::Failed => "failed",
            Self::Refused => "refused",
        }
    }
}

impl Cumulative {
    /// Takes what the flight recorder holds.
    pub fn note_recorder(&mut self, bytes: u64, length_ns: u64) {
        // Before the first window there is no time for a point.
        if self.time_unix_ns() == 0 {
            return;
        }
        let start = self.opened_unix_ns();
        self.recorder_bytes.set(Attributes::new(), start, bytes);
        let length = &mut self.recorder_length_ns;
        length.set(Attributes::new(), start, length_ns);
    }

    /// Takes that a rule fired.
    pub fn note_fired(&mut self, rule: &str) {
        let start = self.time_unix_ns();
        let attributes = Attributes::new().with("kctx.trigger.rule", &rule.to_owned());
        add(&mut self.trigger_fired, attributes, 1, start);
    }

    /// Takes what became of so many bundles.
    pub fn note_bundles(&mut self, result: BundleResult, bundles: u64) {
        let start = self.time_unix_ns();
        let attributes = Attributes::new().with("kctx.trigger.result", result.as_str());
        add(&mut self.trigger_bundles, attributes, bundles, start);
    }
}
