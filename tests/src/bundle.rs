//! Bundles: what is in one, and what a replay of it yields.

use std::{collections::BTreeMap, path::Path};

use anyhow::{Context as _, Result, bail};
use kctx::{
    aggregate::{table::RowLimits, window::FAMILIES},
    capture::{
        bundle::{BundleReader, MANIFEST, Manifest, ReadLimits, SUMMARY, Step},
        evidence_set::EvidenceSet,
    },
    diagnose::{Case, diagnose},
    pipeline::Pipeline,
    report::summary::Summary,
    resolve::{Recorded, Resolver},
    source::recorded::RecordedSource,
};
use serde_json::Value;

/// A whole bundle, in memory.
pub struct Bundle {
    /// Its manifest.
    pub manifest: Manifest,
    /// Its summary.
    pub summary: Summary,
    /// Every member by its path.
    pub members: BTreeMap<String, Vec<u8>>,
}

impl Bundle {
    /// Reads a bundle; one that is cut short or damaged is an error.
    pub fn read(path: &Path) -> Result<Self> {
        let mut reader = BundleReader::open(path, ReadLimits::default())?;
        let mut members = BTreeMap::new();
        loop {
            match reader.step()? {
                Step::Member(member) => members.insert(member.path, member.bytes),
                Step::Truncated => bail!("{} is cut short", path.display()),
                Step::End => break,
            };
        }
        let member = |name: &str| {
            let bytes: Option<&Vec<u8>> = members.get(name);
            bytes.with_context(|| format!("{} has no {name}", path.display()))
        };
        Ok(Self {
            manifest: serde_json::from_slice(member(MANIFEST)?)?,
            summary: serde_json::from_slice(member(SUMMARY)?)?,
            members,
        })
    }

    /// A member as text.
    pub fn text(&self, path: &str) -> Result<&str> {
        let bytes = self.members.get(path);
        let bytes = bytes.with_context(|| format!("the bundle has no {path}"))?;
        Ok(std::str::from_utf8(bytes)?)
    }

    /// Ids of what a diagnosis of it finds, the worst first.
    #[must_use]
    pub fn findings(&self) -> Vec<String> {
        let mut evidence = EvidenceSet::default();
        for (path, bytes) in &self.members {
            // What is no evidence is none of it.
            let _ = evidence.take(path, bytes.clone());
        }
        let summary = &self.summary;
        let diagnosis = diagnose(&Case {
            summary,
            evidence: &evidence,
        });
        let told = diagnosis.findings.into_iter().map(|finding| finding.id);
        told.chain(diagnosis.also_seen.into_iter().map(|seen| seen.id))
            .collect()
    }
}

/// What a replay yields.
pub struct Replayed {
    /// The summary of its last window.
    pub summary: Summary,
    /// Records of each family that were in it.
    pub received: [u64; FAMILIES],
    /// Records that were none.
    pub undecoded: u64,
}

/// Sends a bundle through the pipeline.
pub fn replay(path: &Path) -> Result<Replayed> {
    let mut source = RecordedSource::open(path)?;
    let resolver = Resolver::new(Box::new(Recorded));
    let mut pipeline = Pipeline::new(RowLimits::default(), resolver);
    let mut window = None;
    while let Some(item) = source.next_item()? {
        window = pipeline.take(&item).or(window);
    }
    let window = window.context("no window closes in the bundle")?;
    let host = pipeline.aggregator().host().clone();
    let taint = host.taint;
    Ok(Replayed {
        summary: Summary::from_window(&window, host, taint),
        received: pipeline.aggregator().received(),
        undecoded: pipeline.aggregator().undecoded(),
    })
}

/// A summary as JSON without the version of the kctx that made it: a recorded one may be of an earlier.
pub fn comparable(summary: &Summary) -> Result<Value> {
    without_version(serde_json::to_value(summary)?)
}

/// The same of a summary that is JSON already.
pub fn without_version(mut summary: Value) -> Result<Value> {
    let fields = summary.as_object_mut().context("a summary is an object")?;
    let version = fields.remove("kctx_version");
    version.context("a summary has the version of its kctx")?;
    Ok(summary)
}
