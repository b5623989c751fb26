//! The clock that samples stacks: a software `cpu-clock` event on each CPU that is online.
//!
//! It is a timer interrupt, which brings an idle CPU out of its sleep, and at rest most timer interrupts of a machine were its own:
//! so where that is wished a CPU is left alone until softirqs and kernel threads keep it busy.

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
    /// For how long each is at first, [`LASTS`] at most.
    pub at_first: Duration,
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
    ticked: Ticked,
}

impl Ticking {
    fn set(&mut self, ticks: bool, now_ns: u64) -> std::io::Result<()> {
        if ticks == self.ticked.since_ns.is_some() {
            return Ok(());
        }
        if ticks {
            self.event.enable()?;
        } else {
            self.event.disable()?;
        }
        self.ticked.set(ticks, now_ns);
        Ok(())
    }
}

/// For how long an event ticked.
#[derive(Clone, Copy, Debug, Default)]
struct Ticked {
    /// Since when it does.
    since_ns: Option<u64>,
    before_ns: u64,
}

impl Ticked {
    fn set(&mut self, ticks: bool, now_ns: u64) {
        self.before_ns = self.at(now_ns);
        self.since_ns = ticks.then_some(now_ns);
    }

    fn at(&self, now_ns: u64) -> u64 {
        let open_ns = self
            .since_ns
            .map_or(0, |since| now_ns.saturating_sub(since));
        self.before_ns + open_ns
    }
}

/// A CPU that was busy is sampled for so long from then on: what comes every few seconds is not missed.
pub const LASTS: Duration = Duration::from_secs(10);

/// Whether a CPU is worth sampling.
struct Attention {
    last_busy_ns: u64,
}

impl Attention {
    /// As of a CPU that was busy so long ago that it is sampled for `at_first` more.
    fn new(now_ns: u64, at_first: Duration) -> Self {
        let ago = LASTS.saturating_sub(at_first).as_nanos() as u64;
        Self {
            last_busy_ns: now_ns.saturating_sub(ago),
        }
    }

    /// Whether to sample it from now on.
    fn is_worth(&mut self, now_ns: u64, share: CpuShare, busy: CpuShare) -> bool {
        if share >= busy {
            self.last_busy_ns = now_ns;
        }
        now_ns.saturating_sub(self.last_busy_ns) < LASTS.as_nanos() as u64
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
        let gone: Vec<u32> = (self.events.keys().copied())
            .filter(|cpu| !wanted.contains(cpu))
            .collect();
        for cpu in gone {
            self.forget(cpu, now_ns);
        }
        let mut result = Ok(());
        for cpu in wanted {
            if self.events.contains_key(&cpu) {
                continue;
            }
            match self.event(cpu) {
                Ok(event) => {
                    let ticking = Ticking {
                        event,
                        attention: Attention::new(now_ns, self.sampling.at_first),
                        ticked: Ticked {
                            since_ns: Some(now_ns),
                            before_ns: 0,
                        },
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

    /// Takes what softirqs and kernel threads took of each CPU since it was told last. A CPU whose event cannot be stopped or
    /// started is sampled no more; the last reason why one could not.
    pub fn heed(&mut self, shares: &[(u32, CpuShare)], now_ns: u64) -> Result<(), String> {
        let mut result = Ok(());
        for (cpu, share) in shares {
            let Some(ticking) = self.events.get_mut(cpu) else {
                continue;
            };
            let ticks = (ticking.attention).is_worth(now_ns, *share, self.sampling.busy);
            if let Err(error) = ticking.set(ticks, now_ns) {
                result = Err(format!("CPU {cpu}: {}", one_line(&error)));
                self.forget(*cpu, now_ns);
            }
        }
        result
    }

    /// Ends a CPU's event; how long it ticked is still known.
    fn forget(&mut self, cpu: u32, now_ns: u64) {
        if let Some(ticking) = self.events.remove(&cpu) {
            *self.gone_ns.entry(cpu).or_default() += ticking.ticked.at(now_ns);
        }
    }

    /// For how long it has ticked on a CPU.
    #[must_use]
    pub fn ticked_ns(&self, cpu: u32, now_ns: u64) -> u64 {
        let gone_ns = self.gone_ns.get(&cpu).copied().unwrap_or(0);
        let ticking = self.events.get(&cpu);
        gone_ns + ticking.map_or(0, |ticking| ticking.ticked.at(now_ns))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cpu_is_sampled_at_the_start_and_while_it_is_busy_and_for_ten_seconds_more() {
        let second = |n: u64| n * 1_000_000_000;
        let (idle, busy, from) = (500, 20_000, 10_000);
        let mut attention = Attention::new(second(100), LASTS);
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
        let mut attention = Attention::new(0, LASTS);
        assert!(attention.is_worth(u64::MAX, nothing, nothing));
    }

    #[test]
    fn a_cpu_may_be_left_alone_from_the_start() {
        let mut attention = Attention::new(u64::MAX / 2, Duration::ZERO);
        let share = CpuShare::from_ppm;
        assert!(!attention.is_worth(u64::MAX / 2 + 1, share(500), share(10_000)));
        assert!(attention.is_worth(u64::MAX / 2 + 2, share(10_000), share(10_000)));
    }

    #[test]
    fn the_time_that_it_ticked_is_known_while_it_ticks_and_while_it_does_not() {
        let mut ticked = Ticked::default();
        assert_eq!(ticked.at(50), 0);
        ticked.set(true, 100);
        assert_eq!(ticked.at(130), 30);
        ticked.set(false, 140);
        assert_eq!((ticked.at(140), ticked.at(900)), (40, 40));
        ticked.set(true, 1000);
        assert_eq!(ticked.at(1001), 41);
    }
}
