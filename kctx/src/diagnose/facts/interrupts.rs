//! /proc/interrupts twice: interrupts a second, by line and CPU.

use std::collections::BTreeMap;

use super::both;
use crate::{capture::evidence_set::EvidenceSet, host::irqs::InterruptTable};

pub(in crate::diagnose) const FILE: &str = "proc/interrupts";

/// Interrupts a second.
#[derive(Clone, Debug, Default)]
pub(in crate::diagnose) struct Interrupts {
    /// By label, then CPU; lines and CPUs on which there were none are left out.
    rates: BTreeMap<String, BTreeMap<u32, f64>>,
    /// Names of the actions of each line.
    actions: BTreeMap<String, Vec<String>>,
}

impl Interrupts {
    pub(super) fn of(evidence: &EvidenceSet, seconds: f64) -> Option<Self> {
        let (before, after) = both(evidence, FILE, InterruptTable::parse)?;
        let mut interrupts = Self::default();
        for row in &after.rows {
            let rates: BTreeMap<u32, f64> = (after.cpus.iter().zip(&row.counts))
                .filter_map(|(cpu, now)| {
                    let grown = now.checked_sub(before.count(&row.label, *cpu)?)?;
                    (grown > 0).then_some((*cpu, grown as f64 / seconds))
                })
                .collect();
            if !rates.is_empty() {
                let label = row.label.clone();
                interrupts
                    .actions
                    .insert(label.clone(), row.actions.clone());
                interrupts.rates.insert(label, rates);
            }
        }
        Some(interrupts)
    }

    /// On one CPU.
    pub(in crate::diagnose) fn rate(&self, label: &str, cpu: u32) -> f64 {
        let rates = self.rates.get(label);
        rates
            .and_then(|rates| rates.get(&cpu))
            .copied()
            .unwrap_or(0.0)
    }

    /// Lines with a number that interrupted, their actions, and how often, by CPU.
    pub(in crate::diagnose) fn lines(
        &self,
    ) -> impl Iterator<Item = (u32, &[String], &BTreeMap<u32, f64>)> {
        self.rates.iter().filter_map(|(label, rates)| {
            let actions = self.actions.get(label).map_or(&[][..], Vec::as_slice);
            Some((label.parse().ok()?, actions, rates))
        })
    }
}
