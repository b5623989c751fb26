//! What the kernel keeps of each of kctx's programs, and asking it to count their run time.

use std::{
    os::fd::{AsFd as _, AsRawFd as _, OwnedFd},
    path::Path,
    sync::Arc,
};

use aya::{
    Ebpf,
    programs::ProgramFd,
    sys::{Stats, enable_stats},
};
use kctx_common::counters::FAMILIES;

use super::{PROBES, attach::one_line};
use crate::{aggregate::window::Family, host::Reread, meter::programs::Counted};

/// The programs that are loaded.
pub struct Programs(Vec<Program>);

struct Program {
    name: Arc<str>,
    family: Family,
    /// Its file in /proc/self/fdinfo.
    fdinfo: Reread,
    /// What that file tells of.
    _fd: ProgramFd,
    seen: FdInfo,
}

impl Programs {
    /// Those of the object that were loaded; after attaching.
    pub(super) fn of(ebpf: &Ebpf) -> Self {
        let names = PROBES.iter().flat_map(|spec| {
            let raw = format!("{}_raw", spec.tracepoint);
            [spec.tracepoint.to_owned(), raw].map(|name| (spec.family, name))
        });
        let programs = names.filter_map(|(family, name)| {
            let fd = ebpf.program(&name)?.fd().ok()?.try_clone().ok()?;
            let path = format!("/proc/self/fdinfo/{}", fd.as_fd().as_raw_fd());
            Some(Program {
                name: Arc::from(name),
                family,
                fdinfo: Reread::open(Path::new(&path)).ok()?,
                _fd: fd,
                seen: FdInfo::default(),
            })
        });
        Self(programs.collect())
    }

    /// Asks the kernel anew.
    pub(super) fn renew(&mut self) {
        for program in &mut self.0 {
            if let Ok(text) = program.fdinfo.read() {
                program.seen = FdInfo::parse(&text);
            }
        }
    }

    /// How often programs were refused because they already ran on that CPU, by family; as of [`Self::renew`].
    pub(super) fn recursion_misses(&self) -> [u64; FAMILIES] {
        let mut misses = [0_u64; FAMILIES];
        for program in &self.0 {
            misses[program.family as usize] += program.seen.recursion_misses;
        }
        misses
    }

    /// Runs and their time, as of [`Self::renew`].
    pub(super) fn counted(&self) -> Vec<Counted> {
        let counted = |program: &Program| Counted {
            program: Arc::clone(&program.name),
            family: program.family,
            runs: program.seen.run_cnt,
            run_ns: program.seen.run_time_ns,
        };
        self.0.iter().map(counted).collect()
    }
}

/// The fields of a program's fdinfo (`bpf_prog_show_fdinfo`, kernel/bpf/syscall.c) that are read; 0 where a kernel
/// does not have one. `run_*` since 5.1, `recursion_misses` since 5.12 (raw tracepoints since 6.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct FdInfo {
    run_time_ns: u64,
    run_cnt: u64,
    recursion_misses: u64,
}

impl FdInfo {
    fn parse(text: &str) -> Self {
        let mut info = Self::default();
        for line in text.lines() {
            let Some((field, value)) = line.split_once(':') else {
                continue;
            };
            let place = match field {
                "run_time_ns" => &mut info.run_time_ns,
                "run_cnt" => &mut info.run_cnt,
                "recursion_misses" => &mut info.recursion_misses,
                _ => continue,
            };
            *place = value.trim().parse().unwrap_or(0);
        }
        info
    }
}

/// The kernel counts the run time of programs, of all on the machine, as long as this is there. The sysctl
/// `kernel.bpf_stats_enabled` is left alone.
#[derive(Debug)]
pub struct BpfStats {
    _fd: OwnedFd,
}

impl BpfStats {
    /// Takes it, or says why not.
    pub fn enable() -> Result<Self, String> {
        match enable_stats(Stats::RunTime) {
            Ok(fd) => Ok(Self { _fd: fd }),
            Err(error) => Err(match error.io_error.raw_os_error() {
                Some(libc::EPERM) => {
                    "the kernel counts the run time of programs for CAP_SYS_ADMIN only".to_owned()
                }
                Some(libc::EINVAL) => "this kernel has no BPF_ENABLE_STATS (since 5.8)".to_owned(),
                _ => format!("BPF_ENABLE_STATS: {}", one_line(&error)),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_kernel_says_of_a_program_is_read() {
        // 6.18
        let text = "pos:\t0\nflags:\t02000002\nprog_type:\t26\nprog_jited:\t1\nprog_tag:\tb8b5e2a1c2b1c9f4\n\
                    memlock:\t8192\nprog_id:\t58\nrun_time_ns:\t123456\nrun_cnt:\t789\nrecursion_misses:\t2\n\
                    verified_insns:\t512\n";
        let expected = FdInfo {
            run_time_ns: 123_456,
            run_cnt: 789,
            recursion_misses: 2,
        };
        assert_eq!(FdInfo::parse(text), expected);
        // 4.19 has none of them.
        assert_eq!(
            FdInfo::parse("pos:\t0\nprog_type:\t17\nrun_cnt\nrun_cnt:\tmany\n"),
            FdInfo::default()
        );
    }
}
