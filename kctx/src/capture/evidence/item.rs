//! What an item of evidence is.

use super::place::Place;

/// How often an item is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// Before the window: it does not change, or is too dear to be asked for twice.
    Once,
    /// On both sides of the window, so that there is a rate.
    Twice,
}

/// A member's name in its item's folder, and its bytes.
pub(super) type Named = (String, Vec<u8>);

/// Where an item comes from.
#[derive(Clone, Copy, Debug)]
pub(super) enum Source {
    /// A file of counters that are compared with the window's records: read at the window's very edge.
    Edge(&'static str),
    /// A file, as it is.
    File(&'static str),
    /// Small files by patterns in which `*` stands for one part of a path, in one member of path and value.
    Tree(&'static [&'static str]),
    /// Small files that are chosen first.
    Chosen(fn(&Place<'_>) -> Result<Vec<String>, String>),
    /// What has to be asked for, or made of several files.
    Made(fn(&Place<'_>) -> Result<Vec<u8>, String>),
    /// The same, several members.
    Several(fn(&Place<'_>) -> Result<Vec<Named>, String>),
    /// What takes privileges that are given up before the window: taken before that.
    Privileged(fn(&Place<'_>) -> Result<Vec<u8>, String>),
}

/// One item of evidence.
#[derive(Clone, Copy, Debug)]
pub struct Item {
    /// What it is for, in order of worth.
    pub rank: u8,
    /// Its path in the sample's folder; a folder where it ends in `/`.
    pub path: &'static str,
    pub(super) source: Source,
    /// How often.
    pub taken: Taken,
    /// The most that is kept of it.
    pub max_bytes: usize,
    /// What it may reveal: `P` kernel pointers, `N` addresses, `S` secrets, `I` identity, `W` names of workloads and devices.
    pub leaks: &'static str,
}

impl Item {
    /// What it is read from, in words.
    #[must_use]
    pub fn read_from(&self) -> String {
        match self.source {
            Source::Edge(path) | Source::File(path) => path.to_owned(),
            Source::Tree(patterns) => patterns.join(" "),
            Source::Chosen(_) | Source::Made(_) | Source::Several(_) | Source::Privileged(_) => {
                made_from(self.path).to_owned()
            }
        }
    }

    /// Whether it is taken at the window's very edge.
    #[must_use]
    pub fn is_at_edge(&self) -> bool {
        matches!(self.source, Source::Edge(_))
    }

    /// Whether it is taken before privileges are given up.
    #[must_use]
    pub fn is_privileged(&self) -> bool {
        matches!(self.source, Source::Privileged(_))
    }
}

/// Where what is made comes from.
fn made_from(path: &str) -> &'static str {
    match path {
        "kthreads.tsv" => "/proc/*/stat, schedstat, status",
        "tasks.tsv" => "/proc/*/stat, schedstat, status, task/*/stat",
        "kthread-stacks.txt" => "/proc/*/stack of 32 kernel threads that run or wait in state D",
        "kmsg" => "/dev/kmsg, warning and above",
        "taint.txt" => "/proc/sys/kernel/tainted, in words",
        "uname" => "/proc/sys/kernel",
        "sysctl.txt" => "/proc/sys, the settings that a verdict quotes",
        "kernel-config" => "/proc/config.gz or /boot/config-*",
        "tree/irq.tsv" => "/proc/irq/*, interrupts that ever came",
        "tree/net.tsv" => "/sys/class/net/*, queues and settings of the busiest interfaces",
        "tree/module-taint.tsv" => "/sys/module/*/{taint,version}, modules that taint",
        "tree/acpi-interrupts.tsv" => {
            "/sys/firmware/acpi/interrupts/*, those that ever came, and sci"
        }
        "ethtool/" => "the kernel's ethtool netlink family, and its ioctl SIOCETHTOOL",
        "qdisc.json" => "rtnetlink, qdiscs with their counters",
        "netfilter.json" => "nfnetlink: tables, chains and numbers of rules, no rules",
        "bpf-programs.json" => "bpf(), programs with their run time where it is counted",
        "pstore.tsv" => "/sys/fs/pstore, names and sizes",
        _ => "kctx itself",
    }
}
