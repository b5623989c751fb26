//! The rules at work: what fires, and what is held back. Pure: the time is given, nothing is read.

use std::time::Duration;

use super::{
    Fired, Rule, event,
    figure::{Beside, Figure, Reading},
    rule::Condition,
};
use crate::aggregate::window::Window;

/// What a rule knows of itself.
#[derive(Clone, Debug, Default)]
struct State {
    /// For how long it has been above its threshold, or below the lower one while it waits for that.
    held_ns: u64,
    /// It fired, and was not below its lower threshold for long enough since.
    spent: bool,
    /// When it had its last capture.
    captured_ns: Option<u64>,
    /// It was held back since it began to hold: counted once.
    counted: bool,
    held_back: u64,
}

/// All rules.
#[derive(Clone, Debug)]
pub struct RuleWatch {
    rules: Vec<(Rule, State)>,
    pause: Duration,
    captured_ns: Option<u64>,
    refused: u64,
}

impl RuleWatch {
    /// Between two captures lies at least `pause`, whichever rule has them taken.
    #[must_use]
    pub fn new(rules: Vec<Rule>, pause: Duration) -> Self {
        Self {
            rules: rules
                .into_iter()
                .map(|rule| (rule, State::default()))
                .collect(),
            pause,
            captured_ns: None,
            refused: 0,
        }
    }

    /// What the rules look at.
    pub fn figures(&self) -> impl Iterator<Item = &Figure> {
        self.rules.iter().filter_map(|(rule, _)| rule.figure())
    }

    /// Takes other rules in place of these. One that is still there under its name keeps when it had its last capture, and
    /// one whose condition is the same keeps all; when any had its last capture holds on.
    pub fn replace(&mut self, rules: Vec<Rule>, pause: Duration) {
        let mut before = std::mem::take(&mut self.rules);
        let with_state = rules.into_iter().map(|rule| {
            let known = before.iter().position(|(old, _)| old.name == rule.name);
            let state = match known.map(|at| before.swap_remove(at)) {
                Some((old, state)) if old.condition == rule.condition => state,
                Some((_, state)) => state.of_another_condition(),
                None => State::default(),
            };
            (rule, state)
        });
        self.rules = with_state.collect();
        self.pause = pause;
    }

    /// A window closed, at `now_ns` by `CLOCK_MONOTONIC`. The first rule, in the configuration's order, that fires and may;
    /// none may while a capture is `busy`. Of the others each is looked at all the same.
    pub fn observe(
        &mut self,
        now_ns: u64,
        window: &Window,
        beside: &Beside<'_>,
        busy: bool,
    ) -> Option<(Rule, Fired)> {
        let mut chosen = None;
        for (rule, state) in &mut self.rules {
            let Some(saw) = state.holds(&rule.condition, window, beside) else {
                continue;
            };
            let own = rule.pause.unwrap_or(self.pause);
            let free = !busy
                && chosen.is_none()
                && passed(state.captured_ns, own, now_ns)
                && passed(self.captured_ns, self.pause, now_ns);
            if !free {
                self.refused += u64::from(state.hold_back(&rule.condition));
                continue;
            }
            state.captured_ns = Some(now_ns);
            self.captured_ns = Some(now_ns);
            let fired = Fired {
                rule: rule.name.clone(),
                condition: rule.condition.words(),
                saw,
                time_unix_ns: window.start_unix_ns.saturating_add(window.duration_ns),
                held_back: state.fire(),
            };
            chosen = Some((rule.clone(), fired));
        }
        chosen
    }

    /// Times that rules were held back since the last call, all together.
    pub fn take_refused(&mut self) -> u64 {
        std::mem::take(&mut self.refused)
    }

    /// Times that a rule would have fired and was held back, since its last capture, by rule.
    pub fn held_back(&self) -> impl Iterator<Item = (&str, u64)> {
        let rules = self.rules.iter();
        rules.map(|(rule, state)| (rule.name.as_str(), state.held_back))
    }
}

fn passed(last_ns: Option<u64>, pause: Duration, now_ns: u64) -> bool {
    last_ns.is_none_or(|last| u128::from(now_ns.saturating_sub(last)) >= pause.as_nanos())
}

impl State {
    /// What was seen, where the condition holds and the rule has not fired for it yet.
    fn holds(
        &mut self,
        condition: &Condition,
        window: &Window,
        beside: &Beside<'_>,
    ) -> Option<String> {
        match condition {
            Condition::Event(event) => event::saw(event, window),
            Condition::Above {
                figure,
                above,
                below,
                over,
            } => {
                let reading = figure.read(window, beside);
                let value = reading.as_ref().map_or(0, |reading| reading.value);
                let counts = if self.spent {
                    value < *below
                } else {
                    value >= *above
                };
                if !counts {
                    self.held_ns = 0;
                    // Held back for it once more when it holds again.
                    self.counted &= self.spent;
                    return None;
                }
                self.held_ns = self.held_ns.saturating_add(window.duration_ns);
                if u128::from(self.held_ns) < over.as_nanos() {
                    return None;
                }
                if self.spent {
                    (self.spent, self.held_ns, self.counted) = (false, 0, false);
                    return None;
                }
                Some(words(figure, &reading?))
            }
        }
    }

    /// What stays true of a rule whose condition is another from now on.
    fn of_another_condition(self) -> Self {
        Self {
            captured_ns: self.captured_ns,
            held_back: self.held_back,
            ..Self::default()
        }
    }

    /// It would fire and may not; whether that counts: a figure that stays high is held back once, an event each time.
    fn hold_back(&mut self, condition: &Condition) -> bool {
        let again = matches!(condition, Condition::Event(_)) || !self.counted;
        self.held_back += u64::from(again);
        self.counted = true;
        again
    }

    /// It fires; how often it was held back before.
    fn fire(&mut self) -> u64 {
        (self.spent, self.held_ns, self.counted) = (true, 0, false);
        std::mem::take(&mut self.held_back)
    }
}

fn words(figure: &Figure, reading: &Reading) -> String {
    let value = figure.unit().words(reading.value);
    let words = figure.words();
    if reading.of.is_empty() {
        format!("{words}: {value}")
    } else {
        format!("{words}: {value} ({})", reading.of)
    }
}

#[cfg(test)]
#[path = "watch_tests.rs"]
mod tests;
