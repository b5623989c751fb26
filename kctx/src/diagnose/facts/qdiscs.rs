//! Queueing disciplines and their counters: `qdisc.json`.

use serde_json::Value;

use crate::capture::{evidence::Phase, evidence_set::EvidenceSet};

pub(in crate::diagnose) const FILE: &str = "qdisc.json";

/// What one queueing discipline did in a second.
#[derive(Clone, Debug, Default, PartialEq)]
pub(in crate::diagnose) struct Qdisc {
    pub(in crate::diagnose) device: String,
    pub(in crate::diagnose) kind: String,
    /// Times that it held packets back.
    pub(in crate::diagnose) overlimits: f64,
    pub(in crate::diagnose) drops: f64,
    pub(in crate::diagnose) requeues: f64,
}

/// A discipline: device, kind, handle; and its counters.
type Row = ([String; 3], [u64; 3]);

pub(super) fn of(evidence: &EvidenceSet, seconds: f64) -> Vec<Qdisc> {
    let rows = |phase| {
        let text = evidence.text(phase, FILE)?;
        let document: Value = serde_json::from_str(&text).ok()?;
        let mut rows = Vec::new();
        collect(&document, &mut rows);
        Some(rows)
    };
    let (Some(before), Some(after)) = (rows(Phase::Before), rows(Phase::After)) else {
        return Vec::new();
    };
    let grown = after.into_iter().filter_map(|(key, now)| {
        let (_, then) = before.iter().find(|(known, _)| *known == key)?;
        let [overlimits, drops, requeues] =
            std::array::from_fn(|at| now[at].saturating_sub(then[at]) as f64 / seconds);
        let [device, kind, _] = key;
        Some(Qdisc {
            device,
            kind,
            overlimits,
            drops,
            requeues,
        })
    });
    grown.collect()
}

/// Objects that have a kind and counters, wherever they are.
fn collect(value: &Value, rows: &mut Vec<Row>) {
    match value {
        Value::Object(fields) => {
            let text = |keys: &[&str]| {
                let found = keys.iter().find_map(|key| fields.get(*key)?.as_str());
                found.unwrap_or_default().to_owned()
            };
            let counter = |key: &str| fields.get(key).and_then(Value::as_u64);
            let kind = text(&["kind"]);
            if let (false, Some(overlimits)) = (kind.is_empty(), counter("overlimits")) {
                let counters = [
                    overlimits,
                    counter("drops").unwrap_or(0),
                    counter("requeues").unwrap_or(0),
                ];
                rows.push((
                    [text(&["dev", "device"]), kind, text(&["handle"])],
                    counters,
                ));
            }
            fields.values().for_each(|inner| collect(inner, rows));
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, rows)),
        _ => {}
    }
}
