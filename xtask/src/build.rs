//! `cargo xtask build`: the eBPF programs, then kctx with those inside.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::workspace::Workspace;
use crate::{command, setup};

/// kctx's build script embeds the file that this variable names.
const OBJECT_VARIABLE: &str = "KCTX_BPF_OBJECT";

/// The compiled eBPF programs, or why there are none.
pub(crate) enum Object {
    Built(PathBuf),
    Unavailable(String),
}

impl Object {
    /// Tells a cargo that will build kctx.
    pub(crate) fn apply(&self, cargo: &mut Command) {
        match self {
            Self::Built(path) => cargo.env(OBJECT_VARIABLE, path),
            Self::Unavailable(_) => cargo.env_remove(OBJECT_VARIABLE),
        };
    }
}

/// Builds the eBPF programs. No compiler to be had is told and survived; programs that do not
/// compile are an error.
pub(crate) fn bpf(ws: &Workspace) -> Result<Object> {
    let toolchain = match setup::bpf(ws) {
        Ok(toolchain) => toolchain,
        Err(error) => {
            let reason = format!("{error:#}");
            eprintln!("==> kctx is built WITHOUT live capture: {reason}");
            return Ok(Object::Unavailable(reason));
        }
    };
    let source = ws.ebpf();
    if !source.join("Cargo.toml").is_file() {
        bail!("{} has no package", source.display());
    }

    // Cargo decides what is fresh; a directory of its own, since the compiler is another.
    let build_dir = ws.target.join("bpf-build");
    let flags = [
        format!("--cfg=bpf_target_arch=\"{}\"", std::env::consts::ARCH),
        "-Cdebuginfo=2".to_owned(),
        // v2 has all comparisons (kernel 4.14); without, LLVM turns some around, and the verifier of 6.1 then
        // follows branches that cannot be.
        "-Ctarget-cpu=v2".to_owned(),
        "-Clink-arg=--btf".to_owned(),
    ]
    .join("\u{1f}");
    let mut cargo = toolchain.cargo();
    cargo
        .current_dir(&source)
        .env("CARGO_TARGET_DIR", &build_dir)
        .env("CARGO_ENCODED_RUSTFLAGS", flags)
        .args(["build", "--release", "-Z", "build-std=core"])
        .args(["--target", "bpfel-unknown-none"]);
    command::show(&mut cargo).with_context(|| {
        format!(
            "the eBPF programs do not build with {}; if it is the linker that complains, \
             `cargo uninstall bpf-linker` and start this again",
            toolchain.origin
        )
    })?;

    let built = build_dir.join("bpfel-unknown-none/release");
    let object = ws.target.join("bpf/kctx-ebpf");
    copy_if_changed(&built.join("kctx-ebpf"), &object)?;
    copy_if_changed(&built.join("floor"), &floor(ws))?;
    Ok(Object::Built(object))
}

/// The object of empty programs, for benchmarks.
pub(crate) fn floor(ws: &Workspace) -> PathBuf {
    ws.target.join("bpf/floor")
}

/// Leaves a file that is already the same untouched, so that cargo does not build kctx again.
fn copy_if_changed(from: &Path, to: &Path) -> Result<()> {
    let new = fs::read(from).with_context(|| format!("cannot read {}", from.display()))?;
    if fs::read(to).is_ok_and(|old| old == new) {
        return Ok(());
    }
    let dir = to.parent().context("a file has a directory")?;
    fs::create_dir_all(dir)
        .and_then(|()| fs::write(to, new))
        .with_context(|| format!("cannot write {}", to.display()))
}

/// Builds the eBPF programs and target/release/kctx.
pub(crate) fn release(ws: &Workspace) -> Result<(PathBuf, Object)> {
    let object = bpf(ws)?;
    let binary = release_with(ws, &object)?;
    Ok((binary, object))
}

/// Builds target/release/kctx around `object`.
pub(crate) fn release_with(ws: &Workspace, object: &Object) -> Result<PathBuf> {
    let mut cargo = ws.cargo();
    cargo.args(["build", "--release", "--package", "kctx"]);
    object.apply(&mut cargo);
    command::show(&mut cargo)?;
    let binary = ws.target.join("release/kctx");
    eprintln!("build: {}", binary.display());
    Ok(binary)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_the_same_keeps_its_time() {
        let dir = tempfile::tempdir().expect("a directory");
        let (from, to) = (dir.path().join("from"), dir.path().join("sub/to"));
        fs::write(&from, "one").expect("written");
        copy_if_changed(&from, &to).expect("copied");
        let before = fs::metadata(&to)
            .and_then(|m| m.modified())
            .expect("a time");
        copy_if_changed(&from, &to).expect("left");
        assert_eq!(
            fs::metadata(&to)
                .and_then(|m| m.modified())
                .expect("a time"),
            before
        );
        fs::write(&from, "two").expect("written");
        copy_if_changed(&from, &to).expect("copied");
        assert_eq!(fs::read_to_string(&to).expect("read"), "two");
    }
}
