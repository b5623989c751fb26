//! A rule as it is configured, checked and said in words.

use std::{collections::BTreeMap, time::Duration};

use glob::Pattern;
use serde::Deserialize;

use super::{
    exported::{Exported, Of},
    figure::{Context, Figure},
    unit::Unit,
};
use crate::{
    config::{parse_duration, parse_pause},
    diagnose,
    host::taint::TAINT_FLAGS,
    resolve::SOFTIRQ_VECTORS,
};

/// How many rules there may be.
pub const RULES: usize = 64;

/// How long a figure has to be above its threshold, if the rule does not say.
const OVER: Duration = Duration::from_secs(5);

/// What is captured after a rule fired, if it does not say.
const WINDOW: Duration = Duration::from_secs(10);

/// `[[trigger]]`
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(try_from = "Written")]
pub struct Rule {
    /// Its name: letters, digits, `-` and `_`; part of its bundles' names.
    pub name: String,
    /// When it fires.
    pub condition: Condition,
    /// What is captured after it fired.
    pub window: Duration,
    /// Between two of its captures lies at least this; `None`: as for all.
    pub pause: Option<Duration>,
}

/// When a rule fires.
#[derive(Clone, Debug, PartialEq)]
pub enum Condition {
    /// A figure is at its threshold or above for some time. It fires again once it was below the lower one for as long.
    Above {
        /// Which.
        figure: Figure,
        /// In the figure's unit.
        above: u64,
        /// The same; at most `above`.
        below: u64,
        /// For so long.
        over: Duration,
    },
    /// Something happened.
    Event(Event),
}

/// What may happen.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// The kernel's taint got one of these letters; any, where there are none.
    Taint(String),
    /// The kernel logged an oops or a BUG, or a warning too.
    KernelLog {
        /// `WARN` and its kin too.
        warnings: bool,
    },
    /// A module was loaded whose name matches.
    ModuleLoad(Pattern),
}

/// The keys of a rule.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    name: String,
    when: When,
    above: Option<String>,
    below: Option<String>,
    over: Option<String>,
    window: Option<String>,
    pause: Option<String>,
    vector: Option<String>,
    context: Option<Context>,
    flags: Option<String>,
    module: Option<String>,
    id: Option<String>,
    metric: Option<String>,
    #[serde(rename = "where")]
    filter: Option<BTreeMap<String, toml::Value>>,
    of: Option<Of>,
}

/// What a rule is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum When {
    SoftirqWaitP99,
    KsoftirqdShare,
    ContextShare,
    TimeSqueeze,
    BacklogDrops,
    WorkInFlight,
    UnhandledInterrupts,
    Finding,
    Metric,
    Taint,
    KernelOops,
    KernelWarning,
    ModuleLoad,
}

impl TryFrom<Written> for Rule {
    type Error = String;

    fn try_from(mut written: Written) -> Result<Self, String> {
        let name = std::mem::take(&mut written.name);
        check_name(&name)?;
        let in_rule = |why: String| format!("trigger {name:?}: {why}");
        let condition = written.condition().map_err(in_rule)?;
        written.no_key_left().map_err(in_rule)?;
        let window = duration("window", written.window.as_deref(), WINDOW, 1, 600);
        let pause = written.pause.as_deref().map(parse_pause).transpose();
        Ok(Self {
            window: window.map_err(in_rule)?,
            pause: pause.map_err(in_rule)?,
            condition,
            name,
        })
    }
}

impl Written {
    fn condition(&mut self) -> Result<Condition, String> {
        let figure = match self.when {
            When::Taint => {
                let flags = self.flags.take().unwrap_or_default();
                let known = |letter| TAINT_FLAGS.iter().any(|flag| flag.letter == letter);
                if let Some(unknown) = flags.chars().find(|letter| !known(*letter)) {
                    return Err(format!("there is no taint flag {unknown:?}"));
                }
                return Ok(Condition::Event(Event::Taint(flags)));
            }
            When::KernelOops => {
                return Ok(Condition::Event(Event::KernelLog { warnings: false }));
            }
            When::KernelWarning => {
                return Ok(Condition::Event(Event::KernelLog { warnings: true }));
            }
            When::ModuleLoad => {
                let pattern = self.module.take().unwrap_or_else(|| "*".to_owned());
                let pattern = Pattern::new(&pattern)
                    .map_err(|error| format!("{pattern:?} is no pattern: {}", error.msg))?;
                return Ok(Condition::Event(Event::ModuleLoad(pattern)));
            }
            When::SoftirqWaitP99 => {
                Figure::SoftirqWaitP99(self.vector.take().map(|name| vector(&name)).transpose()?)
            }
            When::KsoftirqdShare => Figure::KsoftirqdShare,
            When::ContextShare => Figure::ContextShare(
                (self.context.take())
                    .ok_or("it needs a context: hardirq, softirq, ksoftirqd or kthread")?,
            ),
            When::TimeSqueeze => Figure::TimeSqueeze,
            When::BacklogDrops => Figure::BacklogDrops,
            When::WorkInFlight => Figure::WorkInFlight,
            When::UnhandledInterrupts => Figure::UnhandledInterrupts,
            When::Finding => {
                let id = self.id.take().filter(|id| !id.is_empty());
                let id = id.ok_or("it needs the id of a finding, such as \"NET-FW\"")?;
                if diagnose::pages().all(|page| page.id != id) {
                    return Err(format!(
                        "there is no finding {id:?}; docs/diagnose lists them"
                    ));
                }
                Figure::Finding(id)
            }
            When::Metric => Figure::Exported(self.exported()?),
        };
        let over = duration("over", self.over.take().as_deref(), OVER, 1, 3600)?;
        let unit = figure.unit();
        let (above, below) = if unit == Unit::Truth {
            (1, 1)
        } else {
            let above = self.above.take();
            let above = above
                .ok_or_else(|| format!("it needs a threshold: above = {:?}", unit.example()))?;
            let above = unit.parse(&above)?;
            let below = self
                .below
                .take()
                .map(|below| unit.parse(&below))
                .transpose()?;
            (above, below.unwrap_or(above / 2).max(1))
        };
        if above == 0 {
            return Err("above 0 it always is; give a threshold".to_owned());
        }
        if below > above {
            return Err("below is higher than above".to_owned());
        }
        Ok(Condition::Above {
            figure,
            above,
            below,
            over,
        })
    }

    fn exported(&mut self) -> Result<Exported, String> {
        let name = self.metric.take().ok_or(
            "it needs the name of a metric, such as \"kctx.softirq.wait.duration\"; docs/metrics.md lists them",
        )?;
        let filter = self.filter.take().unwrap_or_default();
        let values = filter.iter().map(|(key, value)| match value {
            toml::Value::String(text) => Ok((key.as_str(), text.clone())),
            toml::Value::Integer(number) => Ok((key.as_str(), number.to_string())),
            _ => Err(format!("where: {key} has to be a text or a number")),
        });
        let values: Vec<_> = values.collect::<Result<_, _>>()?;
        Exported::new(&name, values.into_iter(), self.of.take())
    }

    /// Each kind takes what it reads; what is left is of another kind.
    fn no_key_left(&self) -> Result<(), String> {
        let left = [
            ("above", self.above.is_some()),
            ("below", self.below.is_some()),
            ("over", self.over.is_some()),
            ("vector", self.vector.is_some()),
            ("context", self.context.is_some()),
            ("flags", self.flags.is_some()),
            ("module", self.module.is_some()),
            ("id", self.id.is_some()),
            ("metric", self.metric.is_some()),
            ("where", self.filter.is_some()),
            ("of", self.of.is_some()),
        ];
        match left.iter().find(|(_, left)| *left) {
            Some((key, _)) => Err(format!(
                "{key} means nothing with when = {:?}",
                self.when.name()
            )),
            None => Ok(()),
        }
    }
}

impl When {
    fn name(self) -> &'static str {
        match self {
            Self::SoftirqWaitP99 => "softirq_wait_p99",
            Self::KsoftirqdShare => "ksoftirqd_share",
            Self::ContextShare => "context_share",
            Self::TimeSqueeze => "time_squeeze",
            Self::BacklogDrops => "backlog_drops",
            Self::WorkInFlight => "work_in_flight",
            Self::UnhandledInterrupts => "unhandled_interrupts",
            Self::Finding => "finding",
            Self::Metric => "metric",
            Self::Taint => "taint",
            Self::KernelOops => "kernel_oops",
            Self::KernelWarning => "kernel_warning",
            Self::ModuleLoad => "module_load",
        }
    }
}

fn check_name(name: &str) -> Result<(), String> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    if (1..=40).contains(&name.len()) && name.bytes().all(fits) {
        Ok(())
    } else {
        Err(format!(
            "{name:?} is no name of a trigger: up to 40 letters, digits, '-' and '_'"
        ))
    }
}

fn vector(name: &str) -> Result<&'static str, String> {
    let known = SOFTIRQ_VECTORS
        .into_iter()
        .find(|known| known.eq_ignore_ascii_case(name));
    known.ok_or_else(|| {
        format!(
            "unknown softirq vector {name:?}; the vectors are {}",
            SOFTIRQ_VECTORS.join(", ")
        )
    })
}

fn duration(
    key: &str,
    text: Option<&str>,
    default: Duration,
    low_s: u64,
    high_s: u64,
) -> Result<Duration, String> {
    let Some(text) = text else {
        return Ok(default);
    };
    let duration = parse_duration(text)?;
    if (Duration::from_secs(low_s)..=Duration::from_secs(high_s)).contains(&duration) {
        return Ok(duration);
    }
    let words = |s| humantime::format_duration(Duration::from_secs(s));
    let (low, high) = (words(low_s), words(high_s));
    Err(format!(
        "{key} = {text:?} is out of range: from {low} to {high}"
    ))
}

impl Condition {
    /// In words.
    #[must_use]
    pub fn words(&self) -> String {
        match self {
            Self::Above {
                figure,
                above,
                below,
                over,
            } => {
                let unit = figure.unit();
                let over = humantime::format_duration(*over);
                if unit == Unit::Truth {
                    return format!("{} for {over}", figure.words());
                }
                format!(
                    "{} is {} or more for {over} (and again once it was below {} for as long)",
                    figure.words(),
                    unit.words(*above),
                    unit.words(*below)
                )
            }
            Self::Event(Event::Taint(flags)) if flags.is_empty() => {
                "the kernel's taint changes".to_owned()
            }
            Self::Event(Event::Taint(flags)) => {
                format!("the kernel's taint gets one of the flags {flags}")
            }
            Self::Event(Event::KernelLog { warnings: false }) => {
                "the kernel logs an oops, a BUG, a lockup or a stall".to_owned()
            }
            Self::Event(Event::KernelLog { warnings: true }) => {
                "the kernel logs a WARN, an oops, a BUG, a lockup or a stall".to_owned()
            }
            Self::Event(Event::ModuleLoad(pattern)) => {
                format!("a module is loaded whose name matches {}", pattern.as_str())
            }
        }
    }
}

impl Rule {
    /// The figure that it looks at; `None` of one that waits for an event.
    #[must_use]
    pub fn figure(&self) -> Option<&Figure> {
        match &self.condition {
            Condition::Above { figure, .. } => Some(figure),
            Condition::Event(_) => None,
        }
    }

    /// In words, for who checks the configuration.
    #[must_use]
    pub fn words(&self, pause: Duration) -> String {
        format!(
            "{}: when {}, captures what the recorder has and {} more; not again within {}",
            self.name,
            self.condition.words(),
            humantime::format_duration(self.window),
            humantime::format_duration(self.pause.unwrap_or(pause))
        )
    }
}

/// Names are told apart by who reads a bundle.
pub fn check_all(rules: &[Rule]) -> Result<(), String> {
    if rules.len() > RULES {
        return Err(format!(
            "{} triggers are too many: up to {RULES}",
            rules.len()
        ));
    }
    for (i, rule) in rules.iter().enumerate() {
        if rules[..i].iter().any(|other| other.name == rule.name) {
            return Err(format!("two triggers are called {:?}", rule.name));
        }
    }
    Ok(())
}

#[cfg(test)]
#[path = "rule_tests.rs"]
mod tests;
