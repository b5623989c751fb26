//! `cargo xtask setup`: what the other commands need, each step skipped when it is already done.

use anyhow::{Context, Result, bail};

use crate::toolchain::{self, Toolchain};
use crate::workspace::Workspace;
use crate::{apt, command, initramfs, kernels, matrix};

/// Everything at once, with a line about each part that was there.
pub(crate) fn all(ws: &Workspace, vm: bool) -> Result<()> {
    let toolchain = bpf(ws)?;
    eprintln!("setup: BPF compiler: {}", toolchain.origin);
    eprintln!("setup: bpf-linker: ready");
    if vm {
        qemu(ws)?;
        eprintln!("setup: QEMU: ready");
        initramfs::busybox(ws)?;
        eprintln!("setup: busybox: ready");
        for config in matrix::test() {
            let name = &config.kernel;
            let kernel = kernels::get(ws, name).with_context(|| format!("kernel {name}"))?;
            eprintln!("setup: kernel {name}: {}", kernel.release);
        }
    }
    Ok(())
}

/// The compiler and the linker for BPF.
pub(crate) fn bpf(ws: &Workspace) -> Result<Toolchain> {
    let toolchain = toolchain::compiler(ws)?;
    toolchain::linker(ws, &toolchain)?;
    Ok(toolchain)
}

/// Programs that tests provoke things with or look through, and Debian's packages of them.
const TOOLS: [(&str, &str); 4] = [
    ("ip", "iproute2"),
    ("tc", "iproute2"),
    ("nft", "nftables"),
    ("tmux", "tmux"),
];

/// Those that this machine lacks.
pub(crate) fn tools(ws: &Workspace) -> Result<()> {
    let mut packages: Vec<&str> = (TOOLS.iter())
        .filter(|(program, _)| command::program(program).is_none())
        .map(|(_, package)| *package)
        .collect();
    packages.dedup();
    if packages.is_empty() {
        return Ok(());
    }
    apt::install(ws, "installing what tests need", 10, &packages)
}

/// QEMU for this machine's architecture.
pub(crate) fn qemu(ws: &Workspace) -> Result<()> {
    if std::env::consts::ARCH != "x86_64" {
        bail!("VMs are started on x86_64 machines only");
    }
    if command::program(crate::qemu::PROGRAM).is_some() {
        return Ok(());
    }
    apt::install(ws, "installing QEMU", 40, &["qemu-system-x86"])
}
