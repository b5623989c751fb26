//! The kernel side's books: the gate, the counters, the spill, the names. All by map look-ups, a few
//! times a second at most.

use std::collections::BTreeMap;

use aya::{
    maps::{Array, ArrayOfMaps, HashMap, MapData, MapError, PerCpuArray, PerCpuHashMap},
    programs::ProgramFd,
};
use bytes::{Bytes, BytesMut};
use kctx_common::{
    bucket,
    counters::{FAMILIES, FamilyCounters},
    pairing::{CpuState, PendingWork},
    record::NAME_LEN,
    spill::{SpillHistogram, SpillKey, SpillRow},
};
use rustc_hash::FxHashMap;
use zerocopy::IntoBytes as _;

use super::{
    PROBES,
    load::{LoadError, Loaded},
};
use crate::{
    aggregate::window::{Family, FamilyAccounting},
    decode,
    source::{SpillDelta, SpilledDurations},
};

/// Handles to the maps that userspace reads and writes while the probes run.
pub struct Books {
    gate: Array<MapData, u64>,
    rings: ArrayOfMaps<MapData>,
    first_ring: MapData,
    cpu: PerCpuArray<MapData, CpuState>,
    spill: PerCpuHashMap<MapData, SpillKey, SpillRow>,
    pending: HashMap<MapData, u64, PendingWork>,
    programs: Vec<(Family, ProgramFd)>,
    last_counters: [FamilyCounters; FAMILIES],
    last_misses: [u64; FAMILIES],
    last_spilled: u64,
    last_spill: FxHashMap<(SpillKey, u32), Box<SpillRow>>,
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
pub struct Names(HashMap<MapData, u64, [u8; NAME_LEN]>);

impl Names {
    /// The text of an id. Ids are made of the text, so an answer never goes stale.
    pub fn get(&self, id: u64) -> Option<String> {
        let bytes = self.0.get(&id, 0).ok()?;
        let end = bytes.iter().position(|&b| b == 0).unwrap_or(bytes.len());
        Some(String::from_utf8_lossy(&bytes[..end]).into_owned())
    }
}

fn take<T>(loaded: &mut Loaded, name: &'static str) -> Result<T, LoadError>
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
    pub fn open(loaded: &mut Loaded) -> Result<(Self, Names), LoadError> {
        let programs = PROBES
            .iter()
            .flat_map(|spec| {
                let raw = format!("{}_raw", spec.tracepoint);
                [spec.tracepoint.to_owned(), raw].map(|name| (spec.family, name))
            })
            .filter_map(|(family, name)| {
                let fd = loaded.ebpf.program(&name)?.fd().ok()?.try_clone().ok()?;
                Some((family, fd))
            })
            .collect();
        let first_ring = loaded.ring_maps.swap_remove(0);
        let books = Self {
            gate: take(loaded, ".bss")?,
            rings: take(loaded, "RINGS")?,
            first_ring,
            cpu: take(loaded, "CPU")?,
            spill: take(loaded, "SPILL")?,
            pending: take(loaded, "PENDING")?,
            programs,
            last_counters: [FamilyCounters::default(); FAMILIES],
            last_misses: [0; FAMILIES],
            last_spilled: 0,
            last_spill: FxHashMap::default(),
            aged: 0,
        };
        Ok((books, Names(take(loaded, "NAMES")?)))
    }

    /// Opens the gate: from here on, ends are counted and emitted.
    pub fn open_gate(&mut self) -> Result<(), MapError> {
        self.gate.set(0, 1, 0)
    }

    /// Closes the gate: from here on, ends are neither counted nor emitted, but by programs that saw it open.
    pub fn close_gate(&mut self) -> Result<(), MapError> {
        self.gate.set(0, 0, 0)
    }

    /// Waits until no program that saw the gate open still runs: an update of a map of maps returns only
    /// after a grace period (`maybe_wait_bpf_programs`, kernel/bpf/syscall.c; since 4.20).
    pub fn wait_for_programs(&mut self) -> Result<(), MapError> {
        self.rings.set(0, &self.first_ring, 0)
    }

    /// Softirq records that have not gone into their CPU's ring yet, in the ring's layout. To be asked when
    /// the gate is closed and no program runs any more: then they are all that is left.
    pub fn staged(&self) -> Result<Vec<(u32, Bytes)>, MapError> {
        let mut left = Vec::new();
        for (cpu, state) in self.cpu.get(&0, 0)?.iter().enumerate() {
            let mut batch = BytesMut::new();
            for words in state.stage.iter().take(state.staged as usize) {
                decode::append(&mut batch, words.as_bytes());
            }
            if !batch.is_empty() {
                left.push((cpu as u32, batch.freeze()));
            }
        }
        Ok(left)
    }

    /// What the probes counted since the last call, by family, over all CPUs. Staged records count as
    /// streamed when they were taken, and while they wait not at all yet.
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
        let mut misses = [0; FAMILIES];
        for (family, fd) in &self.programs {
            misses[*family as usize] += recursion_misses(fd).unwrap_or(0);
        }
        let accounting = std::array::from_fn(|i| {
            let (now, before) = (&total[i], &self.last_counters[i]);
            FamilyAccounting {
                observed: now.observed.wrapping_sub(before.observed),
                streamed: now.streamed.wrapping_sub(before.streamed),
                spilled: now.spilled.wrapping_sub(before.spilled),
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

    /// How the spill grew since the last call. Costs a few look-ups while nothing is spilled.
    pub fn spilled(&mut self) -> Result<Vec<SpillDelta>, MapError> {
        let spilled: u64 = self
            .cpu
            .get(&0, 0)?
            .iter()
            .flat_map(|state| state.counters.family.iter().map(|f| f.spilled))
            .sum();
        if spilled == self.last_spilled {
            return Ok(Vec::new());
        }
        self.last_spilled = spilled;
        let mut deltas = Vec::new();
        for key in self.spill.keys() {
            let key = key?;
            for (cpu, row) in self.spill.get(&key, 0)?.iter().enumerate() {
                let cpu = cpu as u32;
                if row.service.count == 0 {
                    continue;
                }
                let before = self.last_spill.get(&(key, cpu)).map(|row| &**row);
                if before.is_some_and(|b| b.service.count == row.service.count) {
                    continue;
                }
                deltas.push(SpillDelta {
                    cpu,
                    family: key.family,
                    unhandled: key.unhandled != 0,
                    overflow: key.overflow != 0,
                    number: key.number,
                    name_id: key.name_id,
                    function: key.function,
                    wait: growth(&row.wait, before.map(|b| &b.wait)),
                    service: growth(&row.service, before.map(|b| &b.service)),
                    third: growth(&row.third, before.map(|b| &b.third)),
                });
                self.last_spill.insert((key, cpu), Box::new(*row));
            }
        }
        Ok(deltas)
    }

    /// Removes pending works older than `age_ns`: cancelled ones leave their entry behind.
    pub fn sweep_pending(&mut self, now_ns: u64, age_ns: u64) {
        let stale: Vec<u64> = self
            .pending
            .iter()
            .filter_map(Result::ok)
            .filter(|(_, work)| now_ns.saturating_sub(work.queue_ns) > age_ns)
            .map(|(work, _)| work)
            .collect();
        for work in stale {
            if self.pending.remove(&work).is_ok() {
                self.aged += 1;
            }
        }
    }
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
}

fn reasons(counts: &[(&str, u64)]) -> BTreeMap<String, u64> {
    counts
        .iter()
        .filter(|(_, n)| *n != 0)
        .map(|(reason, n)| ((*reason).to_owned(), *n))
        .collect()
}

fn growth(now: &SpillHistogram, before: Option<&SpillHistogram>) -> SpilledDurations {
    let (count, sum_ns, max_ns) = before.map_or((0, 0, 0), |b| (b.count, b.sum_ns, b.max_ns));
    let buckets: Vec<(u16, u32)> = now
        .buckets
        .iter()
        .enumerate()
        .map(|(i, n)| (i as u16, n.wrapping_sub(before.map_or(0, |b| b.buckets[i]))))
        .filter(|&(_, n)| n != 0)
        .collect();
    let top = buckets.last().map_or(0, |&(i, _)| {
        bucket::lower_ns(i as usize + 1).saturating_sub(1)
    });
    SpilledDurations {
        count: now.count - count,
        sum_ns: now.sum_ns - sum_ns,
        max_ns: if now.max_ns > max_ns {
            now.max_ns
        } else {
            top.min(now.max_ns)
        },
        buckets,
    }
}

/// How often a program was refused because it already ran on that CPU: `recursion_misses` in the
/// program's fdinfo (since 5.12; raw tracepoints since 6.1).
fn recursion_misses(fd: &ProgramFd) -> Option<u64> {
    use std::os::fd::{AsFd as _, AsRawFd as _};
    let path = format!("/proc/self/fdinfo/{}", fd.as_fd().as_raw_fd());
    std::fs::read_to_string(path)
        .ok()?
        .lines()
        .find_map(|line| line.strip_prefix("recursion_misses:"))?
        .trim()
        .parse()
        .ok()
}
