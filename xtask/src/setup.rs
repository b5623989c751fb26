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
