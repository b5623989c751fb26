//! Debian's package manager, for what kctx needs from the distribution.

use std::ffi::OsString;
use std::process::Command;
use std::sync::OnceLock;

use anyhow::{Result, bail};

use crate::command;
use crate::workspace::Workspace;

/// True where apt manages the packages.
pub(crate) fn is_here() -> bool {
    command::program("apt-get").is_some()
}

/// How to become root without a question: nothing to do, `sudo -n`, or not at all.
fn as_root() -> Option<Vec<OsString>> {
    if command::is_root() {
        return Some(Vec::new());
    }
    let sudo = command::program("sudo")?;
    command::capture(Command::new(&sudo).args(["-n", "true"])).ok()?;
    Some(vec![sudo.into(), "-n".into()])
}

fn root_command(program: &str) -> Option<Command> {
    // `env` inside, since sudo keeps no environment.
    let mut words = as_root()?;
    words.extend(["env", "DEBIAN_FRONTEND=noninteractive", program].map(OsString::from));
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]);
    Some(command)
}

/// Refreshes apt's lists, once in a run of xtask. What fails is remembered, not fatal: the lists
/// that are there may do.
fn update(ws: &Workspace) {
    static DONE: OnceLock<()> = OnceLock::new();
    DONE.get_or_init(|| {
        if let Some(mut update) = root_command("apt-get") {
            update.arg("update");
            let remedy = "going on with the lists that are there";
            if let Err(error) = command::step(ws, "refreshing apt's lists", 10, &mut update, remedy)
            {
                eprintln!("setup: {error:#}");
            }
        }
    });
}

/// True where apt can install every one of `packages`.
pub(crate) fn has(ws: &Workspace, packages: &[&str]) -> bool {
    if !is_here() {
        return false;
    }
    update(ws);
    packages.iter().all(|package| candidate(package).is_some())
}

/// The version that apt would install.
pub(crate) fn candidate(package: &str) -> Option<String> {
    let policy = command::capture(Command::new("apt-cache").args(["policy", package])).ok()?;
    parse_candidate(&policy).map(str::to_owned)
}

fn parse_candidate(policy: &str) -> Option<&str> {
    command::field(policy, "  Candidate:").filter(|version| *version != "(none)")
}

/// Installs what is missing of `packages`.
pub(crate) fn install(
    ws: &Workspace,
    title: &str,
    about_seconds: u32,
    packages: &[&str],
) -> Result<()> {
    let by_hand = format!(
        "apt-get install --no-install-recommends {}",
        packages.join(" ")
    );
    if !is_here() {
        bail!(
            "{title} needs a Debian-like system with apt; install the like of {} by hand",
            packages.join(" ")
        );
    }
    update(ws);
    let Some(mut install) = root_command("apt-get") else {
        bail!("{title} needs root; run `sudo {by_hand}` and start this again");
    };
    install
        .args(["install", "-y", "--no-install-recommends"])
        .args(packages);
    command::step(
        ws,
        title,
        about_seconds,
        &mut install,
        &format!("see whether `{by_hand}` works by hand"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_candidate_is_a_version_or_nothing() {
        let policy = "rustc-web:\n  Installed: (none)\n  Candidate: 1.96.0+dfsg1-1\n";
        assert_eq!(parse_candidate(policy), Some("1.96.0+dfsg1-1"));
        assert_eq!(parse_candidate("x:\n  Candidate: (none)\n"), None);
        assert_eq!(parse_candidate(""), None);
    }
}
