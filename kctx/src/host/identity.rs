//! Who this machine is: what a reader of a summary must know to judge its numbers.

use serde::{Deserialize, Serialize};

use super::{
    cpus::{self, format_cpu_list},
    kernel_config::KernelConfig,
    root::HostRoot,
    taint,
};

/// The machine and its kernel. What could not be read is empty or `None`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostIdentity {
    /// Host name of this UTS namespace.
    pub hostname: String,
    /// `uname -r`.
    pub kernel_release: String,
    /// `uname -v`.
    pub kernel_version: String,
    /// `uname -m`.
    pub arch: String,
    /// The distribution.
    pub os: OsRelease,
    /// CPUs online.
    pub cpus_online: u32,
    /// CPUs that may ever come.
    pub cpus_possible: u32,
    /// The CPUs online, as the kernel lists them: `0-3,5`.
    pub cpu_list: String,
    /// Timer frequency (`CONFIG_HZ`): it bounds how long a softirq may run.
    #[serde(default)]
    pub hz: Option<u32>,
    /// Changes with each boot.
    #[serde(default)]
    pub boot_id: Option<String>,
    /// Taint value when this was collected.
    #[serde(default)]
    pub taint: Option<u64>,
}

/// The parts of os-release(5) that name a distribution.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OsRelease {
    /// `PRETTY_NAME`
    pub pretty_name: String,
    /// `ID`
    pub id: String,
    /// `VERSION_ID`
    pub version_id: String,
}

impl HostIdentity {
    /// Reads the identity of the machine under `root`. Never fails: what cannot be read is left out.
    #[must_use]
    pub fn collect(root: &HostRoot) -> Self {
        let line = |path: &str| root.read_line(path).unwrap_or_default();
        let kernel_release = line("/proc/sys/kernel/osrelease");
        let online = cpus::online(root).unwrap_or_default();
        let possible = cpus::possible(root).unwrap_or_default();
        let hz = KernelConfig::find(root, &kernel_release)
            .ok()
            .and_then(|config| config.get("CONFIG_HZ")?.parse().ok());
        let os = ["/etc/os-release", "/usr/lib/os-release"]
            .into_iter()
            .find_map(|path| root.read_bounded(path, 1 << 16).ok())
            .map(|file| parse_os_release(&String::from_utf8_lossy(&file.bytes)))
            .unwrap_or_default();
        Self {
            hostname: line("/proc/sys/kernel/hostname"),
            kernel_version: line("/proc/sys/kernel/version"),
            // The file is there from 6.1; before, what this program was built for is what runs it
            // (but for 32-bit programs on 64-bit kernels, which are not built).
            arch: root
                .read_line("/proc/sys/kernel/arch")
                .unwrap_or_else(|_| std::env::consts::ARCH.to_owned()),
            os,
            cpus_online: online.len() as u32,
            cpus_possible: possible.len() as u32,
            cpu_list: format_cpu_list(&online),
            hz,
            boot_id: root.read_line("/proc/sys/kernel/random/boot_id").ok(),
            taint: taint::read(root).ok(),
            kernel_release,
        }
    }
}

/// Parses os-release(5): shell-like assignments, quoted or not.
#[must_use]
pub fn parse_os_release(text: &str) -> OsRelease {
    let mut os = OsRelease::default();
    for line in text.lines() {
        let Some((key, value)) = line.trim().split_once('=') else {
            continue;
        };
        let field = match key {
            "PRETTY_NAME" => &mut os.pretty_name,
            "ID" => &mut os.id,
            "VERSION_ID" => &mut os.version_id,
            _ => continue,
        };
        *field = unquote(value);
    }
    os
}

/// Takes off quotes and backslashes as a shell would.
fn unquote(value: &str) -> String {
    let value = value.trim();
    if let Some(literal) = value
        .strip_prefix('\'')
        .and_then(|value| value.strip_suffix('\''))
    {
        return literal.to_owned();
    }
    let inner = value
        .strip_prefix('"')
        .and_then(|value| value.strip_suffix('"'))
        .unwrap_or(value);
    let mut text = String::with_capacity(inner.len());
    let mut escaped = false;
    for character in inner.chars() {
        if character == '\\' && !escaped {
            escaped = true;
        } else {
            text.push(character);
            escaped = false;
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fixture(files: &[(&str, &str)]) -> (tempfile::TempDir, HostRoot) {
        let directory = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = directory.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let root = HostRoot::new(directory.path());
        (directory, root)
    }

    #[test]
    fn collects_from_the_files_of_the_root() {
        let (_directory, root) = fixture(&[
            ("proc/sys/kernel/hostname", "db-3\n"),
            ("proc/sys/kernel/osrelease", "6.1.0-30-amd64\n"),
            ("proc/sys/kernel/version", "#1 SMP Debian\n"),
            ("proc/sys/kernel/arch", "x86_64\n"),
            ("proc/sys/kernel/random/boot_id", "b-1\n"),
            ("proc/sys/kernel/tainted", "4096\n"),
            ("sys/devices/system/cpu/online", "0-1,3\n"),
            ("sys/devices/system/cpu/possible", "0-7\n"),
            ("boot/config-6.1.0-30-amd64", "CONFIG_HZ=250\n"),
            (
                "etc/os-release",
                "PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nID=debian\nVERSION_ID='12'\n",
            ),
        ]);
        let host = HostIdentity::collect(&root);
        let expected = HostIdentity {
            hostname: "db-3".into(),
            kernel_release: "6.1.0-30-amd64".into(),
            kernel_version: "#1 SMP Debian".into(),
            arch: "x86_64".into(),
            os: OsRelease {
                pretty_name: "Debian GNU/Linux 12 (bookworm)".into(),
                id: "debian".into(),
                version_id: "12".into(),
            },
            cpus_online: 3,
            cpus_possible: 8,
            cpu_list: "0-1,3".into(),
            hz: Some(250),
            boot_id: Some("b-1".into()),
            taint: Some(4096),
        };
        assert_eq!(host, expected);
        let json = serde_json::to_string(&host).unwrap();
        assert_eq!(
            serde_json::from_str::<HostIdentity>(&json).unwrap(),
            expected
        );
    }

    #[test]
    fn an_empty_root_gives_an_empty_identity() {
        let (_directory, root) = fixture(&[]);
        let host = HostIdentity::collect(&root);
        assert_eq!((host.cpus_online, host.hz, host.taint), (0, None, None));
        assert_eq!(host.arch, std::env::consts::ARCH);
    }

    #[test]
    fn os_release_values_lose_quotes_and_escapes_only() {
        let os =
            parse_os_release("ID=arch\nPRETTY_NAME=\"a \\\"b\\\" \\$c\"\nVERSION_ID=\"\n#ID=no");
        assert_eq!(os.id, "arch");
        assert_eq!(os.pretty_name, "a \"b\" $c");
        assert_eq!(os.version_id, "\"");
    }
}
