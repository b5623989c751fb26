use super::*;
use crate::diagnose::fixture;
use proptest::prelude::*;

fn with<T>(files: &[(&str, &str)], look: impl FnOnce(&Facts<'_>) -> T) -> T {
    let (summary, evidence) = (fixture::summary(), fixture::evidence(files));
    look(&Facts::of(&Case {
        summary: &summary,
        evidence: &evidence,
    }))
}

#[test]
fn softnet_counters_wrap_and_know_their_cpu() {
    let line = |processed: &str, dropped: u32, cpu: u32| {
        format!(
            "{processed} {dropped:08x} 00000002 0 0 0 0 0 0 0000000a 0 00000007 {cpu:08x} 0 0\n"
        )
    };
    let before = line("ffffff00", 1, 3);
    let after = line("00000100", 51, 3) + "garbage\n";
    with(
        &[
            ("before/proc/net/softnet_stat", &before),
            ("after/proc/net/softnet_stat", &after),
        ],
        |facts| {
            let rate = facts.softnet.as_ref().unwrap()[&3];
            // The window is ten seconds.
            assert_eq!(
                (rate.processed, rate.dropped, rate.squeezed),
                (51.2, 5.0, 0.0)
            );
            assert_eq!((rate.backlog, rate.line), (Some(7), 1));
        },
    );
}

/// A capture through a daemon has records from before it was asked for; the samples are of when it was.
#[test]
fn what_grew_is_by_the_time_between_the_samples_and_not_by_the_window() {
    let index = |at_s: u64| {
        format!(
            r#"[{{"path": "proc/softirqs", "monotonic_ns": {}}}]"#,
            at_s * 1_000_000_000
        )
    };
    let (before, after) = (index(100), index(101));
    let tasks = "pid\tcomm\tpolicy\tcpu\tgrown_ticks\n9\tbusy\tother\t0\t20\n";
    with(
        &[
            ("before/index.json", &before),
            ("after/index.json", &after),
            (
                "before/proc/net/softnet_stat",
                "0 0 0 0 0 0 0 0 0 0 0 0 0 0 0\n",
            ),
            (
                "after/proc/net/softnet_stat",
                "0 64 0 0 0 0 0 0 0 0 0 0 0 0 0\n",
            ),
            ("before/proc/interrupts", "     CPU0\n 36:  0  x  eth0\n"),
            ("after/proc/interrupts", "     CPU0\n 36:  70  x  eth0\n"),
            (
                "before/proc/net/dev",
                "lo: 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0\n",
            ),
            (
                "after/proc/net/dev",
                "lo: 0 50 0 0 0 0 0 0 0 0 0 0 0 0 0 0\n",
            ),
            ("after/tasks.tsv", tasks),
        ],
        |facts| {
            assert_eq!(facts.softnet.as_ref().unwrap()[&0].dropped, 100.0);
            assert_eq!(facts.interrupts.as_ref().unwrap().rate("36", 0), 70.0);
            assert_eq!(facts.packets["lo"].received, 50.0);
            // 200 ms are two tenths of the second between them, and a fiftieth of the window.
            assert_eq!(facts.busiest_task(0).unwrap().pid, 9);
            assert_eq!(
                (facts.grown_rate(7), facts.grown_percent(500_000_000)),
                (7.0, 50.0)
            );
            assert_eq!(facts.rate(7), 0.7);
        },
    );
}

#[test]
fn interrupts_are_told_by_line_and_cpu() {
    let table = |count: u64| {
        format!(
            "           CPU0       CPU1\n  36:        {count}         5   PCI-MSI 1-edge      eth0-rx-0\n  37:        {count}         5   PCI-MSI 2-edge      i40e-ens1f0-TxRx-0\n LOC:       9  {count}   Local timer interrupts\n"
        )
    };
    let (before, after) = (table(100), table(1100));
    with(
        &[
            ("before/proc/interrupts", &before),
            ("after/proc/interrupts", &after),
            ("before/proc/irq/36/effective_affinity_list", "0-1\n"),
        ],
        |facts| {
            let interrupts = facts.interrupts.as_ref().unwrap();
            assert_eq!(interrupts.rate("36", 0), 100.0);
            assert_eq!(
                (interrupts.rate("36", 1), interrupts.rate("LOC", 1)),
                (0.0, 100.0)
            );
            assert_eq!(facts.lines_of("eth0"), [36]);
            assert_eq!(facts.lines_of("eth"), [0; 0]);
            assert_eq!(facts.lines_of("ens1f0"), [37]);
            assert_eq!(
                [facts.lines_of("s1f0"), facts.lines_of("ens1")],
                [[0; 0], [0; 0]]
            );
            assert_eq!(facts.effective_affinity(36), Some(vec![0, 1]));
            assert_eq!(facts.effective_affinity(37), None);
        },
    );
}

#[test]
fn stat_gives_parts_of_each_cpu() {
    with(
        &[
            (
                "before/proc/stat",
                "cpu  1 1 1 1\ncpu0 10 0 10 100 0 0 0 0 0 0\n",
            ),
            (
                "after/proc/stat",
                "cpu  1 1 1 1\ncpu0 20 0 20 120 0 10 40 10 0 0\n",
            ),
        ],
        |facts| {
            let stat = facts.stat.as_ref().unwrap()[&0];
            assert_eq!((stat.user, stat.system, stat.idle), (10.0, 10.0, 20.0));
            assert_eq!((stat.irq, stat.softirq, stat.steal), (10.0, 40.0, 10.0));
        },
    );
}

#[test]
fn isolated_cpus_are_listed_or_on_the_command_line() {
    with(
        &[(
            "before/proc/cmdline",
            "quiet isolcpus=managed_irq,domain,2-3,5 nohz_full=4\n",
        )],
        |facts| assert_eq!(facts.machine.set_apart(), [2, 3, 4, 5]),
    );
    with(
        &[
            ("before/proc/cmdline", "threadirqs\n"),
            ("before/sys/devices/system/cpu/isolated", "7\n"),
        ],
        |facts| {
            assert_eq!(facts.machine.set_apart(), [7]);
            assert!(facts.machine.threadirqs);
        },
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever a file holds.
    #[test]
    fn garbage_is_passed_over(
        texts in prop::collection::vec("(?s)(.{0,60}|[0-9a-f \n:,.{}\\[\\]\"-]{0,200})", 8),
        seed in 0usize..97,
    ) {
        const FILES: [&str; 19] = [
            "proc/net/softnet_stat", "proc/interrupts", "proc/stat", "proc/net/dev", "kmsg", "sysctl.txt",
            "netfilter.json", "bpf-programs.json", "qdisc.json", "tasks.tsv", "proc/cmdline",
            "proc/irq/36/effective_affinity_list", "sys/class/net/eth0/queues/rx-0/rps_cpus", "ethtool/eth0.json",
            "proc/irq/9/spurious", "sys/firmware/acpi/interrupts/gpe17", "proc/pressure/memory",
            "proc/net/stat/nf_conntrack", "sys/devices/virtual/workqueue/cpumask",
        ];
        let mut files = Vec::new();
        for (at, text) in texts.iter().enumerate() {
            let file = FILES[(at * 5 + seed) % FILES.len()];
            files.push((format!("before/{file}"), text.as_str()));
            files.push((format!("after/{file}"), texts[(at + 1) % texts.len()].as_str()));
        }
        let files: Vec<_> = files.iter().map(|(path, text)| (path.as_str(), *text)).collect();
        let evidence = fixture::evidence(&files);
        let summary = fixture::busy();
        let diagnosis = crate::diagnose::diagnose(&Case { summary: &summary, evidence: &evidence });
        prop_assert!(!diagnosis.first_line.is_empty());
    }
}
