//! What emits the metrics: the resource attributes of this host (semantic conventions, "Resource").

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use uuid::Uuid;

use crate::host::identity::HostIdentity;

/// The namespace that the conventions name for making a `service.instance.id` from a machine id.
const INSTANCE_NAMESPACE: Uuid = Uuid::from_u128(0x4d63_009a_8d0f_11ee_aad7_4c79_6ed8_e320);

/// Resource attributes by key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resource(BTreeMap<String, String>);

impl Resource {
    /// Of this host.
    #[must_use]
    pub fn detect() -> Self {
        Self::detect_under(Path::new("/"))
    }

    /// Of the host whose files lie under `root`. What cannot be read is left out.
    #[must_use]
    pub fn detect_under(root: &Path) -> Self {
        let read = |path: &str| {
            let text = fs::read_to_string(root.join(path)).ok()?;
            let text = text.trim();
            (!text.is_empty()).then(|| text.to_owned())
        };
        let host_name = read("proc/sys/kernel/hostname");
        let kernel_release = read("proc/sys/kernel/osrelease");
        // An image not yet booted has the text "uninitialized".
        let machine_id = read("etc/machine-id")
            .or_else(|| read("var/lib/dbus/machine-id"))
            .filter(|id| id != "uninitialized");
        // Stable over restarts, so that the series of a host go on. The machine id itself is not given
        // out as instance id; without one the host's name has to do.
        let instance = machine_id.as_ref().or(host_name.as_ref());
        let instance = instance.map(|id| Uuid::new_v5(&INSTANCE_NAMESPACE, id.as_bytes()));
        let os_release = read("etc/os-release")
            .or_else(|| read("usr/lib/os-release"))
            .unwrap_or_default();
        let os = |key: &str| os_release_value(&os_release, key);

        let mut resource = Self::default();
        let mut set = |key: &str, value: Option<String>| {
            if let Some(value) = value {
                resource.0.insert(key.to_owned(), value);
            }
        };
        set("service.name", Some("kctx".to_owned()));
        set(
            "service.version",
            Some(env!("CARGO_PKG_VERSION").to_owned()),
        );
        set("service.instance.id", instance.map(|id| id.to_string()));
        set("host.name", host_name);
        set("host.id", machine_id);
        set(
            "host.arch",
            Some(host_arch(std::env::consts::ARCH).to_owned()),
        );
        set("os.type", Some("linux".to_owned()));
        set("os.name", os("NAME"));
        set("os.version", os("VERSION_ID"));
        set(
            "os.build_id",
            os("BUILD_ID").or_else(|| kernel_release.clone()),
        );
        set("kctx.kernel.release", kernel_release);
        resource
    }

    /// Of the host of a recording that began then. It is an instance of its own: its series are not those that a daemon on
    /// that host sends, nor this host's.
    #[must_use]
    pub fn recorded(host: &HostIdentity, start_unix_ns: u64) -> Self {
        let mut resource = Self::default();
        let instance = format!("{} {start_unix_ns}", host.hostname);
        let instance = Uuid::new_v5(&INSTANCE_NAMESPACE, instance.as_bytes()).to_string();
        for (key, value) in [
            ("service.name", "kctx"),
            ("service.version", env!("CARGO_PKG_VERSION")),
            ("service.instance.id", &instance),
            ("host.name", &host.hostname),
            ("host.arch", host_arch(&host.arch)),
            ("os.type", "linux"),
            ("kctx.kernel.release", &host.kernel_release),
        ] {
            if !value.is_empty() {
                resource.set(key, value);
            }
        }
        resource
    }

    /// Sets an attribute; one that is there is replaced.
    pub fn set(&mut self, key: &str, value: &str) {
        self.0.insert(key.to_owned(), value.to_owned());
    }

    /// The value of an attribute.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str)
    }

    /// Each attribute, by key.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        (self.0.iter()).map(|(key, value)| (key.as_str(), value.as_str()))
    }
}

/// The value of a key of os-release(5), without its quotes.
fn os_release_value(text: &str, key: &str) -> Option<String> {
    text.lines()
        .filter_map(|line| line.trim().split_once('='))
        .find(|(name, _)| *name == key)
        .map(|(_, value)| value.trim_matches(['"', '\'']).to_owned())
        .filter(|value| !value.is_empty())
}

/// The conventions' name of an architecture.
fn host_arch(arch: &str) -> &str {
    match arch {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "arm" => "arm32",
        "powerpc64" => "ppc64",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recording_is_an_instance_of_its_own() {
        let host = HostIdentity {
            hostname: "node-8".to_owned(),
            kernel_release: "6.1.0".to_owned(),
            arch: "aarch64".to_owned(),
            ..HostIdentity::default()
        };
        let recorded = Resource::recorded(&host, 1_000);
        assert_eq!(recorded.get("host.name"), Some("node-8"));
        assert_eq!(recorded.get("host.arch"), Some("arm64"));
        assert_eq!(recorded.get("kctx.kernel.release"), Some("6.1.0"));
        assert_eq!(recorded.get("host.id"), None);
        let instance = |resource: &Resource| resource.get("service.instance.id").map(str::to_owned);
        assert_ne!(instance(&recorded), instance(&Resource::detect()));
        assert_ne!(
            instance(&recorded),
            instance(&Resource::recorded(&host, 2_000))
        );
        assert_eq!(recorded, Resource::recorded(&host, 1_000));
    }

    fn host(files: &[(&str, &str)]) -> Resource {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        Resource::detect_under(root.path())
    }

    #[test]
    fn a_host_is_described_as_the_conventions_have_it() {
        let resource = host(&[
            ("etc/machine-id", "0123456789abcdef0123456789abcdef\n"),
            ("proc/sys/kernel/hostname", "node-7\n"),
            ("proc/sys/kernel/osrelease", "6.12.1-amd64\n"),
            (
                "etc/os-release",
                "NAME=\"Debian GNU/Linux\"\nVERSION_ID='13'\nID=debian\n",
            ),
        ]);
        let id = Uuid::new_v5(&INSTANCE_NAMESPACE, b"0123456789abcdef0123456789abcdef");
        for (key, value) in [
            ("service.name", "kctx"),
            ("service.instance.id", id.to_string().as_str()),
            ("host.id", "0123456789abcdef0123456789abcdef"),
            ("host.name", "node-7"),
            ("os.type", "linux"),
            ("os.name", "Debian GNU/Linux"),
            ("os.version", "13"),
            ("os.build_id", "6.12.1-amd64"),
            ("kctx.kernel.release", "6.12.1-amd64"),
        ] {
            assert_eq!(resource.get(key), Some(value), "{key}");
        }
        assert_eq!(host_arch("x86_64"), "amd64");
    }

    #[test]
    fn without_a_machine_id_the_name_makes_the_instance() {
        let named = host(&[
            ("etc/machine-id", "uninitialized\n"),
            ("proc/sys/kernel/hostname", "pod-1"),
        ]);
        assert_eq!(named.get("host.id"), None);
        let id = Uuid::new_v5(&INSTANCE_NAMESPACE, b"pod-1").to_string();
        assert_eq!(named.get("service.instance.id"), Some(id.as_str()));
        let bare = host(&[]);
        assert_eq!(bare.get("service.instance.id"), None);
        assert_eq!(bare.get("service.name"), Some("kctx"));
    }
}
