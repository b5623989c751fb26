//! The works that are in execution now, as the programs remember them.

use aya::maps::{HashMap, MapData};
use kctx_common::pairing::{RunningKey, RunningWork};

use super::figure::Reading;

/// More are not looked at in a window's end: a work a worker, and few hosts have so many.
const LOOKED_AT: usize = 1024;

/// The programs' table of them.
pub(crate) struct RunningWorks(HashMap<MapData, RunningKey, RunningWork>);

impl RunningWorks {
    /// Takes the table, which nobody else reads.
    pub(crate) fn take(ebpf: &mut aya::Ebpf) -> Option<Self> {
        let map = ebpf.take_map("RUNNING")?;
        HashMap::try_from(map).ok().map(Self)
    }

    /// The time since its start of the work that has been in execution the longest, in nanoseconds, and its function's
    /// address in hex; 0 where there is none. A start that stayed behind, of a worker that ended otherwise, is not told from
    /// one.
    pub(crate) fn longest(&self, now_ns: u64) -> Reading {
        let works = (self.0.iter().take(LOOKED_AT)).filter_map(Result::ok);
        let oldest = works.map(|(_, work)| work).min_by_key(|work| work.start_ns);
        oldest.map_or(
            Reading {
                value: 0,
                of: String::new(),
            },
            |work| Reading {
                value: now_ns.saturating_sub(work.start_ns),
                of: format!("{:#x}", work.function),
            },
        )
    }
}
