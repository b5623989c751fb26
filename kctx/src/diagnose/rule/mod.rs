//! The causes: a file each, with what it is told by and its page of the documentation.

mod receiving;

mod net_backlog;
mod net_bpf;
mod net_budget;
mod net_conc;
mod net_ct;
mod net_fw;
mod net_lo;
mod net_napi_thread;
mod net_rps;
mod net_sat;
mod net_tx;
mod net_virt;
mod own_cost;
mod rt_starve;
mod vm_steal;

use super::{facts::Facts, finding::Finding, page::Page};

/// One cause.
#[derive(Debug)]
pub(super) struct Rule {
    pub(super) page: Page,
    /// Ids of causes of which this is an effect: where one of them is found too, it takes this one's place.
    pub(super) explained_by: &'static [&'static str],
    pub(super) judge: fn(&Facts<'_>) -> Outcome,
}

/// What a rule says.
#[derive(Clone, Debug)]
pub(super) enum Outcome {
    /// There is nothing of that kind here.
    Silent,
    /// It is not that, for this reason, with the number and the threshold.
    RuledOut(String),
    /// It is.
    Found(Vec<Finding>),
}

impl Outcome {
    /// What was found; where that is nothing, the reason.
    fn or_ruled_out(findings: Vec<Finding>, because: impl FnOnce() -> String) -> Self {
        match findings.is_empty() {
            true => Self::RuledOut(because()),
            false => Self::Found(findings),
        }
    }
}

/// All, in the order in which they are asked and, of what is equal, told: whether the numbers mean what they seem to,
/// then causes, then what they cause.
pub(super) static RULES: &[&Rule] = &[
    &own_cost::RULE,
    &vm_steal::RULE,
    &rt_starve::RULE,
    &net_fw::RULE,
    &net_ct::RULE,
    &net_bpf::RULE,
    &net_napi_thread::RULE,
    &net_tx::RULE,
    &net_rps::RULE,
    &net_conc::RULE,
    &net_budget::RULE,
    &net_virt::RULE,
    &net_lo::RULE,
    &net_sat::RULE,
    &net_backlog::RULE,
];

/// The rule of an id.
pub(super) fn of(id: &str) -> Option<&'static Rule> {
    RULES.iter().copied().find(|rule| rule.page.id == id)
}

#[cfg(test)]
mod pages;
