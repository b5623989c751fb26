//! The configured triggers: asks at each window's end what their rules look at, and has captured what fires.

use std::time::Duration;

use anyhow::Context as _;

use crate::{
    aggregate::window::Window,
    capture::{
        bundle::WriteLimits,
        evidence_set::EvidenceSet,
        flight::FlightHandle,
        trigger::{
            Rule,
            figure::{Beside, Figure},
            job::{Job, JobSettings},
            softnet::Softnet,
            store::{BundleStore, StoreLimits},
            watch::RuleWatch,
            works::RunningWorks,
        },
    },
    config::Config,
    diagnose::{Case, diagnose},
    host::{HostIdentity, HostRoot, clock},
    report::summary::Summary,
};

/// What a configuration says of triggers, once it is known that it can be done.
pub(super) struct TriggerPlan {
    rules: Vec<Rule>,
    pause: Duration,
    softnet: Option<Softnet>,
    /// `None` without rules: nothing is written then.
    settings: Option<JobSettings>,
}

/// The rules, and what they are asked for.
pub(super) struct Triggers {
    watch: RuleWatch,
    softnet: Option<Softnet>,
    works: Option<RunningWorks>,
    settings: Option<JobSettings>,
    job: Option<Job>,
}

impl TriggerPlan {
    /// Of a configuration. After privileges were dropped: what cannot be written then is told now.
    pub(super) fn new(config: &Config, flight: &FlightHandle) -> anyhow::Result<Self> {
        let capture = &config.capture;
        let mut plan = Self {
            rules: config.trigger.clone(),
            pause: capture.pause,
            softnet: None,
            settings: None,
        };
        if plan.rules.is_empty() {
            return Ok(plan);
        }
        let limits = StoreLimits {
            bundles: capture.max_bundles as usize,
            bytes: capture.max_total,
        };
        let store = BundleStore::open(&capture.directory, limits)
            .context("triggers cannot leave bundles; see [capture] directory")?;
        if (plan.rules.iter())
            .any(|rule| rule.needs(|f| matches!(f, Figure::TimeSqueeze | Figure::BacklogDrops)))
        {
            let softnet = Softnet::open(&HostRoot::system());
            plan.softnet = Some(softnet.context("a trigger needs /proc/net/softnet_stat")?);
        }
        plan.settings = Some(JobSettings {
            flight: flight.clone(),
            store,
            limits: WriteLimits {
                max_bytes: capture.max_size.min(capture.max_total),
            },
            rows: config.rows(),
            redact: capture.redact,
            evidence: capture.evidence.limits(),
        });
        Ok(plan)
    }
}

impl Triggers {
    /// As planned, with the programs' table of works.
    pub(super) fn new(plan: TriggerPlan, works: Option<RunningWorks>) -> Self {
        Self {
            watch: RuleWatch::new(plan.rules, plan.pause),
            softnet: plan.softnet,
            works,
            settings: plan.settings,
            job: None,
        }
    }

    /// Goes by another plan from the next window on. A capture under way ends as it began.
    pub(super) fn take_over(&mut self, plan: TriggerPlan) {
        self.watch.replace(plan.rules, plan.pause);
        // Rates are since the last reading, so who has read goes on.
        let reading = self.softnet.take();
        self.softnet = plan.softnet.map(|unread| reading.unwrap_or(unread));
        self.settings = plan.settings;
    }

    /// A window closed.
    pub(super) fn window(&mut self, window: &Window, host: &HostIdentity) {
        if self.job.as_ref().is_some_and(Job::is_finished) {
            self.job = None;
        }
        if self.settings.is_none() {
            return;
        }
        let works = (self.works.as_ref())
            .filter(|_| self.watch.needs(|figure| *figure == Figure::WorkInFlight));
        let diagnoses = (self.watch).needs(|figure| matches!(figure, Figure::Finding(_)));
        let now_ns = clock::monotonic_ns();
        let beside = Beside {
            softnet: self
                .softnet
                .as_mut()
                .and_then(|softnet| softnet.rates(now_ns)),
            longest_work: works.map(|works| works.longest(now_ns)),
            findings: if diagnoses {
                findings(window, host)
            } else {
                Vec::new()
            },
        };
        let busy = self.job.is_some();
        if let Some((rule, fired)) = self.watch.observe(now_ns, window, &beside, busy) {
            self.start(&rule, fired);
        }
    }

    fn start(&mut self, rule: &Rule, fired: crate::capture::trigger::Fired) {
        let Some(settings) = self.settings.clone() else {
            return;
        };
        match Job::start(settings, rule, fired) {
            Ok(job) => self.job = Some(job),
            Err(error) => eprintln!("kctx: trigger {}: no thread: {error}", rule.name),
        }
    }
}

/// What a diagnosis of the window alone finds.
fn findings(window: &Window, host: &HostIdentity) -> Vec<String> {
    let summary = Summary::from_window(window, host.clone(), window.taint_value);
    let evidence = EvidenceSet::default();
    let diagnosis = diagnose(&Case {
        summary: &summary,
        evidence: &evidence,
    });
    let findings = diagnosis.findings.into_iter();
    findings.map(|finding| finding.id).collect()
}
