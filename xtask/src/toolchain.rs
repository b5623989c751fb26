//! The compiler and the linker for BPF.
//!
//! `core` has to be built for `bpfel-unknown-none`, so the compiler must come with its own
//! rust-src: a rustup nightly has it as a component, Debian as a package.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, anyhow, bail};

use crate::workspace::Workspace;
use crate::{apt, command};

/// The oldest compiler that the workspace accepts (`rust-version` of the root Cargo.toml).
const MINOR_NEEDED: u32 = 95;
/// The bpf-linker that is installed where there is none.
const LINKER_VERSION: &str = "0.13.0";
/// The LLVM versions which that bpf-linker can be built with.
const LINKER_LLVMS: std::ops::RangeInclusive<u32> = 21..=23;
/// Debian's names for rustc, cargo and rust-src: a suite's own, and the newer one that it keeps for web browsers.
const DEBIAN: [[&str; 3]; 2] = [
    ["rustc-web", "cargo-web", "rust-web-src"],
    ["rustc", "cargo", "rust-src"],
];

/// A compiler that can build `core`.
#[derive(Debug)]
pub(crate) struct Toolchain {
    pub(crate) rustc: PathBuf,
    pub(crate) cargo: PathBuf,
    /// What to call it in a message.
    pub(crate) origin: String,
    /// A stable compiler takes `-Z` only with RUSTC_BOOTSTRAP.
    pub(crate) stable: bool,
    llvm: u32,
}

impl Toolchain {
    /// Looks whether these programs can build `core`; the error says why not.
    fn probe(rustc: PathBuf, cargo: PathBuf, origin: &str) -> Result<Self> {
        let version = command::capture(ask(&rustc).arg("-vV"))?;
        let release = command::field(&version, "release: ").unwrap_or_default();
        let minor = minor(release).with_context(|| format!("{origin} has no version"))?;
        if minor < MINOR_NEEDED {
            bail!("{origin} is {release}, and 1.{MINOR_NEEDED} is needed");
        }
        let llvm = command::field(&version, "LLVM version: ")
            .and_then(|version| version.split('.').next()?.parse().ok())
            .with_context(|| format!("{origin} does not say its LLVM version"))?;
        let sysroot = command::capture(ask(&rustc).args(["--print", "sysroot"]))?;
        let core = Path::new(sysroot.trim()).join("lib/rustlib/src/rust/library/core/Cargo.toml");
        if !core.is_file() {
            bail!("{origin} has no rust-src");
        }
        Ok(Self {
            stable: !release.contains("nightly"),
            origin: format!("{origin}, rustc {release}"),
            rustc,
            cargo,
            llvm,
        })
    }

    /// Its cargo, for the package of the eBPF programs.
    pub(crate) fn cargo(&self) -> Command {
        let mut cargo = without_cargo_env(&self.cargo);
        cargo
            .env("RUSTC", &self.rustc)
            .env("PATH", command::path_with(None));
        if self.stable {
            cargo.env("RUSTC_BOOTSTRAP", "1");
        }
        cargo
    }
}

fn ask(rustc: &Path) -> Command {
    without_cargo_env(rustc)
}

/// `cargo xtask` runs under the user's toolchain and says so in the environment; another toolchain
/// must not hear it.
fn without_cargo_env(program: &Path) -> Command {
    let mut command = Command::new(program);
    for name in [
        "CARGO",
        "RUSTUP_TOOLCHAIN",
        "RUSTC",
        "RUSTFLAGS",
        "CARGO_ENCODED_RUSTFLAGS",
        "RUSTC_WRAPPER",
        "RUSTC_WORKSPACE_WRAPPER",
    ] {
        command.env_remove(name);
    }
    command
}

fn minor(release: &str) -> Option<u32> {
    release.strip_prefix("1.")?.split('.').next()?.parse().ok()
}

/// The compiler for BPF, installed if need be.
pub(crate) fn compiler(ws: &Workspace) -> Result<Toolchain> {
    if let Some(named) = named_by_environment()? {
        return Ok(named);
    }
    if let Some(installed) = installed_nightly().or_else(|| debian().ok()) {
        return Ok(installed);
    }
    let mut refused = None;
    for names in DEBIAN {
        let new_enough = |version: String| minor(&version).is_some_and(|it| it >= MINOR_NEEDED);
        if apt::has(ws, &names) && apt::candidate(names[0]).is_some_and(new_enough) {
            match apt::install(ws, "installing Debian's Rust compiler for BPF", 30, &names) {
                Ok(()) => return debian().context("Debian's packages are installed, and still"),
                Err(error) => refused = Some(error),
            }
            break;
        }
    }
    let Some(rustup) = command::program("rustup") else {
        return Err(refused.unwrap_or_else(|| {
            anyhow!(
                "no Rust compiler with rust-src, which BPF needs: no rustup here, and no Debian \
                 package {} of version 1.{MINOR_NEEDED}; install rustup, or name a compiler in \
                 KCTX_BPF_RUSTC",
                DEBIAN[0][0]
            )
        }));
    };
    if let Some(error) = refused {
        eprintln!("setup: {error:#}; trying rustup");
    }
    command::step(
        ws,
        "installing rustup's nightly with rust-src",
        60,
        Command::new(rustup)
            .args(["toolchain", "install", "nightly", "--profile=minimal"])
            .args(["--component=rust-src", "--no-self-update"]),
        "see whether `rustup toolchain install nightly --component rust-src` works by hand",
    )?;
    installed_nightly().context("rustup installed a nightly, and still none has rust-src")
}

fn named_by_environment() -> Result<Option<Toolchain>> {
    let rustc = std::env::var_os("KCTX_BPF_RUSTC").map(PathBuf::from);
    let cargo = std::env::var_os("KCTX_BPF_CARGO").map(PathBuf::from);
    let rustc = match (rustc, &cargo) {
        (Some(rustc), _) => rustc,
        (None, Some(cargo)) => cargo.with_file_name("rustc"),
        (None, None) => return Ok(None),
    };
    let cargo = cargo.unwrap_or_else(|| rustc.with_file_name("cargo"));
    match Toolchain::probe(rustc, cargo, "the compiler named in KCTX_BPF_RUSTC") {
        Ok(toolchain) => Ok(Some(toolchain)),
        Err(error) => bail!(
            "{error:#}; set KCTX_BPF_RUSTC and KCTX_BPF_CARGO to a toolchain with rust-src, or unset them"
        ),
    }
}

fn installed_nightly() -> Option<Toolchain> {
    let rustup = command::program("rustup")?;
    let list = command::capture(Command::new(&rustup).args(["toolchain", "list"])).ok()?;
    list.lines()
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| name.starts_with("nightly"))
        .find_map(|name| {
            let which = |program: &str| {
                let mut ask = Command::new(&rustup);
                ask.args(["which", "--toolchain", name, program]);
                command::capture(&mut ask).map(|path| PathBuf::from(path.trim()))
            };
            Toolchain::probe(which("rustc").ok()?, which("cargo").ok()?, name).ok()
        })
}

fn debian() -> Result<Toolchain> {
    Toolchain::probe(
        "/usr/bin/rustc".into(),
        "/usr/bin/cargo".into(),
        "the distribution's compiler",
    )
}

/// Sees to it that bpf-linker is there.
pub(crate) fn linker(ws: &Workspace, toolchain: &Toolchain) -> Result<()> {
    if command::program("bpf-linker").is_some() {
        return Ok(());
    }
    let remedy = "install it by hand as its README says, for instance `cargo binstall bpf-linker`";
    if command::program("cargo-binstall").is_some() {
        let mut binstall = ws.cargo();
        binstall
            .args(["binstall", "--no-confirm"])
            .arg(format!("bpf-linker@{LINKER_VERSION}"));
        match command::step(ws, "fetching bpf-linker", 10, &mut binstall, "building it") {
            Ok(()) => return Ok(()),
            Err(error) => eprintln!("setup: {error:#}"),
        }
    }

    let mut install = ws.cargo();
    // Its own build directory: what it leaves behind is of no use afterwards.
    install.env_remove("CARGO_TARGET_DIR").args([
        "install",
        "bpf-linker",
        "--version",
        LINKER_VERSION,
        "--locked",
    ]);
    if let Some(llvm) = llvm_for_linker(ws, toolchain.llvm)? {
        let prefix = llvm_prefix(llvm);
        install
            .args(["--no-default-features", "--features"])
            .arg(format!("llvm-{llvm}"))
            .env("PATH", command::path_with(Some(&prefix.join("bin"))))
            .env("LLVM_PREFIX", prefix);
    }
    command::step(ws, "building bpf-linker", 75, &mut install, remedy)
}

fn llvm_prefix(major: u32) -> PathBuf {
    PathBuf::from(format!("/usr/lib/llvm-{major}"))
}

/// An LLVM, with its headers, that reads what a compiler with LLVM `oldest` writes; installed if apt has one.
fn llvm_for_linker(ws: &Workspace, oldest: u32) -> Result<Option<u32>> {
    let fitting = LINKER_LLVMS.filter(|major| *major >= oldest);
    if let Some(found) = fitting.clone().find(|major| {
        let prefix = llvm_prefix(*major);
        prefix.join("bin/llvm-config").is_file() && prefix.join("include/llvm-c").is_dir()
    }) {
        return Ok(Some(found));
    }
    for major in fitting {
        let packages = [format!("llvm-{major}-dev"), format!("libpolly-{major}-dev")];
        let packages: Vec<&str> = packages.iter().map(String::as_str).collect();
        if apt::has(ws, &packages) {
            apt::install(ws, "installing LLVM for bpf-linker", 30, &packages)?;
            return Ok(Some(major));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_rust_and_of_debian_are_read() {
        assert_eq!(minor("1.97.0-nightly"), Some(97));
        assert_eq!(minor("1.96.0+dfsg1-1~deb12u2"), Some(96));
        assert_eq!(minor("2.0"), None);
        assert_eq!(minor(""), None);
    }
}
