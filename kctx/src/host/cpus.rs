//! The kernel's CPU list format, `0-3,5`: /sys/devices/system/cpu/{online,possible}.

use std::fmt::Write as _;

use super::root::{HostRoot, Reread};

const ONLINE: &str = "/sys/devices/system/cpu/online";

/// One more than the highest CPU number taken for real. `NR_CPUS` is at most 8192 today
/// (arch/x86/Kconfig); the bound keeps a broken list from asking for 4 G entries.
pub const MAX_CPUS: u32 = 1 << 16;

/// Why a CPU list could not be read.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum CpuListError {
    /// A part is neither a number nor a range.
    #[error("{0:?} is not a CPU number or range")]
    NotARange(String),
    /// A number is beyond [`MAX_CPUS`].
    #[error("CPU {0} is beyond the highest this program takes ({max})", max = MAX_CPUS - 1)]
    TooHigh(u32),
}

/// Parses a CPU list; sorted and without repetition. An empty list is no CPU, as in `offline`.
pub fn parse_cpu_list(text: &str) -> Result<Vec<u32>, CpuListError> {
    let mut cpus = Vec::new();
    for part in text.trim().split(',').filter(|part| !part.is_empty()) {
        let number = |digits: &str| {
            digits
                .trim()
                .parse::<u32>()
                .map_err(|_| CpuListError::NotARange(part.to_owned()))
        };
        let (first, last) = match part.split_once('-') {
            Some((first, last)) => (number(first)?, number(last)?),
            None => (number(part)?, number(part)?),
        };
        if last < first {
            return Err(CpuListError::NotARange(part.to_owned()));
        }
        if last >= MAX_CPUS {
            return Err(CpuListError::TooHigh(last));
        }
        cpus.extend(first..=last);
        // Many overlapping ranges must not add up to more than there can be.
        if cpus.len() > MAX_CPUS as usize {
            cpus.sort_unstable();
            cpus.dedup();
        }
    }
    cpus.sort_unstable();
    cpus.dedup();
    Ok(cpus)
}

/// Writes sorted CPU numbers as the kernel does.
#[must_use]
pub fn format_cpu_list(cpus: &[u32]) -> String {
    let mut text = String::new();
    for run in cpus.chunk_by(|a, b| a.checked_add(1) == Some(*b)) {
        if !text.is_empty() {
            text.push(',');
        }
        // Writing into a String cannot fail.
        let _ = match run {
            [first, .., last] => write!(text, "{first}-{last}"),
            [only] => write!(text, "{only}"),
            [] => Ok(()),
        };
    }
    text
}

/// CPUs that are online now.
pub fn online(root: &HostRoot) -> std::io::Result<Vec<u32>> {
    read(root, ONLINE)
}

/// Which CPUs are online, asked again and again.
#[derive(Debug)]
pub struct Online(Reread);

impl Online {
    /// Opens the list.
    pub fn open(root: &HostRoot) -> std::io::Result<Self> {
        root.reread(ONLINE).map(Self)
    }

    /// CPUs that are online now.
    pub fn now(&self) -> std::io::Result<Vec<u32>> {
        parse_cpu_list(&self.0.read()?)
            .map_err(|error| std::io::Error::new(std::io::ErrorKind::InvalidData, error))
    }
}

/// CPUs that may ever come: what per-CPU maps are sized for.
pub fn possible(root: &HostRoot) -> std::io::Result<Vec<u32>> {
    read(root, "/sys/devices/system/cpu/possible")
}

fn read(root: &HostRoot, path: &str) -> std::io::Result<Vec<u32>> {
    // 8192 CPUs, every second one offline, are below 24 KiB.
    let bounded = root.read_bounded(path, 1 << 16)?;
    parse_cpu_list(&String::from_utf8_lossy(&bounded.bytes))
        .map_err(|error| std::io::Error::new(std::io::ErrorKind::InvalidData, error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn parses_ranges_single_numbers_and_nothing() {
        assert_eq!(parse_cpu_list("0-3,5\n").unwrap(), [0, 1, 2, 3, 5]);
        assert_eq!(parse_cpu_list("0\n").unwrap(), [0]);
        assert!(parse_cpu_list("\n").unwrap().is_empty());
        assert_eq!(format_cpu_list(&[0, 1, 2, 3, 5]), "0-3,5");
    }

    #[test]
    fn refuses_what_is_no_list() {
        assert_eq!(
            parse_cpu_list("3-1"),
            Err(CpuListError::NotARange("3-1".into()))
        );
        assert_eq!(
            parse_cpu_list("0-4294967295"),
            Err(CpuListError::TooHigh(u32::MAX))
        );
        assert!(parse_cpu_list("a").is_err());
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(cpus in prop::collection::btree_set(0..MAX_CPUS, 0..200)) {
            let cpus: Vec<u32> = cpus.into_iter().collect();
            prop_assert_eq!(parse_cpu_list(&format_cpu_list(&cpus)).unwrap(), cpus);
        }

        #[test]
        fn never_panics(text in "[0-9,\\- a]{0,40}") {
            let _ = parse_cpu_list(&text);
        }
    }
}
