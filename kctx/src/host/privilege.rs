//! What this process may do, and giving up what it no longer needs.

use rustix::thread::{CapabilitySet, CapabilitySets};

/// What is kept after the probes are attached: the maps (`CAP_BPF`; `CAP_PERFMON` for the events that
/// classic tracepoints hang on), kallsyms and the kernel log (`CAP_SYSLOG`), and evidence that only root may
/// read (`CAP_DAC_READ_SEARCH`).
pub const KEPT: CapabilitySet = CapabilitySet::BPF
    .union(CapabilitySet::PERFMON)
    .union(CapabilitySet::SYSLOG)
    .union(CapabilitySet::DAC_READ_SEARCH);

/// Gives up all capabilities but these, for good: for this thread and those it makes from now on.
pub fn drop_all_but(kept: CapabilitySet) -> rustix::io::Result<()> {
    rustix::thread::set_no_new_privs(true)?;
    let now = rustix::thread::capabilities(None)?;
    rustix::thread::set_capabilities(
        None,
        CapabilitySets {
            effective: now.effective & kept,
            permitted: now.permitted & kept,
            inheritable: CapabilitySet::empty(),
        },
    )
}

/// Raises the soft limit of open files to the hard one, which takes no privileges. Where that fails the old one holds.
pub fn allow_descriptors() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: maximum,
        maximum,
    };
    let _ = setrlimit(Resource::Nofile, raised);
}

/// Which of the capabilities that loading and attaching need are missing; none for root.
#[must_use]
pub fn missing() -> Vec<&'static str> {
    let Ok(now) = rustix::thread::capabilities(None) else {
        return Vec::new();
    };
    if now.effective.contains(CapabilitySet::SYS_ADMIN) {
        return Vec::new();
    }
    [
        (CapabilitySet::BPF, "CAP_BPF"),
        (CapabilitySet::PERFMON, "CAP_PERFMON"),
    ]
    .into_iter()
    .filter(|(capability, _)| !now.effective.contains(*capability))
    .map(|(_, name)| name)
    .collect()
}
