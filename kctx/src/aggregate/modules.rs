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

/// Requests that are remembered.
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
    requests: VecDeque<(u64, ModuleRequester)>,
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
                .then(|| self.requester(r.time_ns, &name, &comm))
                .flatten(),
            name,
            comm,
        };
        if event == ModuleEvent::Request {
            if self.requests.len() == REQUESTS {
                self.requests.pop_front();
            }
            let requester = ModuleRequester {
                name: row.name.clone(),
                pid: row.pid,
                comm: row.comm.clone(),
            };
            self.requests.push_back((r.time_ns, requester));
        }
        if self.rows.len() >= MODULE_ROWS {
            return Taken::Overflow;
        }
        self.rows.push(row);
        Taken::Row
    }

    /// The request that most likely led to a load: the latest one for this name; else, where modprobe
    /// loads, the latest one at all, since what was asked for may have been an alias.
    fn requester(&self, time_ns: u64, name: &str, comm: &str) -> Option<ModuleRequester> {
        let within = |ns: u64| {
            let mut latest_first = self.requests.iter().rev();
            move |wanted: &dyn Fn(&ModuleRequester) -> bool| {
                latest_first
                    .find(|(at, request)| {
                        let age = time_ns.checked_sub(*at);
                        age.is_some_and(|age| age <= ns) && wanted(request)
                    })
                    .map(|(_, request)| request.clone())
            }
        };
        within(SAME_NAME_NS)(&|request| same_name(&request.name, name)).or_else(|| {
            (comm == MODPROBE)
                .then(|| within(BY_ALIAS_NS)(&|_| true))
                .flatten()
        })
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
    }
}
