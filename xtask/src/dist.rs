//! `cargo xtask dist`: one file that runs on any Linux of this architecture.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::build::{self, Object};
use crate::workspace::Workspace;
use crate::{command, elf};

/// Builds target/dist/kctx and makes sure that it is static.
pub(crate) fn dist(ws: &Workspace) -> Result<PathBuf> {
    let object = build::bpf(ws)?;
    dist_with(ws, &object)
}

/// Builds target/dist/kctx around `object`.
pub(crate) fn dist_with(ws: &Workspace, object: &Object) -> Result<PathBuf> {
    let mut cargo = static_cargo(ws);
    cargo.args(["build", "--release", "--package", "kctx"]);
    cargo.args(["--target", &ws.host]);
    object.apply(&mut cargo);
    command::show(&mut cargo)?;

    let built = ws.target.join(&ws.host).join("release/kctx");
    check_static(&built)?;
    let dir = ws.target.join("dist");
    let dist = dir.join("kctx");
    fs::create_dir_all(&dir)
        .and_then(|()| fs::copy(&built, &dist))
        .with_context(|| format!("cannot write {}", dist.display()))?;
    eprintln!("dist: {} (statically linked)", dist.display());
    Ok(dist)
}

/// A cargo whose programs need no loader and no libraries. With `--target`, its flags do not reach
/// build scripts, and its output lies apart from that of ordinary builds.
pub(crate) fn static_cargo(ws: &Workspace) -> Command {
    let mut flags = std::env::var_os("RUSTFLAGS").unwrap_or_default();
    flags.push(" -C target-feature=+crt-static");
    let mut cargo = ws.cargo();
    cargo.env("RUSTFLAGS", flags);
    cargo
}

/// An error if the program needs a loader.
pub(crate) fn check_static(program: &Path) -> Result<()> {
    let bytes = fs::read(program).with_context(|| format!("cannot read {}", program.display()))?;
    if !elf::is_static(&bytes).with_context(|| program.display().to_string())? {
        bail!("{} is not statically linked", program.display());
    }
    Ok(())
}
