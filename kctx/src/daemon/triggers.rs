//! The configured triggers: asks at each window's end what their rules look at, and has captured what fires.

use std::{sync::Arc, time::Duration};

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
    export::{captures::BundleResult, metric::Selection, totals::Totals},
    host::{HostRoot, clock},
};

/// What a configuration says of triggers, once it is known that it can be done.
pub(super) struct TriggerPlan {
    rules: Vec<Rule>,
    pause: Duration,
    softnet: Option<Softnet>,
    /// Metrics that rules look at, and whether at single CPUs.
    exported: Option<(Selection, bool)>,
    /// `None` without rules: nothing is written then.
    settings: Option<JobSettings>,
}

/// The rules, and what they are asked for.
pub(super) struct Triggers {
    watch: RuleWatch,
    softnet: Option<Softnet>,
    works: Option<RunningWorks>,
    totals: Arc<Totals>,
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
            exported: None,
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
        let figures = || plan.rules.iter().filter_map(Rule::figure);
        plan.exported = exported(figures())?;
        if figures().any(|f| matches!(f, Figure::TimeSqueeze | Figure::BacklogDrops)) {
            let softnet = Softnet::open(&HostRoot::system());
            plan.softnet = Some(softnet.context("a trigger needs /proc/net/softnet_stat")?);
        }
        plan.settings = Some(JobSettings {
            flight: flight.clone(),
            store,
            limits: WriteLimits {
                max_bytes: capture.trigger_size(),
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
    pub(super) fn new(
        plan: TriggerPlan,
        works: Option<RunningWorks>,
        totals: &Arc<Totals>,
    ) -> Self {
        totals.watch(plan.exported);
        Self {
            totals: Arc::clone(totals),
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
        self.totals.watch(plan.exported);
        // Rates are since the last reading, so who has read goes on.
        let reading = self.softnet.take();
        self.softnet = plan.softnet.map(|unread| reading.unwrap_or(unread));
        self.settings = plan.settings;
    }

    /// Whether a rule looks at the findings of each window.
    pub(super) fn need_findings(&self) -> bool {
        self.watch.figures().any(Figure::needs_findings)
    }

    /// A window closed; with the ids of its findings, where it was diagnosed.
    pub(super) fn window(&mut self, window: &Window, findings: Option<&[String]>) {
        if let Some(job) = self.job.take_if(|job| job.is_finished()) {
            self.note_bundles(job.wait(), 1);
        }
        if self.settings.is_none() {
            return;
        }
        let works = (self.works.as_ref())
            .filter(|_| (self.watch.figures()).any(|figure| *figure == Figure::WorkInFlight));
        let now_ns = clock::monotonic_ns();
        let beside = Beside {
            softnet: self
                .softnet
                .as_mut()
                .and_then(|softnet| softnet.rates(now_ns)),
            longest_work: works.map(|works| works.longest(now_ns)),
            findings,
            exported: None,
        };
        let busy = self.job.is_some();
        let watch = &mut self.watch;
        let fired = self.totals.in_window(window, |exported| {
            let beside = Beside { exported, ..beside };
            watch.observe(now_ns, window, &beside, busy)
        });
        let refused = self.watch.take_refused();
        self.note_bundles(BundleResult::Refused, refused);
        if let Some((rule, fired)) = fired {
            self.totals.note(|state| state.note_fired(&rule.name));
            self.start(&rule, fired);
        }
    }

    /// The stream is over, and so is a dump: the capture under way writes what came.
    pub(super) fn finish(mut self) {
        if let Some(job) = self.job.take() {
            self.note_bundles(job.wait(), 1);
        }
    }

    fn note_bundles(&self, result: BundleResult, bundles: u64) {
        if bundles > 0 {
            let totals = &self.totals;
            totals.note(|state| state.note_bundles(result, bundles));
        }
    }

    fn start(&mut self, rule: &Rule, fired: crate::capture::trigger::Fired) {
        let Some(settings) = self.settings.clone() else {
            return;
        };
        match Job::start(settings, rule, fired) {
            Ok(job) => self.job = Some(job),
            Err(error) => {
                eprintln!("kctx: trigger {}: no thread: {error}", rule.name);
                self.note_bundles(BundleResult::Failed, 1);
            }
        }
    }
}

/// The metrics that such figures are of, and whether one is of a single CPU.
fn exported<'a>(
    figures: impl Iterator<Item = &'a Figure>,
) -> anyhow::Result<Option<(Selection, bool)>> {
    let exported: Vec<_> = figures
        .filter_map(|figure| match figure {
            Figure::Exported(exported) => Some(exported),
            _ => None,
        })
        .collect();
    if exported.is_empty() {
        return Ok(None);
    }
    let names = exported.iter().map(|one| one.metric().name.to_owned());
    let names: Vec<_> = names.collect();
    let per_cpu = exported.iter().any(|one| one.is_of_a_cpu());
    Ok(Some((Selection::of_metrics(&names)?, per_cpu)))
}
