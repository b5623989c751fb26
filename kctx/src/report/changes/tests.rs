use super::*;

fn evidence(files: &[(&str, &str, &str)]) -> EvidenceSet {
    let mut evidence = EvidenceSet::default();
    for (file, before, after) in files {
        for (folder, text) in [("before", before), ("after", after)] {
            let path = format!("evidence/{folder}/{file}");
            evidence.take(&path, text.as_bytes().to_vec()).unwrap();
        }
    }
    evidence
}

fn changed(file: &str, before: &str, after: &str) -> Vec<(String, u64, f64)> {
    let changes = counters(&evidence(&[(file, before, after)]), 2_000_000_000);
    let triple = |change: Change| (change.name, change.after - change.before, change.rate);
    changes.into_iter().map(triple).collect()
}

#[test]
fn interrupts_are_summed_over_cpus_and_keep_their_names() {
    let before = "           CPU0       CPU1\n 36:  10  20  PCI-MSI 49152-edge  virtio0-input.0\nLOC:  5  5  Local timer interrupts\nERR:  0\n";
    let after = before
        .replace("10  20", "14  26")
        .replace("ERR:  0", "ERR:  1");
    assert_eq!(
        changed("proc/interrupts", before, &after),
        [
            ("36 PCI-MSI 49152-edge virtio0-input.0".to_owned(), 10, 5.0),
            ("ERR".to_owned(), 1, 0.5),
        ]
    );
}

#[test]
fn softnet_stat_is_in_hex_and_knows_its_cpu() {
    let row = |processed: &str, squeezed: &str| {
        format!(
            "{processed} 00000000 {squeezed} 0 0 0 0 0 0 00000000 00000000 00000000 00000003 0 0\n"
        )
    };
    assert_eq!(
        changed(
            "proc/net/softnet_stat",
            &row("0000000a", "0"),
            &row("00000014", "1")
        ),
        [
            ("CPU 3 processed".to_owned(), 10, 5.0),
            ("CPU 3 time_squeeze".to_owned(), 1, 0.5),
        ]
    );
}

#[test]
fn devices_and_protocols_have_their_names() {
    let heading = "Inter-|   Receive\n face |bytes\n";
    let before = format!("{heading}  eth0: 100 1 0 0 0 0 0 0 5 5 0 0 0 0 0 0\n");
    let after = format!("{heading}  eth0: 100 1 0 4 0 0 0 0 5 5 0 0 0 0 0 0\n");
    assert_eq!(
        changed("proc/net/dev", &before, &after),
        [("eth0 rx drop".to_owned(), 4, 2.0)]
    );
    let (before, after) = (
        "Tcp: RtoMin MaxConn RetransSegs\nTcp: 200 -1 3\n",
        "Tcp: RtoMin MaxConn RetransSegs\nTcp: 200 -1 5\n",
    );
    assert_eq!(
        changed("proc/net/snmp", before, after),
        [("Tcp RetransSegs".to_owned(), 2, 1.0)]
    );
    assert_eq!(
        changed(
            "proc/stat",
            "cpu  1 0 7\ncpu0 1 0 7\nctxt 5\n",
            "cpu  1 0 9\ncpu0 1 0 9\nctxt 5\n"
        ),
        [("all CPUs system (ticks)".to_owned(), 2, 1.0)]
    );
}

#[test]
fn trouble_is_told_by_the_name() {
    let of = |name: &str| Change {
        file: String::new(),
        name: name.to_owned(),
        before: 0,
        after: 1,
        rate: 1.0,
    };
    assert!(of("CPU 3 time_squeeze").is_trouble() && of("Tcp RetransSegs").is_trouble());
    assert!(of("eth0 rx errs").is_trouble() && of("ERR").is_trouble());
    assert!(!of("eth0 rx packets").is_trouble() && !of("LOC Local timer interrupts").is_trouble());
}

#[test]
fn a_setting_that_changed_has_both_values() {
    let evidence = evidence(&[
        ("proc/sys/net/core/netdev_budget", "300\n", "600\n"),
        ("proc/sys/net/core/dev_weight", "64\n", "64\n"),
    ]);
    let expected = Reset {
        file: "proc/sys/net/core/netdev_budget".to_owned(),
        before: "300".to_owned(),
        after: "600".to_owned(),
    };
    assert_eq!(settings(&evidence), [expected]);
}
