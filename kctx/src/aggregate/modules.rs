//! Module events: the rows, and which request led to which load.

use std::collections::VecDeque;

use kctx_common::record::{Module, module_event};

use super::{
    text,
    window::{ModuleEvent, ModuleRequester, ModuleRow},
};
use crate::host::taint;

/// Module events kept in one window; more are counted.
const MODULE_ROWS: usize = 1000;

/// Requests that are remembered, and processes that load.
const REQUESTS: usize = 64;

/// A module is loaded this long after it was asked for, at most.
const SAME_NAME_NS: u64 = 10_000_000_000;

/// A request by an alias ends in a load by modprobe this much later, at most.
const BY_ALIAS_NS: u64 = 5_000_000_000;

/// What the kernel asks for modules with.
const MODPROBE: &str = "modprobe";

/// The window's module events, and the latest requests, which may be of a window before.
#[derive(Debug, Default)]
pub(super) struct ModuleTable {
    rows: Vec<ModuleRow>,
    requests: VecDeque<Request>,
    /// Processes that load modules, and since when.
    loaders: VecDeque<(u32, u64)>,
}

/// A request that is remembered.
#[derive(Debug)]
struct Request {
    time_ns: u64,
    by: ModuleRequester,
    /// A module of its name was loaded: what else is loaded is not due to it.
    answered: bool,
}

/// What became of a module record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// Has a row.
    Row,
    /// There was no more room.
    Overflow,
    /// Not an event that there is.
    Unknown,
}

impl ModuleTable {
    /// Takes an event.
    pub(super) fn add(&mut self, r: &Module, unix_offset_ns: u64) -> Taken {
        let event = match r.event {
            module_event::LOAD => ModuleEvent::Load,
            module_event::FREE => ModuleEvent::Free,
            module_event::REQUEST => ModuleEvent::Request,
            module_event::INIT => ModuleEvent::Init,
            _ => return Taken::Unknown,
        };
        let (name, comm) = (text(&r.name), text(&r.comm));
        let is_init = event == ModuleEvent::Init;
        let row = ModuleRow {
            event,
            time_unix_ns: r.time_ns.wrapping_add(unix_offset_ns),
            taints: taint::module_taint_letters(r.taints),
            pid: r.pid,
            cpu: r.cpu,
            init_ns: is_init.then_some(r.init_ns),
            ret: is_init.then_some(r.ret),
            requested_by: (event == ModuleEvent::Load)
                .then(|| self.requester(r, &name, &comm))
                .flatten(),
            name,
            comm,
        };
        if event == ModuleEvent::Request {
            if self.requests.len() == REQUESTS {
                self.requests.pop_front();
            }
            self.requests.push_back(Request {
                time_ns: r.time_ns,
                by: ModuleRequester {
                    name: row.name.clone(),
                    pid: row.pid,
                    comm: row.comm.clone(),
                    guess: false,
                },
                answered: false,
            });
        }
        if self.rows.len() >= MODULE_ROWS {
            return Taken::Overflow;
        }
        self.rows.push(row);
        Taken::Row
    }

    /// The request that led to a load: the latest one for this name. Else, where modprobe loads, a guess: the latest
    /// one at all that has not led to a module of its own name, since what was asked for may have been an alias, and
    /// this module one that the wanted one needs. The records do not say who started a modprobe, so it may have
    /// been a user; one that loaded something before the request was made was not started for it.
    fn requester(&mut self, r: &Module, name: &str, comm: &str) -> Option<ModuleRequester> {
        let began_ns = self.began(r.pid, r.time_ns);
        let requests = &mut self.requests;
        let latest = |requests: &VecDeque<Request>, ns, wanted: &dyn Fn(&Request) -> bool| {
            let in_time = |at| r.time_ns.checked_sub(at).is_some_and(|age| age <= ns);
            requests
                .iter()
                .rposition(|request| in_time(request.time_ns) && wanted(request))
        };
        let by_name = |request: &Request| same_name(&request.by.name, name);
        if let Some(i) = latest(requests, SAME_NAME_NS, &by_name) {
            requests[i].answered = true;
            return Some(requests[i].by.clone());
        }
        let by_alias = |request: &Request| {
            !request.answered && request.time_ns <= began_ns && request.by.pid != r.pid
        };
        if comm != MODPROBE {
            return None;
        }
        let i = latest(requests, BY_ALIAS_NS, &by_alias)?;
        Some(ModuleRequester {
            guess: true,
            ..requests[i].by.clone()
        })
    }

    /// When a process first loaded a module, as far as it is remembered.
    fn began(&mut self, pid: u32, now_ns: u64) -> u64 {
        // Process ids come again.
        (self.loaders).retain(|(_, began_ns)| now_ns.saturating_sub(*began_ns) <= SAME_NAME_NS);
        let known = self.loaders.iter().find(|(loader, _)| *loader == pid);
        if let Some((_, began_ns)) = known {
            return *began_ns;
        }
        if self.loaders.len() == REQUESTS {
            self.loaders.pop_front();
        }
        self.loaders.push_back((pid, now_ns));
        now_ns
    }

    /// All rows; there are none afterwards.
    pub(super) fn take(&mut self) -> Vec<ModuleRow> {
        std::mem::take(&mut self.rows)
    }
}

/// Module names may be asked for with `-` where they have `_`.
fn same_name(a: &str, b: &str) -> bool {
    let plain = |byte: u8| if byte == b'-' { b'_' } else { byte };
    a.bytes().map(plain).eq(b.bytes().map(plain))
}

#[cfg(test)]
mod tests {
    use super::*;
    use kctx_common::record::{MODULE_NAME_LEN, TASK_COMM_LEN, kind};

    const SECOND: u64 = 1_000_000_000;

    fn event(event: u8, name: &str, comm: &str, time_ns: u64) -> Module {
        let mut record = Module {
            kind: kind::MODULE,
            event,
            reserved: [0; 2],
            taints: 0,
            pid: time_ns as u32,
            cpu: 0,
            time_ns,
            comm: [0; TASK_COMM_LEN],
            name: [0; MODULE_NAME_LEN],
            init_ns: 7,
            ret: -2,
            reserved2: 0,
        };
        record.comm[..comm.len()].copy_from_slice(comm.as_bytes());
        record.name[..name.len()].copy_from_slice(name.as_bytes());
        record
    }

    fn requester(requests: &[(&str, u64)], name: &str, comm: &str, at: u64) -> Option<String> {
        let mut table = ModuleTable::default();
        for (name, time) in requests {
            table.add(&event(module_event::REQUEST, name, "ip", *time), 0);
        }
        table.take();
        table.add(&event(module_event::LOAD, name, comm, at), 0);
        let row = table.take().remove(0);
        assert_eq!((row.init_ns, row.ret), (None, None));
        row.requested_by.map(|request| request.name)
    }

    #[test]
    fn a_load_is_laid_to_the_request_for_its_name_or_to_modprobes_latest() {
        let asked = [("nf-tables", 1), ("net-pf-16", 2 * SECOND)];
        let by = |name, comm, at| requester(&asked, name, comm, at);
        assert_eq!(
            by("nf_tables", "modprobe", 3 * SECOND).as_deref(),
            Some("nf-tables")
        );
        assert_eq!(
            by("nf_tables", "insmod", 10 * SECOND).as_deref(),
            Some("nf-tables")
        );
        assert_eq!(by("nf_tables", "insmod", 10 * SECOND + 2), None);
        assert_eq!(
            by("xfrm_user", "modprobe", 7 * SECOND).as_deref(),
            Some("net-pf-16")
        );
        assert_eq!(by("xfrm_user", "modprobe", 7 * SECOND + 1), None);
        assert_eq!(by("xfrm_user", "insmod", 3 * SECOND), None);
        assert_eq!(by("nf_tables", "insmod", 0), None, "asked for afterwards");
    }

    /// By whose request each load came, and whether that is a guess.
    fn laid_to(events: &[(u8, &str, u32, u64)]) -> Vec<Option<(u32, bool)>> {
        let mut table = ModuleTable::default();
        for (kind, name, pid, second) in events {
            let mut record = event(*kind, name, MODPROBE, second * SECOND);
            record.pid = *pid;
            table.add(&record, 0);
        }
        let rows = table.take().into_iter();
        rows.filter(|row| row.event == ModuleEvent::Load)
            .map(|row| row.requested_by.map(|by| (by.pid, by.guess)))
            .collect()
    }

    #[test]
    fn a_guess_is_called_one_and_blames_nobody_who_cannot_have_been_it() {
        const REQUEST: u8 = module_event::REQUEST;
        const LOAD: u8 = module_event::LOAD;
        // By its name it is known; what comes with it is a guess.
        assert_eq!(
            laid_to(&[
                (REQUEST, "nf_tables", 1, 1),
                (LOAD, "nfnetlink", 100, 2),
                (LOAD, "nf_tables", 100, 2),
            ]),
            [Some((1, true)), Some((1, false))]
        );
        // A request that led to its own module is not blamed for another's.
        assert_eq!(
            laid_to(&[
                (REQUEST, "net-pf-16", 1, 1),
                (REQUEST, "dummy", 2, 2),
                (LOAD, "dummy", 100, 3),
                (LOAD, "xfrm_user", 101, 4),
            ]),
            [Some((2, false)), Some((1, true))]
        );
        // A modprobe that was at work before the request.
        assert_eq!(
            laid_to(&[
                (LOAD, "one", 100, 1),
                (REQUEST, "net-pf-16", 2, 2),
                (LOAD, "two", 100, 3),
                (LOAD, "xfrm_user", 101, 4),
            ]),
            [None, None, Some((2, true))]
        );
        // Its process id came again, much later.
        assert_eq!(
            laid_to(&[
                (LOAD, "one", 100, 1),
                (REQUEST, "net-pf-16", 2, 20),
                (LOAD, "xfrm_user", 100, 21),
            ]),
            [None, Some((2, true))]
        );
    }

    #[test]
    fn an_init_has_its_time_and_result() {
        let mut table = ModuleTable::default();
        assert_eq!(
            table.add(&event(module_event::INIT, "m", "insmod", 5), 0),
            Taken::Row
        );
        assert_eq!(table.add(&event(9, "m", "insmod", 5), 0), Taken::Unknown);
        let row = table.take().remove(0);
        assert_eq!((row.init_ns, row.ret), (Some(7), Some(-2)));
    }

    #[test]
    fn requests_and_rows_are_bounded() {
        let mut table = ModuleTable::default();
        let taken: Vec<_> = (0..1002)
            .map(|at| table.add(&event(module_event::REQUEST, "m", "ip", at), 0))
            .collect();
        assert_eq!(
            taken
                .iter()
                .filter(|taken| **taken == Taken::Overflow)
                .count(),
            2
        );
        assert_eq!(
            (table.requests.len(), table.take().len()),
            (REQUESTS, MODULE_ROWS)
        );
        for pid in 0..100 {
            let mut load = event(module_event::LOAD, "m", MODPROBE, 2_000);
            load.pid = pid;
            table.add(&load, 0);
        }
        assert_eq!(table.loaders.len(), REQUESTS);
    }
}
