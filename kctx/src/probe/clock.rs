//! The clock that samples stacks: a software `cpu-clock` event on each CPU that is online.

use std::collections::{BTreeMap, BTreeSet};

use aya::{
    Ebpf,
    programs::{
        PerfEvent,
        perf_event::{PerfEventConfig, PerfEventLink, PerfEventScope, SamplePolicy, SoftwareEvent},
    },
};

use super::attach::{one_line, program};

/// The program that the clock runs.
const PROGRAM: &str = "cpu_clock";

/// The events, by CPU; dropping them ends the sampling.
pub struct CpuClock {
    samples: u64,
    links: BTreeMap<u32, PerfEventLink>,
    /// The CPUs that were online when it last looked: what was refused then is not asked for over and over.
    online: Vec<u32>,
}

impl CpuClock {
    /// Starts it on the CPUs that are online, at this many samples a second. Fails where no CPU can be sampled.
    pub(super) fn start(ebpf: &mut Ebpf, samples: u64, online: &[u32]) -> Result<Self, String> {
        let clock: &mut PerfEvent = program(ebpf, PROGRAM)?;
        clock.load().map_err(|e| one_line(&e))?;
        let mut started = Self {
            samples,
            links: BTreeMap::new(),
            online: Vec::new(),
        };
        match started.follow(ebpf, online) {
            Err(reason) if started.links.is_empty() => Err(reason),
            _ => Ok(started),
        }
    }

    /// Brings it in line with the CPUs that are online now: the event of a CPU that goes down ends with it
    /// (`perf_event_exit_cpu`, kernel/events/core.c), and does not come back by itself. The last reason why one
    /// could not be sampled.
    pub fn follow(&mut self, ebpf: &mut Ebpf, online: &[u32]) -> Result<(), String> {
        if self.online == online {
            return Ok(());
        }
        self.online = online.to_vec();
        let wanted: BTreeSet<u32> = online.iter().copied().collect();
        self.links.retain(|cpu, _| wanted.contains(cpu));
        let clock: &mut PerfEvent = program(ebpf, PROGRAM)?;
        let mut result = Ok(());
        for cpu in wanted {
            if self.links.contains_key(&cpu) {
                continue;
            }
            let attached = clock
                .attach(
                    PerfEventConfig::Software(SoftwareEvent::CpuClock),
                    PerfEventScope::AllProcessesOneCpu { cpu },
                    SamplePolicy::Frequency(self.samples),
                    false,
                )
                .and_then(|id| clock.take_link(id));
            match attached {
                Ok(link) => {
                    self.links.insert(cpu, link);
                }
                Err(error) => result = Err(format!("CPU {cpu}: {}", one_line(&error))),
            }
        }
        result
    }
}
