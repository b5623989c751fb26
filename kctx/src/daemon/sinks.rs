//! Where windows go beside the display: which exports there are, from their settings to their end.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::Context as _;

use crate::{
    aggregate::window::Window,
    config::Config,
    export::{
        cumulative::Limits,
        interval::Temporality,
        otlp::{
            self, LogExporter, LogSettings, OtlpConfig, OtlpExporter, OtlpSettings,
            ShutdownOutcome, Signal,
        },
        prometheus::{
            PrometheusServer, PrometheusSettings,
            settings::{self, Listen, PrometheusConfig},
        },
        resource::Resource,
        totals::Totals,
    },
    host::{HostRoot, cpus, identity::HostIdentity},
};

/// How long the last export of metrics may take, and before it that of logs.
const FLUSH: Duration = Duration::from_secs(5);
const FLUSH_LOGS: Duration = Duration::from_secs(3);

/// What the command line asks for.
#[derive(Clone, Debug, Default)]
pub struct Wishes {
    /// The OTLP export.
    pub otlp: OtlpConfig,
    /// Where to answer scrapes.
    pub listen: Option<Listen>,
}

/// When to export.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Pace {
    /// By the export's own interval.
    #[cfg(kctx_live)]
    Interval,
    /// Each window, and wait for it: a recording goes by much faster than it was made.
    EachWindow,
}

/// The exports as they will be.
pub struct Sinks {
    otlp: Option<OtlpSettings>,
    logs: Option<LogSettings>,
    prometheus: Option<PrometheusSettings>,
    /// Scrapes are answered unless something is in the way: nobody asked for it.
    scrape_unasked: bool,
    limits: Limits,
    resource: Resource,
}

impl Sinks {
    /// Of a live run: what command line, configuration and environment ask for.
    pub fn of_this_host(config: &Config, wishes: &Wishes) -> anyhow::Result<Self> {
        let lookup = |name: &str| std::env::var(name).ok();
        let unasked = Listen::UNASKED;
        let resolved = settings::resolve(wishes.listen, &config.prometheus, &lookup, unasked)
            .context("cannot set up the Prometheus scrape")?;
        let cpus = cpus::online(&HostRoot::system()).map(|online| online.len());
        let limits = config.export.limits(cpus.ok());
        let interval = Some(config.run.interval);
        Self::resolve(
            config,
            wishes,
            &resolved,
            interval,
            (limits, Resource::detect()),
        )
    }

    /// Of a replay of what was `recorded`: of which machine, and since when. Only the command line makes it answer scrapes, for it then
    /// stays: what the configuration says is meant for the daemon.
    pub fn of_a_recording(
        config: &Config,
        wishes: &Wishes,
        (host, start_unix_ns): (&HostIdentity, u64),
    ) -> anyhow::Result<Self> {
        let file = PrometheusConfig::default();
        let resolved = settings::resolve(wishes.listen, &file, &|_| None, Listen::None)
            .context("cannot set up the Prometheus scrape")?;
        let cpus = host.cpus_online as usize;
        let limits = config.export.limits((cpus > 0).then_some(cpus));
        let resource = Resource::recorded(host, start_unix_ns);
        Self::resolve(config, wishes, &resolved, None, (limits, resource))
    }

    fn resolve(
        config: &Config,
        wishes: &Wishes,
        scrape: &settings::Resolved,
        window: Option<Duration>,
        (limits, mut resource): (Limits, Resource),
    ) -> anyhow::Result<Self> {
        let lookup = |name: &str| std::env::var(name).ok();
        let otlp = otlp::env::resolve(&wishes.otlp, &config.otlp, &lookup)
            .context("cannot set up the OTLP export")?;
        let prometheus = (scrape.listen).map(|listen| PrometheusSettings::new(listen, window));
        let warnings = otlp.warnings.iter().chain(&scrape.warnings).cloned();
        for warning in warnings.chain(prometheus.and_then(|settings| settings.warning())) {
            eprintln!("kctx: {warning}");
        }
        otlp.apply_to(&mut resource);
        Ok(Self {
            otlp: otlp.settings,
            logs: otlp.logs,
            prometheus,
            scrape_unasked: scrape.unasked,
            limits,
            resource,
        })
    }

    /// Starts the exports. After privileges were dropped: their threads need none of them.
    pub(super) fn start(self, pace: Pace) -> anyhow::Result<Exports> {
        let otlp = self.otlp.as_ref();
        let temporality = otlp.map_or(Temporality::Cumulative, |otlp| otlp.temporality);
        let totals = Totals::of(self.limits, temporality, self.prometheus.is_some());
        if pace != Pace::EachWindow {
            totals.expect_reloads();
        }
        let totals = Arc::new(totals);
        let prometheus = match self.prometheus {
            Some(settings) => {
                let resource = self.resource.clone();
                match PrometheusServer::spawn(settings, resource, Arc::clone(&totals)) {
                    Ok(server) => {
                        let address = server.address();
                        eprintln!("kctx: answering scrapes on http://{address}/metrics");
                        Some(server)
                    }
                    Err(error) if self.scrape_unasked => {
                        eprintln!("kctx: {error}, or none; going on without");
                        None
                    }
                    Err(error) => return Err(error.into()),
                }
            }
            None => None,
        };
        let logs = match self.logs {
            Some(mut settings) => {
                let endpoint = &settings.transport.endpoint;
                eprintln!("kctx: exporting OTLP logs to {endpoint}");
                if pace == Pace::EachWindow {
                    settings.interval = Duration::ZERO;
                }
                let totals = Arc::clone(&totals);
                Some(LogExporter::spawn(settings, &self.resource, totals)?)
            }
            None => None,
        };
        let otlp = match self.otlp {
            Some(mut settings) => {
                let endpoint = &settings.transport.endpoint;
                eprintln!("kctx: exporting OTLP metrics to {endpoint}");
                if pace == Pace::EachWindow {
                    settings.interval = Duration::ZERO;
                }
                Some(OtlpExporter::spawn(
                    settings,
                    self.resource,
                    Arc::clone(&totals),
                )?)
            }
            None => None,
        };
        Ok(Exports {
            totals,
            otlp,
            logs,
            prometheus,
            pace,
            online: (pace != Pace::EachWindow).then(OnlineCpus::open).flatten(),
        })
    }
}

/// The exports at work.
pub(super) struct Exports {
    totals: Arc<Totals>,
    otlp: Option<OtlpExporter>,
    logs: Option<LogExporter>,
    prometheus: Option<PrometheusServer>,
    pace: Pace,
    /// `None` in a replay: those are this machine's.
    online: Option<OnlineCpus>,
}

/// Which CPUs are online, asked from time to time.
struct OnlineCpus {
    list: cpus::Online,
    next: Mutex<Instant>,
}

impl OnlineCpus {
    const EVERY: Duration = Duration::from_secs(10);

    fn open() -> Option<Self> {
        Some(Self {
            list: cpus::Online::open(&HostRoot::system()).ok()?,
            next: Mutex::new(Instant::now()),
        })
    }

    fn look(&self) -> Option<Vec<u32>> {
        let now = Instant::now();
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        if now < *next {
            return None;
        }
        *next = now + Self::EVERY;
        self.list.now().ok()
    }
}

impl Exports {
    /// Whether somebody reads the series.
    pub(super) fn has_series(&self) -> bool {
        self.otlp.is_some() || self.prometheus.is_some()
    }

    /// What is counted, whoever reads it.
    pub(super) fn totals(&self) -> &Arc<Totals> {
        &self.totals
    }

    /// Hands over a closed window.
    pub(super) fn offer(&self, window: &Arc<Window>) {
        if self.has_series() {
            if let Some(cpus) = self.online.as_ref().and_then(OnlineCpus::look) {
                self.totals.set_online(&cpus);
            }
            self.totals.offer(Arc::clone(window));
        }
        if let Some(logs) = &self.logs {
            logs.offer(window);
            if self.pace == Pace::EachWindow {
                let _ = logs.settle(super::PATIENCE);
            }
        }
        if let Some(server) = &self.prometheus {
            server.announce();
        }
        if let Some(exporter) = &self.otlp {
            exporter.announce();
            if self.pace == Pace::EachWindow {
                let _ = exporter.settle(super::PATIENCE);
            }
        }
    }

    /// The last push of each. That one failed is told; a replay, which has nothing else to do, has failed with it.
    ///
    /// Logs go first, so that the metrics say what became of them.
    pub(super) fn flush(&self) -> anyhow::Result<()> {
        let logs = (self.logs.as_ref()).map(|logs| (Signal::Logs, logs.shutdown(FLUSH_LOGS)));
        let otlp = (self.otlp.as_ref()).map(|otlp| (Signal::Metrics, otlp.shutdown(FLUSH)));
        let outcomes = logs.into_iter().chain(otlp);
        let results = outcomes.map(|(signal, outcome)| self.judge(signal, &outcome));
        // Each is told, whatever became of the one before.
        results.fold(Ok(()), anyhow::Result::and)
    }

    fn judge(&self, signal: Signal, outcome: &ShutdownOutcome) -> anyhow::Result<()> {
        let why = match outcome {
            ShutdownOutcome::Flushed => return Ok(()),
            ShutdownOutcome::Failed(why) => why.clone(),
            ShutdownOutcome::TimedOut => "there was no answer in time".to_owned(),
            ShutdownOutcome::Aborted => "aborted".to_owned(),
        };
        let what = signal.as_str();
        match self.pace {
            #[cfg(kctx_live)]
            Pace::Interval => {
                eprintln!("kctx: the last OTLP export of {what} failed: {why}");
                Ok(())
            }
            Pace::EachWindow => anyhow::bail!("the OTLP export of {what} failed: {why}"),
        }
    }

    /// Whether there is still somebody to serve when the stream is over: a recording's totals, until a signal.
    pub(super) fn outlast(&self) -> bool {
        self.pace == Pace::EachWindow && self.prometheus.is_some()
    }
}
