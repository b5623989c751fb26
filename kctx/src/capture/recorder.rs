//! The recorder: the stream into a bundle's event segments, then summary and manifest.

use std::path::Path;

use super::{
    bundle::{
        BundleError, BundleWindow, BundleWriter, LimitUse, Manifest, SUMMARY, Segment, WriteLimits,
        Written,
    },
    events::Encoder,
    evidence::{Evidence, EvidenceLimits},
};
use crate::{
    host::HostIdentity,
    report::summary::Summary,
    source::{Control, Item},
};

/// A segment is closed when it has grown to this.
const SEGMENT_BYTES: usize = 1 << 20;

/// Writes a bundle while the window runs.
pub struct Recorder {
    writer: BundleWriter,
    encoder: Encoder,
    segments: usize,
    full: bool,
    records_dropped: u64,
    manifest: Manifest,
}

impl Recorder {
    /// Opens the output, so that a path that cannot be written is known before the capture begins.
    pub fn create(output: &Path, limits: WriteLimits) -> Result<Self, BundleError> {
        Ok(Self {
            writer: BundleWriter::create(output, limits)?,
            encoder: Encoder::default(),
            segments: 0,
            full: false,
            records_dropped: 0,
            // Host and window are known in the end.
            manifest: Manifest::new(HostIdentity::default(), BundleWindow::default()),
        })
    }

    /// Adds one sample of evidence.
    pub fn evidence(
        &mut self,
        evidence: &Evidence,
        limits: &EvidenceLimits,
    ) -> Result<(), BundleError> {
        evidence.write_to(&mut self.writer)?;
        evidence.note_in(&mut self.manifest, limits);
        Ok(())
    }

    /// Adds a piece of the stream, after the names that were learnt from it.
    pub fn item(&mut self, learnt: &[Control], item: &Item) -> Result<(), BundleError> {
        if self.full {
            if let Item::Records { batch, .. } = item {
                self.records_dropped += crate::decode::records(batch).count() as u64;
            }
            return Ok(());
        }
        for control in learnt {
            self.encoder.control(control);
        }
        match item {
            Item::Records { cpu, batch } => {
                self.encoder.records(*cpu, batch);
            }
            Item::Control(control) => self.encoder.control(control),
        }
        if self.encoder.len() >= SEGMENT_BYTES {
            self.flush()?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), BundleError> {
        if self.encoder.is_empty() {
            return Ok(());
        }
        let records = self.encoder.record_count();
        let segment = self.encoder.finish();
        self.add(&segment, records)
    }

    fn add(&mut self, segment: &[u8], records: u64) -> Result<(), BundleError> {
        let path = format!("events/{:06}.seg", self.segments);
        match self.writer.add_segment(&path, segment)? {
            Segment::Added => self.segments += 1,
            Segment::LimitReached => {
                self.full = true;
                self.records_dropped += records;
            }
        }
        Ok(())
    }

    /// Adds a segment that was encoded elsewhere, of so many records.
    pub fn segment(&mut self, segment: &[u8], records: u64) -> Result<(), BundleError> {
        if self.full {
            self.records_dropped += records;
            return Ok(());
        }
        self.add(segment, records)
    }

    /// The manifest as far as it is known: for what belongs into it beside host, window and limits.
    pub fn manifest_mut(&mut self) -> &mut Manifest {
        &mut self.manifest
    }

    /// Writes what is left, the summary and the manifest, and gives the bundle its name.
    pub fn finish(mut self, summary: &Summary, interrupted: bool) -> Result<Written, BundleError> {
        self.flush()?;
        let mut json = serde_json::to_vec_pretty(summary)
            .map_err(|_| BundleError::Schema("the summary cannot be written".to_owned()))?;
        json.push(b'\n');
        self.writer.add_file(SUMMARY, &json)?;
        let mut manifest = self.manifest;
        manifest.host = summary.host.clone();
        manifest.window = BundleWindow {
            start_unix_ns: summary.window.start_unix_ns,
            duration_ns: summary.window.duration_ns,
        };
        manifest.interrupted = interrupted;
        if self.records_dropped > 0 {
            manifest.limits.insert(
                "event_records".to_owned(),
                LimitUse {
                    limit: 0,
                    hit: true,
                    dropped: self.records_dropped,
                },
            );
        }
        self.writer.finish(manifest)
    }
}
