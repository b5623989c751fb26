//! What is one way or the other, without noise: modules, taint, probes, the machine.

use std::collections::BTreeSet;

use serde::Serialize;

use super::sampled::Side;
use crate::{capture::evidence::Phase, host::taint, report::summary::Summary};

/// Something that is not the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Fact {
    /// What: `kernel`, `module`, `taint`, `probe`, `host`, `cpus`.
    pub what: &'static str,
    /// In the first bundle; empty where it is not there.
    pub before: String,
    /// In the second.
    pub after: String,
}

/// All of them.
pub(super) fn facts(before: &Side, after: &Side) -> Vec<Fact> {
    let (a, b) = (&before.summary, &after.summary);
    let mut facts = Vec::new();
    let mut differs = |what, before: String, after: String| {
        if before != after {
            facts.push(Fact {
                what,
                before,
                after,
            });
        }
    };
    differs("host", a.host.hostname.clone(), b.host.hostname.clone());
    differs(
        "kernel",
        a.host.kernel_release.clone(),
        b.host.kernel_release.clone(),
    );
    differs(
        "cpus",
        a.host.cpus_online.to_string(),
        b.host.cpus_online.to_string(),
    );
    differs("taint", taint_of(a), taint_of(b));
    // Where either bundle does not say, all modules would be news.
    if let (Some(old), Some(new)) = (modules(before), modules(after)) {
        for module in old.difference(&new) {
            differs("module", module.clone(), String::new());
        }
        for module in new.difference(&old) {
            differs("module", String::new(), module.clone());
        }
    }
    let (old, new) = (probes(a), probes(b));
    for probe in old.difference(&new) {
        differs("probe", probe.clone(), String::new());
    }
    for probe in new.difference(&old) {
        differs("probe", String::new(), probe.clone());
    }
    facts
}

/// The value and its letters.
fn taint_of(summary: &Summary) -> String {
    match summary.taint.value {
        None => "unknown".to_owned(),
        Some(value) => {
            let letters: String = taint::decode(value).map(|flag| flag.letter).collect();
            format!("{value} {letters}").trim_end().to_owned()
        }
    }
}

/// /proc/modules at the window's end: a name begins each line.
fn modules(side: &Side) -> Option<BTreeSet<String>> {
    let evidence = &side.incident.evidence;
    let text = evidence
        .text(Phase::After, "proc/modules")
        .or_else(|| evidence.text(Phase::After, "modules"))?;
    let names = text.lines().filter_map(|line| line.split(' ').next());
    Some(
        names
            .filter(|name| !name.is_empty())
            .map(str::to_owned)
            .collect(),
    )
}

/// What is attached.
fn probes(summary: &Summary) -> BTreeSet<String> {
    let attached = summary.probes.iter().filter(|probe| probe.attached);
    attached.map(|probe| probe.name.clone()).collect()
}
