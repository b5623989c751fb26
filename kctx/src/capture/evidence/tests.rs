use super::*;
use crate::{
    capture::bundle::{BundleWindow, ReadLimits, WriteLimits, survey},
    host::{HostIdentity, root::HostRoot},
};

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
fn what_rules_need_to_tell_zero_and_limits_is_taken() {
    let (directory, root) = fixture();
    for (path, text) in [
        ("sys/firmware/acpi/interrupts/sci", "       0\n"),
        (
            "sys/firmware/acpi/interrupts/gpe01",
            "       0  EN  enabled\n",
        ),
        (
            "sys/firmware/acpi/interrupts/gpe02",
            "       5  EN  enabled\n",
        ),
        ("proc/sys/kernel/threads-max", "1000\n"),
        ("proc/sys/kernel/pid_max", "32768\n"),
    ] {
        let path = directory.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    let before = collect(&root, Phase::Before, &EvidenceLimits::default());
    let counters = text(&before, "evidence/before/tree/acpi-interrupts.tsv");
    let counters = counters.lines().filter_map(|line| line.split('\t').next());
    let mut counters: Vec<_> = counters.collect();
    counters.sort_unstable();
    let known = ["gpe02", "sci"].map(|name| format!("sys/firmware/acpi/interrupts/{name}"));
    assert_eq!(counters, known);
    let settings = text(&before, "evidence/before/sysctl.txt");
    assert_eq!(
        settings,
        "kernel.pid_max = 32768\nkernel.threads-max = 1000\n"
    );
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
    // Each item is there or missing; the index is no item.
    assert_eq!(before.files.len() - 1 + before.missing.len(), ITEMS.len());
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
    let index = "evidence/before/index.json";
    let mut items = evidence.files.iter().filter(|file| file.path != index);
    assert!(items.all(|file| file.bytes.len() <= 5));
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
fn a_bundle_takes_both_samples_and_its_manifest_says_what_is_missing() {
    let (directory, root) = fixture();
    let output = directory.path().join("a.kctx.tar.zst");
    let mut bundle = BundleWriter::create(&output, WriteLimits::default()).unwrap();
    let mut manifest = Manifest::new(HostIdentity::default(), BundleWindow::default());
    let limits = EvidenceLimits {
        file_bytes: 5,
        ..EvidenceLimits::default()
    };
    let mut missing = 0;
    for phase in [Phase::Before, Phase::After] {
        let mut evidence = collect(&root, phase, &limits);
        evidence.left_out.kmsg = 2;
        evidence.write_to(&mut bundle).unwrap();
        evidence.note_in(&mut manifest, &limits);
        missing += evidence.missing.len();
    }
    bundle.finish(manifest).unwrap();
    let survey = survey(&output, ReadLimits::default()).unwrap();
    let paths: Vec<_> = survey
        .members
        .iter()
        .map(|(path, _)| path.as_str())
        .collect();
    assert!(paths.contains(&"evidence/before/proc/interrupts"));
    assert!(paths.contains(&"evidence/after/proc/interrupts"));
    let manifest = survey.manifest.unwrap();
    assert_eq!(manifest.evidence_missing.len(), missing);
    let kmsg = manifest.limits["kmsg_records"];
    assert_eq!((kmsg.limit, kmsg.hit, kmsg.dropped), (10_000, true, 4));
    assert!(manifest.limits["evidence_file_bytes"].hit);
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

fn reason_of<'a>(evidence: &'a Evidence, path: &str) -> &'a str {
    let missing = evidence.missing.iter().find(|missing| missing.path == path);
    &missing
        .unwrap_or_else(|| panic!("{path} is not missing"))
        .reason
}

fn write(directory: &tempfile::TempDir, path: &str, text: &str) {
    let path = directory.path().join(path);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

#[test]
fn an_item_that_hangs_is_left_behind_and_the_others_come() {
    let (directory, root) = fixture();
    std::fs::remove_file(directory.path().join("proc/cmdline")).unwrap();
    // To open a pipe that nobody writes to takes for ever.
    let pipe = directory.path().join("proc/cmdline");
    let mode = rustix::fs::Mode::RUSR;
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    let limits = EvidenceLimits {
        item_time: Duration::from_millis(100),
        ..EvidenceLimits::default()
    };
    let evidence = collect(&root, Phase::Before, &limits);
    let reason = reason_of(&evidence, "evidence/before/proc/cmdline");
    assert_eq!(reason, "it took longer than 100 ms");
    assert_eq!(evidence.left_out.late, 1);
    assert_eq!(
        text(&evidence, "evidence/before/kernel-config"),
        "CONFIG_HZ=250\n"
    );
}

#[test]
fn an_item_that_takes_privileges_and_hangs_is_left_behind_too() {
    let (directory, root) = fixture();
    let stat = "7 (kworker/0:1) D 2 0 0 0 -1 2129984 0 0 0 0 1 1 0 0 20 0 1 0 24 0 0 1 0 0 0 0 0 0 0 2147483647 0 1 0 0 \
                17 0 0 0 0 0 0\n";
    write(&directory, "proc/1/stat", stat);
    write(&directory, "proc/7/stat", stat);
    let pipe = directory.path().join("proc/7/stack");
    let mode = rustix::fs::Mode::RUSR;
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    let limits = EvidenceLimits {
        item_time: Duration::from_millis(100),
        ..EvidenceLimits::default()
    };
    let evidence = collect(&root, Phase::Before, &limits);
    let reason = reason_of(&evidence, "evidence/before/kthread-stacks.txt");
    assert_eq!(reason, "it took longer than 100 ms");
    assert_eq!(evidence.left_out.late, 1);
}

#[test]
fn without_time_only_the_counters_at_the_edge_are_read() {
    let (_directory, root) = fixture();
    let limits = EvidenceLimits {
        total_time: Duration::ZERO,
        ..EvidenceLimits::default()
    };
    for phase in [Phase::Before, Phase::After] {
        let evidence = collect(&root, phase, &limits);
        let interrupts = format!("{}/proc/interrupts", phase.folder());
        assert!(text(&evidence, &interrupts).contains("24:"));
        let tainted = format!("{}/proc/sys/kernel/tainted", phase.folder());
        assert_eq!(
            reason_of(&evidence, &tainted),
            "left out: the sample's 0 ms were over"
        );
        assert!(evidence.left_out.for_time > 10, "{:?}", evidence.left_out);
    }
}

#[test]
fn a_sample_has_so_many_files_and_so_many_bytes() {
    let (_directory, root) = fixture();
    let few = EvidenceLimits {
        files: 3,
        ..EvidenceLimits::default()
    };
    let evidence = collect(&root, Phase::After, &few);
    // Three, and the index of them.
    assert_eq!(evidence.files.len(), 4);
    assert!(evidence.left_out.for_files > 0);
    let small = EvidenceLimits {
        total_bytes: 40,
        ..EvidenceLimits::default()
    };
    let evidence = collect(&root, Phase::After, &small);
    assert!(evidence.left_out.for_bytes > 0);
    let mut manifest = Manifest::new(HostIdentity::default(), BundleWindow::default());
    evidence.note_in(&mut manifest, &small);
    assert!(manifest.limits["evidence_bytes"].hit);
    assert!(!manifest.limits["evidence_files"].hit);
}

#[test]
fn the_index_says_when_each_file_was_read_and_the_edge_is_closest_to_the_window() {
    let root = HostRoot::system();
    let starts = |phase: Phase| {
        let evidence = collect(&root, phase, &EvidenceLimits::default());
        let path = format!("{}/{INDEX}", phase.folder());
        let index: Vec<serde_json::Value> = serde_json::from_str(text(&evidence, &path)).unwrap();
        assert_eq!(index.len(), evidence.files.len() - 1);
        let start = |path: &str| {
            let entry = index.iter().find(|entry| entry["path"] == path);
            entry.unwrap()["monotonic_ns"].as_u64().unwrap()
        };
        (
            start("proc/softirqs"),
            index
                .iter()
                .map(|entry| entry["monotonic_ns"].as_u64().unwrap())
                .collect::<Vec<_>>(),
        )
    };
    let (softirqs, all) = starts(Phase::Before);
    assert_eq!(all.iter().max(), Some(&softirqs));
    let (softirqs, all) = starts(Phase::After);
    assert_eq!(all.iter().min(), Some(&softirqs));
}

#[test]
fn threads_of_the_kernel_and_busy_tasks_are_told_apart() {
    let (directory, root) = fixture();
    let stat = |pid: u32, comm: &str, flags: u32, ticks: u32, policy: u32| {
        format!(
            "{pid} ({comm}) S 0 0 0 0 -1 {flags} 0 0 0 0 1 {ticks} 0 0 20 0 1 0 24 0 0 1 0 0 0 0 0 0 0 2147483647 0 1 \
             0 0 17 3 0 {policy} 0 0 0\n"
        )
    };
    write(&directory, "proc/1/stat", &stat(1, "init", 0, 5, 0));
    write(
        &directory,
        "proc/14/stat",
        &stat(14, "ksoftirqd/0", 0x0020_8040, 70, 0),
    );
    write(&directory, "proc/14/schedstat", "1000 2000 3\n");
    write(
        &directory,
        "proc/14/status",
        "Name:\tk\nCpus_allowed_list:\t0\n",
    );
    write(&directory, "proc/99/stat", &stat(99, "a) (b", 0, 9, 1));
    let sampler = Sampler::new(&root, &EvidenceLimits::default());
    let before = sampler.sample(Phase::Before);
    let threads = text(&before, "evidence/before/kthreads.tsv");
    let row = threads.lines().nth(1).unwrap();
    assert_eq!(
        row,
        "14\tksoftirqd/0\tS\t3\tother\t0\t20\t0\t1\t70\t-\t1000\t2000\t3\t0\t"
    );
    assert_eq!(threads.lines().count(), 2);
    write(&directory, "proc/1/stat", &stat(1, "init", 0, 8, 0));
    let after = sampler.sample(Phase::After);
    let tasks: Vec<&str> = text(&after, "evidence/after/tasks.tsv")
        .lines()
        .skip(1)
        .collect();
    assert!(tasks[0].starts_with("1\tinit\t"), "{tasks:?}");
    assert_eq!(tasks[0].split('\t').nth(10), Some("3"), "what grew");
    assert!(tasks[1].starts_with("99\ta) (b\tS\t3\tfifo\t"), "{tasks:?}");
}

#[test]
fn a_real_time_thread_of_a_process_that_is_none_is_told() {
    let (directory, root) = fixture();
    let stat = |pid: u32, comm: &str, ticks: u32, threads: u32, policy: u32| {
        format!(
            "{pid} ({comm}) S 0 0 0 0 -1 0 0 0 0 0 1 {ticks} 0 0 20 0 {threads} 0 24 0 0 1 0 0 0 0 0 0 0 2147483647 0 1 \
             0 0 17 3 50 {policy} 0 0 0\n"
        )
    };
    write(&directory, "proc/1/stat", &stat(1, "init", 5, 1, 0));
    // A process has its first thread among its threads.
    for path in ["proc/70/stat", "proc/70/task/70/stat"] {
        write(&directory, path, &stat(70, "mixer", 900, 3, 0));
    }
    write(
        &directory,
        "proc/70/task/71/stat",
        &stat(71, "mix", 7, 3, 0),
    );
    let audio = "proc/70/task/72/stat";
    write(&directory, audio, &stat(72, "audio", 100, 3, 1));
    let sampler = Sampler::new(&root, &EvidenceLimits::default());
    let _before = sampler.sample(Phase::Before);
    write(&directory, audio, &stat(72, "audio", 140, 3, 1));
    let after = sampler.sample(Phase::After);
    let tasks = text(&after, "evidence/after/tasks.tsv");
    let rows: Vec<&str> = tasks.lines().skip(1).collect();
    assert_eq!(rows.len(), 3, "{tasks}");
    let audio: Vec<&str> = rows[2].split('\t').collect();
    assert_eq!(audio[..6], ["72", "audio", "S", "3", "fifo", "50"]);
    assert_eq!(audio[10], "40", "what grew");
}

#[test]
fn interrupts_that_never_came_have_no_files() {
    let (directory, root) = fixture();
    write(
        &directory,
        "proc/interrupts",
        "  CPU0\n 24:  7  IO-APIC 1-edge  x\n 25:  0  IO-APIC 2-edge  y\n",
    );
    for irq in [24, 25] {
        write(
            &directory,
            &format!("proc/irq/{irq}/smp_affinity_list"),
            "0-1\n",
        );
    }
    let evidence = collect(&root, Phase::After, &EvidenceLimits::default());
    assert_eq!(
        text(&evidence, "evidence/after/tree/irq.tsv"),
        "proc/irq/24/smp_affinity_list\t0-1\n"
    );
}

#[test]
fn the_list_is_in_order_and_names_each_path_once() {
    let mut paths: Vec<&str> = ITEMS.iter().map(|item| item.path).collect();
    paths.sort_unstable();
    paths.dedup();
    assert_eq!(paths.len(), ITEMS.len());
    let (edge, rest): (Vec<&Item>, Vec<&Item>) = ITEMS.iter().partition(|item| item.is_at_edge());
    assert_eq!(edge[0].path, "proc/softirqs");
    assert!(edge.iter().all(|item| item.taken == Taken::Twice));
    assert!(rest.is_sorted_by_key(|item| item.rank));
}
