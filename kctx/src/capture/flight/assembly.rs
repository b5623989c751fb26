//! A dump into a bundle: its segments as they are, and the summary that a replay of them gives.

use std::path::Path;

use bytes::Bytes;

use super::Ending;
use crate::{
    aggregate::{table::RowLimits, window::Window},
    capture::{
        bundle::{BundleError, Manifest, Written},
        events::{Decoder, EventsError},
        evidence::{Evidence, EvidenceLimits},
        recorder::Recorder,
    },
    pipeline::Pipeline,
    report::summary::Summary,
    resolve::{Recorded, Resolver},
    source::Item,
};

/// Why a dump did not become a bundle.
#[derive(Debug, thiserror::Error)]
pub enum AssemblyError {
    /// The bundle could not be written.
    #[error(transparent)]
    Bundle(#[from] BundleError),
    /// A segment is not of this version.
    #[error(
        "the daemon sent what this kctx does not read ({0}); use its version, or capture with --alone"
    )]
    Events(#[from] EventsError),
    /// Nothing came.
    #[error("the daemon sent no records at all")]
    Nothing,
}

/// A bundle that a dump goes into.
pub struct Assembly {
    recorder: Recorder,
    pipeline: Pipeline,
    window: Option<Window>,
}

impl Assembly {
    /// Of a bundle whose output is open.
    #[must_use]
    pub fn new(recorder: Recorder, rows: RowLimits) -> Self {
        Self {
            recorder,
            pipeline: Pipeline::new(rows, Resolver::new(Box::new(Recorded))),
            window: None,
        }
    }

    /// Adds one sample of evidence.
    pub fn evidence(
        &mut self,
        evidence: &Evidence,
        limits: &EvidenceLimits,
    ) -> Result<(), BundleError> {
        self.recorder.evidence(evidence, limits)
    }

    /// Adds the dump's next segment.
    pub fn segment(&mut self, segment: &Bytes) -> Result<(), AssemblyError> {
        let before: u64 = self.records();
        let mut anew = self.recorder.redacting_encoder();
        let mut decoder = Decoder::new(segment.clone())?;
        while let Some(item) = decoder.next_item()? {
            let item = self.recorder.redacted(item);
            self.window = self.pipeline.take(&item).or(self.window.take());
            match (&mut anew, &item) {
                (Some(encoder), Item::Records { cpu, batch }) => {
                    encoder.records(*cpu, batch);
                }
                (Some(encoder), Item::Control(control)) => encoder.control(control),
                (None, _) => {}
            }
        }
        let records = self.records() - before;
        match anew {
            Some(mut encoder) => self.recorder.segment(&encoder.finish(), records)?,
            None => self.recorder.segment(segment, records)?,
        }
        Ok(())
    }

    /// The file as long as it is not whole.
    #[must_use]
    pub fn partial(&self) -> &Path {
        self.recorder.partial()
    }

    /// Bytes of the bundle, so far.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.recorder.bytes()
    }

    /// Records that came through the rings, so far.
    #[must_use]
    pub fn records(&self) -> u64 {
        self.pipeline.aggregator().received().iter().sum()
    }

    /// Writes the summary and the manifest, to which `note` may add, and gives the bundle its name. Without the dump's `ending`
    /// the window is what came of it.
    pub fn finish(
        mut self,
        ending: Option<Ending>,
        interrupted: bool,
        note: impl FnOnce(&mut Manifest, &Summary),
    ) -> Result<(Written, Summary), AssemblyError> {
        let window = self.window.or_else(|| self.pipeline.finish());
        let window = window.ok_or(AssemblyError::Nothing)?;
        let host = self.pipeline.aggregator().host().clone();
        let taint = host.taint;
        let summary = Summary::from_window(&window, host, taint);
        self.recorder.manifest_mut().through_daemon = ending;
        note(self.recorder.manifest_mut(), &summary);
        let written = self.recorder.finish(&summary, interrupted)?;
        Ok((written, summary))
    }
}

#[cfg(test)]
#[path = "assembly_tests.rs"]
mod tests;
