//! `kctx doctor`: what this kernel, these privileges and this configuration allow, and what to do.

use std::{fmt::Write as _, path::PathBuf};

use super::Format;
use crate::doctor::{self, Diagnosis};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The configuration; /etc/kctx/kctx.toml where there is one.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// How to print.
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    let diagnosis = doctor::examine(args.config.as_deref());
    let printed = match args.format {
        Format::Json => serde_json::to_string_pretty(&diagnosis)? + "\n",
        Format::Text => text(&diagnosis),
    };
    super::output(&printed, None)
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
