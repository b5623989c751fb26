//! /proc/net/dev twice: packets and bytes a second, by device (`dev_seq_printf_stats`, net/core/net-procfs.c).

use std::collections::BTreeMap;

use super::both;
use crate::capture::evidence_set::EvidenceSet;

pub(in crate::diagnose) const FILE: &str = "proc/net/dev";

/// A device's traffic in a second.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(in crate::diagnose) struct Packets {
    pub(in crate::diagnose) received: f64,
    pub(in crate::diagnose) received_bytes: f64,
    /// Dropped on receive, as drivers and the stack count it.
    pub(in crate::diagnose) dropped: f64,
    /// Ring or FIFO overruns on receive.
    pub(in crate::diagnose) overruns: f64,
    pub(in crate::diagnose) sent: f64,
    pub(in crate::diagnose) sent_dropped: f64,
}

pub(super) fn of(evidence: &EvidenceSet, seconds: f64) -> BTreeMap<String, Packets> {
    let Some((before, after)) = both(evidence, FILE, parse) else {
        return BTreeMap::new();
    };
    let rates = after.into_iter().filter_map(|(device, now)| {
        let then = before.get(&device)?;
        let grown = |column: usize| {
            let (now, then) = (now.get(column)?, then.get(column)?);
            Some(now.saturating_sub(*then) as f64 / seconds)
        };
        let packets = Packets {
            received_bytes: grown(0)?,
            received: grown(1)?,
            dropped: grown(3)?,
            overruns: grown(4)?,
            sent: grown(9)?,
            sent_dropped: grown(11)?,
        };
        Some((device, packets))
    });
    rates.collect()
}

fn parse(text: &str) -> BTreeMap<String, Vec<u64>> {
    let lines = text.lines().filter_map(|line| {
        let (device, columns) = line.split_once(':')?;
        let columns = columns.split_whitespace().map(|column| column.parse().ok());
        Some((
            device.trim().to_owned(),
            columns.collect::<Option<Vec<u64>>>()?,
        ))
    });
    lines.filter(|(_, columns)| !columns.is_empty()).collect()
}
