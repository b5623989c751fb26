//! Where a line's interrupts go: /proc/irq/N/{effective,smp}_affinity_list.

use super::{Facts, either};
use crate::host::cpus::parse_cpu_list;

impl Facts<'_> {
    /// CPUs that a line interrupts, in effect; `None` where there is no evidence.
    pub(in crate::diagnose) fn effective_affinity(&self, irq: u32) -> Option<Vec<u32>> {
        self.cpu_list(&format!("proc/irq/{irq}/effective_affinity_list"))
    }

    /// CPUs that a line may interrupt.
    pub(in crate::diagnose) fn allowed_affinity(&self, irq: u32) -> Option<Vec<u32>> {
        self.cpu_list(&format!("proc/irq/{irq}/smp_affinity_list"))
    }

    /// A file that is a list of CPUs; one that is empty or none is `None`.
    pub(in crate::diagnose) fn cpu_list(&self, file: &str) -> Option<Vec<u32>> {
        let text = either(self.evidence, file)?;
        let cpus = parse_cpu_list(text.trim()).ok()?;
        (!cpus.is_empty()).then_some(cpus)
    }
}
