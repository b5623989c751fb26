//! This process: CPU time by thread, and memory.

use std::{collections::BTreeMap, path::Path};

use rustc_hash::FxHashMap;

use super::ThreadTime;
use crate::host::{HostRoot, Reread, clock};

/// The first thread. Its own name is that of the program's file.
pub const MAIN: &str = "main";
/// Threads without a name of kctx's (name look-ups of the export), and those that have ended.
pub const OTHER: &str = "other";

/// How kctx's threads are called.
const OURS: &str = "kctx-";

/// The files that tell of this process, open.
#[derive(Debug)]
pub struct Files {
    root: HostRoot,
    statm: Option<Reread>,
    /// What each thread is called here, and its account.
    threads: FxHashMap<u32, (String, Reread)>,
}

/// What was read of the threads at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// CPU time of the process, threads that have ended included.
    pub total_ns: u64,
    /// Thread id, what it is called here, CPU time.
    pub threads: Vec<(u32, String, u64)>,
}

impl Files {
    /// Those of the running process.
    #[must_use]
    pub fn open(root: HostRoot) -> Self {
        Self {
            statm: root.reread("/proc/self/statm").ok(),
            root,
            threads: FxHashMap::default(),
        }
    }

    /// Reads what the threads used. A kernel that keeps no such account of them (without `CONFIG_SCHED_INFO`) leaves all
    /// to the process's own clock.
    #[must_use]
    pub fn reading(&mut self) -> Reading {
        let mut threads = Vec::new();
        let mut before = std::mem::take(&mut self.threads);
        for entry in std::fs::read_dir(self.root.path("/proc/self/task"))
            .into_iter()
            .flatten()
            .flatten()
        {
            let Ok(tid) = entry.file_name().to_string_lossy().parse() else {
                continue;
            };
            // It may end between the one look and the other. The file of one that ended cannot be read, also where its
            // number is another's by now.
            let known = |(name, file): (String, Reread)| {
                let cpu_ns = cpu_of_schedstat(&file.read().ok()?)?;
                Some((name, file, cpu_ns))
            };
            // A thread that has just begun has its maker's name until it has said its own.
            let before = before.remove(&tid).filter(|(name, _)| name != OTHER);
            let read = (before.and_then(known)).or_else(|| known(account(&entry.path(), tid)?));
            if let Some((name, file, cpu_ns)) = read {
                threads.push((tid, name.clone(), cpu_ns));
                self.threads.insert(tid, (name, file));
            }
        }
        Reading {
            // After the threads: their sum is no more than this.
            total_ns: clock::cpu_time_ns(),
            threads,
        }
    }

    /// Resident memory: the second number of /proc/self/statm, in pages.
    #[must_use]
    pub fn resident_bytes(&self) -> Option<u64> {
        let statm = self.statm.as_ref()?.read().ok()?;
        pages_of_statm(&statm)?.checked_mul(rustix::param::page_size() as u64)
    }
}

/// What a thread is called, and its account.
fn account(task: &Path, tid: u32) -> Option<(String, Reread)> {
    let comm = std::fs::read_to_string(task.join("comm")).ok()?;
    let name = name_of(comm.trim_end(), tid == std::process::id()).to_owned();
    Some((name, Reread::open(&task.join("schedstat")).ok()?))
}

/// The first number in a thread's schedstat: `sum_exec_runtime`, as of its last tick or switch where it runs now
/// (`proc_pid_schedstat`, fs/proc/base.c).
fn cpu_of_schedstat(text: &str) -> Option<u64> {
    text.split_ascii_whitespace().next()?.parse().ok()
}

fn name_of(comm: &str, is_main: bool) -> &str {
    match comm {
        _ if is_main => MAIN,
        ours if ours.starts_with(OURS) => ours,
        _ => OTHER,
    }
}

fn pages_of_statm(text: &str) -> Option<u64> {
    text.split_ascii_whitespace().nth(1)?.parse().ok()
}

/// The account of the threads since it was made.
#[derive(Debug, Default)]
pub struct Threads {
    /// What each thread was seen to have used.
    seen: FxHashMap<u32, u64>,
    /// Used so far, by name. Only ever grows.
    used: BTreeMap<String, u64>,
    /// The same when it was asked last.
    told: BTreeMap<String, u64>,
    /// Of the process when this was made, and what was used by threads before.
    base_ns: Option<u64>,
}

impl Threads {
    /// Takes a reading; the first one is where the account begins.
    pub fn look(&mut self, now: &Reading) {
        let begins = self.base_ns.is_none();
        let base_ns = *self.base_ns.get_or_insert(now.total_ns);
        let mut seen = FxHashMap::default();
        for (tid, name, cpu_ns) in &now.threads {
            // A thread that is new has used all of it since the last look.
            let before = self.seen.get(tid).copied().unwrap_or(0);
            seen.insert(*tid, *cpu_ns);
            let more = if begins {
                0
            } else {
                cpu_ns.saturating_sub(before)
            };
            if let Some(used) = self.used.get_mut(name) {
                *used = used.saturating_add(more);
            } else {
                self.used.insert(name.clone(), more);
            }
        }
        self.seen = seen;
        // What is left of the process's time is that of threads that have ended. A thread that runs is behind by up to a
        // tick, so it may seem to be a few milliseconds more, once.
        let of_threads = (self.used.iter())
            .filter(|(name, _)| *name != OTHER)
            .map(|(_, used)| *used)
            .fold(0, u64::saturating_add);
        let left = (now.total_ns.saturating_sub(base_ns)).saturating_sub(of_threads);
        let other = self.used.entry(OTHER.to_owned()).or_default();
        *other = left.max(*other);
    }

    /// What each used since this was asked last.
    pub fn take(&mut self) -> Vec<ThreadTime> {
        let told = std::mem::replace(&mut self.told, self.used.clone());
        (self.used.iter())
            .map(|(name, used)| ThreadTime {
                thread: name.clone(),
                cpu_ns: used.saturating_sub(told.get(name).copied().unwrap_or(0)),
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    fn reading(total_ms: u64, threads: &[(u32, &str, u64)]) -> Reading {
        Reading {
            total_ns: total_ms * MS,
            threads: (threads.iter())
                .map(|(tid, name, ms)| (*tid, (*name).to_owned(), ms * MS))
                .collect(),
        }
    }

    fn told(threads: &mut Threads) -> Vec<(String, u64)> {
        let times = threads.take().into_iter();
        times.map(|one| (one.thread, one.cpu_ns / MS)).collect()
    }

    fn named(times: &[(&str, u64)]) -> Vec<(String, u64)> {
        (times.iter())
            .map(|(name, ms)| ((*name).to_owned(), *ms))
            .collect()
    }

    #[test]
    fn each_thread_has_its_time_and_the_rest_is_others() {
        let mut threads = Threads::default();
        // What was used before, attaching, is not in it.
        threads.look(&reading(500, &[(1, MAIN, 490)]));
        threads.look(&reading(600, &[(1, MAIN, 500), (2, "kctx-drain", 80)]));
        assert_eq!(
            told(&mut threads),
            named(&[("kctx-drain", 80), (MAIN, 10), (OTHER, 10)])
        );
        threads.look(&reading(650, &[(1, MAIN, 500), (2, "kctx-drain", 130)]));
        assert_eq!(
            told(&mut threads),
            named(&[("kctx-drain", 50), (MAIN, 0), (OTHER, 0)])
        );
    }

    #[test]
    fn a_thread_that_ended_takes_nothing_back() {
        let mut threads = Threads::default();
        threads.look(&reading(0, &[(1, MAIN, 0)]));
        threads.look(&reading(100, &[(1, MAIN, 0), (2, "kctx-otlp", 100)]));
        // 20 ms more before it ended, then another of its name.
        threads.look(&reading(150, &[(1, MAIN, 0), (3, "kctx-otlp", 30)]));
        assert_eq!(
            told(&mut threads),
            named(&[("kctx-otlp", 130), (MAIN, 0), (OTHER, 20)])
        );
    }

    #[test]
    fn a_thread_that_is_behind_by_a_tick_does_not_make_others_fall() {
        let mut threads = Threads::default();
        threads.look(&reading(0, &[(1, MAIN, 0)]));
        threads.look(&reading(10, &[(1, MAIN, 6)]));
        assert_eq!(told(&mut threads), named(&[(MAIN, 6), (OTHER, 4)]));
        threads.look(&reading(20, &[(1, MAIN, 20)]));
        assert_eq!(told(&mut threads), named(&[(MAIN, 14), (OTHER, 0)]));
        threads.look(&reading(30, &[(1, MAIN, 26)]));
        assert_eq!(told(&mut threads), named(&[(MAIN, 6), (OTHER, 0)]));
    }

    #[test]
    fn without_an_account_of_threads_all_is_others() {
        let mut threads = Threads::default();
        threads.look(&reading(10, &[]));
        threads.look(&reading(30, &[]));
        assert_eq!(told(&mut threads), named(&[(OTHER, 20)]));
    }

    #[test]
    fn names_are_kctxs_own() {
        assert_eq!(name_of("kctx", true), MAIN);
        assert_eq!(name_of("kctx-otlp", false), "kctx-otlp");
        assert_eq!(name_of("tokio-rt-worker", false), OTHER);
        assert_eq!(cpu_of_schedstat("123456 789 10\n"), Some(123_456));
        assert_eq!(cpu_of_schedstat(""), None);
        assert_eq!(pages_of_statm("765 433 404 5 0 123 0\n"), Some(433));
        assert_eq!(pages_of_statm("765"), None);
    }

    #[test]
    fn this_process_is_read() {
        let mut files = Files::open(HostRoot::system());
        let reading = files.reading();
        assert!(reading.total_ns > 0);
        assert!(reading.threads.iter().any(|(_, name, _)| name == MAIN));
        assert!(files.resident_bytes().is_some_and(|bytes| bytes > 100_000));
        // A thread comes and goes between the readings; its name is not another's.
        let of_ours = |files: &mut Files| {
            let threads = files.reading().threads.into_iter();
            threads
                .filter(|(_, name, _)| name == "kctx-counted")
                .count()
        };
        let (ask, asked) = std::sync::mpsc::channel::<()>();
        let thread = std::thread::Builder::new().name("kctx-counted".to_owned());
        let thread = thread.spawn(move || asked.recv()).unwrap();
        let begun = std::time::Instant::now();
        while of_ours(&mut files) == 0 {
            assert!(begun.elapsed().as_secs() < 60, "{files:?}");
        }
        drop(ask);
        assert!(thread.join().unwrap().is_err());
        assert_eq!(of_ours(&mut files), 0);
        assert!(!files.threads.is_empty());
    }
}
