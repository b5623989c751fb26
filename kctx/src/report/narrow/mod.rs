//! A part of a bundle: some CPUs, some vectors, some of the time.
//!
//! A record belongs to where it ended, so spans that meet share none and lose none. What the kernel spilled has no
//! time, nor have stacks and what kctx itself used: a span goes without, and says of how many.

mod moment;
mod span;
mod which;

use std::collections::BTreeSet;

pub use self::moment::Moment;
pub(super) use self::{
    span::{SpanStream, Spanned, end_of, spilled},
    which::Which,
};
use crate::{
    host::{
        HostIdentity,
        cpus::{format_cpu_list, parse_cpu_list},
    },
    resolve::SOFTIRQ_VECTORS,
};

/// What of a bundle is wanted; all of it by default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Narrowing {
    /// Only what ran on these CPUs.
    pub cpus: Option<BTreeSet<u32>>,
    /// Only these softirq vectors, by number, and what ran in them.
    pub vectors: Option<BTreeSet<u8>>,
    /// Only what ended then or later.
    pub from: Option<Moment>,
    /// Only what ended before.
    pub to: Option<Moment>,
}

impl Narrowing {
    /// Whether all is wanted.
    #[must_use]
    pub fn is_all(&self) -> bool {
        *self == Self::default()
    }

    /// Whether only some of the time is wanted.
    #[must_use]
    pub fn is_span(&self) -> bool {
        self.from.is_some() || self.to.is_some()
    }
}

/// Why there is no such part.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum NarrowError {
    /// A CPU that the machine has not.
    #[error("--cpu {0}: the machine had CPUs {1} online")]
    NoSuchCpu(u32, String),
    /// The end is not after the start.
    #[error("--to is not after --from: nothing lies between them")]
    Empty,
    /// The window was over by then.
    #[error("--from is {0} after the window's start, when it was over: it is {1} long")]
    After(String, String),
    /// It had not begun.
    #[error("--to is not after the window's start, {0}")]
    Before(String),
}

/// A list of CPUs as `--cpu` takes it: `0-3,8`.
pub fn parse_cpus(text: &str) -> Result<BTreeSet<u32>, String> {
    let cpus = parse_cpu_list(text).map_err(|error| format!("{error}; write 0-3,8"))?;
    match cpus.is_empty() {
        true => Err("an empty list of CPUs; write 0-3,8".to_owned()),
        false => Ok(cpus.into_iter().collect()),
    }
}

/// Softirq vectors as `--vector` takes them: `NET_RX,timer`.
pub fn parse_vectors(text: &str) -> Result<BTreeSet<u8>, String> {
    text.split(',')
        .map(|name| {
            let is_it = |known: &&str| known.eq_ignore_ascii_case(name.trim());
            let number = SOFTIRQ_VECTORS.iter().position(is_it);
            number.map(|number| number as u8).ok_or_else(|| {
                format!(
                    "{name:?} is no softirq vector; there are {}",
                    SOFTIRQ_VECTORS.join(", ")
                )
            })
        })
        .collect()
}

/// Whether the machine has these CPUs; one that does not say has all.
pub(super) fn check_cpus(cpus: &BTreeSet<u32>, host: &HostIdentity) -> Result<(), NarrowError> {
    let online = parse_cpu_list(&host.cpu_list).unwrap_or_default();
    let missing = cpus.iter().find(|cpu| !online.contains(cpu));
    match missing {
        Some(cpu) if !online.is_empty() => {
            Err(NarrowError::NoSuchCpu(*cpu, format_cpu_list(&online)))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
