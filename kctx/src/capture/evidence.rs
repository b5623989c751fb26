//! The first evidence set: raw text of what the kernel says about itself, before and after a window.
//!
//! Only files are read; no command is run. What cannot be read is listed with the reason.

use std::io::ErrorKind;

use crate::host::{
    kernel_config::KernelConfig,
    kmsg::{self, KmsgLimits},
    root::HostRoot,
    taint,
};

use super::bundle::MissingEvidence;

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
    ("/proc/stat", "proc/stat", true),
    ("/proc/interrupts", "proc/interrupts", true),
    ("/proc/softirqs", "proc/softirqs", true),
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

/// Takes one sample of the machine under `root`.
#[must_use]
pub fn collect(root: &HostRoot, phase: Phase, limits: &EvidenceLimits) -> Evidence {
    let mut evidence = Evidence::default();
    let folder = phase.folder();
    // The counters first, and close together: the sample should be of one moment.
    for (source, target, after_too) in FILES {
        if phase == Phase::After && !after_too {
            continue;
        }
        let path = format!("{folder}/{target}");
        match root.read_bounded(source, limits.file_bytes) {
            Ok(file) => evidence.files.push(EvidenceFile {
                path,
                bytes: file.bytes,
                truncated: file.truncated,
            }),
            Err(error) => evidence.miss(path, reason(source, &error)),
        }
    }
    match taint::read(root) {
        Ok(value) => evidence.keep(
            format!("{folder}/taint.txt"),
            taint::describe(value),
            limits.file_bytes,
        ),
        Err(error) => evidence.miss(
            format!("{folder}/taint.txt"),
            reason("/proc/sys/kernel/tainted", &error),
        ),
    }
    if phase == Phase::Before {
        evidence.add_kernel(root, folder, limits.file_bytes);
    }
    let path = format!("{folder}/kmsg");
    match kmsg::read(root, limits.kmsg) {
        Ok(selection) => {
            evidence.kmsg_left_out = selection.left_out;
            evidence.keep(path, selection.render(), limits.file_bytes);
        }
        Err(error) => evidence.miss(path, reason("/dev/kmsg", &error)),
    }
    evidence
}

impl Evidence {
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
mod tests {
    use super::*;

    fn fixture() -> (tempfile::TempDir, HostRoot) {
        let directory = tempfile::tempdir().unwrap();
        for (path, text) in [
            ("proc/interrupts", "  CPU0\n 24:  7  IO-APIC 1-edge  x\n"),
            ("proc/sys/kernel/tainted", "512\n"),
            ("proc/sys/kernel/ostype", "Linux\n"),
            ("proc/sys/kernel/hostname", "h\n"),
            ("proc/sys/kernel/osrelease", "6.1\n"),
            ("proc/sys/kernel/version", "#1\n"),
            ("proc/sys/kernel/arch", "x86_64\n"),
            ("proc/cmdline", "quiet\n"),
            ("boot/config-6.1", "CONFIG_HZ=250\n"),
            ("dev/kmsg", "6,1,0,-;info\n4,2,0,-;warning\n"),
        ] {
            let path = directory.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let root = HostRoot::new(directory.path());
        (directory, root)
    }

    fn text<'a>(evidence: &'a Evidence, path: &str) -> &'a str {
        let file = evidence.files.iter().find(|file| file.path == path);
        std::str::from_utf8(&file.unwrap_or_else(|| panic!("no {path}")).bytes).unwrap()
    }

    #[test]
    fn takes_what_is_there_and_names_what_is_not() {
        let (_directory, root) = fixture();
        let before = collect(&root, Phase::Before, &EvidenceLimits::default());
        assert!(text(&before, "evidence/before/proc/interrupts").contains("24:"));
        assert_eq!(
            text(&before, "evidence/before/uname"),
            "Linux h 6.1 #1 x86_64\n"
        );
        assert!(text(&before, "evidence/before/taint.txt").contains("warn"));
        assert_eq!(
            text(&before, "evidence/before/kernel-config"),
            "CONFIG_HZ=250\n"
        );
        assert_eq!(text(&before, "evidence/before/kmsg"), "4,2,0,-;warning\n");
        let missing = |path: &str| {
            let found = before.missing.iter().find(|missing| missing.path == path);
            found.map(|missing| missing.reason.as_str())
        };
        assert_eq!(
            missing("evidence/before/proc/modules"),
            Some("/proc/modules is not there: CONFIG_MODULES is off, or modules are disabled")
        );
        assert!(missing("evidence/before/proc/interrupts").is_none());
        // 13 files, taint, uname, kernel config, kernel log: each is either there or missing.
        assert_eq!(before.files.len() + before.missing.len(), FILES.len() + 4);
    }

    #[test]
    fn what_cannot_change_is_taken_once() {
        let (_directory, root) = fixture();
        let after = collect(&root, Phase::After, &EvidenceLimits::default());
        assert!(text(&after, "evidence/after/proc/interrupts").contains("24:"));
        let paths: Vec<_> = after.files.iter().map(|file| file.path.as_str()).collect();
        assert!(!paths.contains(&"evidence/after/proc/cmdline"));
        assert!(!paths.contains(&"evidence/after/kernel-config"));
        assert!(
            after
                .missing
                .iter()
                .all(|missing| !missing.path.contains("os-release"))
        );
    }

    #[test]
    fn every_file_is_bounded() {
        let (_directory, root) = fixture();
        let limits = EvidenceLimits {
            file_bytes: 5,
            ..EvidenceLimits::default()
        };
        let evidence = collect(&root, Phase::Before, &limits);
        assert!(evidence.files.iter().all(|file| file.bytes.len() <= 5));
        let truncated = |path: &str| {
            let file = evidence.files.iter().find(|file| file.path == path);
            file.map(|file| file.truncated)
        };
        assert_eq!(truncated("evidence/before/proc/interrupts"), Some(true));
        assert_eq!(
            truncated("evidence/before/proc/sys/kernel/tainted"),
            Some(false)
        );
    }

    #[test]
    fn the_running_machine_gives_its_books() {
        let evidence = collect(
            &HostRoot::system(),
            Phase::After,
            &EvidenceLimits::default(),
        );
        assert!(text(&evidence, "evidence/after/proc/softirqs").contains("NET_RX"));
        assert!(text(&evidence, "evidence/after/proc/stat").starts_with("cpu "));
    }
}
