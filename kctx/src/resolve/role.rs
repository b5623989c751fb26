//! What a kernel thread is for, by its name.
//!
//! Only for kernel threads (`PF_KTHREAD`): any program may call itself `ksoftirqd/0`.
//!
//! A name as the probes see it is a `task_struct`'s `comm`: at most 15 bytes (`TASK_COMM_LEN` less its
//! NUL), so longer ones are cut. /proc/PID/comm has the whole name (since 5.17), and for a kworker what it
//! works on (`wq_worker_comm`, kernel/workqueue.c). Both are understood. A number that ends where a cut
//! may have been is not believed.

use serde::{Deserialize, Serialize};

/// The longest `comm`: a name of this length may be a cut one.
const COMM_BYTES: usize = 15;

/// What a kernel thread is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Softirqs that could not run, or not long enough, after an interrupt (kernel/softirq.c).
    Ksoftirqd,
    /// Works (kernel/workqueue.c), rescuers among them.
    Kworker,
    /// A threaded interrupt handler (`setup_irq_thread`, kernel/irq/manage.c).
    Irq,
    /// Grace periods and callbacks (kernel/rcu).
    Rcu,
    /// Moving tasks between CPUs, `stop_machine` (kernel/stop_machine.c).
    Migration,
    /// A device's threaded NAPI, or a CPU's threaded backlog (net/core/dev.c).
    Napi,
    /// A file system's journal (fs/jbd2).
    Jbd2,
    /// Pings hardware watchdogs (drivers/watchdog), or, before 4.19, watched for lock-ups.
    Watchdog,
    /// The TIMER and HRTIMER softirqs, with `threadirqs` or PREEMPT_RT (kernel/softirq.c).
    Ktimers,
    /// Reclaim of a node's memory (mm/vmscan.c).
    Kswapd,
    /// Compaction of a node's memory (mm/compaction.c).
    Kcompactd,
    /// Transparent huge pages (mm/khugepaged.c).
    Khugepaged,
    /// CPU hotplug (kernel/cpu.c).
    Cpuhp,
    /// Forced idleness, to cool (drivers/powercap/idle_inject.c).
    IdleInject,
    /// The parent of all (kernel/kthread.c).
    Kthreadd,
    /// Another one.
    Other,
}

impl Role {
    /// All, in the order of their definition.
    pub const ALL: [Self; 16] = [
        Self::Ksoftirqd,
        Self::Kworker,
        Self::Irq,
        Self::Rcu,
        Self::Migration,
        Self::Napi,
        Self::Jbd2,
        Self::Watchdog,
        Self::Ktimers,
        Self::Kswapd,
        Self::Kcompactd,
        Self::Khugepaged,
        Self::Cpuhp,
        Self::IdleInject,
        Self::Kthreadd,
        Self::Other,
    ];

    /// The name in summaries and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ksoftirqd => "ksoftirqd",
            Self::Kworker => "kworker",
            Self::Irq => "irq",
            Self::Rcu => "rcu",
            Self::Migration => "migration",
            Self::Napi => "napi",
            Self::Jbd2 => "jbd2",
            Self::Watchdog => "watchdog",
            Self::Ktimers => "ktimers",
            Self::Kswapd => "kswapd",
            Self::Kcompactd => "kcompactd",
            Self::Khugepaged => "khugepaged",
            Self::Cpuhp => "cpuhp",
            Self::IdleInject => "idle_inject",
            Self::Kthreadd => "kthreadd",
            Self::Other => "other",
        }
    }
}

/// Which of RCU's threads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RcuKind {
    /// `rcu_preempt`, `rcu_sched`, `rcu_bh`: grace periods.
    GracePeriod,
    /// `rcuog/N`: grace periods for a group of CPUs whose callbacks are offloaded; N is the group's first.
    OffloadedGracePeriod,
    /// `rcuop/N`, `rcuos/N`, `rcuob/N`: callbacks of CPU N, run wherever the thread is.
    OffloadedCallbacks,
    /// `rcub/N`: boosts readers; N is the number of a leaf of RCU's tree.
    Boost,
    /// `rcuc/N`: callbacks on CPU N, with `rcutree.use_softirq=0` or PREEMPT_RT.
    Callbacks,
    /// `rcu_exp_gp_kthread_worker`, `rcu_exp_par_gp_kthread_worker/N`: expedited grace periods.
    Expedited,
    /// `rcu_tasks_kthread`, and its rude and trace variants.
    Tasks,
}

/// What else the name says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail<'a> {
    /// Nothing, or nothing that is certain.
    None,
    /// The CPU it belongs to and runs on.
    Cpu(u32),
    /// The NUMA node it belongs to.
    Node(u32),
    /// A worker of one CPU's pool: `kworker/C:ID`, with `H` for the pool of high priority.
    BoundWorker {
        /// CPU.
        cpu: u32,
        /// Number in the pool.
        id: Option<u32>,
        /// Pool of high priority (nice -20).
        high: bool,
        /// What /proc says it works on.
        work: Option<WorkerDesc<'a>>,
    },
    /// A worker of an unbound pool: `kworker/uP:ID`. P is no CPU and no node.
    UnboundWorker {
        /// The pool's number.
        pool: u32,
        /// Number in the pool.
        id: Option<u32>,
        /// What /proc says it works on.
        work: Option<WorkerDesc<'a>>,
    },
    /// A workqueue's rescuer, `kworker/R-name` (since 6.9; before, it had the bare name of its queue).
    Rescuer {
        /// The workqueue, maybe cut; in /proc, while it rescues, with what it works on.
        workqueue: &'a str,
    },
    /// A threaded handler: `irq/N-name`.
    Irq {
        /// Linux interrupt number.
        number: u32,
        /// The action's name, maybe cut.
        action: &'a str,
        /// The second thread of an action whose primary handler was forced into a thread: `irq/N-s-name`.
        secondary: bool,
    },
    /// Threaded NAPI: `napi/device-id`.
    Napi {
        /// The device, maybe cut.
        device: &'a str,
        /// The NAPI's id.
        id: Option<u32>,
    },
    /// One of RCU's.
    Rcu {
        /// Which.
        kind: RcuKind,
        /// The number in its name: see [`RcuKind`].
        number: Option<u32>,
    },
    /// A journal: `jbd2/device-inode`.
    Jbd2 {
        /// The block device with `!` for `/`, maybe cut.
        device: &'a str,
        /// The journal's inode: 8 in ext4 (`EXT4_JOURNAL_INO`). None for a journal on a device of its own.
        inode: Option<u32>,
    },
}

/// What /proc says a kworker does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WorkerDesc<'a> {
    /// The workqueue, or what the work called itself (`flush-259:0`).
    pub name: &'a str,
    /// It runs now; else it was the last one that ran.
    pub running: bool,
}

impl Detail<'_> {
    /// The CPU that the thread is bound to, as far as its name says one.
    #[must_use]
    pub fn cpu(&self) -> Option<u32> {
        match *self {
            Self::Cpu(cpu) | Self::BoundWorker { cpu, .. } => Some(cpu),
            Self::Rcu {
                kind: RcuKind::Callbacks,
                number,
            } => number,
            _ => None,
        }
    }
}

/// The role of the kernel thread that is called `comm`.
#[must_use]
pub fn role_of(comm: &str) -> Role {
    parse(comm).0
}

/// The role of the kernel thread that is called `comm`, and what else its name says.
#[must_use]
pub fn parse(comm: &str) -> (Role, Detail<'_>) {
    match comm {
        "kthreadd" => return (Role::Kthreadd, Detail::None),
        "khugepaged" => return (Role::Khugepaged, Detail::None),
        "watchdogd" => return (Role::Watchdog, Detail::None),
        _ => {}
    }
    if let Some(kind) = rcu_by_name(comm) {
        let number = comm.rsplit_once('/').and_then(|(_, n)| certain(comm, n));
        return (Role::Rcu, Detail::Rcu { kind, number });
    }
    if let Some((prefix, rest)) = comm.split_once('/') {
        return with_slash(comm, prefix, rest).unwrap_or((Role::Other, Detail::None));
    }
    for (prefix, role) in [("kswapd", Role::Kswapd), ("kcompactd", Role::Kcompactd)] {
        let node = comm.strip_prefix(prefix).and_then(number);
        if let Some(node) = node {
            return (role, Detail::Node(node));
        }
    }
    (Role::Other, Detail::None)
}

fn with_slash<'a>(comm: &str, prefix: &str, rest: &'a str) -> Option<(Role, Detail<'a>)> {
    let of_cpu = match prefix {
        "ksoftirqd" => Some(Role::Ksoftirqd),
        "migration" => Some(Role::Migration),
        "cpuhp" => Some(Role::Cpuhp),
        "ktimers" => Some(Role::Ktimers),
        "idle_inject" => Some(Role::IdleInject),
        "watchdog" => Some(Role::Watchdog),
        "backlog_napi" => Some(Role::Napi),
        _ => None,
    };
    if let Some(role) = of_cpu {
        number(rest)?;
        return Some((role, certain(comm, rest).map_or(Detail::None, Detail::Cpu)));
    }
    let rcu = |kind| {
        number(rest)?;
        let number = certain(comm, rest);
        Some((Role::Rcu, Detail::Rcu { kind, number }))
    };
    match prefix {
        // `kworker/dying` has no more to say: a worker that has left its pool.
        "kworker" => Some((Role::Kworker, worker(comm, rest).unwrap_or(Detail::None))),
        "irq" => Some((Role::Irq, irq(rest)?)),
        "napi" => Some((Role::Napi, napi(comm, rest)?)),
        "jbd2" => Some((Role::Jbd2, jbd2(comm, rest)?)),
        "rcuog" => rcu(RcuKind::OffloadedGracePeriod),
        "rcuop" | "rcuos" | "rcuob" => rcu(RcuKind::OffloadedCallbacks),
        "rcub" => rcu(RcuKind::Boost),
        "rcuc" => rcu(RcuKind::Callbacks),
        _ => None,
    }
}

/// `rcu_gp` and `rcu_par_gp` are not among them: they are rescuers of workqueues, before 6.9.
fn rcu_by_name(comm: &str) -> Option<RcuKind> {
    match comm {
        "rcu_preempt" | "rcu_sched" | "rcu_bh" => Some(RcuKind::GracePeriod),
        _ if comm.starts_with("rcu_exp_") => Some(RcuKind::Expedited),
        _ if comm.starts_with("rcu_tasks_") => Some(RcuKind::Tasks),
        _ => None,
    }
}

/// `C:ID[H]`, `uP:ID` (both maybe with `+work` or `-work`), `R-name`: `format_worker_id`.
fn worker<'a>(comm: &str, rest: &'a str) -> Option<Detail<'a>> {
    if let Some(workqueue) = rest.strip_prefix("R-") {
        return Some(Detail::Rescuer { workqueue });
    }
    let (ids, work) = match rest.find(['+', '-']) {
        Some(at) => {
            let (ids, work) = rest.split_at(at);
            let running = work.starts_with('+');
            let name = work.get(1..)?;
            (ids, Some(WorkerDesc { name, running }))
        }
        None => (rest, None),
    };
    let (pool, id) = ids.split_once(':')?;
    let (id, high) = match id.strip_suffix('H') {
        Some(id) => (number(id), true),
        // Up to a sign or an H it is whole.
        None if work.is_some() => (number(id), false),
        None => (certain(comm, id), false),
    };
    Some(match pool.strip_prefix('u') {
        Some(pool) => Detail::UnboundWorker {
            pool: number(pool)?,
            id,
            work,
        },
        None => Detail::BoundWorker {
            cpu: number(pool)?,
            id,
            high,
            work,
        },
    })
}

fn irq(rest: &str) -> Option<Detail<'_>> {
    let (irq, name) = rest.split_once('-')?;
    let (action, secondary) = match name.strip_prefix("s-") {
        Some(action) => (action, true),
        None => (name, false),
    };
    Some(Detail::Irq {
        number: number(irq)?,
        action,
        secondary,
    })
}

/// Devices have `-` in their names too: the id is behind the last one.
fn napi<'a>(comm: &str, rest: &'a str) -> Option<Detail<'a>> {
    let (device, id) = match rest.rsplit_once('-') {
        Some((device, id)) if number(id).is_some() => (device, certain(comm, id)),
        // The cut took the digits.
        Some((device, "")) if is_cut(comm) => (device, None),
        // It took more.
        _ if is_cut(comm) => (rest, None),
        _ => return None,
    };
    (!device.is_empty()).then_some(Detail::Napi { device, id })
}

fn jbd2<'a>(comm: &str, rest: &'a str) -> Option<Detail<'a>> {
    let (device, inode) = match rest.rsplit_once('-') {
        // A journal on a device of its own, which may be called dm-1.
        Some(("dm", _)) | None => (rest, None),
        Some((device, inode)) if number(inode).is_some() => (device, certain(comm, inode)),
        Some((device, "")) if is_cut(comm) => (device, None),
        Some(_) => (rest, None),
    };
    (!device.is_empty()).then_some(Detail::Jbd2 { device, inode })
}

fn is_cut(comm: &str) -> bool {
    comm.len() == COMM_BYTES
}

/// The number at the end of `comm`, unless a cut may have taken some of its digits.
fn certain(comm: &str, digits: &str) -> Option<u32> {
    number(digits).filter(|_| !is_cut(comm))
}

fn number(digits: &str) -> Option<u32> {
    // `parse` would take a sign.
    let all_digits = digits.bytes().all(|byte| byte.is_ascii_digit());
    digits.parse().ok().filter(|_| all_digits)
}

#[cfg(test)]
#[path = "role_tests.rs"]
mod tests;
