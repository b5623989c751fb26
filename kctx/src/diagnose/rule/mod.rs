//! The causes: a file each, with what it is told by and its page of the documentation.

mod blk_done;
pub(super) mod hot;
mod irq_gpe;
mod irq_ipi;
mod irq_long;
mod irq_spurious;
mod irq_storm;
mod irq_thread;
mod iso;
mod log;
mod mod_loop;
mod net_backlog;
mod net_bpf;
mod net_budget;
mod net_coal;
mod net_conc;
mod net_ct;
mod net_flow;
mod net_fw;
mod net_lo;
mod net_napi_thread;
mod net_pps;
mod net_rps;
mod net_sat;
mod net_tx;
mod net_virt;
mod own_cost;
mod pwr;
mod rcu_flood;
mod receiving;
mod rt_starve;
mod sched_lb;
mod syscall;
mod taint;
mod task_tasklet;
mod tmr_hard;
mod tmr_hrsoft;
mod tmr_soft;
mod vectors;
mod vm_steal;
mod wq_cg;
mod wq_churn;
mod wq_hog;
mod wq_rescue;
mod wq_stall;
mod wq_starve;
mod wq_wb;

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
    /// It is, but nothing else that is found is an effect of it.
    FoundBeside(Vec<Finding>),
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
    &taint::RULE,
    &rt_starve::RULE,
    &irq_spurious::RULE,
    &irq_gpe::RULE,
    &irq_storm::RULE,
    &irq_long::RULE,
    &irq_thread::RULE,
    &net_fw::RULE,
    &net_ct::RULE,
    &net_bpf::RULE,
    &net_tx::RULE,
    &net_napi_thread::RULE,
    &net_coal::RULE,
    &net_conc::RULE,
    &net_flow::RULE,
    &net_rps::RULE,
    &net_budget::RULE,
    &net_pps::RULE,
    &net_virt::RULE,
    &net_lo::RULE,
    &net_sat::RULE,
    &net_backlog::RULE,
    &tmr_hard::RULE,
    &tmr_soft::RULE,
    &tmr_hrsoft::RULE,
    &irq_ipi::RULE,
    &rcu_flood::RULE,
    &sched_lb::RULE,
    &blk_done::RULE,
    &task_tasklet::RULE,
    &wq_cg::RULE,
    &wq_churn::RULE,
    &wq_hog::RULE,
    &wq_stall::RULE,
    &wq_rescue::RULE,
    &wq_wb::RULE,
    &wq_starve::RULE,
    &iso::RULE,
    &pwr::RULE,
    &mod_loop::RULE,
    &log::RULE,
    &syscall::RULE,
];

/// All pages, each with the ids of what explains its cause; the last is of what no rule knows.
pub(super) fn pages() -> impl Iterator<Item = (&'static Page, &'static [&'static str])> {
    let rules = RULES.iter().map(|rule| (&rule.page, rule.explained_by));
    rules.chain([(&hot::PAGE, &[][..])])
}

/// The rule of an id.
pub(super) fn of(id: &str) -> Option<&'static Rule> {
    RULES.iter().copied().find(|rule| rule.page.id == id)
}

#[cfg(test)]
mod pages;
