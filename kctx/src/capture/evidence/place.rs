//! Where items look: the machine, and until when. Small files by patterns, and which of them are worth it.

use std::{
    io,
    time::{Duration, Instant},
};

use super::{EvidenceLimits, Phase, sampler::Memory};
use crate::host::{irqs::InterruptTable, root::HostRoot};

/// Interrupts whose files are read: those that came most.
const INTERRUPTS: usize = 512;
/// Interfaces whose files are read: those with the most traffic.
const INTERFACES: usize = 256;
/// Modules that taint.
const MODULES: usize = 256;
/// Small files of one item.
const SMALL_FILES: usize = 16_384;
/// The most that is kept of a small file.
const SMALL_FILE_BYTES: usize = 4096;

/// What an item works with.
pub(super) struct Place<'a> {
    pub root: &'a HostRoot,
    pub phase: Phase,
    pub limits: &'a EvidenceLimits,
    /// What the item should be done by.
    pub deadline: Instant,
    pub memory: &'a Memory,
}

impl Place<'_> {
    /// Whether there is no time left.
    pub(super) fn is_late(&self) -> bool {
        Instant::now() >= self.deadline
    }

    pub(super) fn time_left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    /// A file's text, up to `limit` bytes.
    pub(super) fn text(&self, path: &str, limit: usize) -> Result<String, String> {
        let file = self.root.read_bounded(path, limit);
        let file = file.map_err(|error| reason(path, &error))?;
        Ok(String::from_utf8_lossy(&file.bytes).into_owned())
    }

    /// Names in a directory, sorted; none where it cannot be read.
    pub(super) fn names(&self, directory: &str) -> Vec<String> {
        let Ok(entries) = std::fs::read_dir(self.root.path(directory)) else {
            return Vec::new();
        };
        let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let mut names: Vec<String> = names.take(SMALL_FILES).collect();
        // `cpu2` before `cpu10`.
        names.sort_by(|a, b| (a.len(), a).cmp(&(b.len(), b)));
        names
    }

    /// The paths that a pattern stands for, in order.
    pub(super) fn expand(&self, pattern: &str) -> Vec<String> {
        let mut paths = vec![String::new()];
        for part in pattern.trim_start_matches('/').split('/') {
            let next = paths.iter().flat_map(|path| {
                let names = if part == "*" {
                    self.names(path)
                } else {
                    vec![part.to_owned()]
                };
                names.into_iter().map(move |name| format!("{path}/{name}"))
            });
            paths = next.take(SMALL_FILES).collect();
        }
        paths
    }

    /// Paths and values, a line each: `path\tvalue`, without the leading slash; newlines and backslashes are escaped.
    /// What is not there is passed over. `Err` where nothing is.
    pub(super) fn tree(&self, paths: &[String]) -> Result<(Vec<u8>, bool), String> {
        let mut out = String::new();
        let (mut cut, mut first_error) = (paths.len() > SMALL_FILES, None);
        for path in paths.iter().take(SMALL_FILES) {
            if self.is_late() {
                cut = true;
                break;
            }
            match self.value(path) {
                Ok(value) => {
                    let value = value.trim_end().replace('\\', "\\\\").replace('\n', "\\n");
                    out.push_str(path.trim_start_matches('/'));
                    out.push('\t');
                    out.push_str(&value);
                    out.push('\n');
                }
                Err(error) => first_error = first_error.or_else(|| Some(reason(path, &error))),
            }
        }
        if out.is_empty() {
            return Err(first_error.unwrap_or_else(|| "there is none on this machine".to_owned()));
        }
        Ok((out.into_bytes(), cut))
    }

    /// A small file's text; where a symbolic link to a directory points to, its last part.
    fn value(&self, path: &str) -> io::Result<String> {
        let at = self.root.path(path);
        if path.ends_with("/driver") {
            let target = std::fs::read_link(at)?;
            let name = target.file_name().unwrap_or_default();
            return Ok(name.to_string_lossy().into_owned());
        }
        let file = self.root.read_bounded(path, SMALL_FILE_BYTES)?;
        Ok(String::from_utf8_lossy(&file.bytes).into_owned())
    }
}

/// Files of the interrupts that ever came.
pub(super) fn interrupts(place: &Place<'_>) -> Result<Vec<String>, String> {
    let text = place.text("/proc/interrupts", place.limits.file_bytes)?;
    let table = InterruptTable::parse(&text);
    let mut lines: Vec<(u64, u32)> = table
        .rows
        .iter()
        .filter_map(|row| Some((row.total(), row.irq?)))
        .filter(|(total, _)| *total > 0)
        .collect();
    lines.sort_unstable_by_key(|(total, irq)| (std::cmp::Reverse(*total), *irq));
    lines.truncate(INTERRUPTS);
    let files = [
        "smp_affinity_list",
        "effective_affinity_list",
        "affinity_hint",
        "node",
        "spurious",
    ];
    let paths = lines
        .iter()
        .flat_map(|(_, irq)| files.map(|file| format!("/proc/irq/{irq}/{file}")));
    Ok(paths.collect())
}

/// Files of the interfaces with the most traffic.
pub(super) fn interfaces(place: &Place<'_>) -> Result<Vec<String>, String> {
    let text = place.text("/proc/net/dev", place.limits.file_bytes)?;
    let patterns = [
        "queues/*/rps_cpus",
        "queues/*/rps_flow_cnt",
        "queues/*/xps_cpus",
        "threaded",
        "gro_flush_timeout",
        "napi_defer_hard_irqs",
        "mtu",
        "speed",
        "type",
        "ifindex",
        "iflink",
        "carrier_changes",
        "tx_queue_len",
        "device/numa_node",
        "device/driver",
        "statistics/rx_missed_errors",
        "statistics/rx_nohandler",
    ];
    let paths = busiest_interfaces(&text).into_iter().flat_map(|name| {
        let of_it =
            patterns.map(|pattern| place.expand(&format!("/sys/class/net/{name}/{pattern}")));
        of_it.into_iter().flatten()
    });
    Ok(paths.take(SMALL_FILES).collect())
}

/// Names in /proc/net/dev, those with the most bytes first (`dev_seq_printf_stats`, net/core/net-procfs.c: received bytes
/// are the first column, sent bytes the ninth).
pub(super) fn busiest_interfaces(text: &str) -> Vec<String> {
    let mut interfaces: Vec<(u64, &str)> = text
        .lines()
        .filter_map(|line| {
            let (name, counters) = line.rsplit_once(':')?;
            let numbers: Vec<u64> = counters
                .split_ascii_whitespace()
                .map_while(|number| number.parse().ok())
                .collect();
            let bytes = numbers.first()?.saturating_add(*numbers.get(8)?);
            Some((bytes, name.trim()))
        })
        .collect();
    interfaces.sort_unstable_by_key(|(bytes, name)| (std::cmp::Reverse(*bytes), *name));
    let names = interfaces.into_iter().map(|(_, name)| name.to_owned());
    names.take(INTERFACES).collect()
}

/// Taint and version of the modules that taint.
pub(super) fn tainting_modules(place: &Place<'_>) -> Result<Vec<String>, String> {
    let taints = |module: &String| {
        let taint = place.root.read_line(&format!("/sys/module/{module}/taint"));
        taint.is_ok_and(|letters| !letters.is_empty())
    };
    let modules: Vec<String> = place
        .names("/sys/module")
        .into_iter()
        .filter(taints)
        .collect();
    let of_it =
        |module: String| ["taint", "version"].map(|file| format!("/sys/module/{module}/{file}"));
    Ok(modules.into_iter().take(MODULES).flat_map(of_it).collect())
}

/// ACPI's counters that are not zero, and that of its interrupts: where it is, what is not there is zero.
pub(super) fn acpi_interrupts(place: &Place<'_>) -> Result<Vec<String>, String> {
    let mut paths = place.expand("/sys/firmware/acpi/interrupts/*");
    paths.retain(|path| {
        let line = place.root.read_line(path).unwrap_or_default();
        let count = line.split_ascii_whitespace().next();
        path.ends_with("/sci") || count.is_some_and(|count| count != "0")
    });
    Ok(paths)
}

/// Why a file could not be read, and what would help.
pub(super) fn reason(source: &str, error: &io::Error) -> String {
    use io::ErrorKind;
    match (error.kind(), source) {
        (ErrorKind::NotFound, "/proc/modules") => {
            "/proc/modules is not there: CONFIG_MODULES is off, or modules are disabled".to_owned()
        }
        (ErrorKind::NotFound, "/proc/schedstat") => {
            "/proc/schedstat is not there: CONFIG_SCHEDSTATS is off".to_owned()
        }
        (ErrorKind::NotFound, "/proc/pressure/irq") => {
            "/proc/pressure/irq is not there: the kernel is older than 6.1, or CONFIG_PSI or \
             CONFIG_IRQ_TIME_ACCOUNTING is off"
                .to_owned()
        }
        (ErrorKind::NotFound, _) => format!("{source} is not there"),
        (ErrorKind::PermissionDenied, "/dev/kmsg") => {
            "/dev/kmsg: permission denied: run as root or with CAP_SYSLOG".to_owned()
        }
        (ErrorKind::PermissionDenied, _) => format!("{source}: permission denied: run as root"),
        _ => format!("{source}: {error}"),
    }
}
