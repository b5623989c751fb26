//! The meter at work: what kctx itself used, for each window.

use std::{collections::BTreeMap, time::Duration};

use super::Control;
use crate::{
    governor::PPM,
    host::{HostRoot, clock},
    meter::{
        OwnCost, RingFill, Sample,
        process::{Files, Threads},
        programs::{Programs, Reading},
    },
    probe::programs::BpfStats,
};

/// How often the kernel is asked what its account of each program is, while it does not count their time: what is left then
/// is how often one was refused.
const PROGRAMS_EVERY: Duration = Duration::from_secs(10);

/// Owns the account of what kctx costs.
pub struct Metering {
    files: Files,
    threads: Threads,
    programs: Programs,
    /// Held while the kernel counts.
    stats: Option<BpfStats>,
    /// For how long, from the start on; `None`: to the end.
    hold: Option<Duration>,
    /// When it is given back.
    until_ns: Option<u64>,
    /// When the programs were asked for last.
    programs_ns: u64,
    /// Why there is no sample.
    reason: Option<String>,
    /// One was asked for.
    wanted: bool,
    ring_bytes: u64,
    fullest_ppm: u32,
    /// The same by CPU.
    rings: BTreeMap<u32, u32>,
}

impl Metering {
    /// Asks the kernel to count, while this process may. The programs are attached by then: attaching itself is not
    /// made slower.
    #[must_use]
    pub fn prepare(sample: Sample) -> Self {
        let (hold, stats) = match sample {
            Sample::Never(reason) => (None, Err(reason.to_owned())),
            Sample::For(hold) => (Some(hold), BpfStats::enable()),
            Sample::Throughout => (None, BpfStats::enable()),
        };
        let (stats, reason) = match stats {
            Ok(stats) => (Some(stats), None),
            Err(reason) => (None, Some(reason)),
        };
        Self {
            files: Files::open(HostRoot::system()),
            threads: Threads::default(),
            programs: Programs::default(),
            stats,
            hold,
            until_ns: None,
            programs_ns: 0,
            reason,
            wanted: !matches!(sample, Sample::Never(_)),
            ring_bytes: 0,
            fullest_ppm: 0,
            rings: BTreeMap::new(),
        }
    }

    /// Why the kernel will not count, where that was asked for.
    #[must_use]
    pub fn refused(&self) -> Option<&str> {
        self.reason.as_deref().filter(|_| self.wanted)
    }

    /// The first window is open.
    pub fn start(&mut self, reading: Reading) {
        let hold_ns = self.hold.map(|hold| hold.as_nanos() as u64);
        self.until_ns = hold_ns.map(|hold| reading.monotonic_ns.saturating_add(hold));
        self.programs.look(reading, false);
        self.threads.look(&self.files.reading());
    }

    /// Whether the sample is over: [`Self::end_sample`] wants a reading.
    #[must_use]
    pub fn is_due(&self) -> bool {
        self.stats.is_some() && self.until_ns.is_some_and(|at| clock::monotonic_ns() >= at)
    }

    /// Whether a window that closes now wants a new reading of the programs.
    pub fn wants_programs(&mut self, now_ns: u64) -> bool {
        let since = now_ns.saturating_sub(self.programs_ns);
        let wants = self.stats.is_some() || since >= PROGRAMS_EVERY.as_nanos() as u64;
        if wants {
            self.programs_ns = now_ns;
        }
        wants
    }

    /// The kernel need no longer count.
    pub fn end_sample(&mut self, reading: Reading) {
        self.programs.look(reading, self.stats.is_some());
        self.stats = None;
    }

    /// So many bytes were found in a ring: that of a CPU, or the one for rare events.
    pub fn drained(&mut self, cpu: Option<u32>, bytes: usize, size: usize) {
        if bytes == 0 {
            return;
        }
        self.ring_bytes = self.ring_bytes.saturating_add(bytes as u64);
        // More than a ring holds may come out of it while it is drained.
        let fill = (bytes as f64 / size.max(1) as f64).min(1.0);
        let ppm = (fill * f64::from(PPM)) as u32;
        self.fullest_ppm = self.fullest_ppm.max(ppm);
        if let Some(cpu) = cpu {
            let fullest = self.rings.entry(cpu).or_default();
            *fullest = ppm.max(*fullest);
        }
    }

    /// A window closes: what was used in it.
    pub fn close(&mut self, reading: Reading) -> Control {
        self.programs.look(reading, self.stats.is_some());
        self.threads.look(&self.files.reading());
        let rings = std::mem::take(&mut self.rings).into_iter();
        Control::OwnCost(Box::new(OwnCost {
            threads: self.threads.take(),
            memory_bytes: self.files.resident_bytes(),
            ring_bytes: std::mem::take(&mut self.ring_bytes),
            fullest_ring_ppm: std::mem::take(&mut self.fullest_ppm),
            rings: rings
                .map(|(cpu, fullest_ppm)| RingFill { cpu, fullest_ppm })
                .collect(),
            bpf: self.programs.take(self.reason.as_deref()),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_asked_for_now_and_then_once_nobody_counts() {
        let mut metering = Metering::prepare(Sample::Never("not here"));
        let second = |n: u64| n * 1_000_000_000;
        let asked: Vec<_> = [20, 21, 29, 30, 31, 40]
            .map(|at| metering.wants_programs(second(at)))
            .into();
        assert_eq!(asked, [true, false, false, true, false, true]);
    }
}
