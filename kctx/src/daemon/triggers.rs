//! The configured triggers: asks at each window's end what their rules look at, and has captured what fires.

use std::sync::Arc;

use anyhow::Context as _;

use crate::{
    aggregate::window::Window,
    capture::{
        bundle::WriteLimits,
        flight::FlightHandle,
        trigger::{
            Rule,
            exported::Exported,
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

/// The rules, and what they are asked for.
pub(super) struct Triggers {
    watch: RuleWatch,
    softnet: Option<Softnet>,
    works: Option<RunningWorks>,
    need_findings: bool,
    totals: Arc<Totals>,
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
        totals: &Arc<Totals>,
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
        let need = |wanted: fn(&Figure) -> bool| watch.figures().any(wanted);
        let softnet = if need(|f| matches!(f, Figure::TimeSqueeze | Figure::BacklogDrops)) {
            let softnet = Softnet::open(&HostRoot::system());
            Some(softnet.context("a trigger needs /proc/net/softnet_stat")?)
        } else {
            None
        };
        watch_exported(&watch, totals)?;
        Ok(Some(Self {
            softnet,
            works: works.filter(|_| need(|f| *f == Figure::WorkInFlight)),
            need_findings: need(Figure::needs_findings),
            totals: Arc::clone(totals),
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
        if let Some(job) = self.job.take_if(|job| job.is_finished()) {
            self.note_bundles(job.wait(), 1);
        }
        let now_ns = clock::monotonic_ns();
        let beside = Beside {
            softnet: self
                .softnet
                .as_mut()
                .and_then(|softnet| softnet.rates(now_ns)),
            longest_work: self.works.as_ref().map(|works| works.longest(now_ns)),
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
        match Job::start(self.settings.clone(), rule, fired) {
            Ok(job) => self.job = Some(job),
            Err(error) => {
                eprintln!("kctx: trigger {}: no thread: {error}", rule.name);
                self.note_bundles(BundleResult::Failed, 1);
            }
        }
    }
}

/// Has the metrics counted by window that rules look at.
fn watch_exported(watch: &RuleWatch, totals: &Totals) -> anyhow::Result<()> {
    let exported = || {
        watch.figures().filter_map(|figure| match figure {
            Figure::Exported(exported) => Some(exported),
            _ => None,
        })
    };
    let names: Vec<_> = exported().map(|one| one.metric().name.to_owned()).collect();
    if !names.is_empty() {
        let per_cpu = exported().any(Exported::is_of_a_cpu);
        totals.watch(Selection::of_metrics(&names)?, per_cpu);
    }
    Ok(())
}
