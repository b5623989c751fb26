//! This kernel as a source: load, attach, drain, and in the end detach.

use std::{sync::mpsc::SyncSender, time::Duration};

use anyhow::Context as _;

use super::{
    Item,
    drain::{Drain, Handle},
};
use crate::{
    aggregate::window::{Family, ProbeStatus},
    probe::{
        attach::{self, Attached},
        books::Books,
        load::{self, Loaded, MapSizes},
    },
    resolve::{Live, Resolver},
};

/// What to measure, and how.
#[derive(Clone, Debug)]
pub struct LiveSettings {
    /// Which families.
    pub families: Vec<Family>,
    /// Bit n: softirq vector n.
    pub softirq_vectors: u16,
    /// Sizes of what is taken in the kernel.
    pub sizes: MapSizes,
    /// How often a window closes; `None`: only at the end.
    pub window: Option<Duration>,
    /// When to end by itself.
    pub end_after: Option<Duration>,
}

/// Programs attached, and the drain at work.
pub struct LiveSession {
    handle: Handle,
    attached: Attached,
    // Holds the programs and the maps that nobody reads.
    loaded: Loaded,
    probes: Vec<ProbeStatus>,
}

impl LiveSession {
    /// Loads and attaches, then opens the gate: the footprint of attaching (hundreds of IPIs) lies before
    /// the window. Fails where no probe at all could be attached.
    pub fn start(
        settings: &LiveSettings,
        out: SyncSender<Item>,
    ) -> anyhow::Result<(Self, Resolver)> {
        let mut loaded = load::load(settings.sizes, settings.softirq_vectors)?;
        let (attached, probes) = attach::attach(&mut loaded, |spec| settings.families.contains(&spec.family));
        if !probes.iter().any(|p| p.attached) {
            let reason = probes.iter().find_map(|p| p.reason.clone()).unwrap_or_default();
            anyhow::bail!("no probe could be attached: {reason}");
        }
        let (books, names) = Books::open(&mut loaded)?;
        let handle = Drain {
            rings: std::mem::take(&mut loaded.rings),
            rare: loaded.take_rare()?,
            books,
            probes: probes.clone(),
            out,
            window: settings.window,
            end_after: settings.end_after,
        }
        .spawn()
        .context("cannot start the drain thread")?;
        let session = Self {
            handle,
            attached,
            loaded,
            probes,
        };
        Ok((session, Resolver::new(Box::new(Live::new(names)))))
    }

    /// Each probe, and whether it is attached.
    #[must_use]
    pub fn probes(&self) -> &[ProbeStatus] {
        &self.probes
    }

    /// Asks the drain to end.
    pub fn stop(&self) {
        self.handle.stop();
    }

    /// Waits for the drain's end, then detaches, ends before starts.
    pub fn finish(self) -> anyhow::Result<()> {
        let drained = self.handle.join();
        drop(self.attached);
        drop(self.loaded);
        drained
    }
}
