//! The clock that samples stacks: a software `cpu-clock` event on each CPU that is online.
//!
//! It is a timer interrupt, which brings an idle CPU out of its sleep, and where nothing runs that it could sample it costs more
//! than all else of kctx: so where that is wished a CPU is left alone until softirqs and kernel threads keep it busy.

use std::{
    collections::{BTreeMap, BTreeSet},
    os::fd::{AsFd as _, AsRawFd as _, OwnedFd},
    time::Duration,
};

use aya::{Ebpf, programs::PerfEvent};
use perf_event::{Builder, Counter, events::Software};

use super::attach::{one_line, program};
use crate::governor::CpuShare;

/// The program that the clock runs.
const PROGRAM: &str = "cpu_clock";

/// How often it ticks, and where.
#[derive(Clone, Copy, Debug)]
pub struct Sampling {
    /// Samples a second; 0 for none.
    pub frequency: u32,
    /// What softirqs and kernel threads take of a CPU that is sampled; 0: each is, always.
    pub busy: CpuShare,
}

/// The events, by CPU; dropping them ends the sampling.
pub struct CpuClock {
    sampling: Sampling,
    program: OwnedFd,
    events: BTreeMap<u32, Ticking>,
    /// What CPUs that are gone had.
    gone_ns: BTreeMap<u32, u64>,
    /// The CPUs that were online when it last looked: what was refused then is not asked for over and over.
    online: Vec<u32>,
}

/// One CPU's event.
struct Ticking {
    event: Counter,
    attention: Attention,
    /// Since when it ticks.
    since_ns: Option<u64>,
    /// How long it ticked before.
    ticked_ns: u64,
}

impl Ticking {
    fn ticked_ns(&self, now_ns: u64) -> u64 {
        let open_ns = self
            .since_ns
            .map_or(0, |since| now_ns.saturating_sub(since));
        self.ticked_ns + open_ns
    }

    fn set(&mut self, ticks: bool, now_ns: u64) -> std::io::Result<()> {
        if ticks == self.since_ns.is_some() {
            return Ok(());
        }
        if ticks {
            self.event.enable()?;
            self.since_ns = Some(now_ns);
        } else {
            self.event.disable()?;
            self.ticked_ns = self.ticked_ns(now_ns);
            self.since_ns = None;
        }
        Ok(())
    }
}

/// A CPU that was busy is sampled for so long from then on: what comes every few seconds is not missed.
const LASTS: Duration = Duration::from_secs(10);

/// Whether a CPU is worth sampling.
struct Attention {
    busy_ns: u64,
}

impl Attention {
    /// Whether to sample it from now on; at the start each is.
    fn is_worth(&mut self, now_ns: u64, share: CpuShare, busy: CpuShare) -> bool {
        if share >= busy {
            self.busy_ns = now_ns;
        }
        now_ns.saturating_sub(self.busy_ns) < LASTS.as_nanos() as u64
    }
}

impl CpuClock {
    /// Starts it on the CPUs that are online. Fails where no CPU can be sampled.
    pub(super) fn start(
        ebpf: &mut Ebpf,
        sampling: Sampling,
        online: &[u32],
        now_ns: u64,
    ) -> Result<Self, String> {
        let clock: &mut PerfEvent = program(ebpf, PROGRAM)?;
        clock.load().map_err(|e| one_line(&e))?;
        let program = clock.fd().map_err(|e| one_line(&e))?;
        let program = (program.as_fd().try_clone_to_owned()).map_err(|e| one_line(&e))?;
        let mut started = Self {
            sampling,
            program,
            events: BTreeMap::new(),
            gone_ns: BTreeMap::new(),
            online: Vec::new(),
        };
        match started.follow(online, now_ns) {
            Err(reason) if started.events.is_empty() => Err(reason),
            _ => Ok(started),
        }
    }

    /// Brings it in line with the CPUs that are online now: the event of a CPU that goes down ends with it
    /// (`perf_event_exit_cpu`, kernel/events/core.c), and does not come back by itself. The last reason why one
    /// could not be sampled.
    pub fn follow(&mut self, online: &[u32], now_ns: u64) -> Result<(), String> {
        if self.online == online {
            return Ok(());
        }
        self.online = online.to_vec();
        let wanted: BTreeSet<u32> = online.iter().copied().collect();
        self.events.retain(|cpu, ticking| {
            let stays = wanted.contains(cpu);
            if !stays {
                *self.gone_ns.entry(*cpu).or_default() += ticking.ticked_ns(now_ns);
            }
            stays
        });
        let mut result = Ok(());
        for cpu in wanted {
            if self.events.contains_key(&cpu) {
                continue;
            }
            match self.event(cpu) {
                Ok(event) => {
                    let ticking = Ticking {
                        event,
                        attention: Attention { busy_ns: now_ns },
                        since_ns: Some(now_ns),
                        ticked_ns: 0,
                    };
                    self.events.insert(cpu, ticking);
                }
                Err(error) => result = Err(format!("CPU {cpu}: {}", one_line(&error))),
            }
        }
        result
    }

    /// A CPU's event, which runs the program from here on.
    fn event(&self, cpu: u32) -> std::io::Result<Counter> {
        let mut event = Builder::new(Software::CPU_CLOCK)
            .any_pid()
            .one_cpu(cpu as usize)
            .sample_frequency(u64::from(self.sampling.frequency))
            .include_kernel()
            .include_hv()
            .build()?;
        event.set_bpf(self.program.as_raw_fd())?;
        event.enable()?;
        Ok(event)
    }

    /// Whether it leaves CPUs alone that have little to sample: it wants to be told then how busy they are.
    #[must_use]
    pub fn rests(&self) -> bool {
        self.sampling.busy.ppm() > 0
    }

    /// Takes what softirqs and kernel threads took of each CPU since it was told last.
    pub fn heed(&mut self, busy: &[(u32, CpuShare)], now_ns: u64) -> std::io::Result<()> {
        for (cpu, share) in busy {
            if let Some(ticking) = self.events.get_mut(cpu) {
                let ticks = (ticking.attention).is_worth(now_ns, *share, self.sampling.busy);
                ticking.set(ticks, now_ns)?;
            }
        }
        Ok(())
    }

    /// For how long it has ticked on a CPU.
    #[must_use]
    pub fn ticked_ns(&self, cpu: u32, now_ns: u64) -> u64 {
        let gone_ns = self.gone_ns.get(&cpu).copied().unwrap_or(0);
        let ticking = self.events.get(&cpu);
        gone_ns + ticking.map_or(0, |ticking| ticking.ticked_ns(now_ns))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cpu_is_sampled_at_the_start_and_while_it_is_busy_and_for_ten_seconds_more() {
        let second = |n: u64| n * 1_000_000_000;
        let (idle, busy, from) = (500, 20_000, 10_000);
        let mut attention = Attention {
            busy_ns: second(100),
        };
        let mut worth = |at, ppm| {
            let share = CpuShare::from_ppm(ppm);
            attention.is_worth(second(at), share, CpuShare::from_ppm(from))
        };
        assert!(worth(101, idle) && worth(109, idle));
        assert!(!worth(110, idle) && !worth(200, idle));
        assert!(worth(201, busy) && worth(202, from) && worth(211, idle));
        assert!(!worth(212, from - 1));
    }

    #[test]
    fn where_no_cpu_may_rest_each_is_worth_it() {
        let nothing = CpuShare::from_ppm(0);
        let mut attention = Attention { busy_ns: 0 };
        assert!(attention.is_worth(u64::MAX, nothing, nothing));
    }
}
