//! BPF programs that are loaded: `bpf-programs.json`.

use std::collections::BTreeMap;

use serde_json::Value;

use super::either;
use crate::capture::{evidence::Phase, evidence_set::EvidenceSet};

pub(in crate::diagnose) const FILE: &str = "bpf-programs.json";

/// One program.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::diagnose) struct Program {
    pub(in crate::diagnose) id: u64,
    pub(in crate::diagnose) name: String,
    /// `xdp`, `sched_cls` and so on.
    pub(in crate::diagnose) kind: String,
    /// Runs in the window, and their time; 0 where the kernel does not count them.
    pub(in crate::diagnose) runs: u64,
    pub(in crate::diagnose) run_ns: u64,
}

pub(super) fn of(evidence: &EvidenceSet) -> Option<Vec<Program>> {
    let parse = |text: &str| serde_json::from_str::<Value>(text).ok();
    let now = parse(&either(evidence, FILE)?)?;
    let before = (evidence.text(Phase::Before, FILE)).and_then(|text| parse(&text));
    let then: BTreeMap<u64, Program> = before
        .iter()
        .flat_map(list)
        .map(|program| (program.id, program))
        .collect();
    let grown = list(&now).map(|mut program| {
        let then = then.get(&program.id);
        // A program that the first sample does not have, or no first sample: totals since it was loaded are no rate.
        program.runs = then.map_or(0, |then| program.runs.saturating_sub(then.runs));
        program.run_ns = then.map_or(0, |then| program.run_ns.saturating_sub(then.run_ns));
        program
    });
    Some(grown.collect())
}

/// The programs of a document that is a list of them, or has one.
fn list(document: &Value) -> impl Iterator<Item = Program> {
    let items = match document {
        Value::Array(items) => Some(items),
        Value::Object(fields) => fields.values().find_map(Value::as_array),
        _ => None,
    };
    items.into_iter().flatten().filter_map(|item| {
        let number = |key: &str| item.get(key).and_then(Value::as_u64);
        let text = |keys: &[&str]| {
            let found = keys
                .iter()
                .find_map(|key| item.get(*key).and_then(Value::as_str));
            found.unwrap_or_default().to_owned()
        };
        Some(Program {
            id: number("id")?,
            name: text(&["name"]),
            kind: text(&["type", "kind", "prog_type"]),
            runs: number("run_cnt").unwrap_or(0),
            run_ns: number("run_time_ns").unwrap_or(0),
        })
    })
}
