//! The examination behind `kctx doctor`: by trying, where trying is possible.

#[cfg(kctx_live)]
pub mod estimate;

use std::path::Path;

use serde::Serialize;

use crate::{
    aggregate::window::ProbeStatus,
    config::Config,
    host::{
        HostIdentity, HostRoot, btf,
        kallsyms::{self, Kallsyms},
        kmsg,
        kmsg_follow::{KmsgFollower, LogBounds},
        privilege, taint, tracefs,
    },
};

/// Schema of the JSON form.
pub const SCHEMA: &str = "kctx.doctor.v1";

/// What was found.
#[derive(Debug, Serialize)]
pub struct Diagnosis {
    /// [`SCHEMA`]
    pub schema: &'static str,
    /// This kctx.
    pub kctx_version: &'static str,
    /// This machine.
    pub host: HostIdentity,
    /// Whether kctx can measure here.
    pub live: bool,
    /// Why not, in one line with what to do.
    pub live_reason: Option<String>,
    /// What was looked at.
    pub checks: Vec<Check>,
    /// Each probe, after really attaching it (behind a closed gate) and detaching it again.
    pub probes: Vec<ProbeStatus>,
}

/// One thing that was looked at.
#[derive(Debug, Serialize)]
pub struct Check {
    /// Its name.
    pub name: &'static str,
    /// Whether it is as kctx wants it.
    pub ok: bool,
    /// What was found.
    pub detail: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

impl Check {
    fn ok(name: &'static str, detail: impl Into<String>) -> Self {
        Self {
            name,
            ok: true,
            detail: detail.into(),
            remedy: None,
        }
    }

    fn no(name: &'static str, detail: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            name,
            ok: false,
            detail: detail.into(),
            remedy: Some(remedy.into()),
        }
    }
}

/// Looks at everything, and tries to attach what the configuration wants.
#[must_use]
pub fn examine(config_path: Option<&Path>) -> Diagnosis {
    let host = HostIdentity::collect(&HostRoot::system());
    let mut checks = vec![Check::ok(
        "kernel",
        format!(
            "Linux {} on {}, {} CPUs",
            host.kernel_release, host.arch, host.cpus_online
        ),
    )];
    let (config, configuration) = configuration(config_path);
    checks.push(configuration);
    checks.push(capabilities());
    checks.push(kernel_btf());
    checks.push(trace_filesystem());
    checks.push(jit());
    checks.push(symbols());
    checks.push(kernel_log());
    checks.push(tainted());
    #[cfg(kctx_live)]
    checks.push(run_time());
    let (probes, live_reason) = attempt(&config);
    Diagnosis {
        schema: SCHEMA,
        kctx_version: env!("CARGO_PKG_VERSION"),
        host,
        live: live_reason.is_none(),
        live_reason,
        checks,
        probes,
    }
}

fn configuration(path: Option<&Path>) -> (Config, Check) {
    const NAME: &str = "configuration";
    match Config::load(path) {
        Ok(config) => {
            let detail = match path {
                Some(path) => format!("{} is valid", path.display()),
                None if Path::new(crate::config::DEFAULT_PATH).exists() => {
                    format!("{} is valid", crate::config::DEFAULT_PATH)
                }
                None => "the defaults".to_owned(),
            };
            (config, Check::ok(NAME, detail))
        }
        Err(error) => (
            Config::default(),
            Check::no(
                NAME,
                error.to_string(),
                "correct the file; docs/config.md has every key",
            ),
        ),
    }
}

fn capabilities() -> Check {
    const NAME: &str = "privileges";
    let missing = privilege::missing();
    if missing.is_empty() {
        return Check::ok(NAME, "CAP_BPF and CAP_PERFMON, or root");
    }
    Check::no(
        NAME,
        format!("missing {}", missing.join(" and ")),
        "run kctx as root (sudo)",
    )
}

fn kernel_btf() -> Check {
    const NAME: &str = "BTF";
    let remedy = "use a kernel with CONFIG_DEBUG_INFO_BTF; without it kernel threads, ksoftirqd's share and the names of workqueues, irq actions and NAPI devices are missing";
    match std::fs::read(btf::VMLINUX) {
        Ok(bytes) => match btf::Btf::parse(bytes) {
            Ok(_) => Check::ok(NAME, btf::VMLINUX),
            Err(error) => Check::no(NAME, format!("{}: {error}", btf::VMLINUX), remedy),
        },
        Err(error) => Check::no(NAME, format!("{}: {error}", btf::VMLINUX), remedy),
    }
}

fn trace_filesystem() -> Check {
    const NAME: &str = "tracefs";
    match tracefs::mounted() {
        Some(path) => Check::ok(NAME, path.display().to_string()),
        None => Check::no(
            NAME,
            "not mounted (only module events need it)",
            "mount -t tracefs tracefs /sys/kernel/tracing",
        ),
    }
}

fn jit() -> Check {
    const NAME: &str = "BPF JIT";
    match std::fs::read_to_string("/proc/sys/net/core/bpf_jit_enable") {
        Ok(value) if value.trim() == "0" => Check::no(
            NAME,
            "off: each probe costs several times as much",
            "sysctl net.core.bpf_jit_enable=1",
        ),
        Ok(_) => Check::ok(NAME, "on"),
        // With CONFIG_BPF_JIT_ALWAYS_ON and in containers the file may not be there.
        Err(_) => Check::ok(NAME, "not told by this kernel"),
    }
}

fn symbols() -> Check {
    const NAME: &str = "kallsyms";
    let remedy = "set kernel.kptr_restrict to 0 or 1 and run as root";
    match Kallsyms::shown(Path::new(kallsyms::PATH)) {
        Ok(()) => Check::ok(NAME, "readable"),
        Err(reason) => Check::no(NAME, reason, remedy),
    }
}

fn kernel_log() -> Check {
    const NAME: &str = "kernel log";
    match KmsgFollower::open(&HostRoot::system(), &LogBounds::default()) {
        Ok(_) => Check::ok(NAME, kmsg::PATH),
        Err(error) => Check::no(
            NAME,
            format!("{}: {error} (its lines are not shown)", kmsg::PATH),
            "run kctx as root, in a container with this device; where kernel.dmesg_restrict is 1 it needs CAP_SYSLOG",
        ),
    }
}

fn tainted() -> Check {
    const NAME: &str = "taint";
    match taint::read(&HostRoot::system()) {
        Ok(value) => Check::ok(NAME, format!("readable: {value}")),
        Err(error) => Check::no(
            NAME,
            format!("{}: {error} (its changes are not shown)", taint::PATH),
            "mount /proc, with sys/kernel readable",
        ),
    }
}

/// Whether the kernel counts what the programs cost.
#[cfg(kctx_live)]
fn run_time() -> Check {
    const NAME: &str = "own cost";
    match crate::probe::programs::BpfStats::enable() {
        Ok(_) => Check::ok(NAME, "the kernel counts the run time of programs for kctx"),
        Err(reason) => Check::no(
            NAME,
            format!("{reason} (what kctx costs in the kernel is not known)"),
            "run kctx as root (sudo) on Linux 5.8 or newer",
        ),
    }
}

#[cfg(kctx_live)]
fn attempt(config: &Config) -> (Vec<ProbeStatus>, Option<String>) {
    let mut settings = crate::daemon::live_settings(config, None, None);
    // Nothing runs long enough to be counted.
    settings.sample = crate::meter::Sample::Never("only tried");
    match crate::source::live::Prepared::attach(&settings) {
        Ok((prepared, ..)) => (prepared.probes().to_vec(), None),
        Err(error) => (Vec::new(), Some(format!("{error:#}"))),
    }
}

#[cfg(not(kctx_live))]
fn attempt(_config: &Config) -> (Vec<ProbeStatus>, Option<String>) {
    (Vec::new(), Some(crate::probe::NO_OBJECT.to_owned()))
}
