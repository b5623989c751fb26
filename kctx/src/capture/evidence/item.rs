//! The list of evidence, in its order of worth: what is taken, how often, and within which bounds.

use super::{
    bpf, ethtool, kernel, netfilter, own,
    place::{self, Place},
    qdisc, sysctl, tasks,
};

/// How often an item is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// Before the window: it does not change, or is too dear to be asked for twice.
    Once,
    /// On both sides of the window, so that there is a rate.
    Twice,
}

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
    Several(fn(&Place<'_>) -> Result<Vec<(String, Vec<u8>)>, String>),
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
        "kthreads.tsv" | "tasks.tsv" => "/proc/*/stat, schedstat, status",
        "kthread-stacks.txt" => "/proc/*/stack of 32 kernel threads that run or wait in state D",
        "kmsg" => "/dev/kmsg, warning and above",
        "taint.txt" => "/proc/sys/kernel/tainted, in words",
        "uname" => "/proc/sys/kernel",
        "sysctl.txt" => "/proc/sys, the settings that a verdict quotes",
        "kernel-config" => "/proc/config.gz or /boot/config-*",
        "tree/irq.tsv" => "/proc/irq/*, interrupts that ever came",
        "tree/net.tsv" => "/sys/class/net/*, queues and settings of the busiest interfaces",
        "tree/module-taint.tsv" => "/sys/module/*/{taint,version}, modules that taint",
        "tree/acpi-interrupts.tsv" => "/sys/firmware/acpi/interrupts/*, those that ever came",
        "ethtool/" => "the kernel's ethtool netlink family",
        "qdisc.json" => "rtnetlink, qdiscs with their counters",
        "netfilter.json" => "nfnetlink: tables, chains and numbers of rules, no rules",
        "bpf-programs.json" => "bpf(), programs with their run time where it is counted",
        "pstore.tsv" => "/sys/fs/pstore, names and sizes",
        _ => "kctx itself",
    }
}

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

const fn item(
    rank: u8,
    path: &'static str,
    source: Source,
    taken: Taken,
    max_bytes: usize,
    leaks: &'static str,
) -> Item {
    Item {
        rank,
        path,
        source,
        taken,
        max_bytes,
        leaks,
    }
}

use Source::{Chosen, Edge, File, Made, Privileged, Several, Tree};
use Taken::{Once, Twice};

/// All items. Those at the edge come first, in the order in which they are read after the window, and in the reverse order
/// before it: what is compared exactly is read closest to the window.
pub const ITEMS: &[Item] = &[
    item(1, "proc/softirqs", Edge("/proc/softirqs"), Twice, MIB, ""),
    item(
        3,
        "proc/interrupts",
        Edge("/proc/interrupts"),
        Twice,
        4 * MIB,
        "W",
    ),
    item(4, "proc/stat", Edge("/proc/stat"), Twice, MIB, ""),
    item(
        2,
        "proc/net/softnet_stat",
        Edge("/proc/net/softnet_stat"),
        Twice,
        MIB,
        "",
    ),
    item(14, "proc/net/dev", Edge("/proc/net/dev"), Twice, MIB, "W"),
    item(5, "proc/schedstat", Edge("/proc/schedstat"), Twice, MIB, ""),
    item(6, "kthreads.tsv", Made(tasks::kthreads), Twice, MIB, "W"),
    item(
        7,
        "kthread-stacks.txt",
        Privileged(tasks::stacks),
        Once,
        256 * KIB,
        "P",
    ),
    item(8, "kmsg", Made(kernel::log), Twice, 4 * MIB, "P N S I"),
    item(
        9,
        "proc/sys/kernel/tainted",
        File("/proc/sys/kernel/tainted"),
        Twice,
        4 * KIB,
        "",
    ),
    item(9, "taint.txt", Made(kernel::taint), Twice, 4 * KIB, ""),
    item(9, "proc/modules", File("/proc/modules"), Twice, MIB, "P"),
    item(
        9,
        "tree/module-taint.tsv",
        Chosen(place::tainting_modules),
        Once,
        64 * KIB,
        "",
    ),
    item(10, "uname", Made(kernel::uname), Once, 4 * KIB, "I"),
    item(10, "proc/version", File("/proc/version"), Once, 4 * KIB, ""),
    item(
        10,
        "proc/cmdline",
        File("/proc/cmdline"),
        Once,
        16 * KIB,
        "S",
    ),
    item(
        10,
        "etc/os-release",
        File("/etc/os-release"),
        Once,
        16 * KIB,
        "",
    ),
    item(10, "proc/uptime", File("/proc/uptime"), Twice, 4 * KIB, ""),
    item(
        10,
        "proc/sys/kernel/random/boot_id",
        File("/proc/sys/kernel/random/boot_id"),
        Once,
        4 * KIB,
        "I",
    ),
    item(11, "sysctl.txt", Made(sysctl::read), Once, 64 * KIB, ""),
    item(
        12,
        "tree/irq.tsv",
        Chosen(place::interrupts),
        Twice,
        MIB,
        "W",
    ),
    item(
        13,
        "tree/net.tsv",
        Chosen(place::interfaces),
        Once,
        MIB,
        "W",
    ),
    item(15, "ethtool/", Several(ethtool::read), Twice, 64 * KIB, "W"),
    item(
        16,
        "proc/net/snmp",
        File("/proc/net/snmp"),
        Twice,
        64 * KIB,
        "",
    ),
    item(
        16,
        "proc/net/netstat",
        File("/proc/net/netstat"),
        Twice,
        64 * KIB,
        "",
    ),
    item(
        16,
        "proc/net/snmp6",
        File("/proc/net/snmp6"),
        Twice,
        64 * KIB,
        "",
    ),
    item(
        16,
        "proc/net/sockstat",
        File("/proc/net/sockstat"),
        Twice,
        16 * KIB,
        "",
    ),
    item(
        16,
        "proc/net/packet",
        File("/proc/net/packet"),
        Twice,
        64 * KIB,
        "P",
    ),
    item(
        16,
        "proc/net/ptype",
        File("/proc/net/ptype"),
        Once,
        64 * KIB,
        "W",
    ),
    item(
        16,
        "proc/net/stat/nf_conntrack",
        File("/proc/net/stat/nf_conntrack"),
        Twice,
        64 * KIB,
        "",
    ),
    item(17, "qdisc.json", Made(qdisc::read), Twice, 256 * KIB, "W"),
    item(
        17,
        "netfilter.json",
        Privileged(netfilter::read),
        Once,
        256 * KIB,
        "W",
    ),
    item(
        17,
        "proc/net/ip_tables_names",
        File("/proc/net/ip_tables_names"),
        Once,
        4 * KIB,
        "",
    ),
    item(
        17,
        "proc/net/ip6_tables_names",
        File("/proc/net/ip6_tables_names"),
        Once,
        4 * KIB,
        "",
    ),
    item(
        18,
        "bpf-programs.json",
        Made(bpf::read),
        Twice,
        512 * KIB,
        "W",
    ),
    item(
        19,
        "proc/pressure/cpu",
        File("/proc/pressure/cpu"),
        Twice,
        4 * KIB,
        "",
    ),
    item(
        19,
        "proc/pressure/irq",
        File("/proc/pressure/irq"),
        Twice,
        4 * KIB,
        "",
    ),
    item(
        19,
        "proc/pressure/io",
        File("/proc/pressure/io"),
        Twice,
        4 * KIB,
        "",
    ),
    item(
        19,
        "proc/pressure/memory",
        File("/proc/pressure/memory"),
        Twice,
        4 * KIB,
        "",
    ),
    item(
        19,
        "proc/loadavg",
        File("/proc/loadavg"),
        Twice,
        4 * KIB,
        "",
    ),
    item(19, "proc/vmstat", File("/proc/vmstat"), Twice, 64 * KIB, ""),
    item(
        19,
        "proc/meminfo",
        File("/proc/meminfo"),
        Twice,
        16 * KIB,
        "",
    ),
    item(
        19,
        "proc/buddyinfo",
        File("/proc/buddyinfo"),
        Twice,
        64 * KIB,
        "",
    ),
    item(
        20,
        "proc/diskstats",
        File("/proc/diskstats"),
        Twice,
        256 * KIB,
        "W",
    ),
    item(
        20,
        "tree/block.tsv",
        Tree(&[
            "/sys/block/*/queue/rq_affinity",
            "/sys/block/*/queue/scheduler",
            "/sys/block/*/queue/nr_requests",
            "/sys/block/*/inflight",
            "/sys/block/*/mq/*/cpu_list",
        ]),
        Once,
        256 * KIB,
        "W",
    ),
    item(
        21,
        "tree/cpu.tsv",
        Tree(&[
            "/sys/devices/system/cpu/online",
            "/sys/devices/system/cpu/possible",
            "/sys/devices/system/cpu/isolated",
            "/sys/devices/system/cpu/nohz_full",
            "/sys/devices/system/node/*/cpulist",
            "/sys/devices/system/cpu/*/topology/core_id",
            "/sys/devices/system/cpu/*/topology/physical_package_id",
            "/sys/devices/system/cpu/*/topology/thread_siblings_list",
            "/sys/devices/system/cpu/*/cpufreq/scaling_governor",
            "/sys/devices/system/cpu/*/cpufreq/scaling_cur_freq",
        ]),
        Once,
        512 * KIB,
        "",
    ),
    item(
        21,
        "tree/cpuidle.tsv",
        Tree(&[
            "/sys/devices/system/cpu/*/cpuidle/*/name",
            "/sys/devices/system/cpu/*/cpuidle/*/usage",
            "/sys/devices/system/cpu/*/cpuidle/*/time",
        ]),
        Twice,
        512 * KIB,
        "",
    ),
    item(
        22,
        "tree/workqueue.tsv",
        Tree(&[
            "/sys/devices/virtual/workqueue/cpumask",
            "/sys/devices/virtual/workqueue/cpumask_isolated",
            "/sys/devices/virtual/workqueue/cpumask_requested",
            "/sys/devices/virtual/workqueue/*/max_active",
            "/sys/devices/virtual/workqueue/*/cpumask",
            "/sys/devices/virtual/workqueue/*/nice",
            "/sys/devices/virtual/workqueue/*/affinity_scope",
            "/sys/module/workqueue/parameters/*",
        ]),
        Once,
        256 * KIB,
        "",
    ),
    item(
        23,
        "tree/rcu.tsv",
        Tree(&[
            "/sys/module/rcutree/parameters/*",
            "/sys/module/rcupdate/parameters/*",
        ]),
        Once,
        64 * KIB,
        "",
    ),
    item(
        23,
        "tree/acpi-interrupts.tsv",
        Chosen(place::acpi_interrupts),
        Twice,
        64 * KIB,
        "",
    ),
    item(25, "kernel-config", Made(kernel::config), Once, MIB, ""),
    item(
        26,
        "tree/machine.tsv",
        Tree(&[
            "/proc/self/cgroup",
            "/sys/hypervisor/type",
            "/sys/class/dmi/id/sys_vendor",
            "/sys/class/dmi/id/product_name",
            "/sys/class/dmi/id/bios_version",
            "/sys/devices/system/clocksource/clocksource0/current_clocksource",
        ]),
        Once,
        64 * KIB,
        "W I",
    ),
    item(27, "tasks.tsv", Made(tasks::busiest), Twice, 64 * KIB, "W"),
    item(28, "pstore.tsv", Made(kernel::pstore), Once, 16 * KIB, ""),
    item(29, "kctx.json", Made(own::read), Once, 16 * KIB, ""),
];
