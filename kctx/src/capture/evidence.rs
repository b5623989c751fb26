//! The first evidence set: raw text of what the kernel says about itself, before and after a window.
//!
//! Only files are read; no command is run. What cannot be read is listed with the reason.

use std::{io::ErrorKind, time::Duration};

use crate::host::{
    kernel_config::KernelConfig,
    kmsg::{self, KmsgLimits},
    root::HostRoot,
    taint,
};

use super::bundle::{BundleError, BundleWriter, Manifest, MissingEvidence};

/// Which of the two samples; two make rates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Before the window.
    Before,
    /// After the window.
    After,
}

impl Phase {
    /// The folder in the bundle.
    #[must_use]
    pub fn folder(self) -> &'static str {
        match self {
            Self::Before => "evidence/before",
            Self::After => "evidence/after",
        }
    }
}

/// How much evidence is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EvidenceLimits {
    /// Bytes of one file.
    pub file_bytes: usize,
    /// The kernel log.
    pub kmsg: KmsgLimits,
}

impl Default for EvidenceLimits {
    fn default() -> Self {
        Self {
            file_bytes: 4 << 20,
            kmsg: KmsgLimits::default(),
        }
    }
}

/// One file of evidence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EvidenceFile {
    /// Path in the bundle.
    pub path: String,
    /// Content.
    pub bytes: Vec<u8>,
    /// There was more than the limit.
    pub truncated: bool,
}

/// One sample.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Evidence {
    /// What was read.
    pub files: Vec<EvidenceFile>,
    /// What was not, and why.
    pub missing: Vec<MissingEvidence>,
    /// Records of the kernel log that its limits kept out.
    pub kmsg_left_out: u64,
}

/// Files copied as they are: (path on the machine, path in the phase's folder, taken after too).
///
/// Those that can change within a window are taken twice.
const FILES: [(&str, &str, bool); 13] = [
    ("/proc/softirqs", "proc/softirqs", true),
    ("/proc/interrupts", "proc/interrupts", true),
    ("/proc/stat", "proc/stat", true),
    ("/proc/net/softnet_stat", "proc/net/softnet_stat", true),
    ("/proc/net/dev", "proc/net/dev", true),
    ("/proc/schedstat", "proc/schedstat", true),
    ("/proc/loadavg", "proc/loadavg", true),
    ("/proc/uptime", "proc/uptime", true),
    ("/proc/modules", "proc/modules", true),
    ("/proc/sys/kernel/tainted", "proc/sys/kernel/tainted", true),
    ("/proc/cmdline", "proc/cmdline", false),
    ("/proc/version", "proc/version", false),
    ("/etc/os-release", "etc/os-release", false),
];

/// Takes one sample of the machine under `root`. The counters are read close together, on the window's side
/// of everything else: last before it, first after it.
#[must_use]
pub fn collect(root: &HostRoot, phase: Phase, limits: &EvidenceLimits) -> Evidence {
    let mut evidence = Evidence::default();
    match phase {
        Phase::Before => {
            evidence.add_kernel(root, phase.folder(), limits.file_bytes);
            evidence.add_state(root, phase, limits);
            // Woken afresh, this thread has a whole time slice before it, and will hardly be preempted
            // between the counters and the opening of the window.
            std::thread::sleep(Duration::from_millis(2));
            evidence.add_files(root, phase, limits);
        }
        Phase::After => {
            evidence.add_files(root, phase, limits);
            evidence.add_state(root, phase, limits);
        }
    }
    evidence
}

impl Evidence {
    /// Files as they are. The interrupt and softirq counts come last before the window, first after it.
    fn add_files(&mut self, root: &HostRoot, phase: Phase, limits: &EvidenceLimits) {
        let mut files = FILES;
        if phase == Phase::Before {
            files.reverse();
        }
        for (source, target, after_too) in files {
            if phase == Phase::After && !after_too {
                continue;
            }
            let path = format!("{}/{target}", phase.folder());
            match root.read_bounded(source, limits.file_bytes) {
                Ok(file) => self.files.push(EvidenceFile {
                    path,
                    bytes: file.bytes,
                    truncated: file.truncated,
                }),
                Err(error) => self.miss(path, reason(source, &error)),
            }
        }
    }

    /// The taint decoded, and the kernel log.
    fn add_state(&mut self, root: &HostRoot, phase: Phase, limits: &EvidenceLimits) {
        let path = format!("{}/taint.txt", phase.folder());
        match taint::read(root) {
            Ok(value) => self.keep(path, taint::describe(value), limits.file_bytes),
            Err(error) => self.miss(path, reason("/proc/sys/kernel/tainted", &error)),
        }
        let path = format!("{}/kmsg", phase.folder());
        match kmsg::read(root, limits.kmsg) {
            Ok(selection) => {
                self.kmsg_left_out = selection.left_out;
                self.keep(path, selection.render(), limits.file_bytes);
            }
            Err(error) => self.miss(path, reason("/dev/kmsg", &error)),
        }
    }

    /// Puts the files into a bundle.
    pub fn write_to(&self, bundle: &mut BundleWriter) -> Result<(), BundleError> {
        self.files
            .iter()
            .try_for_each(|file| bundle.add_file(&file.path, &file.bytes))
    }

    /// Notes in the manifest what is missing and which limits bit; both samples add to it.
    pub fn note_in(&self, manifest: &mut Manifest, limits: &EvidenceLimits) {
        manifest.evidence_missing.extend(self.missing.clone());
        let cut = self.files.iter().filter(|file| file.truncated).count() as u64;
        let records = limits.kmsg.first.saturating_add(limits.kmsg.last) as u64;
        for (name, limit, dropped) in [
            ("evidence_file_bytes", limits.file_bytes as u64, cut),
            ("kmsg_records", records, self.kmsg_left_out),
        ] {
            let entry = manifest.limits.entry(name.to_owned()).or_default();
            entry.limit = limit;
            entry.hit |= dropped > 0;
            entry.dropped = entry.dropped.saturating_add(dropped);
        }
    }

    fn keep(&mut self, path: String, text: String, limit: usize) {
        let mut bytes = text.into_bytes();
        let truncated = bytes.len() > limit;
        bytes.truncate(limit);
        self.files.push(EvidenceFile {
            path,
            bytes,
            truncated,
        });
    }

    fn miss(&mut self, path: String, reason: String) {
        self.missing.push(MissingEvidence { path, reason });
    }

    /// What does not change while the kernel runs.
    fn add_kernel(&mut self, root: &HostRoot, folder: &str, limit: usize) {
        let line = |name: &str| root.read_line(&format!("/proc/sys/kernel/{name}"));
        let path = format!("{folder}/uname");
        let release = line("osrelease");
        match (line("ostype"), line("hostname"), &release, line("version")) {
            (Ok(system), Ok(host), Ok(release), Ok(version)) => {
                let arch = line("arch").unwrap_or_else(|_| std::env::consts::ARCH.to_owned());
                self.keep(
                    path,
                    format!("{system} {host} {release} {version} {arch}\n"),
                    limit,
                );
            }
            (Err(error), ..) | (_, Err(error), ..) | (.., Err(error)) => {
                self.miss(path, reason("/proc/sys/kernel", &error));
            }
            (_, _, Err(error), _) => self.miss(path, reason("/proc/sys/kernel/osrelease", error)),
        }
        let path = format!("{folder}/kernel-config");
        match KernelConfig::find(root, &release.unwrap_or_default()) {
            Ok(config) => self.keep(path, config.text, limit),
            Err(error) => self.miss(path, error.to_string()),
        }
    }
}

fn reason(source: &str, error: &std::io::Error) -> String {
    match (error.kind(), source) {
        (ErrorKind::NotFound, "/proc/modules") => {
            "/proc/modules is not there: CONFIG_MODULES is off, or modules are disabled".to_owned()
        }
        (ErrorKind::NotFound, "/proc/schedstat") => {
            "/proc/schedstat is not there: CONFIG_SCHEDSTATS is off".to_owned()
        }
        (ErrorKind::NotFound, _) => format!("{source} is not there"),
        (ErrorKind::PermissionDenied, "/dev/kmsg") => {
            "/dev/kmsg: permission denied: run as root or with CAP_SYSLOG".to_owned()
        }
        (ErrorKind::PermissionDenied, _) => format!("{source}: permission denied: run as root"),
        _ => format!("{source}: {error}"),
    }
}

#[cfg(test)]
#[path = "evidence_tests.rs"]
mod tests;
