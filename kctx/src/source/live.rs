//! This kernel as a source: load, attach, drain, and in the end detach.

use std::{
    path::Path,
    sync::{Arc, mpsc::Sender},
    time::Duration,
};

use anyhow::Context as _;
use rustix::thread::CapabilitySet;

use super::{
    drain::{Bounds, Drain, Edges, Handle},
    metering::Metering,
    outlet::{self, Inlet},
    warden::Warden,
    watch::Watch,
};
use crate::{
    aggregate::window::{Family, ProbeStatus, Source},
    capture::trigger::works::RunningWorks,
    governor::CpuShare,
    heap,
    host::{
        HostIdentity, HostRoot,
        kallsyms::{self, Kallsyms, Symbols},
        kmsg_follow::LogBounds,
        privilege,
    },
    meter::Sample,
    probe::{
        attach::{self, Attached},
        books::Books,
        clock::Sampling,
        load::{self, LoadError, MapSizes},
    },
    resolve::{Live, Resolver},
};

/// What to measure, and how.
#[derive(Clone, Debug)]
pub struct LiveSettings {
    /// Which families.
    pub families: Vec<Family>,
    /// Tracepoints of those that are left out all the same.
    pub without: Vec<String>,
    /// Bit n: softirq vector n.
    pub softirq_vectors: u16,
    /// Sizes of what is taken in the kernel.
    pub sizes: MapSizes,
    /// How stacks are sampled.
    pub sampling: Sampling,
    /// Stacks that are told apart in a window.
    pub stacks: usize,
    /// How much of the kernel's log is kept.
    pub log: LogBounds,
    /// What kctx may use of one CPU; 0 for no limit.
    pub cpu_limit: CpuShare,
    /// For how long the kernel counts what the programs cost.
    pub sample: Sample,
    /// How often a window closes; `None`: only at the end.
    pub window: Option<Duration>,
    /// When to end by itself.
    pub end_after: Option<Duration>,
    /// What to keep beside [`privilege::KEPT`].
    pub keep: CapabilitySet,
}

/// Why there can be no live measurement, in one line with what to do.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct NotLive(String);

impl NotLive {
    fn from_load(error: &LoadError) -> Self {
        let missing = privilege::missing();
        if !missing.is_empty() {
            return Self(format!(
                "missing {}: run kctx as root (sudo), or give it these capabilities",
                missing.join(" and ")
            ));
        }
        if error.is_permission() {
            return Self(format!(
                "the kernel refuses BPF although the capabilities are there (a container's seccomp filter, \
                 or kernel lockdown?): {error:#}"
            ));
        }
        Self(format!("{error:#}"))
    }
}

/// Programs attached, the gate still closed.
pub struct Prepared {
    drain: Drain,
    attached: Attached,
    probes: Vec<ProbeStatus>,
}

impl Prepared {
    /// Loads and attaches, and gives up what privileges are no longer needed. Fails where no probe at all
    /// could be attached. The stream comes out of the inlet once it is started.
    pub fn attach(settings: &LiveSettings) -> anyhow::Result<(Self, Resolver, Inlet)> {
        let mut loaded = load::load(settings.sizes, settings.softirq_vectors)
            .map_err(|error| NotLive::from_load(&error))?;
        let (mut attached, mut probes) = attach::attach(&mut loaded, settings.sampling, |spec| {
            settings.families.contains(&spec.family) && !settings.without.contains(&spec.name())
        });
        if !probes.iter().any(|p| p.attached) {
            let reason = probes.iter().find_map(|p| p.reason.clone());
            let reason = reason.unwrap_or_else(|| "no family is configured".to_owned());
            return Err(NotLive(format!("no probe could be attached: {reason}")).into());
        }
        let symbols = Symbols::default();
        let (mut books, names) = Books::open(&mut loaded, &symbols, settings.stacks)?;
        if probes
            .iter()
            .any(|probe| probe.attached && probe.name == "sched:sched_switch")
        {
            books.switches_attached()?;
        }
        let watch = Watch::open(&HostRoot::system(), settings.log);
        probes.extend_from_slice(watch.probes());
        let metering = Metering::prepare(settings.sample);
        // Before any thread is made: each inherits what this one has left.
        privilege::drop_all_but(privilege::KEPT | settings.keep)
            .context("cannot drop privileges")?;
        // With the privileges that the names will be asked for with.
        let shown = Kallsyms::shown(Path::new(kallsyms::PATH));
        probes.push(ProbeStatus::of_file(Source::Symbols, kallsyms::PATH, shown));
        let (out, inlet) = outlet::channel();
        let drain = Drain {
            rings: std::mem::take(&mut loaded.rings),
            rare: loaded.take_rare()?,
            clock: attached.take_clock(),
            books,
            probes: probes.clone(),
            host: HostIdentity::collect(&HostRoot::system()),
            out,
            window: settings.window,
            end_after: settings.end_after,
            edges: Edges::default(),
            watch,
            warden: Warden::new(settings.cpu_limit),
            metering,
            log: settings.sizes.bpf_log.then(|| loaded.take_log()).flatten(),
            loaded,
        };
        heap::give_back();
        let prepared = Self {
            drain,
            attached,
            probes,
        };
        let resolver = Resolver::new(Box::new(Live::new(names, symbols)));
        Ok((prepared, resolver, inlet))
    }

    /// Each probe, and whether it is attached.
    #[must_use]
    pub fn probes(&self) -> &[ProbeStatus] {
        &self.probes
    }

    /// Why nobody will know what the programs cost, where that was asked for and refused.
    #[must_use]
    pub fn unmetered(&self) -> Option<&str> {
        self.drain.metering.refused()
    }

    /// The programs' table of works in execution, once; `None` where it is gone.
    pub(crate) fn take_running_works(&mut self) -> Option<RunningWorks> {
        RunningWorks::take(&mut self.drain.loaded.ebpf)
    }

    /// Opens the gate: the first window begins. The footprint of attaching (hundreds of IPIs) lies before
    /// it.
    pub fn start(mut self, edges: Edges) -> anyhow::Result<LiveSession> {
        self.drain.edges = edges;
        let handle = self
            .drain
            .spawn()
            .context("cannot start the drain thread")?;
        Ok(LiveSession {
            handle: Some(handle),
            attached: self.attached,
        })
    }
}

/// Programs attached, and the drain at work. Dropping it detaches, ends before starts.
pub struct LiveSession {
    handle: Option<Handle>,
    attached: Attached,
}

impl LiveSession {
    /// Asks the drain to end: the gate closes, what is in the rings still comes, the last window closes.
    pub fn stop(&self) {
        if let Some(handle) = &self.handle {
            handle.stop();
        }
    }

    /// What has the drain close its window now ([`Handle::cutter`]); `None` after its end.
    #[must_use]
    pub fn cutter(&self) -> Option<Arc<dyn Fn() + Send + Sync>> {
        self.handle.as_ref().map(Handle::cutter)
    }

    /// Where the drain is sent other bounds; `None` after its end.
    #[must_use]
    pub fn bounds(&self) -> Option<Sender<Bounds>> {
        self.handle.as_ref().map(Handle::bounds)
    }

    /// Waits for the drain's end. The programs are still attached then, behind a closed gate.
    pub fn wait(&mut self) -> anyhow::Result<()> {
        self.handle.take().map_or(Ok(()), Handle::join)
    }

    /// How many programs are attached.
    #[must_use]
    pub fn attached(&self) -> usize {
        self.attached.len()
    }
}
