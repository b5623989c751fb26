//! A finding in the making.

use super::{
    facts::{origins, works::Work},
    finding::{Confidence, EvidenceRef, Finding, Scope, Severity, Share, Step},
    page::Page,
};
use crate::{
    aggregate::window::OriginKind,
    report::{human::name, summary::OriginSummary},
};

/// The longest title.
const TITLE: usize = 80;

/// Names of one kind that a finding lists.
const NAMES: usize = 16;

/// A finding in the making. Names that came from the kernel or a process are made safe to print here.
#[derive(Clone, Debug)]
pub(super) struct Draft {
    page: Page,
    finding: Finding,
    about: Vec<(&'static str, String)>,
}

impl Draft {
    pub(super) fn new(page: &Page, severity: Severity, confidence: Confidence) -> Self {
        Self {
            page: *page,
            finding: Finding {
                id: page.id.to_owned(),
                severity,
                confidence,
                title: String::new(),
                statement: String::new(),
                share: None,
                scope: Scope::default(),
                chain: Vec::new(),
                evidence: Vec::new(),
                missing: Vec::new(),
                next: Vec::new(),
                do_not: page.do_not.iter().map(|text| (*text).to_owned()).collect(),
                doc: page.path(),
            },
            about: Vec::new(),
        }
    }

    pub(super) fn title(mut self, title: impl AsRef<str>) -> Self {
        let safe = name(title.as_ref());
        self.finding.title = safe.chars().take(TITLE).collect();
        self
    }

    pub(super) fn statement(mut self, statement: impl AsRef<str>) -> Self {
        self.finding.statement = name(statement.as_ref());
        self
    }

    pub(super) fn share(mut self, cpu: u32, context: &str, percent: f64) -> Self {
        self.finding.share = Some(Share {
            cpu,
            context: name(context),
            percent: (percent * 10.0).round() / 10.0,
        });
        self
    }

    pub(super) fn cpu(mut self, cpu: u32) -> Self {
        self.fill("cpu", cpu.to_string());
        if !self.finding.scope.cpus.contains(&cpu) {
            self.finding.scope.cpus.push(cpu);
        }
        self
    }

    pub(super) fn cpus(self, cpus: impl IntoIterator<Item = u32>) -> Self {
        cpus.into_iter().fold(self, Self::cpu)
    }

    pub(super) fn device(mut self, device: &str) -> Self {
        self.fill("device", name(device));
        keep(&mut self.finding.scope.devices, device);
        self
    }

    pub(super) fn vector(mut self, vector: &str) -> Self {
        keep(&mut self.finding.scope.vectors, vector);
        self
    }

    /// A line or vector by its label in /proc/interrupts.
    pub(super) fn irq(mut self, label: &str) -> Self {
        if label.parse::<u32>().is_ok() {
            self.fill("irq", label.to_owned());
        }
        keep(&mut self.finding.scope.irqs, label);
        self
    }

    pub(super) fn function(mut self, function: &str) -> Self {
        self.fill("function", name(function));
        keep(&mut self.finding.scope.functions, function);
        self
    }

    pub(super) fn comm(mut self, comm: &str) -> Self {
        keep(&mut self.finding.scope.comms, comm);
        self
    }

    pub(super) fn process(mut self, comm: &str, pid: u32) -> Self {
        self.fill("pid", pid.to_string());
        self.comm(comm)
    }

    /// Who queues the work, and as a process where it is one.
    pub(super) fn queued_by(self, work: &Work<'_>) -> Self {
        let Some(origin) = work.queued_by() else {
            return self;
        };
        self.step("queued by", origins::words(origin))
            .origin(origin)
    }

    /// What something comes from, where that is a process, or processes of one name.
    pub(super) fn origin(self, origin: &OriginSummary) -> Self {
        match (origin.kind, origin.number) {
            (OriginKind::Task, Some(pid)) => self.process(&origin.name, pid),
            (OriginKind::Task, None) => self.comm(&origin.name),
            _ => self,
        }
    }

    pub(super) fn step(mut self, step: &str, value: impl AsRef<str>) -> Self {
        let value = name(value.as_ref());
        if !value.is_empty() {
            self.finding.chain.push(Step {
                step: step.to_owned(),
                value,
            });
        }
        self
    }

    pub(super) fn evidence(mut self, reference: impl Into<String>, value: impl AsRef<str>) -> Self {
        self.finding.evidence.push(EvidenceRef {
            reference: name(&reference.into()),
            value: name(value.as_ref()),
        });
        self
    }

    /// Something that was not there, and so the confidence is not higher.
    pub(super) fn missing(mut self, what: impl Into<String>) -> Self {
        self.finding.missing.push(name(&what.into()));
        self
    }

    pub(super) fn missing_if(self, is: bool, what: &str) -> Self {
        match is {
            true => self.missing(what),
            false => self,
        }
    }

    /// The finding with its advice.
    pub(super) fn done(mut self) -> Finding {
        self.finding.next = self.page.steps(&self.about);
        self.finding
    }

    /// The first of a kind is what the advice is about.
    fn fill(&mut self, place: &'static str, value: String) {
        if self.about.iter().all(|(known, _)| *known != place) {
            self.about.push((place, value));
        }
    }
}

fn keep(names: &mut Vec<String>, text: &str) {
    let text = name(text);
    if !text.is_empty() && names.len() < NAMES && !names.contains(&text) {
        names.push(text);
    }
}
