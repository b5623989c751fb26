//! The root of a test VM: busybox, kctx, the live tests and their modules, in one archive.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::cpio::{Archive, Kind};
use crate::kernels::Kernel;
use crate::suite::Suite;
use crate::workspace::Workspace;
use crate::{command, elf};

const INIT: &[u8] = include_bytes!("init.sh");
/// Enough for a program that looks up the user it drops to.
const PASSWD: &[u8] = b"root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n";
const GROUP: &[u8] = b"root:x:0:\nnogroup:x:65534:\n";
const OS_RELEASE: &[u8] = b"NAME=\"kctx test VM\"\nID=kctx-vm\nPRETTY_NAME=\"kctx test VM\"\n";

/// A static busybox: the machine's, or Debian's kept apart, since installing it would push out a
/// busybox that the machine boots with.
pub(crate) fn busybox(ws: &Workspace) -> Result<PathBuf> {
    let is_static =
        |path: &PathBuf| fs::read(path).is_ok_and(|bytes| elf::is_static(&bytes).unwrap_or(false));
    let kept = ws.target.join("vm/busybox");
    let here = [command::program("busybox"), Some(kept.clone())];
    if let Some(found) = here.into_iter().flatten().find(is_static) {
        return Ok(found);
    }
    let tree = ws.target.join("vm/busybox.tree");
    Suite::open(ws, "bookworm")?.unpack(&["busybox-static".to_owned()], 2, &tree)?;
    let unpacked = ["bin/busybox", "usr/bin/busybox"]
        .map(|path| tree.join(path))
        .into_iter()
        .find(|path| path.is_file())
        .context("Debian's busybox-static has no busybox")?;
    fs::rename(&unpacked, &kept).with_context(|| format!("cannot write {}", kept.display()))?;
    fs::remove_dir_all(&tree).with_context(|| format!("cannot remove {}", tree.display()))?;
    Ok(kept)
}

/// Writes the archive for `kernel` to `path`.
pub(crate) fn write(
    ws: &Workspace,
    kernel: &Kernel,
    kctx: &Path,
    live: &Path,
    arguments: &[String],
    path: &Path,
) -> Result<()> {
    let mut archive = Archive::default();
    for dir in ["bin", "boot", "dev", "etc", "lib", "lib/modules-test"] {
        archive.add(dir, Kind::Directory, b"");
    }
    // The kernel opens it for init before devtmpfs is there.
    archive.add("dev/console", Kind::Device(5, 1), b"");
    archive.add("init", Kind::Program, INIT);
    archive.add("etc/passwd", Kind::File, PASSWD);
    archive.add("etc/group", Kind::File, GROUP);
    archive.add("etc/os-release", Kind::File, OS_RELEASE);
    let arguments: String = arguments.iter().map(|word| format!("{word}\n")).collect();
    archive.add("test-arguments", Kind::File, arguments.as_bytes());

    let mut copy = |name: &str, kind: Kind, from: &Path| -> Result<()> {
        let bytes = fs::read(from).with_context(|| format!("cannot read {}", from.display()))?;
        archive.add(name, kind, &bytes);
        Ok(())
    };
    copy("bin/busybox", Kind::Program, &busybox(ws)?)?;
    copy("bin/kctx", Kind::Program, kctx)?;
    copy("bin/live", Kind::Program, live)?;
    for module in &kernel.modules {
        let file = module.file_name().unwrap_or_default().to_string_lossy();
        copy(&format!("lib/modules-test/{file}"), Kind::File, module)?;
    }
    if let Some(config) = &kernel.config {
        copy(
            &format!("boot/config-{}", kernel.release),
            Kind::File,
            config,
        )?;
    }

    fs::write(path, archive.finish()).with_context(|| format!("cannot write {}", path.display()))
}
