//! Kernels to boot: Debian's, by their short version, or any image or package that is named.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::modules;
use crate::suite::{self, Suite};
use crate::workspace::Workspace;

/// Debian's kernels, and the suites that have them.
const VERSIONS: [(&str, &str); 4] = [
    ("5.10", "bullseye"),
    ("6.1", "bookworm"),
    ("6.12", "trixie"),
    ("7.2", "sid"),
];
/// What a version's name may end in, and the packages of these flavours.
const FLAVOURS: [(&str, &str); 3] = [
    ("", "linux-image-amd64"),
    ("-rt", "linux-image-rt-amd64"),
    ("-cloud", "linux-image-cloud-amd64"),
];
/// What the packages depend on that belongs to a kernel: up to 6.12 one image, from 7.2 on an image that
/// is a meta package of the others.
const PARTS: [&str; 4] = [
    "linux-image-",
    "linux-binary-",
    "linux-modules-",
    "linux-base-",
];

/// A kernel that is ready to boot.
#[derive(Debug)]
pub(crate) struct Kernel {
    pub(crate) release: String,
    pub(crate) image: PathBuf,
    /// The tests' modules, decompressed; as many as the package has.
    pub(crate) modules: Vec<PathBuf>,
    /// Its build configuration.
    pub(crate) config: Option<PathBuf>,
}

/// The suite and the package of what a user calls `name`.
fn debian(name: &str) -> Option<(&'static str, &'static str)> {
    FLAVOURS.into_iter().find_map(|(flavour, package)| {
        let version = name.strip_suffix(flavour)?;
        let (_, suite) = VERSIONS.into_iter().find(|(known, _)| *known == version)?;
        Some((suite, package))
    })
}

/// True for the name of one of Debian's kernels; else it can only be a path.
pub(crate) fn is_known(name: &str) -> bool {
    debian(name).is_some()
}

/// Finds or downloads the kernel that a user calls `name`.
pub(crate) fn get(ws: &Workspace, name: &str) -> Result<Kernel> {
    let kernels = ws.target.join("vm/kernels");
    if let Some((suite, package)) = debian(name) {
        let dir = kernels.join(name);
        if !is_stored(&dir) {
            let tree = kernels.join(format!("{name}.tree"));
            let suite = Suite::open(ws, suite)?;
            let packages = suite.closure(package, &PARTS)?;
            suite.unpack(&packages, 15, &tree)?;
            store(ws, &tree, &dir)?;
        }
        return load(&dir);
    }
    check_name(name)?;
    let path = Path::new(name);
    let file = path.file_name().unwrap_or_default().to_string_lossy();
    if path.extension().is_some_and(|extension| extension == "deb") {
        let dir = kernels.join(&*file);
        if !is_stored(&dir) {
            let tree = kernels.join(format!("{file}.tree"));
            suite::unpack(ws, &file, &[path.to_path_buf()], &tree)?;
            store(ws, &tree, &dir)?;
        }
        return load(&dir);
    }
    let bytes = fs::read(path).with_context(|| format!("cannot read {name}"))?;
    let release = release(&bytes).with_context(|| format!("{name} is no x86 kernel image"))?;
    Ok(Kernel {
        release,
        image: path.to_path_buf(),
        modules: Vec::new(),
        config: None,
    })
}

/// An error if `get` could not know what is meant.
pub(crate) fn check_name(name: &str) -> Result<()> {
    if !is_known(name) && !Path::new(name).is_file() {
        let known = VERSIONS.map(|(version, _)| version).join(", ");
        bail!(
            "{name} is neither one of {known} (as it is, or with -rt or -cloud after it) \
             nor the path of a kernel image or package"
        );
    }
    Ok(())
}

/// The release file is written last. A directory of before the modules were kept is fetched again.
fn is_stored(dir: &Path) -> bool {
    dir.join("release").is_file() && dir.join("modules").is_dir()
}

fn load(dir: &Path) -> Result<Kernel> {
    let file = dir.join("release");
    let release = fs::read_to_string(&file)
        .with_context(|| format!("cannot read {}", file.display()))?
        .trim()
        .to_owned();
    Ok(Kernel {
        release,
        image: dir.join("vmlinuz"),
        modules: modules::stored(&dir.join("modules"))?,
        config: Some(dir.join("config")).filter(|path| path.is_file()),
    })
}

/// Keeps of an unpacked tree what a boot needs, and removes the rest, which is hundreds of MB.
fn store(ws: &Workspace, tree: &Path, dir: &Path) -> Result<()> {
    let named = |start: &'static str| {
        move |path: &Path| {
            path.file_name()
                .is_some_and(|name| name.to_string_lossy().starts_with(start))
        }
    };
    let image = find(tree, &named("vmlinuz"))?.with_context(|| {
        format!(
            "the package has no kernel image (vmlinuz): {}",
            tree.display()
        )
    })?;
    // What an interrupted or an earlier xtask left.
    let _ = fs::remove_dir_all(dir);
    fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))?;
    let bytes = fs::read(&image).with_context(|| format!("cannot read {}", image.display()))?;
    let release = release(&bytes).context("the package's vmlinuz is no x86 kernel image")?;
    fs::write(dir.join("vmlinuz"), bytes)?;
    modules::store(ws, tree, &dir.join("modules"))?;
    // From 7.2 on it lies beside the modules.
    let beside = Path::new("modules").join(&release).join("config");
    let is_config = |path: &Path| named("config-")(path) || path.ends_with(&beside);
    if let Some(config) = find(tree, &is_config)? {
        fs::copy(config, dir.join("config"))?;
    }
    fs::write(dir.join("release"), release)?;
    fs::remove_dir_all(tree).with_context(|| format!("cannot remove {}", tree.display()))
}

/// The first plain file below `dir` that is wanted.
pub(crate) fn find(dir: &Path, wanted: &dyn Fn(&Path) -> bool) -> Result<Option<PathBuf>> {
    let entries = fs::read_dir(dir).with_context(|| format!("cannot read {}", dir.display()))?;
    for entry in entries {
        let entry = entry?;
        let kind = entry.file_type()?;
        let path = entry.path();
        if kind.is_file() && wanted(&path) {
            return Ok(Some(path));
        }
        if kind.is_dir()
            && let Some(found) = find(&path, wanted)?
        {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

/// The release that an x86 kernel image names in its boot header.
fn release(image: &[u8]) -> Option<String> {
    // Documentation/arch/x86/boot.rst: "HdrS" at 0x202; at 0x20e where the version text is, less 0x200.
    if image.get(0x202..0x206)? != b"HdrS" {
        return None;
    }
    let at = usize::from(u16::from_le_bytes(
        image.get(0x20e..0x210)?.try_into().ok()?,
    )) + 0x200;
    let text = image.get(at..)?.split(|byte| *byte == 0).next()?;
    let word = text.split(|byte| *byte == b' ').next()?;
    String::from_utf8(word.to_vec())
        .ok()
        .filter(|word| !word.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image() -> Vec<u8> {
        let mut image = vec![0; 0x400];
        image[0x202..0x206].copy_from_slice(b"HdrS");
        image[0x20e..0x210].copy_from_slice(&0x100u16.to_le_bytes());
        image[0x300..0x315].copy_from_slice(b"6.1.0-9-amd64 (debian");
        image
    }

    #[test]
    fn an_image_names_its_release() {
        assert_eq!(release(&image()).as_deref(), Some("6.1.0-9-amd64"));
    }

    #[test]
    fn other_files_have_none() {
        assert_eq!(release(b"\x7fELF"), None);
        assert_eq!(release(&vec![0; 0x400]), None);
        let mut cut = image();
        cut[0x20f] = 0xff;
        assert_eq!(release(&cut), None);
    }

    #[test]
    fn a_name_is_a_version_and_perhaps_a_flavour() {
        assert_eq!(debian("6.1"), Some(("bookworm", "linux-image-amd64")));
        assert_eq!(debian("7.2-rt"), Some(("sid", "linux-image-rt-amd64")));
        assert_eq!(
            debian("5.10-cloud"),
            Some(("bullseye", "linux-image-cloud-amd64"))
        );
        for unknown in ["", "-rt", "6.2", "6.1-", "6.1-rt-cloud"] {
            assert_eq!(debian(unknown), None, "{unknown}");
        }
        let error = check_name("6.2-rt").map_err(|error| error.to_string());
        assert!(error.is_err_and(|text| text.contains("5.10, 6.1, 6.12, 7.2")));
    }
}
