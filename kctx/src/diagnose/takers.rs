//! What takes a tenth of a CPU or more, whatever it is: looked for once, and compared with each finding.

use std::collections::BTreeSet;

use super::{
    facts::{Facts, works::Work},
    finding::Finding,
    harm::{BUSY, HOT},
};
use crate::report::human::name;

/// What takes a part of a CPU.
#[derive(Clone, Debug)]
pub(super) struct Taker {
    pub(super) what: What,
    /// Where; `None` of what is on no CPU by itself.
    pub(super) cpu: Option<u32>,
    pub(super) percent: f64,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum What {
    Vector(String),
    /// Its label in /proc/interrupts.
    Line(String),
    /// A kernel thread: comm, pid, and the functions of a kworker's queue.
    Thread(String, u32, Vec<String>),
    Work(String),
}

impl Taker {
    /// Whether a finding is about it.
    pub(super) fn is_in(&self, finding: &Finding) -> bool {
        let scope = &finding.scope;
        // A scope has names as they are printed.
        let has = |names: &[String], known: &str| names.contains(&name(known));
        let there = self.cpu.is_some_and(|cpu| scope.cpus.contains(&cpu));
        match &self.what {
            What::Vector(vector) => there && has(&scope.vectors, vector),
            What::Line(label) => there && has(&scope.irqs, label),
            What::Thread(comm, _, works) => {
                has(&scope.comms, comm) || works.iter().any(|work| has(&scope.functions, work))
            }
            What::Work(function) => has(&scope.functions, function),
        }
    }

    /// `NET_RX on CPU 1`, `kswapd0`
    pub(super) fn words(&self) -> String {
        let what = match &self.what {
            What::Line(label) if label.parse::<u32>().is_ok() => format!("interrupt {label}"),
            What::Vector(what) | What::Line(what) | What::Thread(what, ..) | What::Work(what) => {
                what.clone()
            }
        };
        match self.cpu {
            Some(cpu) => format!("{what} on CPU {cpu}"),
            None => what,
        }
    }
}

/// All that is busy.
pub(super) struct Takers {
    /// What takes a tenth of a CPU, the most first; where nothing does, the largest.
    takers: Vec<Taker>,
    /// Functions of works that kworkers together spend a tenth of a CPU on, each of them less.
    functions: BTreeSet<String>,
}

impl Takers {
    pub(super) fn of(facts: &Facts<'_>) -> Self {
        let works = facts.works();
        let mut takers = Self {
            takers: Vec::new(),
            functions: facts
                .busy_works(&works)
                .map(|(work, _)| name(work.function))
                .collect(),
        };
        takers.add_softirqs_and_lines(facts);
        for work in &works {
            takers.add(facts.percent(work.cpu_ns), None, || {
                What::Work(work.function.to_owned())
            });
        }
        takers.add_threads(facts, &works);
        takers
            .takers
            .sort_by(|a, b| b.percent.total_cmp(&a.percent));
        takers
    }

    /// What takes most.
    pub(super) fn largest(&self) -> Option<&Taker> {
        self.takers.first()
    }

    /// What takes a tenth of a CPU or more, the most first.
    pub(super) fn busy(&self) -> impl Iterator<Item = &Taker> {
        self.takers.iter().filter(|taker| taker.percent >= BUSY)
    }

    /// Whether a finding is about something that takes a tenth of a CPU or more.
    pub(super) fn are_in(&self, finding: &Finding) -> bool {
        let share = finding.share.as_ref().map_or(0.0, |share| share.percent);
        let functions = &finding.scope.functions;
        share >= BUSY
            || self.busy().any(|taker| taker.is_in(finding))
            || functions.iter().any(|f| self.functions.contains(f))
    }

    /// Keeps what is busy; until something is, the largest alone.
    fn add(&mut self, percent: f64, cpu: Option<u32>, what: impl FnOnce() -> What) {
        match self.takers.first() {
            Some(largest) if largest.percent < BUSY && largest.percent < percent => {
                self.takers.clear();
            }
            Some(_) if percent < BUSY => return,
            _ => {}
        }
        self.takers.push(Taker {
            what: what(),
            cpu,
            percent,
        });
    }

    fn add_softirqs_and_lines(&mut self, facts: &Facts<'_>) {
        let vectors: BTreeSet<&str> = (facts.summary.softirq.iter())
            .map(|row| row.vector.as_str())
            .collect();
        for vector in vectors {
            for taken in facts.vector(vector) {
                let what = || What::Vector(vector.to_owned());
                self.add(taken.percent, Some(taken.cpu), what);
            }
        }
        for line in facts.lines() {
            self.add(line.percent, Some(line.cpu), || What::Line(line.label));
        }
    }

    fn add_threads(&mut self, facts: &Facts<'_>, works: &[Work<'_>]) {
        // What ksoftirqd does is in the vectors.
        let threads =
            (facts.summary.kthread.iter()).filter(|row| !row.overflow && row.role != "ksoftirqd");
        // One work that takes so much is told itself, and not the thread that runs it.
        let hot: Vec<_> = (works.iter())
            .filter(|work| facts.percent(work.cpu_ns) >= HOT)
            .collect();
        for thread in threads {
            let is_kworker = thread.role == "kworker";
            let of_queue = |work: &Work<'_>| {
                is_kworker && (thread.workqueue.is_empty() || work.workqueue == thread.workqueue)
            };
            if hot.iter().any(|work| of_queue(work)) {
                continue;
            }
            self.add(facts.percent(thread.cpu_net_ns), None, || {
                let own = works.iter().filter(|work| of_queue(work));
                let own = own.map(|work| work.function.to_owned()).collect();
                What::Thread(thread.comm.clone(), thread.pid, own)
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn takers(percents: &[f64]) -> Vec<f64> {
        let mut takers = Takers {
            takers: Vec::new(),
            functions: BTreeSet::new(),
        };
        for percent in percents {
            takers.add(*percent, None, || What::Work("f".to_owned()));
        }
        takers.takers.iter().map(|taker| taker.percent).collect()
    }

    #[test]
    fn what_is_busy_is_kept_and_else_the_largest() {
        assert_eq!(takers(&[1.0, 3.0, 2.0]), [3.0]);
        assert_eq!(takers(&[1.0, 30.0, 2.0, 12.0]), [30.0, 12.0]);
        assert!(takers(&[]).is_empty());
    }
}
