//! What a rule says of itself: the page of its id in docs/diagnose/ is made from it, and the advice in findings.

use super::finding::{NextStep, Safety};

/// A page of the documentation.
#[derive(Clone, Copy, Debug)]
pub struct Page {
    /// Stable.
    pub id: &'static str,
    /// The cause in a few words.
    pub title: &'static str,
    /// What it means, for a person who was just woken.
    pub means: &'static str,
    /// What it is told by.
    pub signals: &'static [&'static str],
    /// From which number on.
    pub thresholds: &'static [Threshold],
    /// What looks like it.
    pub confused_with: &'static [LookAlike],
    /// What to do next, in order.
    pub next: &'static [Advice],
    /// What not to do, and why.
    pub do_not: &'static [&'static str],
}

/// One number that a rule decides by.
#[derive(Clone, Copy, Debug)]
pub struct Threshold {
    /// Of what.
    pub what: &'static str,
    /// The number with its unit.
    pub value: &'static str,
    /// Who says so.
    pub source: &'static str,
}

/// Something that looks alike.
#[derive(Clone, Copy, Debug)]
pub struct LookAlike {
    /// Its id; empty where it is none of ours.
    pub id: &'static str,
    /// How to tell them apart.
    pub how: &'static str,
}

/// One step; `{cpu}`, `{device}`, `{irq}`, `{function}` and `{pid}` stand for what a finding is about.
#[derive(Clone, Copy, Debug)]
pub struct Advice {
    /// In words.
    pub what: &'static str,
    /// A command; empty for none.
    pub command: &'static str,
    /// How safe it is on a production host.
    pub safety: Safety,
}

/// A threshold.
pub(super) const fn threshold(
    what: &'static str,
    value: &'static str,
    source: &'static str,
) -> Threshold {
    Threshold {
        what,
        value,
        source,
    }
}

/// A look-alike.
pub(super) const fn look_alike(id: &'static str, how: &'static str) -> LookAlike {
    LookAlike { id, how }
}

/// A step that only reads.
pub(super) const fn read(what: &'static str, command: &'static str) -> Advice {
    Advice {
        what,
        command,
        safety: Safety::ReadOnly,
    }
}

/// A step that can be taken back at once.
pub(super) const fn reversible(what: &'static str, command: &'static str) -> Advice {
    Advice {
        what,
        command,
        safety: Safety::Reversible,
    }
}

/// A step on which the owner of what it changes decides.
pub(super) const fn owner(what: &'static str) -> Advice {
    Advice {
        what,
        command: "",
        safety: Safety::OwnerDecision,
    }
}

impl Page {
    /// Where the page is.
    #[must_use]
    pub fn path(&self) -> String {
        format!("docs/diagnose/{}.md", self.id)
    }

    /// The steps with what they are about filled in. One that is about something that is not known is left out; of one whose
    /// command would have a name in it that a shell could take for something else there is no command.
    #[must_use]
    pub fn steps(&self, about: &[(&str, String)]) -> Vec<NextStep> {
        let fill = |template: &str| {
            let filled = about
                .iter()
                .fold(template.to_owned(), |text, (name, value)| {
                    text.replace(&format!("{{{name}}}"), value)
                });
            let left = PLACES.iter().any(|place| filled.contains(place));
            (!left).then_some(filled)
        };
        let is_safe = |template: &str| {
            let mut filled = about
                .iter()
                .filter(|(name, _)| template.contains(&format!("{{{name}}}")));
            filled.all(|(_, value)| is_one_word(value))
        };
        let step = |advice: &Advice| {
            Some(NextStep {
                what: fill(advice.what)?,
                command: match advice.command {
                    "" => None,
                    command => Some(fill(command)?).filter(|_| is_safe(command)),
                },
                safety: advice.safety,
            })
        };
        self.next.iter().filter_map(step).collect()
    }
}

/// Whether a value is one word to any shell, and no option. Names of devices may hold anything but a slash or a space.
fn is_one_word(value: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._:@-".contains(c);
    !value.is_empty() && !value.starts_with('-') && value.chars().all(plain)
}

/// What may stand in an [`Advice`].
const PLACES: [&str; 5] = ["{cpu}", "{device}", "{irq}", "{function}", "{pid}"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_about_what_is_known() {
        static PAGE: Page = Page {
            id: "X",
            title: "",
            means: "",
            signals: &[],
            thresholds: &[],
            confused_with: &[],
            next: &[
                read("Look at {device}.", "ethtool -S {device}"),
                read("Look at line {irq}.", "cat /proc/irq/{irq}/spurious"),
                owner("Ask."),
            ],
            do_not: &[],
        };
        let steps = PAGE.steps(&[("device", "eth0".to_owned())]);
        assert_eq!(steps.len(), 2);
        assert_eq!(steps[0].command.as_deref(), Some("ethtool -S eth0"));
        assert_eq!(
            (steps[1].command.clone(), steps[1].safety),
            (None, Safety::OwnerDecision)
        );
        // A command is to be copied into a root shell.
        for device in ["veth$(reboot)", "a;b", "-S", "a b", "`id`", "x\\u{1b}", ""] {
            let steps = PAGE.steps(&[("device", device.to_owned())]);
            assert_eq!((steps.len(), &steps[0].command), (2, &None), "{device}");
        }
        let steps = PAGE.steps(&[("device", "eth0.7@if_2:a-b".to_owned())]);
        assert_eq!(
            steps[0].command.as_deref(),
            Some("ethtool -S eth0.7@if_2:a-b")
        );
    }
}
