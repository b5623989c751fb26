//! The kernel modules that the live tests load, out of a kernel's package.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::workspace::Workspace;
use crate::{command, initramfs, kernels};

/// What the tests load. A kernel may lack any of them (the cloud kernels do), or have it built in.
///
/// dummy needs neither hardware nor another module; e1000 is the VM's network card, twice on one
/// interrupt line; veth's two ends are NAPI without hardware.
const WANTED: [&str; 3] = ["dummy", "e1000", "veth"];

/// Keeps the tests' modules, and those that they depend on, in `dir`.
pub(crate) fn store(ws: &Workspace, tree: &Path, dir: &Path) -> Result<()> {
    fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))?;
    let mut kept: BTreeSet<String> = BTreeSet::new();
    let mut next: Vec<String> = WANTED.map(str::to_owned).to_vec();
    while let Some(name) = next.pop() {
        let Some(file) = kernels::find(tree, &|path| is_module(path, &name))? else {
            continue;
        };
        if kept.insert(name.clone()) {
            let bytes = decompressed(ws, &file)?;
            next.extend(depends(&bytes));
            fs::write(dir.join(format!("{name}.ko")), bytes)?;
        }
    }
    Ok(())
}

/// The modules that `store` kept.
pub(crate) fn stored(dir: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(dir).with_context(|| format!("cannot read {}", dir.display()))?;
    let mut paths: Vec<PathBuf> = entries
        .map(|entry| Ok(entry?.path()))
        .collect::<std::io::Result<_>>()?;
    // The archive should not depend on the file system's order.
    paths.sort();
    Ok(paths)
}

/// Whether this is the file of the module `name`, compressed or not.
fn is_module(path: &Path, name: &str) -> bool {
    let file = path.file_name().unwrap_or_default().to_string_lossy();
    let Some((stem, compression)) = file.split_once(".ko") else {
        return false;
    };
    // A module's name has underscores where its file may have dashes.
    stem.replace('-', "_") == name && matches!(compression, "" | ".xz" | ".zst")
}

/// The names in `depends=`, one of the zero-terminated texts that modinfo shows.
fn depends(module: &[u8]) -> Vec<String> {
    const FIELD: &[u8] = b"\0depends=";
    let Some(at) = module.windows(FIELD.len()).position(|bytes| bytes == FIELD) else {
        return Vec::new();
    };
    let text = module[at + FIELD.len()..].split(|byte| *byte == 0).next();
    String::from_utf8_lossy(text.unwrap_or_default())
        .split(',')
        .filter(|name| !name.is_empty())
        .map(|name| name.replace('-', "_"))
        .collect()
}

fn decompressed(ws: &Workspace, file: &Path) -> Result<Vec<u8>> {
    let mut unpack = match file.extension().and_then(|extension| extension.to_str()) {
        Some("xz") => {
            let mut unxz = Command::new(initramfs::busybox(ws)?);
            unxz.arg("unxz");
            unxz
        }
        Some("zst") => {
            let mut zstd = Command::new("zstd");
            zstd.arg("-d");
            zstd
        }
        _ => return fs::read(file).with_context(|| format!("cannot read {}", file.display())),
    };
    unpack.arg("-c").arg(file);
    let shown = command::shown(&unpack);
    let output = unpack
        .output()
        .with_context(|| format!("cannot start `{shown}`"))?;
    if !output.status.success() {
        bail!("`{shown}` failed ({})", output.status);
    }
    Ok(output.stdout)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_modules_file_may_be_compressed() {
        for file in ["a/dummy.ko", "dummy.ko.xz", "dummy.ko.zst"] {
            assert!(is_module(Path::new(file), "dummy"), "{file}");
        }
        for file in ["dummy.c", "ifb_dummy.ko", "dummy.ko.gz", "dummy"] {
            assert!(!is_module(Path::new(file), "dummy"), "{file}");
        }
        assert!(is_module(Path::new("sch-x.ko"), "sch_x"));
    }

    #[test]
    fn dependencies_are_read_from_the_modules_own_text() {
        assert_eq!(
            depends(b"\x7fELF\0author=x\0depends=mii,crc-ccitt\0name=y\0"),
            ["mii", "crc_ccitt"]
        );
        assert!(depends(b"\x7fELF\0depends=\0retpoline=Y\0").is_empty());
        assert!(depends(b"\x7fELF").is_empty());
        assert_eq!(depends(b"\0depends=cut"), ["cut"]);
    }
}
