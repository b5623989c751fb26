//! A case as it comes out of a bundle: each case that the rules' tests make is written into one, as a capture writes it, redacted,
//! and what is read of that is diagnosed too.

use super::{Case, Diagnosis, Finding, diagnose};
use crate::{
    capture::{
        bundle::{Incident, ReadLimits, WriteLimits},
        evidence::{Evidence, EvidenceFile, EvidenceLimits, Phase, Taking},
        evidence_set::EvidenceSet,
        recorder::Recorder,
        redact::Redactor,
    },
    report::summary::Summary,
};

/// The bundle's diagnosis names the same causes, as sure, in the same order and at the same places.
pub(super) fn assert_same(case: &Case<'_>, diagnosis: &Diagnosis) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("case.kctx.tar.zst");
    let recorder = Recorder::create(&path, WriteLimits::default()).unwrap();
    let mut recorder = recorder.redacting(Redactor::default());
    for phase in [Phase::Before, Phase::After] {
        let sample = sample(case.evidence, phase);
        recorder
            .evidence(&sample, &EvidenceLimits::default())
            .unwrap();
    }
    recorder.finish(case.summary, false).unwrap();
    let Incident {
        summary, evidence, ..
    } = Incident::read(&path, ReadLimits::default()).unwrap();
    let summary: Summary = summary.unwrap();
    let of_bundle = diagnose(&Case {
        summary: &summary,
        evidence: &evidence,
    });
    assert_eq!(of_bundle.verdict, diagnosis.verdict);
    assert_eq!(told(&of_bundle.findings), told(&diagnosis.findings));
}

fn sample(evidence: &EvidenceSet, phase: Phase) -> Evidence {
    let file = |(path, bytes): (&str, &[u8])| EvidenceFile {
        path: format!("{}/{path}", phase.folder()),
        bytes: bytes.to_vec(),
        truncated: false,
        taking: Taking::default(),
    };
    Evidence {
        files: evidence.files(phase).map(file).collect(),
        ..Evidence::default()
    }
}

fn told(findings: &[Finding]) -> Vec<String> {
    let told = |finding: &Finding| {
        let (id, cpus) = (&finding.id, &finding.scope.cpus);
        format!(
            "{id} {:?} {:?} {cpus:?}",
            finding.severity, finding.confidence
        )
    };
    findings.iter().map(told).collect()
}
