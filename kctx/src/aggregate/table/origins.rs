//! What raised a vector's softirqs, or queued a work, and how often.

use std::sync::Arc;

use kctx_common::record::origin;

use crate::{
    aggregate::{
        origin::{KEY_UNKNOWN, key, of_comm, of_key},
        window::{Origin, UNKNOWN},
    },
    resolve::Resolver,
};

/// Origins that are told apart; of the rest, tasks are told apart by comm, and all else counts as unknown.
pub const ORIGINS: usize = 64;

/// Comms by which the tasks that found no place among them are told apart; the rest count as unknown.
pub const COMMS: usize = 16;

/// Places that remember where a key is.
const REMEMBERED: usize = 8;

/// Origins of one thing in the open window.
#[derive(Debug, Default)]
pub struct Origins {
    /// Where keys were found last, each in the place that its low bits give it: origins take turns.
    found: [u8; REMEMBERED],
    /// Keys and how often each.
    seen: Vec<(u64, u64)>,
    /// Tasks that had no place among them, by comm: processes that come and go.
    comms: Vec<(Arc<str>, u64)>,
    /// What had no place in either, and what was not seen.
    unknown: u64,
}

impl Origins {
    /// Counts `n` of one origin.
    #[inline]
    pub fn add(&mut self, kind: u8, number: u32, n: u64, names: &mut Resolver) {
        let key = key(kind, number);
        let found = self.found[key as usize % REMEMBERED];
        match self.seen.get_mut(usize::from(found)) {
            Some((last, count)) if *last == key => *count = count.saturating_add(n),
            _ => self.add_elsewhere(key, (kind, number), n, names),
        }
    }

    /// The same of one that is not where it was last.
    #[cold]
    #[inline(never)]
    fn add_elsewhere(&mut self, key: u64, (kind, number): (u8, u32), n: u64, names: &mut Resolver) {
        let known = self.seen.iter().position(|(k, _)| *k == key);
        // Asked for now: when the window closes the process may be long gone.
        let comm = match (kind, known) {
            (origin::TASK, None) => Some(names.comm(number)),
            _ => None,
        };
        let count = match known {
            Some(at) => self.count_at(key, at),
            None if key == KEY_UNKNOWN => &mut self.unknown,
            None if self.seen.len() < ORIGINS => {
                self.seen.push((key, 0));
                self.count_at(key, self.seen.len() - 1)
            }
            None => self.count_of_comm(comm),
        };
        *count = count.saturating_add(n);
    }

    /// The count of a key, which is found there at once from now on.
    fn count_at(&mut self, key: u64, at: usize) -> &mut u64 {
        const { assert!(ORIGINS <= u8::MAX as usize) };
        self.found[key as usize % REMEMBERED] = at as u8;
        &mut self.seen[at].1
    }

    /// That of what has no place of its own: of its comm, if it is a task with one, else of what is unknown.
    fn count_of_comm(&mut self, comm: Option<Arc<str>>) -> &mut u64 {
        let Some(comm) = comm.filter(|comm| **comm != *UNKNOWN) else {
            return &mut self.unknown;
        };
        let at = match self.comms.iter().position(|(known, _)| *known == comm) {
            Some(at) => at,
            None if self.comms.len() >= COMMS => return &mut self.unknown,
            None => {
                self.comms.push((comm, 0));
                self.comms.len() - 1
            }
        };
        &mut self.comms[at].1
    }

    /// All, by name; there are none afterwards.
    pub fn take<'a>(
        &'a mut self,
        names: &'a mut Resolver,
    ) -> impl Iterator<Item = (Origin, u64)> + 'a {
        let unknown = std::mem::take(&mut self.unknown);
        let unknown = (unknown > 0).then_some((KEY_UNKNOWN, unknown));
        let comms = self.comms.drain(..);
        let comms = comms.map(|(comm, count)| (of_comm(comm), count));
        let keys = self.seen.drain(..).chain(unknown);
        keys.map(|(key, count)| (of_key(key, names), count))
            .chain(comms)
    }
}
