//! What harm is done, and how bad that makes a finding: harm decides the severity, a share alone does not.

use super::{
    facts::{Facts, receive::Receive, shares::Taken},
    figures::{list, number, time},
    finding::Severity,
};

/// Part of a CPU from which on it is worth a word.
pub(super) const BUSY: f64 = 10.0;
/// Part of a CPU from which on a context is hot.
pub(super) const HOT: f64 = 30.0;
/// Part of a CPU from which on nothing else gets enough of it.
pub(super) const FULL: f64 = 80.0;
/// Packets a second that are dropped: below is noise (netdata warns from there on, health.d/softnet.conf).
pub(super) const DROPS: f64 = 10.0;
/// A 99th percentile of raise to entry: longer is late, if it is longer than a jiffy too.
const LATE_NS: f64 = 4e6;

/// Harm in words, with numbers and thresholds; none where it is empty.
#[derive(Clone, Debug, Default)]
pub(super) struct Harm(Vec<String>);

impl Harm {
    /// Of a CPU's receiving.
    pub(super) fn of_receive(facts: &Facts<'_>, receive: &Receive) -> Self {
        let mut harm = Self::default();
        let dropped = receive.dropped();
        if dropped >= DROPS {
            harm.0.push(format!(
                "{} packets/s are dropped at CPU {}'s backlog",
                number(dropped),
                receive.cpu
            ));
        }
        harm.late(facts, "NET_RX", receive.wait_p99_ns);
        harm
    }

    /// Of a vector on a CPU.
    pub(super) fn of_vector(facts: &Facts<'_>, vector: &str, taken: &Taken) -> Self {
        let mut harm = Self::default();
        harm.late(facts, vector, taken.wait_p99_ns);
        harm
    }

    fn late(&mut self, facts: &Facts<'_>, vector: &str, p99_ns: u64) {
        let p99 = p99_ns as f64;
        if p99 > LATE_NS.max(facts.jiffy_ns()) {
            self.0
                .push(format!("1 % of {vector} waits longer than {}", time(p99)));
        }
    }

    pub(super) fn is_done(&self) -> bool {
        !self.0.is_empty()
    }

    /// `; a and b`, or nothing: the end of a sentence.
    pub(super) fn clause(&self) -> String {
        match self.is_done() {
            true => format!("; {}", list(&self.0)),
            false => String::new(),
        }
    }
}

/// How bad something is that takes that part of a CPU; `None` where it is not worth a finding. A `defect` is something that
/// no healthy host does, busy as it may be.
pub(super) fn severity(percent: f64, harm: &Harm, defect: bool) -> Option<Severity> {
    match harm.is_done() {
        true if percent >= FULL => Some(Severity::Crit),
        true => Some(Severity::Warn),
        false if percent >= FULL || defect && percent >= HOT => Some(Severity::Warn),
        false if percent >= BUSY => Some(Severity::Info),
        false => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_alone_is_never_critical() {
        let harm = Harm(vec!["drops".to_owned()]);
        let none = Harm::default();
        assert_eq!(severity(97.0, &harm, false), Some(Severity::Crit));
        assert_eq!(severity(12.0, &harm, false), Some(Severity::Warn));
        assert_eq!(severity(97.0, &none, true), Some(Severity::Warn));
        assert_eq!(severity(40.0, &none, true), Some(Severity::Warn));
        assert_eq!(severity(40.0, &none, false), Some(Severity::Info));
        assert_eq!(severity(9.0, &none, true), None);
        assert_eq!(
            (harm.clause(), none.clause()),
            ("; drops".to_owned(), String::new())
        );
    }
}
