//! Where a line's interrupts go: /proc/irq/N/effective_affinity_list; and files that are lists or masks of CPUs.

use super::{Facts, either};
use crate::host::cpus::parse_cpu_list;

impl Facts<'_> {
    /// CPUs that a line interrupts, in effect; `None` where there is no evidence.
    pub(in crate::diagnose) fn effective_affinity(&self, irq: u32) -> Option<Vec<u32>> {
        self.cpu_list(&format!("proc/irq/{irq}/effective_affinity_list"))
    }

    /// A file that is a list of CPUs; one that is empty or none is `None`.
    pub(in crate::diagnose) fn cpu_list(&self, file: &str) -> Option<Vec<u32>> {
        let text = either(self.evidence, file)?;
        let cpus = parse_cpu_list(text.trim()).ok()?;
        (!cpus.is_empty()).then_some(cpus)
    }

    /// A file that is a mask of CPUs in hex, in groups of 32 bits: `ff,ffffffff`.
    pub(in crate::diagnose) fn cpu_mask(&self, file: &str) -> Option<Vec<u32>> {
        cpus_of_mask(either(self.evidence, file)?.trim())
    }
}

/// CPUs of a mask (`bitmap_print_to_pagebuf`, lib/bitmap-str.c); none of what is no mask, or of an empty one.
pub(in crate::diagnose) fn cpus_of_mask(text: &str) -> Option<Vec<u32>> {
    let mut cpus = Vec::new();
    for (group, bits) in text.split(',').rev().enumerate() {
        let bits = u32::from_str_radix(bits.trim_start_matches("0x"), 16).ok()?;
        let first = u32::try_from(group).ok()?.checked_mul(32)?;
        cpus.extend(
            (0..32)
                .filter(|bit| bits >> bit & 1 == 1)
                .map(|bit| first + bit),
        );
    }
    (!cpus.is_empty()).then_some(cpus)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_are_read_in_groups() {
        assert_eq!(cpus_of_mask("5"), Some(vec![0, 2]));
        assert_eq!(cpus_of_mask("00000001,80000000"), Some(vec![31, 32]));
        assert_eq!(
            [cpus_of_mask("0"), cpus_of_mask(""), cpus_of_mask("x")],
            [None, None, None]
        );
    }
}
