//! The configured triggers: asks at each window's end what their rules look at, and has captured what fires.

use anyhow::Context as _;

use crate::{
    aggregate::window::Window,
    capture::{
        bundle::WriteLimits,
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
    host::{HostRoot, clock},
};

/// The rules, and what they are asked for.
pub(super) struct Triggers {
    watch: RuleWatch,
    softnet: Option<Softnet>,
    works: Option<RunningWorks>,
    need_findings: bool,
    settings: JobSettings,
    job: Option<Job>,
}

impl Triggers {
    /// Of the configuration; `None` where it has no rules. After privileges were dropped: what cannot be written then is
    /// told now.
    pub(super) fn new(
        config: &Config,
        works: Option<RunningWorks>,
        flight: FlightHandle,
    ) -> anyhow::Result<Option<Self>> {
        let capture = &config.capture;
        if config.trigger.is_empty() {
            return Ok(None);
        }
        let limits = StoreLimits {
            bundles: capture.max_bundles as usize,
            bytes: capture.max_total,
        };
        let store = BundleStore::open(&capture.directory, limits)
            .context("triggers cannot leave bundles; see [capture] directory")?;
        let watch = RuleWatch::new(config.trigger.clone(), capture.pause);
        let softnet = if watch.needs(|f| matches!(f, Figure::TimeSqueeze | Figure::BacklogDrops)) {
            let softnet = Softnet::open(&HostRoot::system());
            Some(softnet.context("a trigger needs /proc/net/softnet_stat")?)
        } else {
            None
        };
        Ok(Some(Self {
            softnet,
            works: works.filter(|_| watch.needs(|f| *f == Figure::WorkInFlight)),
            need_findings: watch.needs(|f| matches!(f, Figure::Finding(_))),
            watch,
            settings: JobSettings {
                flight,
                store,
                limits: WriteLimits {
                    max_bytes: capture.trigger_size(),
                },
                rows: config.rows(),
                redact: capture.redact,
                evidence: capture.evidence.limits(),
            },
            job: None,
        }))
    }

    /// Whether a rule looks at the findings of each window.
    pub(super) fn need_findings(&self) -> bool {
        self.need_findings
    }

    /// A window closed; with the ids of its findings, where it was diagnosed.
    pub(super) fn window(&mut self, window: &Window, findings: Option<&[String]>) {
        if self.job.as_ref().is_some_and(Job::is_finished) {
            self.job = None;
        }
        let now_ns = clock::monotonic_ns();
        let beside = Beside {
            softnet: self
                .softnet
                .as_mut()
                .and_then(|softnet| softnet.rates(now_ns)),
            longest_work: self.works.as_ref().map(|works| works.longest(now_ns)),
            findings,
        };
        let busy = self.job.is_some();
        if let Some((rule, fired)) = self.watch.observe(now_ns, window, &beside, busy) {
            self.start(&rule, fired);
        }
    }

    fn start(&mut self, rule: &Rule, fired: crate::capture::trigger::Fired) {
        match Job::start(self.settings.clone(), rule, fired) {
            Ok(job) => self.job = Some(job),
            Err(error) => eprintln!("kctx: trigger {}: no thread: {error}", rule.name),
        }
    }
}
