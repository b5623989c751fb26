//! `cargo xtask run`: from a clean clone to `kctx run`, as root where that can be had.

use std::io::IsTerminal;
use std::os::unix::process::CommandExt;
use std::process::Command;

use anyhow::{Context, Result};

use crate::workspace::Workspace;
use crate::{build, command};

/// What sudo must hand on: where to export to, and how much to log.
const KEPT: [&str; 3] = ["OTEL_", "KCTX_", "RUST_LOG"];

/// Becomes `kctx run`: signals then reach it directly.
pub(crate) fn run(ws: &Workspace, args: &[String]) -> Result<()> {
    let (binary, _) = build::release(ws)?;
    let mut kctx = match sudo() {
        Some(mut sudo) => {
            sudo.arg(&binary);
            sudo
        }
        None => Command::new(&binary),
    };
    // kctx itself finds out whether eBPF is permitted and says why it replays.
    kctx.arg("run")
        .arg("--or-replay")
        .arg(ws.sample())
        .args(args);
    let error = kctx.exec();
    Err(error).with_context(|| format!("cannot start `{}`", command::shown(&kctx)))
}

/// sudo, where it is needed and can be had.
fn sudo() -> Option<Command> {
    if command::is_root() {
        return None;
    }
    let why = match command::program("sudo") {
        None => "there is no sudo",
        Some(sudo) if can_ask(&sudo) => {
            let mut command = Command::new(sudo);
            let kept = kept(std::env::vars_os().filter_map(|(name, _)| name.into_string().ok()));
            if !kept.is_empty() {
                command.arg(format!("--preserve-env={kept}"));
            }
            command.arg("--");
            return Some(command);
        }
        Some(_) => "sudo wants a password and there is no terminal to ask on",
    };
    eprintln!("run: live data needs root and {why}: run this as root for it; going on without");
    None
}

fn can_ask(sudo: &std::path::Path) -> bool {
    std::io::stdin().is_terminal()
        || command::capture(Command::new(sudo).args(["-n", "true"])).is_ok()
}

fn kept(names: impl Iterator<Item = String>) -> String {
    let mut names: Vec<String> = names
        .filter(|name| KEPT.iter().any(|start| name.starts_with(start)))
        .collect();
    names.sort();
    names.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sudo_keeps_the_export_settings_only() {
        let names = ["PATH", "RUST_LOG", "OTEL_EXPORTER_OTLP_ENDPOINT", "HOTEL_X"];
        assert_eq!(
            kept(names.iter().map(|name| (*name).to_owned())),
            "OTEL_EXPORTER_OTLP_ENDPOINT,RUST_LOG"
        );
        assert_eq!(kept(std::iter::empty()), "");
    }
}
