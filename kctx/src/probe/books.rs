//! The kernel side's books: the gate, the counters, the spill, the names. All by map look-ups, a few
//! times a second at most.

use std::collections::BTreeMap;

use aya::maps::{Array, ArrayOfMaps, HashMap, MapData, MapError, PerCpuArray};
use bytes::{Bytes, BytesMut};
use kctx_common::{
    counters::{FAMILIES, FamilyCounters},
    globals::gate,
    pairing::{CpuState, PendingWork, Thread},
    record::{NAME_LEN, TASK_COMM_LEN},
};
use zerocopy::IntoBytes as _;

use super::{
    clock::CpuClock,
    contexts::{self, ContextTotals},
    load::{LoadError, Loaded},
    programs::Programs,
    spill::Spill,
    stacks::Stacks,
};
use crate::{
    aggregate::window::{ContextTimes, Family, FamilyAccounting},
    decode,
    governor::CpuShare,
    host::{HostRoot, clock, cpus, kallsyms::Symbols},
    meter::programs::{Drivers, Reading},
    source::RunningThread,
};

/// Handles to the maps that userspace reads and writes while the probes run.
pub struct Books {
    gate: Array<MapData, u64>,
    rings: ArrayOfMaps<MapData>,
    first_ring: MapData,
    possible: Vec<u32>,
    cpu: PerCpuArray<MapData, CpuState>,
    threads: HashMap<MapData, u64, Thread>,
    totals: Vec<ContextTotals>,
    /// As of the last [`Self::sampled_shares`].
    looked: Vec<ContextTotals>,
    switches: bool,
    governed: u64,
    open: bool,
    /// What the kernel put into histograms.
    pub spill: Spill,
    /// Sampled stacks.
    pub stacks: Stacks,
    pending: HashMap<MapData, u64, PendingWork>,
    programs: Programs,
    online_list: cpus::Online,
    last_counters: [FamilyCounters; FAMILIES],
    last_misses: [u64; FAMILIES],
    aged: u64,
}

/// What became of the records that are not in a ring yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Staged {
    /// They wait: the window goes on.
    Waiting,
    /// [`Books::staged`] has taken them: the window is over.
    Taken,
}

/// The names that the probes interned.
pub struct Names {
    names: HashMap<MapData, u64, [u8; NAME_LEN]>,
    comms: HashMap<MapData, u32, [u8; TASK_COMM_LEN]>,
}

impl Names {
    /// The text of an id. Ids are made of the text, so an answer never goes stale.
    pub fn get(&self, id: u64) -> Option<String> {
        self.names.get(&id, 0).ok().map(|bytes| text(&bytes))
    }

    /// The comm of a process that raised or queued something.
    pub fn comm(&self, pid: u32) -> Option<String> {
        self.comms.get(&pid, 0).ok().map(|bytes| text(&bytes))
    }
}

fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|&b| b == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

pub(super) fn take<T>(loaded: &mut Loaded, name: &'static str) -> Result<T, LoadError>
where
    T: TryFrom<aya::maps::Map, Error = MapError>,
{
    loaded
        .ebpf
        .take_map(name)
        .ok_or(LoadError::NoMap(name))?
        .try_into()
        .map_err(|source| LoadError::Map {
            map: name,
            source: Box::new(source),
        })
}

impl Books {
    /// Takes the maps out of what was loaded; after attaching, since the programs are asked too.
    /// Of sampled stacks so many are told apart in a window.
    pub fn open(
        loaded: &mut Loaded,
        symbols: &Symbols,
        stacks: usize,
    ) -> Result<(Self, Names), LoadError> {
        let programs = Programs::of(&loaded.ebpf);
        let first_ring = loaded.ring_maps.swap_remove(0);
        let books = Self {
            gate: take(loaded, ".bss")?,
            rings: take(loaded, "RINGS")?,
            first_ring,
            possible: loaded.possible.clone(),
            cpu: take(loaded, "CPU")?,
            threads: take(loaded, "THREADS")?,
            totals: Vec::new(),
            looked: Vec::new(),
            switches: false,
            governed: 0,
            open: false,
            spill: Spill::new(
                loaded.possible.clone(),
                take(loaded, "SPILL")?,
                take(loaded, "SPILLED_ORIGINS")?,
            ),
            stacks: Stacks::new(
                take(loaded, "STACKS")?,
                take(loaded, "STACK_COUNTS")?,
                symbols.clone(),
                stacks,
            ),
            pending: take(loaded, "PENDING")?,
            programs,
            online_list: cpus::Online::open(&HostRoot::system()).map_err(LoadError::Cpus)?,
            last_counters: [FamilyCounters::default(); FAMILIES],
            last_misses: [0; FAMILIES],
            aged: 0,
        };
        let names = Names {
            names: take(loaded, "NAMES")?,
            comms: take(loaded, "COMMS")?,
        };
        Ok((books, names))
    }

    /// Says that switches between tasks are followed from here on.
    pub fn switches_attached(&mut self) -> Result<(), MapError> {
        self.switches = true;
        self.set_gate()
    }

    /// Opens the gate: from here on, ends are counted and emitted.
    pub fn open_gate(&mut self) -> Result<(), MapError> {
        self.open = true;
        self.set_gate()
    }

    /// Closes the gate: from here on, ends are neither counted nor emitted, but by programs that saw it open.
    pub fn close_gate(&mut self) -> Result<(), MapError> {
        self.open = false;
        self.set_gate()
    }

    /// Keeps these families from the rings, bit n for [`Family::ALL`]'s nth, and lets the others into them.
    pub fn govern(&mut self, families: u64) -> Result<(), MapError> {
        self.governed = families;
        self.set_gate()
    }

    fn set_gate(&mut self) -> Result<(), MapError> {
        let bit = |set: bool, bit: u64| if set { bit } else { 0 };
        let gate = bit(self.open, gate::OPEN)
            | bit(self.switches, gate::SWITCHES)
            | self.governed << gate::GOVERNED;
        self.gate.set(0, gate, 0)
    }

    /// The CPUs' states, each with its tasks' account whole.
    fn states(&self) -> Result<Vec<CpuState>, MapError> {
        let mut states: Vec<CpuState> = self.cpu.get(&0, 0)?.iter().copied().collect();
        // A switch in the middle of the copy is rare, two in a row rarer.
        for _ in 0..8 {
            if states.iter().all(is_whole) {
                break;
            }
            let again = self.cpu.get(&0, 0)?;
            for (state, again) in states.iter_mut().zip(again.iter()) {
                if !is_whole(state) {
                    *state = *again;
                }
            }
        }
        Ok(states)
    }

    /// Time in each context since the last call (the first gives none), of the CPUs that did anything.
    /// With them, the kernel threads that are on a CPU now.
    pub fn contexts(&mut self) -> Result<(Vec<ContextTimes>, Vec<RunningThread>), MapError> {
        let mut states = self.states()?;
        let now_ns = clock::monotonic_ns();
        if let Ok(online) = self.online_now() {
            for (cpu, state) in self.possible.iter().zip(&mut states) {
                if online.binary_search(cpu).is_err() {
                    contexts::gone(state);
                }
            }
        }
        let totals: Vec<ContextTotals> = states
            .iter()
            .map(|state| ContextTotals::at(state, now_ns))
            .collect();
        let times = totals
            .iter()
            .zip(&self.totals)
            .zip(&states)
            .zip(&self.possible)
            .filter(|((_, state), _)| state.tasks.since_ns != 0 || state.hardirq_exit_ns != 0)
            .map(|(((now, before), _), cpu)| now.since(before, *cpu, self.switches))
            .collect();
        self.totals = totals;
        let running = states
            .iter()
            .zip(&self.possible)
            .filter(|(state, _)| state.kthread.task != 0)
            .map(|(state, cpu)| self.running(*cpu, state, now_ns))
            .collect();
        Ok((times, running))
    }

    /// What softirqs and kernel threads took of each CPU since the last call (the first gives none): where stacks are
    /// sampled.
    pub fn sampled_shares(&mut self) -> Result<Vec<(u32, CpuShare)>, MapError> {
        let now_ns = clock::monotonic_ns();
        let states = self.states()?;
        let totals = states.iter().map(|state| ContextTotals::at(state, now_ns));
        let before = std::mem::replace(&mut self.looked, totals.collect());
        Ok((self.looked.iter().zip(&before).zip(&self.possible))
            .map(|((now, before), cpu)| (*cpu, now.sampled_share_since(before)))
            .collect())
    }

    /// The CPUs that are online now.
    pub fn online_now(&self) -> std::io::Result<Vec<u32>> {
        self.online_list.now()
    }

    fn running(&self, cpu: u32, state: &CpuState, now_ns: u64) -> RunningThread {
        let thread = &state.kthread;
        let comm: Vec<u8> = thread.comm.iter().flat_map(|w| w.to_ne_bytes()).collect();
        RunningThread {
            cpu,
            pid: thread.pid as u32,
            comm: text(&comm),
            workqueue_id: self
                .threads
                .get(&thread.task, 0)
                .map_or(0, |known| known.workqueue_id),
            start_ns: thread.start_ns,
            service_ns: now_ns.saturating_sub(thread.start_ns),
            net_ns: contexts::running_net_ns(state, now_ns),
        }
    }

    /// Waits until no program that saw the gate open still runs: an update of a map of maps returns only
    /// after a grace period (`maybe_wait_bpf_programs`, kernel/bpf/syscall.c; since 4.20).
    pub fn wait_for_programs(&mut self) -> Result<(), MapError> {
        let first = self.possible.first().copied().unwrap_or(0);
        self.rings.set(first, &self.first_ring, 0)
    }

    /// Softirq records that have not gone into their CPU's ring yet, in the ring's layout. To be asked when
    /// the gate is closed and no program runs any more: then they are all that is left.
    pub fn staged(&self) -> Result<Vec<(u32, Bytes)>, MapError> {
        let mut left = Vec::new();
        for (cpu, state) in self.possible.iter().zip(self.cpu.get(&0, 0)?.iter()) {
            let mut batch = BytesMut::new();
            for words in state.stage.iter().take(state.staged as usize) {
                decode::append(&mut batch, words.as_bytes());
            }
            if !batch.is_empty() {
                left.push((*cpu, batch.freeze()));
            }
        }
        Ok(left)
    }

    /// What the probes counted since the last call, by family, over all CPUs. Staged records count as
    /// streamed when they were taken, and while they wait not at all yet. Refused runs are as of the last
    /// [`Self::renew_programs`].
    pub fn counted(&mut self, staged: Staged) -> Result<[FamilyAccounting; FAMILIES], MapError> {
        let mut total = [FamilyCounters::default(); FAMILIES];
        for state in self.cpu.get(&0, 0)?.iter() {
            match staged {
                Staged::Taken => total[Family::Softirq as usize].streamed += state.staged,
                Staged::Waiting => {
                    let observed = &mut total[Family::Softirq as usize].observed;
                    *observed = observed.wrapping_sub(state.staged);
                }
            }
            for (sum, one) in total.iter_mut().zip(&state.counters.family) {
                add(sum, one);
            }
        }
        let misses = self.programs.recursion_misses();
        let accounting = std::array::from_fn(|i| {
            let (now, before) = (&total[i], &self.last_counters[i]);
            FamilyAccounting {
                observed: now.observed.wrapping_sub(before.observed),
                streamed: now.streamed.wrapping_sub(before.streamed),
                spilled: now.spilled.wrapping_sub(before.spilled),
                governed: now.governed.wrapping_sub(before.governed),
                lost: reasons(&[(
                    "no_spill_row",
                    now.lost_no_spill_row.wrapping_sub(before.lost_no_spill_row),
                )]),
                partial: reasons(&[
                    (
                        "end_without_start",
                        now.end_without_start.wrapping_sub(before.end_without_start),
                    ),
                    (
                        "start_without_end",
                        now.start_without_end.wrapping_sub(before.start_without_end),
                    ),
                    (
                        "pending_table_full",
                        now.pending_table_full
                            .wrapping_sub(before.pending_table_full),
                    ),
                    (
                        "running_table_full",
                        now.running_table_full
                            .wrapping_sub(before.running_table_full),
                    ),
                    ("cancelled", now.cancelled.wrapping_sub(before.cancelled)),
                    (
                        "stack_collision",
                        now.stack_collision.wrapping_sub(before.stack_collision),
                    ),
                    (
                        "program_recursion",
                        misses[i].saturating_sub(self.last_misses[i]),
                    ),
                    (
                        "pending_aged",
                        if i == Family::Workqueue as usize {
                            std::mem::take(&mut self.aged)
                        } else {
                            0
                        },
                    ),
                ]),
                overflowed: 0,
            }
        });
        self.last_counters = total;
        self.last_misses = misses;
        Ok(accounting)
    }

    /// What the probes observed since the programs were loaded, by family.
    pub fn observed_ever(&self) -> Result<[u64; FAMILIES], MapError> {
        let mut observed = [0_u64; FAMILIES];
        for state in self.cpu.get(&0, 0)?.iter() {
            for (sum, family) in observed.iter_mut().zip(&state.counters.family) {
                *sum = sum.wrapping_add(family.observed);
            }
        }
        Ok(observed)
    }

    /// Asks the kernel anew what its account of each program is: a file each.
    pub fn renew_programs(&mut self) {
        self.programs.renew();
    }

    /// What the programs ran, as of [`Self::renew_programs`], and what made them run, since they were loaded.
    pub fn programs(&self, clock: Option<&CpuClock>) -> Result<Reading, MapError> {
        let states = self.cpu.get(&0, 0)?;
        let now_ns = clock::monotonic_ns();
        let drivers = |(cpu, state): (&u32, &CpuState)| {
            let mut counts = state.counters.family.map(|family| family.observed);
            // Its programs run at each switch, whoever it is to.
            counts[Family::Kthread as usize] = state.tasks.begun;
            counts[Family::Stack as usize] = clock.map_or(0, |clock| clock.ticked_ns(*cpu, now_ns));
            Drivers { cpu: *cpu, counts }
        };
        Ok(Reading {
            monotonic_ns: now_ns,
            programs: self.programs.counted(),
            cpus: self
                .possible
                .iter()
                .zip(states.iter())
                .map(drivers)
                .collect(),
        })
    }

    /// Records that were spilled since the programs were loaded, as far as [`Self::counted`] knows.
    #[must_use]
    pub fn spilled_ever(&self) -> u64 {
        self.last_counters
            .iter()
            .fold(0, |sum, family| sum.wrapping_add(family.spilled))
    }

    /// Removes pending works older than `age_ns`: cancelled ones leave their entry behind.
    pub fn sweep_pending(&mut self, now_ns: u64, age_ns: u64) {
        let stale: Vec<u64> = self
            .pending
            .iter()
            .filter_map(Result::ok)
            .filter(|(_, work)| {
                now_ns.saturating_sub(work.first.queue_ns.max(work.second.queue_ns)) > age_ns
            })
            .map(|(work, _)| work)
            .collect();
        for work in stale {
            if self.pending.remove(&work).is_ok() {
                self.aged += 1;
            }
        }
    }
}

/// Whether no switch fell into the copy ([`kctx_common::pairing::TaskTime`]).
fn is_whole(state: &CpuState) -> bool {
    state.tasks.begun == state.tasks.finished
}

fn add(sum: &mut FamilyCounters, one: &FamilyCounters) {
    let FamilyCounters {
        observed,
        streamed,
        spilled,
        lost_no_spill_row,
        end_without_start,
        start_without_end,
        pending_table_full,
        running_table_full,
        cancelled,
        stack_collision,
        governed,
    } = one;
    sum.observed = sum.observed.wrapping_add(*observed);
    sum.streamed += streamed;
    sum.spilled += spilled;
    sum.lost_no_spill_row += lost_no_spill_row;
    sum.end_without_start += end_without_start;
    sum.start_without_end += start_without_end;
    sum.pending_table_full += pending_table_full;
    sum.running_table_full += running_table_full;
    sum.cancelled += cancelled;
    sum.stack_collision += stack_collision;
    sum.governed += governed;
}

fn reasons(counts: &[(&str, u64)]) -> BTreeMap<String, u64> {
    counts
        .iter()
        .filter(|(_, n)| *n != 0)
        .map(|(reason, n)| ((*reason).to_owned(), *n))
        .collect()
}
