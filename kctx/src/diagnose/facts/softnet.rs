//! /proc/net/softnet_stat: what a CPU's receive path did (`softnet_seq_show`, net/core/net-procfs.c).
//!
//! A line a CPU that is online, columns in hex that wrap at 32 bits: 1 processed, 2 dropped at the backlog, 3 squeezed,
//! 10 woken by RPS, 11 flow limit; 12 backlog length and 13 CPU since 5.10; 14 and 15 the backlog's two queues since 6.12.

use std::collections::BTreeMap;

use super::both;
use crate::capture::evidence_set::EvidenceSet;

pub(in crate::diagnose) const FILE: &str = "proc/net/softnet_stat";

/// One line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Line {
    processed: u32,
    dropped: u32,
    squeezed: u32,
    rps: u32,
    flow_limit: u32,
    backlog: Option<u32>,
}

/// What a CPU did in a second.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(in crate::diagnose) struct SoftnetRate {
    /// Packets through its polls and its backlog.
    pub(in crate::diagnose) processed: f64,
    /// Packets for which its backlog had no room.
    pub(in crate::diagnose) dropped: f64,
    /// Runs of NET_RX that ended with the budget or the time used up.
    pub(in crate::diagnose) squeezed: f64,
    /// Times that another CPU had it wake up for packets.
    pub(in crate::diagnose) rps: f64,
    /// Packets that the flow limit dropped.
    pub(in crate::diagnose) flow_limit: f64,
    /// Packets in its backlog at the end.
    pub(in crate::diagnose) backlog: Option<u32>,
    /// Its line in the file, from 1.
    pub(in crate::diagnose) line: usize,
}

pub(super) fn of(evidence: &EvidenceSet, seconds: f64) -> Option<BTreeMap<u32, SoftnetRate>> {
    let (before, after) = both(evidence, FILE, parse)?;
    let rates = after.iter().filter_map(|(cpu, (number, now))| {
        let (_, then) = before.get(cpu)?;
        let grown = |now: u32, then: u32| f64::from(now.wrapping_sub(then)) / seconds;
        let rate = SoftnetRate {
            processed: grown(now.processed, then.processed),
            dropped: grown(now.dropped, then.dropped),
            squeezed: grown(now.squeezed, then.squeezed),
            rps: grown(now.rps, then.rps),
            flow_limit: grown(now.flow_limit, then.flow_limit),
            backlog: now.backlog,
            line: *number,
        };
        Some((*cpu, rate))
    });
    Some(rates.collect())
}

/// Lines by CPU, with their numbers from 1.
fn parse(text: &str) -> BTreeMap<u32, (usize, Line)> {
    let lines = text.lines().enumerate().filter_map(|(at, line)| {
        let columns = line
            .split_whitespace()
            .map(|hex| u32::from_str_radix(hex, 16));
        let columns = columns.collect::<Result<Vec<_>, _>>().ok()?;
        let column = |number: usize| columns.get(number - 1).copied();
        // Kernels before 5.10 leave out which CPU it is: then the lines are in order.
        let cpu = column(13).unwrap_or(u32::try_from(at).ok()?);
        let line = Line {
            processed: column(1)?,
            dropped: column(2)?,
            squeezed: column(3)?,
            rps: column(10).unwrap_or(0),
            flow_limit: column(11).unwrap_or(0),
            backlog: column(12),
        };
        Some((cpu, (at + 1, line)))
    });
    lines.collect()
}
