//! Running other programs: where they are found, what is shown of them, and how their failure reads.

use std::ffi::OsString;
use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::workspace::Workspace;

/// Where `cargo install` puts programs, whether or not that is on PATH.
pub(crate) fn cargo_bin() -> Option<PathBuf> {
    std::env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::home_dir().map(|home| home.join(".cargo")))
        .map(|home| home.join("bin"))
}

/// PATH with cargo's own bin directory after it, and `first` before it.
pub(crate) fn path_with(first: Option<&Path>) -> OsString {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let dirs = first
        .map(Path::to_path_buf)
        .into_iter()
        .chain(std::env::split_paths(&path))
        .chain(cargo_bin());
    // A PATH entry came from a PATH, so joining fails only for a `:` in HOME: PATH alone is right then.
    std::env::join_paths(dirs).unwrap_or(path)
}

/// The program of that name on PATH, in cargo's bin directory or where root's programs lie.
pub(crate) fn program(name: &str) -> Option<PathBuf> {
    std::env::split_paths(&path_with(None))
        .chain(["/usr/sbin", "/sbin"].map(PathBuf::from))
        .map(|dir| dir.join(name))
        .find(|path| {
            path.metadata()
                .is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
        })
}

/// True for root.
pub(crate) fn is_root() -> bool {
    // The effective uid is the second number; /proc says it without a system call of our own.
    fs::read_to_string("/proc/self/status")
        .ok()
        .and_then(|status| {
            let uids = field(&status, "Uid:")?;
            Some(uids.split_whitespace().nth(1)? == "0")
        })
        .unwrap_or(false)
}

/// The rest of the first line of `text` that starts with `name`, trimmed.
pub(crate) fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines()
        .find_map(|line| line.strip_prefix(name))
        .map(str::trim)
}

/// The command as a user would type it.
pub(crate) fn shown(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let mut text = program
        .file_name()
        .unwrap_or(program.as_os_str())
        .to_string_lossy()
        .into_owned();
    for arg in command.get_args() {
        text.push(' ');
        text.push_str(&arg.to_string_lossy());
    }
    text
}

/// Runs it and returns its stdout; when it fails, the last line that it wrote to stderr is the reason.
pub(crate) fn capture(command: &mut Command) -> Result<String> {
    let shown = shown(command);
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot start `{shown}`"))?;
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr);
        bail!(
            "`{shown}` failed ({}): {}",
            output.status,
            last_line(&stderr).unwrap_or("the reason is above, if it gave one")
        );
    }
    String::from_utf8(output.stdout).with_context(|| format!("`{shown}` wrote no UTF-8"))
}

/// Runs it with its output in view.
pub(crate) fn show(command: &mut Command) -> Result<()> {
    let shown = shown(command);
    let status = command
        .status()
        .with_context(|| format!("cannot start `{shown}`"))?;
    if !status.success() {
        bail!("`{shown}` failed ({status})");
    }
    Ok(())
}

/// One step of setting up: a line before, its duration after, its output in a log of its own, and
/// when it fails one line with the reason and `remedy`.
pub(crate) fn step(
    ws: &Workspace,
    title: &str,
    about_seconds: u32,
    command: &mut Command,
    remedy: &str,
) -> Result<()> {
    let logs = ws.target.join("xtask-logs");
    fs::create_dir_all(&logs).with_context(|| format!("cannot create {}", logs.display()))?;
    let name: String = title
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .collect();
    let log = logs.join(format!("{name}.log"));
    let file = File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
    let copy = file.try_clone().context("cannot share the log")?;

    eprintln!("setup: {title} (about {about_seconds} s) ...");
    let start = Instant::now();
    let status = command
        .stdin(Stdio::null())
        .stdout(file)
        .stderr(copy)
        .status()
        .with_context(|| format!("cannot start `{}`; {remedy}", shown(command)))?;
    if !status.success() {
        let text = fs::read_to_string(&log).unwrap_or_default();
        bail!(
            "{title} failed: {} (all of it in {}); {remedy}",
            reason(&text),
            log.display()
        );
    }
    eprintln!("setup: {title}: done in {} s", start.elapsed().as_secs());
    Ok(())
}

/// The line of a log that says why: the first that starts as an error, else the last.
fn reason(log: &str) -> &str {
    log.lines()
        .map(str::trim)
        .find(|line| {
            ["error", "E: ", "Err:"]
                .iter()
                .any(|start| line.starts_with(start))
        })
        .or_else(|| last_line(log))
        .unwrap_or("it said nothing")
}

fn last_line(text: &str) -> Option<&str> {
    text.lines().map(str::trim).rfind(|line| !line.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_is_the_first_error_else_the_last_line() {
        assert_eq!(
            reason("Reading lists\nE: no such package\nmore\n"),
            "E: no such package"
        );
        assert_eq!(reason("one\ntwo\n\n"), "two");
        assert_eq!(reason(""), "it said nothing");
    }

    #[test]
    fn a_field_is_the_rest_of_its_line() {
        let text = "rustc 1.95.0\nhost: x86_64-unknown-linux-gnu\nLLVM version: 22.1\n";
        assert_eq!(field(text, "host: "), Some("x86_64-unknown-linux-gnu"));
        assert_eq!(field(text, "none: "), None);
    }
}
