//! What kctx used in several windows, one after the other, as of one.

use super::{Basis, BpfCost, OwnCost};

impl OwnCost {
    /// Adds the cost of the window after this one.
    pub fn add(&mut self, next: &Self) {
        for thread in &next.threads {
            match (self.threads.iter_mut()).find(|sum| sum.thread == thread.thread) {
                Some(sum) => sum.cpu_ns = sum.cpu_ns.saturating_add(thread.cpu_ns),
                None => self.threads.push(thread.clone()),
            }
        }
        self.memory_bytes = next.memory_bytes.or(self.memory_bytes);
        self.ring_bytes = self.ring_bytes.saturating_add(next.ring_bytes);
        self.fullest_ring_ppm = self.fullest_ring_ppm.max(next.fullest_ring_ppm);
        for ring in &next.rings {
            match self.rings.iter_mut().find(|sum| sum.cpu == ring.cpu) {
                Some(sum) => sum.fullest_ppm = sum.fullest_ppm.max(ring.fullest_ppm),
                None => self.rings.push(*ring),
            }
        }
        self.rings.sort_by_key(|ring| ring.cpu);
        self.bpf.add(&next.bpf);
    }
}

impl BpfCost {
    fn add(&mut self, next: &Self) {
        self.basis = match (self.basis, next.basis) {
            (Basis::Unknown, _) | (_, Basis::Unknown) => Basis::Unknown,
            (Basis::Counted, Basis::Counted) => Basis::Counted,
            _ => Basis::Scaled,
        };
        if self.reason.is_none() {
            self.reason.clone_from(&next.reason);
        }
        for program in &next.programs {
            let same = |sum: &&mut super::ProgramCost| {
                (&sum.program, sum.family) == (&program.program, program.family)
            };
            match self.programs.iter_mut().find(same) {
                Some(sum) => {
                    sum.runs = sum.runs.saturating_add(program.runs);
                    sum.run_ns = sum.run_ns.saturating_add(program.run_ns);
                }
                None => self.programs.push(program.clone()),
            }
        }
        for time in &next.cpus {
            match self.cpus.iter_mut().find(|sum| sum.cpu == time.cpu) {
                Some(sum) => sum.run_ns = sum.run_ns.saturating_add(time.run_ns),
                None => self.cpus.push(*time),
            }
        }
        self.cpus.sort_by_key(|time| time.cpu);
        for family in &next.unsampled {
            if !self.unsampled.contains(family) {
                self.unsampled.push(*family);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{CpuTime, ThreadTime};
    use super::*;

    fn cost(thread: &str, cpu_ns: u64, basis: Basis, cpu: u32) -> OwnCost {
        OwnCost {
            threads: vec![ThreadTime {
                thread: thread.to_owned(),
                cpu_ns,
            }],
            memory_bytes: Some(cpu_ns),
            ring_bytes: 10,
            bpf: BpfCost {
                basis,
                cpus: vec![CpuTime { cpu, run_ns: 5 }],
                ..BpfCost::default()
            },
            ..OwnCost::default()
        }
    }

    #[test]
    fn times_add_up_and_memory_is_the_last() {
        let mut sum = cost("main", 3, Basis::Counted, 1);
        sum.add(&cost("main", 4, Basis::Scaled, 0));
        sum.add(&cost("kctx-drain", 5, Basis::Scaled, 1));
        assert_eq!(sum.cpu_ns(), 12);
        assert_eq!(sum.threads.len(), 2);
        assert_eq!((sum.memory_bytes, sum.ring_bytes), (Some(5), 30));
        assert_eq!(sum.bpf.basis, Basis::Scaled);
        let cpus: Vec<_> = sum
            .bpf
            .cpus
            .iter()
            .map(|one| (one.cpu, one.run_ns))
            .collect();
        assert_eq!(cpus, [(0, 5), (1, 10)]);
        sum.add(&cost("main", 1, Basis::Unknown, 0));
        assert_eq!(sum.bpf.total(), None, "one window is not known");
    }
}
