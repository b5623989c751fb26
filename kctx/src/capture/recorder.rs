//! The recorder: the stream into a bundle's event segments, then summary and manifest.

use std::{
    borrow::Cow,
    path::Path,
    time::{Duration, Instant},
};

use super::{
    bundle::{
        BundleError, BundleWindow, BundleWriter, Manifest, SUMMARY, Segment, WriteLimits, Written,
    },
    events::Encoder,
    evidence::{Evidence, EvidenceLimits},
    redact::Redactor,
};
use crate::{
    host::HostIdentity,
    report::summary::Summary,
    source::{Control, Item},
};

/// A segment is closed when it has grown to this.
const SEGMENT_BYTES: usize = 1 << 20;

/// Or when it is so old: a capture that is killed loses no more than this.
const SEGMENT_AGE: Duration = Duration::from_secs(5);

/// Writes a bundle while the window runs.
pub struct Recorder {
    writer: BundleWriter,
    encoder: Encoder,
    segments: usize,
    /// When the open segment was begun.
    begun: Instant,
    full: bool,
    records_dropped: u64,
    manifest: Manifest,
    redactor: Option<Redactor>,
}

impl Recorder {
    /// Opens the output, so that a path that cannot be written is known before the capture begins.
    pub fn create(output: &Path, limits: WriteLimits) -> Result<Self, BundleError> {
        Ok(Self {
            writer: BundleWriter::create(output, limits)?,
            encoder: Encoder::default(),
            segments: 0,
            begun: Instant::now(),
            full: false,
            records_dropped: 0,
            // Host and window are known in the end.
            manifest: Manifest::new(HostIdentity::default(), BundleWindow::default()),
            redactor: None,
        })
    }

    /// Takes addresses and secrets out of all that comes from here on.
    #[must_use]
    pub fn redacting(mut self, redactor: Redactor) -> Self {
        self.encoder = Encoder::redacting(redactor.pointers());
        self.redactor = Some(redactor);
        self
    }

    /// A piece of the stream as the pipeline is to see it, so that the summary tells no more than the records.
    pub fn redacted(&mut self, item: Item) -> Item {
        match &mut self.redactor {
            Some(redactor) => redactor.item(item),
            None => item,
        }
    }

    /// What a segment that was recorded elsewhere has to be encoded with anew; `None`: it may stay as it is.
    #[must_use]
    pub fn redacting_encoder(&self) -> Option<Encoder> {
        (self.redactor.as_ref()).map(|redactor| Encoder::redacting(redactor.pointers()))
    }

    /// Bytes in the bundle so far.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.writer.compressed_bytes()
    }

    /// The file as long as it is not whole.
    #[must_use]
    pub fn partial(&self) -> &Path {
        self.writer.partial()
    }

    /// The manifest as far as it is known: for what belongs into it beside host, window and limits.
    pub fn manifest_mut(&mut self) -> &mut Manifest {
        &mut self.manifest
    }

    /// Adds one sample of evidence.
    pub fn evidence(
        &mut self,
        evidence: &Evidence,
        limits: &EvidenceLimits,
    ) -> Result<(), BundleError> {
        match &mut self.redactor {
            Some(redactor) => redactor.evidence(evidence).write_to(&mut self.writer)?,
            None => evidence.write_to(&mut self.writer)?,
        }
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
        if self.encoder.len() >= SEGMENT_BYTES || self.begun.elapsed() >= SEGMENT_AGE {
            self.flush()?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), BundleError> {
        self.begun = Instant::now();
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

    /// Writes what is left, the summary and the manifest, and gives the bundle its name.
    pub fn finish(mut self, summary: &Summary, interrupted: bool) -> Result<Written, BundleError> {
        self.flush()?;
        let mut summary = Cow::Borrowed(summary);
        if let Some(redactor) = &mut self.redactor {
            redactor.summary(summary.to_mut());
            if let Some(trigger) = &mut self.manifest.trigger {
                trigger.saw = redactor.text(&trigger.saw);
            }
            self.manifest.redacted = true;
            self.manifest.redactions = redactor.counts();
        }
        let mut json = serde_json::to_vec_pretty(&*summary)
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
            // What keeps them out is the bundle's size.
            manifest.note_limit("event_records", 0, self.records_dropped);
        }
        self.writer.finish(manifest)
    }
}
