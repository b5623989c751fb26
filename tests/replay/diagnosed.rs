//! Diagnoses of recorded situations, whole and with parts of them missing.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use kctx::{
    capture::{
        bundle::{Incident, ReadLimits},
        evidence_set::EvidenceSet,
    },
    diagnose::{Case, Confidence, Diagnosis, Finding, Severity, Verdict, diagnose},
    report::summary::Summary,
};
use kctx_tests::bundle::Bundle;

use crate::sample_path;

/// What the first finding of each is: its id, its CPU, and a device of it; each was captured on a machine of two CPUs (or four, or sixty-four) while
/// `situation` (tests/examples) made it, or in a VM while a live test did.
const SITUATIONS: [(&str, &str, Option<u32>, Option<&str>); 37] = [
    ("net-lo", "NET-LO", Some(0), Some("lo")),
    ("net-rps", "NET-RPS", Some(0), None),
    ("net-fw", "NET-FW", Some(0), None),
    ("net-tx", "NET-TX", Some(0), None),
    ("tmr-hard", "TMR-HARD", Some(0), None),
    ("wq-cg", "WQ-CG", None, None),
    ("irq-ipi", "IRQ-IPI", Some(0), None),
    ("net-fw-inline", "NET-FW", Some(0), None),
    ("net-virt", "NET-VIRT", Some(0), Some("veth-k0")),
    ("net-napi-thread", "NET-NAPI-THREAD", None, Some("veth-k0")),
    ("net-budget", "NET-BUDGET", Some(0), None),
    ("net-bpf", "NET-BPF", Some(0), None),
    ("net-ct", "NET-CT", None, None),
    ("tmr-hrsoft", "TMR-HRSOFT", Some(0), None),
    ("rcu-flood", "RCU-FLOOD", Some(0), None),
    ("rt-starve", "RT-STARVE", Some(0), None),
    ("wq-churn", "WQ-CHURN", None, None),
    ("wq-wb", "WQ-WB", None, None),
    ("blk-done", "BLK-DONE", Some(1), Some("virtio1-req.0")),
    ("wq-hog", "WQ-HOG", None, None),
    ("wq-stall", "WQ-STALL", None, None),
    ("syscall", "SYSCALL", Some(0), None),
    ("net-flow", "NET-FLOW", Some(0), Some("veth-k0")),
    ("irq-gpe", "IRQ-GPE", None, Some("gpe01")),
    ("net-conc", "NET-CONC", Some(0), Some("eth3")),
    ("net-sat", "NET-SAT", Some(0), Some("eth3")),
    ("sched-lb", "SCHED-LB", Some(1), None),
    ("wq-rescue", "WQ-RESCUE", None, None),
    ("irq-spurious", "IRQ-SPURIOUS", Some(0), None),
    ("irq-storm", "IRQ-STORM", Some(0), Some("ttyS1")),
    ("irq-storm-thread", "IRQ-STORM", None, Some("ttyS1")),
    ("irq-thread", "IRQ-THREAD", None, None),
    ("log", "LOG", None, None),
    ("net-backlog", "NET-BACKLOG", Some(0), None),
    ("task-tasklet", "TASK-TASKLET", Some(1), None),
    ("tmr-soft", "TMR-SOFT", Some(0), None),
    ("taint", "TAINT", None, None),
];

/// What is found beside it, or after another: an emulated kctx takes much of a CPU.
const BESIDE: [(&str, &str); 5] = [
    ("irq-storm", "IRQ-LONG"),
    ("iso", "ISO"),
    ("mod-loop", "MOD-LOOP"),
    ("mod-loop", "SELF"),
    ("wq-hog", "WQ-STARVE"),
];

fn path(situation: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("data/situations");
    folder.join(format!("{situation}.kctx.tar.zst"))
}

fn of(summary: &Summary, evidence: &EvidenceSet) -> Diagnosis {
    diagnose(&Case { summary, evidence })
}

fn ids(diagnosis: &Diagnosis) -> Vec<&str> {
    (diagnosis.findings.iter())
        .map(|finding| finding.id.as_str())
        .collect()
}

#[test]
fn the_first_finding_is_what_was_made() -> Result<()> {
    for (situation, id, cpu, device) in SITUATIONS {
        let incident = Incident::read(&path(situation), ReadLimits::default())?;
        let summary = incident.summary.context("no summary")?;
        let diagnosis = of(&summary, &incident.evidence);
        println!("{situation}: {}", diagnosis.first_line);
        let first = diagnosis.findings.first().context(situation)?;
        assert_eq!(first.id, id, "{situation}: {:?}", ids(&diagnosis));
        if let Some(cpu) = cpu {
            assert_eq!(first.scope.cpus.first(), Some(&cpu), "{situation}");
        }
        if let Some(device) = device {
            assert_eq!(first.scope.devices, [device], "{situation}");
        }
    }
    Ok(())
}

#[test]
fn what_else_was_made_is_among_the_findings() -> Result<()> {
    for (situation, id) in BESIDE {
        let incident = Incident::read(&path(situation), ReadLimits::default())?;
        let summary = incident.summary.context("no summary")?;
        let diagnosis = of(&summary, &incident.evidence);
        let found = ids(&diagnosis);
        assert!(found.contains(&id), "{situation}: {found:?}");
    }
    Ok(())
}

/// A kernel that counts by ticks takes handlers for system time.
#[test]
fn time_in_handlers_is_no_tasks() -> Result<()> {
    let incident = Incident::read(&path("irq-storm"), ReadLimits::default())?;
    let summary = incident.summary.context("no summary")?;
    let diagnosis = of(&summary, &incident.evidence);
    let ruled_out = &diagnosis.ruled_out;
    let reason = ruled_out.iter().find(|known| known.id == "SYSCALL");
    let reason = reason.with_context(|| format!("{:?}", ids(&diagnosis)))?;
    assert!(!reason.because.starts_with("seen"), "{reason:?}");
    Ok(())
}

#[test]
fn nothing_is_hot_at_rest_or_in_a_light_load() -> Result<()> {
    for path in [path("idle"), sample_path()] {
        let incident = Incident::read(&path, ReadLimits::default())?;
        let summary = incident.summary.context("no summary")?;
        let diagnosis = of(&summary, &incident.evidence);
        assert_eq!(diagnosis.verdict, Verdict::NothingHot, "{diagnosis:?}");
        assert!(
            diagnosis
                .findings
                .iter()
                .all(|finding| finding.severity == Severity::Info)
        );
        assert!(
            diagnosis.first_line.starts_with("Nothing is hot: "),
            "{}",
            diagnosis.first_line
        );
        assert!(diagnosis.ruled_out.len() > 15, "{:?}", diagnosis.ruled_out);
    }
    Ok(())
}

/// Causes that only evidence tells from another, which is named then, as one of low confidence: without the devices' counters nobody
/// knows whether packets of a task to itself went over loopback or over a pair of veth.
const STANDS_IN: [(&str, &str); 1] = [("NET-VIRT", "NET-LO")];
/// Causes that are in evidence alone.
const OF_EVIDENCE: [&str; 4] = ["NET-BACKLOG", "NET-BUDGET", "NET-CT", "SYSCALL"];

/// Whatever file of evidence is missing: the cause is the same, and no surer.
#[test]
fn missing_evidence_changes_no_cause() -> Result<()> {
    for (situation, id, ..) in SITUATIONS {
        let bundle = Bundle::read(&path(situation))?;
        let evidence = |without: &dyn Fn(&str) -> bool| {
            let mut set = EvidenceSet::default();
            for (path, bytes) in bundle.members.iter().filter(|(path, _)| !without(path)) {
                // What is no evidence is none of it.
                let _ = set.take(path, bytes.clone());
            }
            set
        };
        let files: Vec<_> = (bundle.members.keys())
            .filter(|path| path.starts_with("evidence/"))
            .collect();
        assert!(files.len() > 10, "{situation}");
        let whole = of(&bundle.summary, &evidence(&|_| false));
        let sure = whole.findings.first().context("no finding")?.confidence;
        let mut less: Vec<EvidenceSet> = (files.iter())
            .map(|file| evidence(&|path| path == file.as_str()))
            .collect();
        less.push(evidence(&|path| path.starts_with("evidence/before/")));
        less.push(EvidenceSet::default());
        for evidence in less {
            let diagnosis = of(&bundle.summary, &evidence);
            if let Some(same) = diagnosis.findings.iter().find(|finding| finding.id == id) {
                assert!(same.confidence <= sure, "{situation}");
                continue;
            }
            let stands_in = |finding: &&Finding| {
                STANDS_IN.contains(&(id, &finding.id)) && finding.confidence == Confidence::Low
            };
            assert!(
                OF_EVIDENCE.contains(&id) || diagnosis.findings.iter().any(|f| stands_in(&f)),
                "{situation}: {:?}",
                ids(&diagnosis)
            );
        }
    }
    Ok(())
}
