//! /proc/net/softnet_stat: what each CPU's backlog dropped, and how often `net_rx_action` ran out of time.
//!
//! A line a CPU, of hexadecimal numbers: packets, dropped, `time_squeeze`, and others (`softnet_seq_show`,
//! net/core/net-procfs.c). 32 bits each; they wrap.

use crate::host::{HostRoot, Reread};

const PATH: &str = "/proc/net/softnet_stat";
/// A line is up to 135 bytes: of 7700 CPUs.
const BYTES: usize = 1 << 20;

/// Counts of all CPUs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SoftnetCounts {
    dropped: u32,
    time_squeeze: u32,
}

/// How they grow in a second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SoftnetRates {
    /// Packets that found the backlog full.
    pub dropped: u64,
    /// Runs that ended with work left.
    pub time_squeeze: u64,
}

impl SoftnetCounts {
    /// Sums of all lines; those that make no sense are passed over.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        text.lines().fold(Self::default(), |sum, line| {
            let mut numbers = (line.split_ascii_whitespace())
                .map(|number| u32::from_str_radix(number, 16).unwrap_or(0));
            let dropped = numbers.nth(1).unwrap_or(0);
            let time_squeeze = numbers.next().unwrap_or(0);
            Self {
                dropped: sum.dropped.wrapping_add(dropped),
                time_squeeze: sum.time_squeeze.wrapping_add(time_squeeze),
            }
        })
    }

    /// How they grew since `before`, so long ago.
    #[must_use]
    pub fn since(self, before: Self, ns: u64) -> SoftnetRates {
        let rate = |now: u32, before: u32| {
            let grown = u128::from(now.wrapping_sub(before));
            u64::try_from(grown * 1_000_000_000 / u128::from(ns.max(1))).unwrap_or(u64::MAX)
        };
        SoftnetRates {
            dropped: rate(self.dropped, before.dropped),
            time_squeeze: rate(self.time_squeeze, before.time_squeeze),
        }
    }
}

/// Reads the file anew at each window's end.
#[derive(Debug)]
pub struct Softnet {
    file: Reread,
    before: Option<(SoftnetCounts, u64)>,
}

impl Softnet {
    /// Opens it.
    pub fn open(root: &HostRoot) -> std::io::Result<Self> {
        Ok(Self {
            file: root.reread(PATH)?,
            before: None,
        })
    }

    /// The rates since the last call; `None` of the first, and where the file cannot be read.
    pub fn rates(&mut self, now_ns: u64) -> Option<SoftnetRates> {
        let counts = SoftnetCounts::parse(&self.file.read_all(BYTES).ok()?);
        let (before, then_ns) = self.before.replace((counts, now_ns))?;
        Some(counts.since(before, now_ns.saturating_sub(then_ns)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_cpu_of_a_large_host_counts() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join("proc/net")).unwrap();
        let write = |squeezed: u32| {
            let line = |cpu: u32| {
                let rest = "00000000 ".repeat(9);
                format!("0000aaaa 00000000 {squeezed:08x} {rest}{cpu:08x} 00000000 00000000\n")
            };
            let text: String = (0..1024).map(line).collect();
            std::fs::write(folder.path().join("proc/net/softnet_stat"), text).unwrap();
        };
        write(0);
        let mut softnet = Softnet::open(&HostRoot::new(folder.path())).unwrap();
        assert_eq!(softnet.rates(0), None);
        write(1);
        assert_eq!(softnet.rates(1_000_000_000).unwrap().time_squeeze, 1024);
    }

    #[test]
    fn lines_are_summed_and_rates_survive_a_wrap() {
        let text =
            "0000aaaa 00000010 00000002 00000000 0\n0000bbbb 00000001 ffffffff 00000000 0\nodd\n";
        let counts = SoftnetCounts::parse(text);
        assert_eq!((counts.dropped, counts.time_squeeze), (0x11, 1));
        let before = SoftnetCounts {
            dropped: u32::MAX,
            time_squeeze: 1,
        };
        let rates = counts.since(before, 2_000_000_000);
        assert_eq!((rates.dropped, rates.time_squeeze), (9, 0));
    }
}
