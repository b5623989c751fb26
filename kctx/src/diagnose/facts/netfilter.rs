//! Packet filter rules, counted: `netfilter.json`.

use serde_json::Value;

use super::{both, either};
use crate::capture::evidence_set::EvidenceSet;

pub(in crate::diagnose) const FILE: &str = "netfilter.json";

/// How many rules there are in kctx's own network namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::diagnose) struct Netfilter {
    pub(in crate::diagnose) rules: u64,
    /// Rules that came between the samples, below 0 those that went; `None` where there is one sample, as kctx takes it.
    pub(in crate::diagnose) grown: Option<i64>,
    /// The longest chain: table and chain, and its rules.
    pub(in crate::diagnose) longest: Option<(String, u64)>,
}

impl Netfilter {
    pub(super) fn of(evidence: &EvidenceSet) -> Option<Self> {
        let parse = |text: &str| serde_json::from_str::<Value>(text).ok();
        let chains = |value: &Value| {
            let mut chains = Vec::new();
            collect(value, "", &mut chains);
            chains
        };
        let counted = |text: &str| parse(text).map(|value| total(&chains(&value)));
        let now = parse(&either(evidence, FILE)?)?;
        let signed = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        let grown = both(evidence, FILE, counted)
            .and_then(|(before, after)| Some(signed(after?).saturating_sub(signed(before?))));
        let chains = chains(&now);
        Some(Self {
            rules: total(&chains),
            grown,
            longest: chains.into_iter().max_by_key(|(_, rules)| *rules),
        })
    }
}

fn total(chains: &[(String, u64)]) -> u64 {
    chains
        .iter()
        .map(|(_, rules)| rules)
        .fold(0, |sum, rules| sum.saturating_add(*rules))
}

/// Chains are the innermost objects with a number of `rules`; what contains them gives the rest of the name.
fn collect(value: &Value, path: &str, chains: &mut Vec<(String, u64)>) {
    match value {
        Value::Object(fields) => {
            let text = |key: &str| fields.get(key).and_then(Value::as_str);
            let own: Vec<&str> = ["family", "table", "chain", "name"]
                .into_iter()
                .filter_map(text)
                .collect();
            let path = format!("{path} {}", own.join(" "));
            let found = chains.len();
            for inner in fields
                .values()
                .filter(|value| value.is_array() || value.is_object())
            {
                collect(inner, &path, chains);
            }
            if let (true, Some(rules)) = (
                chains.len() == found,
                fields.get("rules").and_then(Value::as_u64),
            ) {
                let name: Vec<&str> = path.split_whitespace().collect();
                chains.push((name.join(" "), rules));
            }
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, path, chains)),
        _ => {}
    }
}
