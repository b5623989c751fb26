use super::*;
use proptest::prelude::*;

fn bound(cpu: u32, id: u32, high: bool) -> Detail<'static> {
    Detail::BoundWorker {
        cpu,
        id: Some(id),
        high,
        work: None,
    }
}

fn unbound(pool: u32, id: Option<u32>) -> Detail<'static> {
    Detail::UnboundWorker {
        pool,
        id,
        work: None,
    }
}

fn irq(number: u32, action: &str, secondary: bool) -> Detail<'_> {
    Detail::Irq {
        number,
        action,
        secondary,
    }
}

fn rcu(kind: RcuKind, number: Option<u32>) -> Detail<'static> {
    Detail::Rcu { kind, number }
}

#[test]
fn names_as_kernels_have_them() {
    use Detail::{Cpu, Jbd2, Napi, Node, None as Nothing, Rescuer};
    use RcuKind::*;
    let work = |name, running| Some(WorkerDesc { name, running });
    #[rustfmt::skip]
    let table: &[(&str, Role, Detail<'_>)] = &[
        ("ksoftirqd/0", Role::Ksoftirqd, Cpu(0)),
        ("ksoftirqd/1023", Role::Ksoftirqd, Cpu(1023)),
        ("migration/1", Role::Migration, Cpu(1)),
        ("cpuhp/12", Role::Cpuhp, Cpu(12)),
        ("ktimers/3", Role::Ktimers, Cpu(3)),
        ("idle_inject/7", Role::IdleInject, Cpu(7)),
        ("watchdog/0", Role::Watchdog, Cpu(0)),
        ("watchdogd", Role::Watchdog, Nothing),
        ("kthreadd", Role::Kthreadd, Nothing),
        ("khugepaged", Role::Khugepaged, Nothing),
        ("kswapd0", Role::Kswapd, Node(0)),
        ("kcompactd1", Role::Kcompactd, Node(1)),
        // Workers, as a task is called and as /proc calls it.
        ("kworker/0:1", Role::Kworker, bound(0, 1, false)),
        ("kworker/17:0H", Role::Kworker, bound(17, 0, true)),
        ("kworker/u8:3", Role::Kworker, unbound(8, Some(3))),
        ("kworker/1:0H-events_highpri", Role::Kworker, Detail::BoundWorker {
            cpu: 1, id: Some(0), high: true, work: work("events_highpri", false) }),
        ("kworker/0:1+mm_percpu_wq", Role::Kworker, Detail::BoundWorker {
            cpu: 0, id: Some(1), high: false, work: work("mm_percpu_wq", true) }),
        ("kworker/u8:3-flush-259:0", Role::Kworker, Detail::UnboundWorker {
            pool: 8, id: Some(3), work: work("flush-259:0", false) }),
        ("kworker/R-rcu_gp", Role::Kworker, Rescuer { workqueue: "rcu_gp" }),
        ("kworker/R-ext4-rsv-conversion", Role::Kworker, Rescuer { workqueue: "ext4-rsv-conversion" }),
        ("kworker/R-ext4-", Role::Kworker, Rescuer { workqueue: "ext4-" }),
        ("kworker/dying", Role::Kworker, Nothing),
        // Threaded handlers.
        ("irq/25-ACPI:Ged", Role::Irq, irq(25, "ACPI:Ged", false)),
        ("irq/9-acpi", Role::Irq, irq(9, "acpi", false)),
        ("irq/124-pciehp", Role::Irq, irq(124, "pciehp", false)),
        ("irq/16-s-i801_s", Role::Irq, irq(16, "i801_s", true)),
        ("irq/131-iwlwifi", Role::Irq, irq(131, "iwlwifi", false)),
        ("irq/41-eth0-rx-", Role::Irq, irq(41, "eth0-rx-", false)),
        // NAPI.
        ("napi/eth0-8193", Role::Napi, Napi { device: "eth0", id: Some(8193) }),
        ("napi/kyv0-258", Role::Napi, Napi { device: "kyv0", id: Some(258) }),
        ("napi/br-a1-8", Role::Napi, Napi { device: "br-a1", id: Some(8) }),
        ("napi/enp65s0f0-", Role::Napi, Napi { device: "enp65s0f0", id: None }),
        ("napi/enp65s0f0n", Role::Napi, Napi { device: "enp65s0f0n", id: None }),
        ("backlog_napi/3", Role::Napi, Cpu(3)),
        // RCU.
        ("rcu_preempt", Role::Rcu, rcu(GracePeriod, None)),
        ("rcu_sched", Role::Rcu, rcu(GracePeriod, None)),
        ("rcuog/4", Role::Rcu, rcu(OffloadedGracePeriod, Some(4))),
        ("rcuop/6", Role::Rcu, rcu(OffloadedCallbacks, Some(6))),
        ("rcuos/63", Role::Rcu, rcu(OffloadedCallbacks, Some(63))),
        ("rcub/0", Role::Rcu, rcu(Boost, Some(0))),
        ("rcuc/2", Role::Rcu, rcu(Callbacks, Some(2))),
        ("rcu_exp_gp_kthread_worker", Role::Rcu, rcu(Expedited, None)),
        ("rcu_exp_gp_kthr", Role::Rcu, rcu(Expedited, None)),
        ("rcu_exp_par_gp_kthread_worker/0", Role::Rcu, rcu(Expedited, Some(0))),
        ("rcu_exp_par_gp_", Role::Rcu, rcu(Expedited, None)),
        ("rcu_tasks_kthread", Role::Rcu, rcu(Tasks, None)),
        ("rcu_tasks_rude_", Role::Rcu, rcu(Tasks, None)),
        ("rcu_tasks_trace", Role::Rcu, rcu(Tasks, None)),
        // Journals.
        ("jbd2/vda1-8", Role::Jbd2, Jbd2 { device: "vda1", inode: Some(8) }),
        ("jbd2/dm-0-8", Role::Jbd2, Jbd2 { device: "dm-0", inode: Some(8) }),
        ("jbd2/dm-3", Role::Jbd2, Jbd2 { device: "dm-3", inode: None }),
        ("jbd2/nvme0n1p2-", Role::Jbd2, Jbd2 { device: "nvme0n1p2", inode: None }),
        ("jbd2/nvme0n1p2-8", Role::Jbd2, Jbd2 { device: "nvme0n1p2", inode: Some(8) }),
        ("jbd2/sdb", Role::Jbd2, Jbd2 { device: "sdb", inode: None }),
        // Rescuers before 6.9, and threads without a role of their own.
        ("rcu_gp", Role::Other, Nothing),
        ("rcu_par_gp", Role::Other, Nothing),
        ("mm_percpu_wq", Role::Other, Nothing),
        ("kblockd", Role::Other, Nothing),
        ("pool_workqueue_release", Role::Other, Nothing),
        ("kdevtmpfs", Role::Other, Nothing),
        ("kauditd", Role::Other, Nothing),
        ("khungtaskd", Role::Other, Nothing),
        ("oom_reaper", Role::Other, Nothing),
        ("ksmd", Role::Other, Nothing),
        ("kdamond.0", Role::Other, Nothing),
        ("hwrng", Role::Other, Nothing),
        ("scsi_eh_0", Role::Other, Nothing),
        ("xfsaild/sda1", Role::Other, Nothing),
        ("irq_work/0", Role::Other, Nothing),
        ("swapper/0", Role::Other, Nothing),
        ("", Role::Other, Nothing),
    ];
    for &(comm, role, detail) in table {
        assert_eq!(parse(comm), (role, detail), "{comm:?}");
        assert_eq!(role_of(comm), role);
    }
}

#[test]
fn a_number_at_a_cut_is_not_believed() {
    // kworker/u1026:12, backlog_napi/12 or 123, napi/eth12-81930: all may be longer than they are here.
    assert_eq!(parse("kworker/u1026:1").1, unbound(1026, None));
    assert_eq!(parse("backlog_napi/12"), (Role::Napi, Detail::None));
    assert_eq!(
        parse("napi/eth12-8193").1,
        Detail::Napi {
            device: "eth12",
            id: None
        }
    );
    assert_eq!(
        parse("jbd2/sdaa1234-8").1,
        Detail::Jbd2 {
            device: "sdaa1234",
            inode: None
        }
    );
    // The H ends the id.
    assert_eq!(parse("kworker/1023:0H").1, bound(1023, 0, true));
}

#[test]
fn what_only_looks_alike_has_no_role() {
    for comm in [
        "ksoftirqd",
        "ksoftirqd/",
        "ksoftirqd/x",
        "ksoftirqd/+1",
        "ksoftirqd/99999999999",
        "migration/1x",
        "irq/25",
        "irq/x-eth0",
        "napi/eth0",
        "napi/-1",
        "jbd2/",
        "rcuc/",
        "rcuoz/1",
        "kswapd",
        "kswapd0x",
        "kthreadd2",
        "watchdogd2",
    ] {
        assert_eq!(role_of(comm), Role::Other, "{comm:?}");
    }
}

#[test]
fn the_cpu_is_said_only_by_threads_that_are_bound_to_it() {
    assert_eq!(parse("ksoftirqd/5").1.cpu(), Some(5));
    assert_eq!(parse("kworker/6:1H").1.cpu(), Some(6));
    assert_eq!(parse("rcuc/7").1.cpu(), Some(7));
    for comm in ["rcuop/7", "rcub/0", "kworker/u8:0", "kswapd0", "irq/7-x"] {
        assert_eq!(parse(comm).1.cpu(), None, "{comm}");
    }
}

#[test]
fn each_role_has_one_name_here_and_in_json() {
    for (index, role) in Role::ALL.into_iter().enumerate() {
        let name = role.as_str();
        assert_eq!(serde_json::to_string(&role).unwrap(), format!("{name:?}"));
        assert!(!Role::ALL[..index].iter().any(|r| r.as_str() == name));
    }
}

proptest! {
    #[test]
    fn a_role_survives_the_cut(
        comm in prop::sample::select(vec![
            "rcu_exp_gp_kthread_worker", "rcu_exp_par_gp_kthread_worker/12", "rcu_tasks_rude_kthread",
            "kworker/R-quota_events_unbound", "kworker/u1026:12", "kworker/1023:100H-kblockd",
            "napi/enp65s0f0np0-8193", "jbd2/nvme0n1p12-8", "irq/131-iwlwifi:queue_1", "backlog_napi/1023",
            "idle_inject/1023",
        ]),
    ) {
        prop_assert_eq!(role_of(&comm[..COMM_BYTES]), role_of(comm));
        prop_assert_ne!(role_of(comm), Role::Other);
    }

    #[test]
    fn the_cpu_in_a_name_is_read_back(cpu in 0u32..8192, id in 0u32..100) {
        for (comm, role) in [
            (format!("ksoftirqd/{cpu}"), Role::Ksoftirqd),
            (format!("migration/{cpu}"), Role::Migration),
            (format!("kworker/{cpu}:{id}"), Role::Kworker),
            (format!("kworker/{cpu}:{id}H"), Role::Kworker),
        ] {
            let (found, detail) = parse(&comm);
            prop_assert_eq!((found, detail.cpu()), (role, Some(cpu)));
        }
    }

    #[test]
    fn never_panics(
        any in "(?s).{0,20}",
        near in "(kworker|irq|napi|jbd2|rcuo|rcu_)[/a-z0-9:+-]{0,12}",
    ) {
        let _ = (parse(&any), parse(&near));
    }
}
