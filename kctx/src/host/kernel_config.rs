//! How the running kernel was built, where that can be read.

use std::{io::Read, path::PathBuf};

use super::root::HostRoot;

/// Largest configuration taken, unpacked: real ones are below 400 KiB.
const MAX_BYTES: usize = 4 << 20;

/// A kernel configuration and where it was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KernelConfig {
    /// The file.
    pub path: PathBuf,
    /// Its text, unpacked.
    pub text: String,
}

/// Why there is none.
#[derive(Debug, thiserror::Error)]
#[error("no readable kernel configuration; looked for {}", .tried.join(", "))]
pub struct NoKernelConfig {
    /// Paths that were looked at, each with what was wrong.
    pub tried: Vec<String>,
}

impl KernelConfig {
    /// Finds the configuration of the kernel release `release` (`uname -r`).
    ///
    /// /proc/config.gz comes first: it is the running kernel's own (`CONFIG_IKCONFIG_PROC`), while
    /// a file of the same release may be that of a kernel since replaced.
    pub fn find(root: &HostRoot, release: &str) -> Result<Self, NoKernelConfig> {
        let mut paths = vec!["/proc/config.gz".to_owned()];
        // Release strings are file names in /boot and /lib/modules; anything else is no path part.
        if !release.is_empty() && !release.contains('/') && release != ".." {
            paths.extend([
                format!("/boot/config-{release}"),
                format!("/lib/modules/{release}/config"),
                format!("/lib/modules/{release}/build/.config"),
                format!("/usr/lib/modules/{release}/config"),
                format!("/usr/lib/kernel/config-{release}"),
                format!("/usr/lib/ostree-boot/config-{release}"),
            ]);
        }
        let mut tried = Vec::new();
        for path in paths {
            match read_config(root, &path) {
                Ok(text) => {
                    return Ok(Self {
                        path: PathBuf::from(path),
                        text,
                    });
                }
                Err(error) => tried.push(format!("{path} ({})", short(&error))),
            }
        }
        Err(NoKernelConfig { tried })
    }

    /// The value of an option (`CONFIG_HZ`): `y`, `m`, a number, or a string without its quotes.
    /// `None` when it is not set.
    #[must_use]
    pub fn get(&self, option: &str) -> Option<&str> {
        self.text.lines().find_map(|line| {
            let value = line.strip_prefix(option)?.strip_prefix('=')?.trim_end();
            Some(
                value
                    .strip_prefix('"')
                    .and_then(|value| value.strip_suffix('"'))
                    .unwrap_or(value),
            )
        })
    }

    /// The option is built in or a module.
    #[must_use]
    pub fn is_enabled(&self, option: &str) -> bool {
        matches!(self.get(option), Some("y" | "m"))
    }
}

fn short(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::NotFound => "not there".to_owned(),
        std::io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        _ => error.to_string(),
    }
}

fn read_config(root: &HostRoot, path: &str) -> std::io::Result<String> {
    let bounded = root.read_bounded(path, MAX_BYTES)?;
    let mut bytes = bounded.bytes;
    if path.ends_with(".gz") {
        let packed = std::mem::take(&mut bytes);
        flate2::read::GzDecoder::new(packed.as_slice())
            .take(MAX_BYTES as u64)
            .read_to_end(&mut bytes)?;
    }
    let text = String::from_utf8_lossy(&bytes).into_owned();
    // Guards against an empty or foreign file hiding a good one further down the list.
    if !text.contains("CONFIG_") {
        return Err(std::io::Error::new(
            std::io::ErrorKind::InvalidData,
            "no kernel configuration in it",
        ));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    const TEXT: &str = "# Linux\nCONFIG_HZ=250\n# CONFIG_MODULES is not set\nCONFIG_HZ_250=y\n\
                        CONFIG_LOCALVERSION=\"-x\"\nCONFIG_NET=m\n";

    fn root() -> (tempfile::TempDir, HostRoot) {
        let directory = tempfile::tempdir().unwrap();
        for sub in ["proc", "boot"] {
            std::fs::create_dir(directory.path().join(sub)).unwrap();
        }
        let root = HostRoot::new(directory.path());
        (directory, root)
    }

    #[test]
    fn reads_the_packed_one_of_the_running_kernel_first() {
        let (_directory, root) = root();
        std::fs::write(root.path("/boot/config-1.2"), "CONFIG_HZ=100\n").unwrap();
        let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gz.write_all(TEXT.as_bytes()).unwrap();
        std::fs::write(root.path("/proc/config.gz"), gz.finish().unwrap()).unwrap();
        let config = KernelConfig::find(&root, "1.2").unwrap();
        assert_eq!(config.path, PathBuf::from("/proc/config.gz"));
        assert_eq!(config.text, TEXT);
        assert_eq!(config.get("CONFIG_HZ"), Some("250"));
        assert_eq!(config.get("CONFIG_LOCALVERSION"), Some("-x"));
        assert_eq!(config.get("CONFIG_MODULES"), None);
        assert!(config.is_enabled("CONFIG_NET") && !config.is_enabled("CONFIG_MODULES"));
    }

    #[test]
    fn goes_on_when_one_is_broken_and_names_all_when_none_is_good() {
        let (_directory, root) = root();
        std::fs::write(root.path("/proc/config.gz"), b"not gzip").unwrap();
        let error = KernelConfig::find(&root, "1.2").unwrap_err().to_string();
        assert!(
            error.contains("/proc/config.gz (")
                && error.contains("/boot/config-1.2 (not there)")
                && error.contains("/lib/modules/1.2/config"),
            "{error}"
        );
        std::fs::write(root.path("/boot/config-1.2"), TEXT).unwrap();
        let config = KernelConfig::find(&root, "1.2").unwrap();
        assert_eq!(config.path, PathBuf::from("/boot/config-1.2"));
    }

    #[test]
    fn a_release_that_is_a_path_is_not_followed() {
        let (_directory, root) = root();
        let error = KernelConfig::find(&root, "../x").unwrap_err();
        assert_eq!(error.tried.len(), 1);
    }
}
