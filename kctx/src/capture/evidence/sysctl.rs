//! The settings that a verdict quotes; never all of them, since some hold names and keys.

use super::place::Place;

/// Settings by path below /proc/sys; a part that ends in `*` stands for names that begin so.
const SETTINGS: &[&str] = &[
    "net/core/busy_*",
    "net/core/default_qdisc",
    "net/core/dev_weight*",
    "net/core/flow_limit_*",
    "net/core/gro_normal_batch",
    "net/core/mem_pcpu_rsv",
    "net/core/netdev_budget*",
    "net/core/netdev_max_backlog",
    "net/core/qdisc_max_burst",
    "net/core/rmem_*",
    "net/core/rps_*",
    "net/core/skb_defer_max",
    "net/core/somaxconn",
    "net/core/tstamp_allow_data",
    "net/core/warnings",
    "net/core/wmem_*",
    "net/netfilter/nf_conntrack_*",
    "kernel/bpf_stats_enabled",
    "kernel/dmesg_restrict",
    "kernel/hung_task_*",
    "kernel/kptr_restrict",
    "kernel/numa_balancing",
    "kernel/panic*",
    "kernel/perf_event_paranoid",
    "kernel/pid_max",
    "kernel/printk*",
    "kernel/sched_autogroup*",
    "kernel/sched_rt_*",
    "kernel/softlockup_*",
    "kernel/threads-max",
    "kernel/timer_migration",
    "kernel/unprivileged_bpf_disabled",
    "kernel/watchdog*",
    "vm/compaction_*",
    "vm/dirty_*",
    "vm/stat_interval",
];

/// Lines of `net.core.netdev_budget = 300`. Values of several numbers keep their tabs as blanks.
pub(super) fn read(place: &Place<'_>) -> Result<Vec<u8>, String> {
    let mut out = String::new();
    for setting in SETTINGS {
        let (folder, name) = setting.rsplit_once('/').unwrap_or(("", setting));
        let names = match name.strip_suffix('*') {
            None => vec![name.to_owned()],
            Some(start) => {
                let mut names = place.names(&format!("/proc/sys/{folder}"));
                names.retain(|name| name.starts_with(start));
                names
            }
        };
        for name in names {
            if let Ok(value) = place.root.read_line(&format!("/proc/sys/{folder}/{name}")) {
                let value = value.split_whitespace().collect::<Vec<_>>().join(" ");
                out.push_str(&format!("{}.{name} = {value}\n", folder.replace('/', ".")));
            }
        }
    }
    if out.is_empty() {
        return Err("/proc/sys cannot be read".to_owned());
    }
    Ok(out.into_bytes())
}
