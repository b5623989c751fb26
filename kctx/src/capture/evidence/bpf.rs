//! The machine's BPF programs: which there are, where they hang, and how long they ran where the kernel counts that. No map
//! is read.
//!
//! To find programs takes `CAP_SYS_ADMIN`; to ask one that is held takes nothing. So they are opened before privileges are
//! given up, and asked on both sides of the window.

use std::{
    collections::BTreeMap,
    io,
    os::fd::{AsFd as _, AsRawFd as _},
    sync::OnceLock,
};

use aya::programs::{ProgramError, ProgramFd, loaded_links, loaded_programs};
use serde::Serialize;

use super::{place::Place, qdisc::lines};

/// Programs held: each is a descriptor for as long as the capture lasts, and kctx needs some hundreds itself.
const PROGRAMS: usize = 512;

/// Programs beyond those are counted up to this.
const COUNTED: usize = 1 << 14;

/// Links looked at.
const LINKS: usize = 1024;

/// Programs that were found, or why none.
#[derive(Debug, Default)]
pub(super) struct Programs(OnceLock<Result<Found, String>>);

#[derive(Debug, Default)]
pub(super) struct Found {
    held: Vec<Held>,
    left_out: usize,
}

#[derive(Debug)]
pub(super) struct Held {
    id: u32,
    kind: String,
    name: String,
    tag: String,
    links: Vec<String>,
    fd: ProgramFd,
}

#[derive(Serialize)]
struct Row<'a> {
    id: u32,
    /// `BPF_PROG_TYPE_*` without its beginning, in small letters.
    #[serde(rename = "type")]
    kind: &'a str,
    name: &'a str,
    tag: &'a str,
    /// Types of the links that hold it: `xdp`, `tcx`, `cgroup`.
    links: &'a [String],
    /// Run time and runs, where `kernel.bpf_stats_enabled` is on or somebody asked for them.
    run_time_ns: u64,
    run_cnt: u64,
    /// Runs that were refused since the program was already running on that CPU.
    recursion_misses: u64,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Line<'a> {
    Program(Row<'a>),
    /// Programs that are not held, and so not listed.
    More {
        left_out: usize,
    },
}

impl Programs {
    /// Finds them, once.
    pub(super) fn open(&self) -> &Result<Found, String> {
        self.0.get_or_init(find)
    }
}

fn find() -> Result<Found, String> {
    let mut links: BTreeMap<u32, Vec<String>> = BTreeMap::new();
    for link in loaded_links().take(LINKS).filter_map(Result::ok) {
        let kind = link.link_type();
        let kind = kind.map_or_else(|_| "unknown".to_owned(), |kind| format!("{kind:?}"));
        let kind = kind.to_lowercase();
        links.entry(link.program_id()).or_default().push(kind);
    }
    let mut found = Found::default();
    for program in loaded_programs().take(COUNTED) {
        let program = match program {
            Ok(program) => program,
            Err(error) if found.held.is_empty() => {
                let cause = std::error::Error::source(&error);
                let cause = cause.map_or_else(|| error.to_string(), ToString::to_string);
                return Err(format!("bpf(): {cause} (it takes CAP_SYS_ADMIN)"));
            }
            Err(error) => {
                found.left_out += usize::from(!is_gone(&error));
                continue;
            }
        };
        if found.held.len() >= PROGRAMS {
            found.left_out += 1;
            continue;
        }
        let fd = match program.fd() {
            Ok(fd) => fd,
            Err(error) => {
                found.left_out += usize::from(!is_gone(&error));
                continue;
            }
        };
        let kind = format!("{:?}", program.program_type()).to_lowercase();
        found.held.push(Held {
            id: program.id(),
            kind: kind.trim_start_matches("bpf_prog_type_").to_owned(),
            name: String::from_utf8_lossy(program.name()).into_owned(),
            tag: format!("{:016x}", program.tag()),
            links: links.remove(&program.id()).unwrap_or_default(),
            fd,
        });
    }
    Ok(found)
}

/// A program a line, with its counts now.
pub(super) fn read(place: &Place<'_>) -> Result<Vec<u8>, String> {
    let programs = place.memory.programs.open().as_ref();
    let programs = programs.map_err(Clone::clone)?;
    document(programs)
}

/// A program a line, and in the end how many are not among them.
fn document(programs: &Found) -> Result<Vec<u8>, String> {
    let rows = programs.held.iter().map(|program| {
        let fdinfo = format!("/proc/self/fdinfo/{}", program.fd.as_fd().as_raw_fd());
        let fdinfo = std::fs::read_to_string(fdinfo).unwrap_or_default();
        Line::Program(Row {
            id: program.id,
            kind: &program.kind,
            name: &program.name,
            tag: &program.tag,
            links: &program.links,
            run_time_ns: count(&fdinfo, "run_time_ns:"),
            run_cnt: count(&fdinfo, "run_cnt:"),
            recursion_misses: count(&fdinfo, "recursion_misses:"),
        })
    });
    let left_out = programs.left_out;
    let more = (left_out > 0).then_some(Line::More { left_out });
    let rows: Vec<Line<'_>> = rows.chain(more).collect();
    lines(&rows)
}

/// Whether a program ended while it was looked for.
fn is_gone(error: &ProgramError) -> bool {
    match error {
        ProgramError::SyscallError(error) => error.io_error.kind() == io::ErrorKind::NotFound,
        _ => false,
    }
}

/// A line of fdinfo (`bpf_prog_show_fdinfo`, kernel/bpf/syscall.c).
fn count(fdinfo: &str, name: &str) -> u64 {
    let value = super::own::field(fdinfo, name);
    value.and_then(|value| value.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_many_were_left_out_is_said() {
        let text = |left_out| {
            let held = Vec::new();
            String::from_utf8(document(&Found { held, left_out }).unwrap()).unwrap()
        };
        assert_eq!(text(0), "[]\n");
        assert_eq!(text(3), "[\n{\"left_out\":3}\n]\n");
    }
}
