//! `kctx doctor`: what this kernel, these privileges and this configuration allow, and what to do.

use std::{fmt::Write as _, path::PathBuf, time::Duration};

use super::Format;
use crate::{
    config::{self, Config},
    doctor::{self, Diagnosis},
    meter::estimate::Estimate,
    report,
};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The configuration; /etc/kctx/kctx.toml where there is one.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Run everything as `kctx run` would for this long, and say what it costs: 1s to 10m.
    #[arg(long, value_name = "DURATION", value_parser = config::parse_estimate)]
    estimate: Option<Duration>,
    /// How to print.
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    if let Some(duration) = args.estimate {
        let estimate = estimate(&Config::load(args.config.as_deref())?, duration)?;
        let printed = match args.format {
            Format::Json => serde_json::to_string_pretty(&estimate)? + "\n",
            Format::Text => report::estimate::render(&estimate),
        };
        return super::output::print(&printed);
    }
    let diagnosis = doctor::examine(args.config.as_deref());
    let printed = match args.format {
        Format::Json => serde_json::to_string_pretty(&diagnosis)? + "\n",
        Format::Text => text(&diagnosis),
    };
    super::output::print(&printed)
}

#[cfg(kctx_live)]
fn estimate(config: &Config, duration: Duration) -> anyhow::Result<Estimate> {
    doctor::estimate::estimate(config, duration)
}

#[cfg(not(kctx_live))]
fn estimate(_config: &Config, _duration: Duration) -> anyhow::Result<Estimate> {
    anyhow::bail!(crate::probe::NO_OBJECT)
}

fn text(diagnosis: &Diagnosis) -> String {
    let mut out = String::new();
    for check in &diagnosis.checks {
        let mark = if check.ok { "ok  " } else { "NO  " };
        let _ = writeln!(out, "{mark} {:<14} {}", check.name, check.detail);
        if let Some(remedy) = &check.remedy {
            let _ = writeln!(out, "     {:<14} -> {remedy}", "");
        }
    }
    if !diagnosis.probes.is_empty() {
        let _ = writeln!(out, "\nProbes:");
    }
    for probe in &diagnosis.probes {
        let mark = if probe.attached { "ok  " } else { "NO  " };
        let how = probe.mechanism.as_deref().unwrap_or("");
        let why = probe.reason.as_deref().unwrap_or("");
        let _ = writeln!(
            out,
            "{}",
            format!("{mark} {:<36} {how:<10} {why}", probe.name).trim_end()
        );
    }
    match &diagnosis.live_reason {
        None => out.push_str("\nLive measurement works here.\n"),
        Some(reason) => {
            let _ = writeln!(out, "\nNo live measurement here: {reason}");
        }
    }
    out
}
