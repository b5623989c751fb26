//! Receiving packets, by CPU: the NET_RX vector, its polls, its raisers, and what the kernel counted.

use std::collections::{BTreeMap, BTreeSet};

use super::softnet::SoftnetRate;
use crate::{
    aggregate::window::OriginKind,
    report::summary::{NapiSummary, OriginSummary, SoftirqSummary, Summary},
};

/// The vector.
pub(in crate::diagnose) const NET_RX: &str = "NET_RX";
/// A poll of it takes at most so many packets (`weight_p`, net/core/dev.c).
pub(in crate::diagnose) const BACKLOG: &str = "backlog";

/// One CPU's receiving in softirqs.
#[derive(Clone, Debug, Default)]
pub(in crate::diagnose) struct Receive {
    pub(in crate::diagnose) cpu: u32,
    /// NET_RX's share of the CPU, interrupts taken out.
    pub(in crate::diagnose) percent: f64,
    /// Runs a second.
    pub(in crate::diagnose) runs: f64,
    /// The longest run.
    pub(in crate::diagnose) longest_ns: u64,
    /// Shares of the CPU by where it ran, the most first.
    pub(in crate::diagnose) places: Vec<(String, f64)>,
    /// 99th percentile of raise to entry, the longest of places with a hundred of them.
    pub(in crate::diagnose) wait_p99_ns: u64,
    /// Polls a second, of NAPIs that received more than a hundredth of all; of all where none did.
    pub(in crate::diagnose) polls: f64,
    /// Of those, in per cent, that used their whole weight.
    pub(in crate::diagnose) full_percent: f64,
    /// Packets a second through its polls.
    pub(in crate::diagnose) packets: f64,
    /// Of those NAPIs, how many there are, and how many had a full poll.
    pub(in crate::diagnose) napis: usize,
    pub(in crate::diagnose) full_napis: usize,
    /// Packets a second by device, the most first.
    pub(in crate::diagnose) devices: Vec<(String, f64)>,
    /// Parts in per cent of runs by what raised them, the most first.
    pub(in crate::diagnose) raisers: Vec<(OriginSummary, f64)>,
    /// The kernel's own counts, where there is evidence.
    pub(in crate::diagnose) softnet: Option<SoftnetRate>,
}

impl Receive {
    /// Time for a packet, in nanoseconds; `None` of none.
    pub(in crate::diagnose) fn cost_ns(&self) -> Option<f64> {
        (self.packets >= 1.0).then(|| self.percent * 1e7 / self.packets)
    }

    /// Part of the runs, in per cent, that were raised by such a kind.
    pub(in crate::diagnose) fn raised_by(&self, kinds: &[OriginKind]) -> f64 {
        let of = self
            .raisers
            .iter()
            .filter(|(origin, _)| kinds.contains(&origin.kind));
        of.map(|(_, percent)| percent).sum()
    }

    /// Where most of it ran.
    pub(in crate::diagnose) fn place(&self) -> &str {
        self.places.first().map_or("unknown", |(place, _)| place)
    }

    /// The device with most packets.
    pub(in crate::diagnose) fn device(&self) -> Option<&str> {
        self.devices.first().map(|(device, _)| device.as_str())
    }

    /// Packets a second that its backlog had no room for.
    pub(in crate::diagnose) fn dropped(&self) -> f64 {
        self.softnet.map_or(0.0, |rate| rate.dropped)
    }
}

/// One NAPI's polls on a CPU.
#[derive(Default)]
struct Polled {
    polls: u64,
    full: u64,
    packets: u64,
}

/// By share of a CPU, the most first; only CPUs that received.
pub(super) fn of(summary: &Summary, softnet: Option<&BTreeMap<u32, SoftnetRate>>) -> Vec<Receive> {
    let runs = |row: &&SoftirqSummary| row.vector == NET_RX;
    // Threads that poll are a thing of their own; tasks that poll by themselves are no softirq.
    let polls = |row: &&NapiSummary| row.context != "napi_thread";
    let softirqs = summary.softirq.iter().filter(runs);
    let napis = summary.napi.iter().filter(polls);
    let cpus: BTreeSet<u32> = (softirqs.clone().map(|row| row.cpu))
        .chain(napis.clone().map(|row| row.cpu))
        .collect();
    let mut all: Vec<Receive> = cpus
        .into_iter()
        .map(|cpu| {
            let mut receive = Receive {
                cpu,
                softnet: softnet.and_then(|rates| rates.get(&cpu)).copied(),
                ..Receive::default()
            };
            let seconds = summary.window.duration_ns.max(1_000_000) as f64 / 1e9;
            receive.add_runs(softirqs.clone().filter(|row| row.cpu == cpu), seconds);
            receive.add_polls(napis.clone().filter(|row| row.cpu == cpu), seconds);
            receive.add_raisers(summary);
            receive
        })
        .collect();
    all.sort_by(|a, b| b.percent.total_cmp(&a.percent).then(a.cpu.cmp(&b.cpu)));
    all
}

impl Receive {
    fn add_runs<'a>(&mut self, rows: impl Iterator<Item = &'a SoftirqSummary>, seconds: f64) {
        for row in rows {
            let percent = row.service_net.sum_ns as f64 / 1e7 / seconds;
            self.percent += percent;
            self.runs += row.count as f64 / seconds;
            self.longest_ns = self.longest_ns.max(row.service_net.max_ns);
            if row.wait.count >= 100 {
                self.wait_p99_ns = self.wait_p99_ns.max(row.wait.p99_ns);
            }
            self.places.push((row.context.clone(), percent));
        }
        self.places.sort_by(|a, b| b.1.total_cmp(&a.1));
    }

    fn add_polls<'a>(&mut self, rows: impl Iterator<Item = &'a NapiSummary>, seconds: f64) {
        let mut napis: BTreeMap<(&str, u32), Polled> = BTreeMap::new();
        for row in rows {
            let napi = napis.entry((&row.device, row.napi_id)).or_default();
            napi.polls = napi.polls.saturating_add(row.count);
            napi.full = napi.full.saturating_add(row.exhausted);
            napi.packets = napi.packets.saturating_add(row.packets);
        }
        // What one that receives next to nothing polls for is the cleaning up of what was sent.
        let all = (napis.values()).fold(0_u64, |sum, napi| sum.saturating_add(napi.packets));
        napis.retain(|_, napi| all == 0 || napi.packets > all / 100);
        let sum = |part: fn(&Polled) -> u64| napis.values().map(part).fold(0, u64::saturating_add);
        let polls = sum(|napi| napi.polls);
        self.packets = sum(|napi| napi.packets) as f64 / seconds;
        self.polls = polls as f64 / seconds;
        if polls > 0 {
            self.full_percent = sum(|napi| napi.full) as f64 * 100.0 / polls as f64;
        }
        self.napis = napis.len();
        self.full_napis = napis.values().filter(|napi| napi.full > 0).count();
        let mut devices: BTreeMap<&str, f64> = BTreeMap::new();
        for ((device, _), napi) in &napis {
            *devices.entry(device).or_default() += napi.packets as f64 / seconds;
        }
        self.devices = (devices.into_iter())
            .map(|(device, packets)| (device.to_owned(), packets))
            .collect();
        self.devices.sort_by(|a, b| b.1.total_cmp(&a.1));
    }

    fn add_raisers(&mut self, summary: &Summary) {
        let rows = (summary.softirq_origin.iter())
            .filter(|row| row.vector == NET_RX && row.cpu == self.cpu);
        let all: u64 = rows
            .clone()
            .map(|row| row.count)
            .fold(0, u64::saturating_add);
        let percent = |count: u64| count as f64 * 100.0 / all.max(1) as f64;
        self.raisers = rows
            .map(|row| (row.origin.clone(), percent(row.count)))
            .collect();
        self.raisers.sort_by(|a, b| b.1.total_cmp(&a.1));
    }
}
