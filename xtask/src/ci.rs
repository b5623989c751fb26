//! `cargo xtask ci`: what has to hold besides the tests.

use anyhow::{Result, bail};

use crate::workspace::Workspace;
use crate::{build, command, licences};

/// Runs every check, and then says which failed: one run shows all there is to repair.
pub(crate) fn run(ws: &Workspace) -> Result<()> {
    // Lints and docs see the code that embeds the eBPF programs.
    let object = build::bpf(ws)?;
    let cargo = |words: &[&str]| {
        let mut cargo = ws.cargo();
        cargo.args(words);
        object.apply(&mut cargo);
        cargo
    };

    let format = || command::show(&mut cargo(&["fmt", "--all", "--check"]));
    let format_ebpf = || {
        let mut fmt = cargo(&["fmt", "--check"]);
        command::show(fmt.current_dir(ws.ebpf()))
    };
    let lints = || {
        command::show(&mut cargo(&[
            "clippy",
            "--workspace",
            "--all-targets",
            "--",
            "-D",
            "warnings",
        ]))
    };
    let docs = || {
        let mut doc = cargo(&["doc", "--no-deps", "--workspace"]);
        command::show(doc.env("RUSTDOCFLAGS", "-D warnings"))
    };
    let licences = || licences::check(ws);
    let checks: [(&str, &dyn Fn() -> Result<()>); 5] = [
        ("format", &format),
        ("format of kctx-ebpf", &format_ebpf),
        ("lints", &lints),
        ("docs", &docs),
        ("licences", &licences),
    ];

    let mut failed = Vec::new();
    for (name, check) in checks {
        eprintln!("==> {name}");
        if let Err(error) = check() {
            eprintln!("ci: {name}: {error:#}");
            failed.push(name);
        }
    }
    if !failed.is_empty() {
        bail!("these checks failed: {}", failed.join(", "));
    }
    eprintln!("ci: {} checks passed", checks.len());
    Ok(())
}
