use super::*;
use crate::{
    capture::bundle::{BundleWindow, ReadLimits, WriteLimits, survey},
    host::HostIdentity,
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
        evidence.kmsg_left_out = 2;
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
