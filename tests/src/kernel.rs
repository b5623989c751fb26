//! The kernel's own books, and what of BPF a process holds.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use anyhow::{Context as _, Result};
use aya::{
    maps::{Map, MapData, PerCpuArray, PerCpuHashMap},
    programs::loaded_programs,
};
use kctx_common::{
    counters::FamilyCounters,
    pairing::CpuState,
    spill::{SpillKey, SpillRow},
};

/// Counts by vector and CPU, as /proc/softirqs has them.
pub fn softirqs(text: &str) -> Result<BTreeMap<(String, u32), u64>> {
    let mut lines = text.lines();
    let cpus = header(lines.next().unwrap_or_default())?;
    let mut counts = BTreeMap::new();
    for line in lines {
        let (vector, numbers) = line.split_once(':').context("a vector and a colon")?;
        for (cpu, number) in cpus.iter().zip(numbers.split_whitespace()) {
            counts.insert((vector.trim().to_owned(), *cpu), number.parse()?);
        }
    }
    Ok(counts)
}

/// Counts by interrupt number and CPU, as /proc/interrupts has them; without the named rows, which have
/// no handlers.
pub fn interrupts(text: &str) -> Result<BTreeMap<(u32, u32), u64>> {
    let mut lines = text.lines();
    let cpus = header(lines.next().unwrap_or_default())?;
    let mut counts = BTreeMap::new();
    for line in lines {
        let Some((Ok(irq), numbers)) = line.split_once(':').map(|(a, b)| (a.trim().parse(), b))
        else {
            continue;
        };
        for (cpu, number) in cpus.iter().zip(numbers.split_whitespace()) {
            counts.insert((irq, *cpu), number.parse()?);
        }
    }
    Ok(counts)
}

/// Counts of the named rows (`LOC`, `CAL` and so on) by name and CPU, as /proc/interrupts has them.
pub fn named_interrupts(text: &str) -> Result<BTreeMap<(String, u32), u64>> {
    let mut lines = text.lines();
    let cpus = header(lines.next().unwrap_or_default())?;
    let mut counts = BTreeMap::new();
    for line in lines {
        let Some((name, numbers)) = line.split_once(':') else {
            continue;
        };
        let name = name.trim();
        if name.parse::<u32>().is_ok() {
            continue;
        }
        // ERR and MIS have one number for all.
        for (cpu, number) in cpus.iter().zip(numbers.split_whitespace()) {
            if let Ok(number) = number.parse() {
                counts.insert((name.to_owned(), *cpu), number);
            }
        }
    }
    Ok(counts)
}

fn header(line: &str) -> Result<Vec<u32>> {
    line.split_whitespace()
        .map(|word| {
            let number = word.strip_prefix("CPU").context("a header of CPUs")?;
            Ok(number.parse()?)
        })
        .collect()
}

/// How much each count grew.
#[must_use]
pub fn growth<K: Ord + Clone>(
    before: &BTreeMap<K, u64>,
    after: &BTreeMap<K, u64>,
) -> BTreeMap<K, u64> {
    after
        .iter()
        .map(|(key, now)| {
            let then = before.get(key).copied().unwrap_or(0);
            (key.clone(), now.wrapping_sub(then))
        })
        .collect()
}

/// The BPF programs that a process holds by its file descriptors, and so keeps loaded.
pub fn programs_of(pid: u32) -> Result<BTreeSet<u32>> {
    fdinfo(pid, "prog_id:")
}

fn fdinfo(pid: u32, field: &str) -> Result<BTreeSet<u32>> {
    let mut ids = BTreeSet::new();
    for entry in fs::read_dir(format!("/proc/{pid}/fdinfo"))? {
        // A descriptor may be closed a moment later.
        let Ok(text) = fs::read_to_string(entry?.path()) else {
            continue;
        };
        let lines = text.lines().filter_map(|line| line.strip_prefix(field));
        ids.extend(lines.filter_map(|id| id.trim().parse::<u32>().ok()));
    }
    Ok(ids)
}

/// Those of the programs that are loaded, whoever holds them.
pub fn still_loaded(programs: &BTreeSet<u32>) -> Result<BTreeSet<u32>> {
    // One that went away while the list was read is an error in it, and not loaded.
    let loaded: BTreeSet<u32> = (loaded_programs().flatten())
        .map(|program| program.id())
        .collect();
    Ok(programs.intersection(&loaded).copied().collect())
}

/// Whether the process is a kctx whose probes count: they do once its first window is open.
#[must_use]
pub fn counts(pid: u32) -> bool {
    let Ok(maps) = fdinfo(pid, "map_id:") else {
        return false;
    };
    maps.into_iter()
        .any(|id| observed(id).is_ok_and(|n| n.is_some_and(|n| n > 0)))
}

/// What the probes observed so far on all CPUs, if this is the map that has it.
fn observed(map: u32) -> Result<Option<u64>> {
    let cpus = states(map)?;
    let families = cpus.map(|cpus| {
        let families = cpus.iter().flat_map(|cpu| &cpu.counters.family);
        families.map(|family| family.observed).sum()
    });
    Ok(families)
}

/// The CPUs' states, if this is the map that has them.
fn states(map: u32) -> Result<Option<Vec<CpuState>>> {
    let map = MapData::from_id(map)?;
    if map.info()?.name_as_str() != Some("CPU") {
        return Ok(None);
    }
    let cpus: PerCpuArray<_, CpuState> = Map::PerCpuArray(map).try_into()?;
    Ok(Some(cpus.get(&0, 0)?.iter().copied().collect()))
}

/// What the probes of a running kctx counted of a family so far, over all CPUs.
pub fn counters(pid: u32, family: usize) -> Result<FamilyCounters> {
    for map in fdinfo(pid, "map_id:")? {
        let Some(cpus) = states(map)? else { continue };
        let mut sum = FamilyCounters::default();
        for cpu in &cpus {
            let one = &cpu.counters.family[family];
            sum.observed += one.observed;
            sum.streamed += one.streamed;
            sum.spilled += one.spilled;
            sum.governed += one.governed;
            sum.lost_no_spill_row += one.lost_no_spill_row;
        }
        return Ok(sum);
    }
    anyhow::bail!("process {pid} holds no map of CPUs' states")
}

/// What the probes of a running kctx have spilled: each key's row of each CPU.
pub fn spill_rows(pid: u32) -> Result<Vec<(SpillKey, SpillRow)>> {
    for id in fdinfo(pid, "map_id:")? {
        let map = MapData::from_id(id)?;
        if map.info()?.name_as_str() != Some("SPILL") {
            continue;
        }
        let spill: PerCpuHashMap<_, SpillKey, SpillRow> = Map::PerCpuHashMap(map).try_into()?;
        let mut rows = Vec::new();
        for entry in spill.iter() {
            let (key, cpus) = entry?;
            rows.extend(cpus.iter().map(|row| (key, *row)));
        }
        return Ok(rows);
    }
    anyhow::bail!("process {pid} holds no spill")
}

/// How many perf events a process holds that run a program: by themselves, or since 5.15 by a link.
pub fn perf_events_of(pid: u32) -> Result<usize> {
    let mut events = 0;
    for entry in fs::read_dir(format!("/proc/{pid}/fd"))? {
        let path = entry?.path();
        // A descriptor may be closed a moment later.
        let Ok(target) = fs::read_link(&path) else {
            continue;
        };
        let number = path.file_name().unwrap_or_default().to_string_lossy();
        let is_link = || {
            let info = fs::read_to_string(format!("/proc/{pid}/fdinfo/{number}"));
            info.unwrap_or_default().contains("link_type:\tperf")
        };
        events += usize::from(match &*target.to_string_lossy() {
            "anon_inode:[perf_event]" => true,
            "anon_inode:bpf_link" | "anon_inode:bpf-link" => is_link(),
            _ => false,
        });
    }
    Ok(events)
}

/// Whether a process has the kernel count the run time of BPF programs (`bpf_enable_runtime_stats`,
/// kernel/bpf/syscall.c).
pub fn holds_bpf_stats(pid: u32) -> Result<bool> {
    let descriptors = fs::read_dir(format!("/proc/{pid}/fd"))?;
    let targets = descriptors.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
    Ok(targets
        .into_iter()
        .any(|target| target.as_os_str() == "anon_inode:bpf-stats"))
}

/// Time in these programs that the kernel has counted, in nanoseconds.
pub fn run_time_ns(programs: &BTreeSet<u32>) -> Result<u64> {
    let loaded = loaded_programs().flatten();
    let ours = loaded.filter(|program| programs.contains(&program.id()));
    Ok(ours
        .map(|program| program.run_time().as_nanos() as u64)
        .sum())
}

/// CPU time of all of a process's threads, in nanoseconds.
pub fn cpu_time_ns(pid: u32) -> Result<u64> {
    let mut sum = 0;
    for entry in fs::read_dir(format!("/proc/{pid}/task"))? {
        let text = fs::read_to_string(entry?.path().join("schedstat"))?;
        let first = text.split_whitespace().next().context("a schedstat")?;
        sum += first.parse::<u64>()?;
    }
    Ok(sum)
}

/// A field of /proc/PID/task/TID/status, for each thread by its name.
pub fn status_of_threads(pid: u32, field: &str) -> Result<Vec<(String, String)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(format!("/proc/{pid}/task"))? {
        let Ok(text) = fs::read_to_string(entry?.path().join("status")) else {
            continue;
        };
        let value = |name: &str| {
            text.lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
                .map(|value| value.trim().to_owned())
        };
        let name = value("Name").unwrap_or_default();
        found.push((name, value(field).context("the field in status")?));
    }
    Ok(found)
}

/// The CPUs that are online.
pub fn online_cpus() -> Result<Vec<u32>> {
    let text = fs::read_to_string("/sys/devices/system/cpu/online")?;
    let cpus = kctx::host::cpus::parse_cpu_list(text.trim());
    Ok(cpus.context("a list of CPUs")?.into_iter().collect())
}

/// The memory that a process holds now, in bytes (`VmRSS` of /proc/PID/status).
pub fn resident_bytes(pid: u32) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.and_then(|line| line.trim().strip_suffix(" kB"));
    let kilobytes: u64 = number.context("no VmRSS")?.parse()?;
    Ok(kilobytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn softirqs_are_read_by_vector_and_cpu() -> Result<()> {
        let text = "                    CPU0       CPU2\n          HI:          0          1\n      NET_RX:         12         34\n";
        let counts = softirqs(text)?;
        assert_eq!(counts.get(&("NET_RX".to_owned(), 2)), Some(&34));
        assert_eq!(counts.len(), 4);
        Ok(())
    }

    #[test]
    fn interrupts_are_those_with_numbers() -> Result<()> {
        let text = "           CPU0       CPU1\n 24:          1          7  IO-APIC   5-edge      ACPI:Ged, other\nLOC:     462151     471877   Local timer interrupts\nERR:          0\n";
        let counts = interrupts(text)?;
        assert_eq!(counts, BTreeMap::from([((24, 0), 1), ((24, 1), 7)]));
        let named = named_interrupts(text)?;
        assert_eq!(named[&("LOC".to_owned(), 1)], 471_877);
        Ok(())
    }
}
