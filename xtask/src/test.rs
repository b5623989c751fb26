//! `cargo xtask test`: every test that this machine permits, and a table that hides none.

use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, ExitStatus};
use std::thread;
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::build::{self, Object};
use crate::guest::Programs;
use crate::libtest::{self, Counts, Ran};
use crate::results::{self, Group};
use crate::workspace::Workspace;
use crate::{command, dist, matrix, servers, setup, vm};

/// The package of the tests that need more than one crate, and the targets it must have.
const PACKAGE: &str = "kctx-tests";
const TARGETS: [&str; 5] = ["replay", "e2e", "browser", "backends", "live"];

/// Modules of the live tests that ask of kctx's userspace what no other kernel answers otherwise. They run on this kernel here,
/// and in VMs with `cargo xtask vm`: emulated, they take as long as all others.
const OF_USERSPACE: [&str; 12] = [
    "bounds::",
    "cost::",
    "diagnosed::",
    "endpoint::",
    "evidence::",
    "process::",
    "recorder::",
    "reload::",
    "sampling::",
    "scrape::",
    "top::",
    "triggers::",
];

/// Names that Chromium goes by.
const BROWSERS: [&str; 4] = [
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
];

/// The command.
pub(crate) fn run(ws: &Workspace) -> Result<ExitCode> {
    check_targets(ws)?;
    let object = build::bpf(ws)?;
    let kctx = program(ws, &object)?;
    let cargo_test = |words: &[&str]| {
        let mut cargo = ws.cargo();
        cargo
            .args(["test", "--no-fail-fast"])
            .args(words)
            .env("KCTX_BIN", &kctx);
        object.apply(&mut cargo);
        cargo
    };

    // Always the whole workspace: with other packages selected cargo would unify features anew, and build
    // half of the dependencies once more.
    let mut groups = vec![group(
        "unit and property",
        cargo_test(&["--workspace", "--lib", "--bins"]),
    )];
    // Some tests leave something out without them.
    if let Err(error) = setup::tools(ws) {
        groups.push(Group::not_run("what needs tools", format!("{error:#}")));
    }
    let live = live_permitted(&kctx, &object).map_err(|error| format!("{error:#}"));
    // None of these needs both processors, and none of their times is looked at.
    let programs = thread::scope(|scope| {
        let programs = matches!(object, Object::Built(_))
            .then(|| scope.spawn(|| Programs::build(ws, &object)));
        let replay = cargo_test(&["--workspace", "--test", "replay"]);
        groups.push(group("replay", replay));
        groups.push(group_with_second_try("e2e", &|tests| {
            let mut cargo = cargo_test(&["--workspace", "--test", "e2e"]);
            cargo.arg("--").args(tests);
            cargo
        }));
        for needing in &servers::ALL {
            groups.push(backend(ws, needing, &live, &cargo_test));
        }
        groups.push(in_a_browser(&cargo_test));
        programs.map(|thread| thread.join().unwrap_or_else(|panic| resume_unwind(panic)))
    });
    let name = format!("live {}", this_kernel());
    groups.push(match live {
        Ok(()) => {
            group_with_second_try(&name, &|tests| {
                let mut cargo = cargo_test(&["--workspace", "--test", "live"]);
                // They share the one kernel.
                cargo.args(["--", "--test-threads=1"]).args(tests);
                cargo
            })
        }
        Err(reason) => Group::not_run(&name, reason),
    });
    let settings = vm::Settings::without(&OF_USERSPACE);
    groups.extend(vm::groups(
        ws,
        &object,
        &matrix::test(),
        &settings,
        programs,
    ));
    println!(
        "\nThe VMs were left without {}: `cargo xtask vm` runs those there too.",
        OF_USERSPACE
            .map(|module| module.trim_end_matches(':'))
            .join(", ")
    );
    Ok(results::finish(&groups, results::all_required()))
}

fn in_a_browser(cargo_test: &dyn Fn(&[&str]) -> Command) -> Group {
    let Some(browser) = browser() else {
        let reason = "there is no Chromium; install one of its packages (Debian: chromium)";
        return Group::left_out("browser", reason.to_owned());
    };
    group_with_second_try("browser", &|tests| {
        let mut cargo = cargo_test(&["--workspace", "--test", "browser"]);
        cargo.env("KCTX_BROWSER", &browser).arg("--").args(tests);
        cargo
    })
}

/// The kctx that is tested: the one that is handed out, which the VMs need anyway. One with shared libraries where the C
/// library has no static half.
fn program(ws: &Workspace, object: &Object) -> Result<PathBuf> {
    dist::dist_with(ws, object).or_else(|error| {
        eprintln!("==> kctx is tested with shared libraries: {error:#}");
        build::release_with(ws, object)
    })
}

/// Runs the tests of the exports that need a server.
fn backend(
    ws: &Workspace,
    needing: &servers::Needing,
    live: &Result<(), String>,
    cargo_test: &dyn Fn(&[&str]) -> Command,
) -> Group {
    if needing.live
        && let Err(reason) = live
    {
        return Group::not_run(needing.name, reason.clone());
    }
    let variables = match needing.variables(ws) {
        Ok(variables) => variables,
        Err(error) if needing.can_be_fetched() => {
            return Group::not_run(needing.name, format!("{error:#}"));
        }
        Err(error) => return Group::left_out(needing.name, format!("{error:#}")),
    };
    group_with_second_try(needing.name, &|tests| {
        let mut cargo = cargo_test(&["--workspace", "--test", "backends"]);
        cargo.envs(variables.clone());
        // One at a time: each has a server, and a capture under load is to have the machine for itself.
        cargo.args(["--", "--test-threads=1"]);
        if tests.is_empty() {
            cargo.args(needing.modules);
        }
        cargo.args(tests);
        cargo
    })
}

/// Runs a group of tests; one without a single test is a failure.
fn group(name: &str, mut cargo: Command) -> Group {
    let start = Instant::now();
    ended(name, start, libtest::run(&mut cargo))
}

/// The same of tests that look at what a kernel and its programs do in time: the few that fail get a second try, alone.
/// `cargo` starts those that its arguments name, or all.
fn group_with_second_try(name: &str, cargo: &dyn Fn(&[String]) -> Command) -> Group {
    let start = Instant::now();
    let ran = libtest::run(&mut cargo(&[]));
    let passed = match &ran {
        Ok((ran, _)) => libtest::second_try(&ran.verdicts, |tests| {
            eprintln!("==> {name}: a second try of {}", tests.join(", "));
            let mut words = tests.to_owned();
            words.push("--exact".to_owned());
            Ok(libtest::run(&mut cargo(&words))?.0.verdicts)
        }),
        Err(_) => Vec::new(),
    };
    ended(name, start, ran).with_second_try(passed)
}

fn ended(name: &str, start: Instant, ran: Result<(Ran, ExitStatus)>) -> Group {
    let (ran, trouble) = match ran {
        Err(error) => (Ran::default(), Some(format!("{error:#}"))),
        Ok((ran, status)) => {
            let trouble = if !status.success() && ran.counts.failed == 0 {
                Some(format!("did not build, or crashed ({status})"))
            } else if ran.counts == Counts::default() {
                Some("no test was run".to_owned())
            } else {
                None
            };
            (ran, trouble)
        }
    };
    Group::ran(name, ran.counts, start.elapsed(), trouble).with_left_out(ran.left_out)
}

/// A test target that is gone must not pass for one that has nothing to say.
fn check_targets(ws: &Workspace) -> Result<()> {
    let mut metadata = ws.cargo();
    metadata.args(["metadata", "--no-deps", "--format-version=1"]);
    let json: serde_json::Value = serde_json::from_str(&command::capture(&mut metadata)?)
        .context("cargo metadata did not print JSON")?;
    let missing = missing(&json);
    if !missing.is_empty() {
        bail!(
            "package {PACKAGE} has no test target {}; see tests/Cargo.toml",
            missing.join(", ")
        );
    }
    Ok(())
}

fn missing(metadata: &serde_json::Value) -> Vec<&'static str> {
    let targets: Vec<&str> = metadata["packages"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|package| package["name"] == PACKAGE)
        .filter_map(|package| package["targets"].as_array())
        .flatten()
        .filter(|target| target["kind"][0] == "test")
        .filter_map(|target| target["name"].as_str())
        .collect();
    TARGETS
        .into_iter()
        .filter(|name| !targets.contains(name))
        .collect()
}

/// A Chromium, where one is installed.
fn browser() -> Option<PathBuf> {
    let folders = std::env::var_os("PATH")?;
    std::env::split_paths(&folders)
        .flat_map(|folder| BROWSERS.map(|name| folder.join(name)))
        .find(|path| path.is_file())
}

fn this_kernel() -> String {
    std::fs::read_to_string("/proc/sys/kernel/osrelease")
        .map(|release| release.trim().to_owned())
        .unwrap_or_default()
}

/// Asks kctx itself; the error is the reason why not.
fn live_permitted(kctx: &Path, object: &Object) -> Result<()> {
    if let Object::Unavailable(reason) = object {
        bail!("{reason}");
    }
    let mut doctor = Command::new(kctx);
    doctor.args(["doctor", "--format", "json"]);
    let answer = doctor
        .output()
        .with_context(|| format!("cannot start `{}`", command::shown(&doctor)))?;
    read_doctor(&answer.stdout)
}

fn read_doctor(json: &[u8]) -> Result<()> {
    let json: serde_json::Value =
        serde_json::from_slice(json).context("`kctx doctor` did not print JSON")?;
    match json["live"].as_bool() {
        Some(true) => Ok(()),
        Some(false) => bail!(
            "{}",
            json["live_reason"]
                .as_str()
                .unwrap_or("`kctx doctor` gives no reason")
        ),
        None => bail!("`kctx doctor` does not say whether live capture works"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_doctors_reason_is_handed_on() {
        assert!(read_doctor(br#"{"live": true}"#).is_ok());
        let no = read_doctor(br#"{"live": false, "live_reason": "missing CAP_BPF"}"#);
        assert_eq!(
            no.map_err(|error| error.to_string()),
            Err("missing CAP_BPF".to_owned())
        );
        assert!(read_doctor(b"{}").is_err());
        assert!(read_doctor(b"").is_err());
    }

    #[test]
    fn a_missing_target_is_named() {
        let metadata = serde_json::json!({"packages": [
            {"name": "kctx", "targets": [{"kind": ["test"], "name": "replay"}]},
            {"name": "kctx-tests", "targets": [
                {"kind": ["lib"], "name": "e2e"},
                {"kind": ["test"], "name": "live"},
            ]},
        ]});
        assert_eq!(missing(&metadata), ["replay", "e2e", "browser", "backends"]);
    }
}
