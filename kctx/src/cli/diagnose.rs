//! `kctx diagnose`: what is hot and why, or that nothing is.

use std::{path::PathBuf, time::Duration};

use anyhow::Context as _;

use crate::{
    capture::evidence_set::EvidenceSet,
    diagnose::{Case, Document, diagnose, markdown, text},
    report::summary::Summary,
};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// A bundle that `kctx capture` wrote; without one, this machine is measured.
    bundle: Option<PathBuf>,
    /// How long to measure: from 10ms to 1h; rare events need 5s or more.
    #[arg(long, value_name = "DURATION", value_parser = super::capture::window, default_value = "10s", conflicts_with = "bundle")]
    window: Duration,
    /// How to print it.
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
    /// Where to; stdout without it.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// The configuration.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// For people.
    Text,
    /// One JSON document.
    Json,
    /// To paste into a ticket.
    Markdown,
}

pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    let (summary, evidence) = match &args.bundle {
        Some(bundle) => {
            recorded(bundle).with_context(|| format!("cannot diagnose {}", bundle.display()))?
        }
        None => measured(args)?,
    };
    let diagnosis = diagnose(&Case {
        summary: &summary,
        evidence: &evidence,
    });
    let printed = match args.format {
        Format::Text => text::render(&diagnosis, &summary),
        Format::Markdown => markdown::render(&diagnosis, &summary),
        Format::Json => {
            let document = Document { diagnosis, summary };
            serde_json::to_string_pretty(&document)? + "\n"
        }
    };
    let inputs: Vec<_> = args.bundle.as_deref().into_iter().collect();
    super::output::write(&printed, args.output.as_deref(), &inputs)
}

/// A bundle's summary and evidence; of one that was cut short, what is there.
fn recorded(bundle: &std::path::Path) -> anyhow::Result<(Summary, EvidenceSet)> {
    use crate::capture::bundle::{Incident, ReadLimits};
    let incident = Incident::read(bundle, ReadLimits::default())?;
    super::note_evidence(bundle, &incident.evidence);
    let summary = match incident.summary {
        Some(summary) => summary,
        None => super::report::load(bundle)?,
    };
    Ok((summary, incident.evidence))
}

#[cfg(kctx_live)]
fn measured(args: &Args) -> anyhow::Result<(Summary, EvidenceSet)> {
    let config = crate::config::Config::load(args.config.as_deref())?;
    let observed = crate::capture::observe::observe(&config, args.window)?;
    if observed.interrupted {
        eprintln!("kctx: ended early, by a signal");
    }
    Ok((observed.summary, observed.evidence))
}

#[cfg(not(kctx_live))]
fn measured(args: &Args) -> anyhow::Result<(Summary, EvidenceSet)> {
    // The arguments are wrong or right all the same.
    let _ = args.window;
    crate::config::Config::load(args.config.as_deref())?;
    anyhow::bail!(crate::probe::NO_OBJECT)
}
