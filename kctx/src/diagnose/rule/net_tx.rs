use super::{Outcome, Rule, vectors};
use crate::diagnose::{
    draft::Draft,
    facts::{
        Facts,
        qdiscs::{self, Qdisc},
        shares::{Taken, place},
    },
    figures::{number, percent, rate, time},
    finding::{Confidence, Finding, Severity},
    harm::{BUSY, HOT, Harm, severity},
    page::{Page, look_alike, owner, read, threshold},
};

/// Part of a CPU: NET_TX is next to nothing where packets leave as they come.
const PART: f64 = 5.0;
/// Packets that a queueing discipline held back, a second.
const HELD_BACK: f64 = 100.0;

pub(super) static RULE: Rule = Rule {
    page: Page {
        id: "NET-TX",
        title: "Sending is held back by a queueing discipline",
        means: "A shaper (tbf, htb, fq with a rate) that has to hold packets back sets a timer for each next one, and the NET_TX softirq \
                sends then. With a burst that is too small for the rate that is a timer and a softirq for nearly each packet.",
        signals: &[
            "NET_TX's share of a CPU",
            "overlimits, requeues and backlog of queueing disciplines (`qdisc.json`)",
            "timer interrupts (LOC) as often as packets",
        ],
        thresholds: &[
            threshold(
                "of a CPU in NET_TX",
                "5 %",
                "kctx; measured: tbf at 500 Mbit/s takes 15 % of two CPUs",
            ),
            threshold("packets held back", "100/s", "kctx"),
            threshold(
                "timer interrupts beyond ticks, where no shaper was seen",
                "half of the runs of NET_TX",
                "kctx: a shaper sets one for each packet that it holds back",
            ),
            threshold("with neither, for information", "10 % of a CPU", "kctx"),
        ],
        confused_with: &[
            look_alike("TMR-HARD", "timers for another reason: NET_TX is idle"),
            look_alike(
                "",
                "completions of sent packets, which drivers do in NET_RX's polls",
            ),
        ],
        next: &[
            read(
                "See which queueing discipline holds back.",
                "tc -s qdisc show",
            ),
            read(
                "See whether the device was stuck.",
                "dmesg | grep -i 'NETDEV WATCHDOG'",
            ),
            owner(
                "Give the shaper a burst that fits its rate (tbf: at least rate / HZ), or XPS a CPU for each queue.",
            ),
        ],
        do_not: &[
            "Replace the root queueing discipline of a device that a container network manages.",
        ],
    },
    explained_by: &[],
    judge,
};

fn judge(facts: &Facts<'_>) -> Outcome {
    let taken = facts.vector("NET_TX");
    let held: f64 = facts.qdiscs.iter().map(|qdisc| qdisc.overlimits).sum();
    let Some(most) = taken.first() else {
        return Outcome::Silent;
    };
    if most.percent < PART {
        return Outcome::RuledOut(format!(
            "NET_TX takes at most {} of a CPU (less than {PART:.0} %), and {} packets/s are held back",
            percent(most.percent),
            number(held)
        ));
    }
    let shaping = Shaping::of(facts, most);
    if !shaping.is_there() && most.percent < BUSY {
        return Outcome::RuledOut(format!(
            "NET_TX takes {} of CPU {}, but no packets are held back ({}/s, less than {HELD_BACK:.0}/s), and timers interrupt less than \
             half as often as it runs",
            percent(most.percent),
            most.cpu,
            number(held)
        ));
    }
    let finding = finding(facts, &taken, &shaping);
    match shaping.is_there() {
        true => Outcome::Found(vec![finding]),
        // Packets leave, and many: whatever else is found here has a cause of its own.
        false => Outcome::FoundBeside(vec![finding]),
    }
}

/// What says that packets are held back.
struct Shaping<'a> {
    /// Queueing disciplines that did, the most first.
    held: Vec<&'a Qdisc>,
    /// Timer interrupts a second on that CPU.
    timers: f64,
    /// There are as many as a shaper sets.
    by_timers: bool,
}

impl<'a> Shaping<'a> {
    fn of(facts: &'a Facts<'_>, most: &Taken) -> Self {
        let holds = |qdisc: &&Qdisc| qdisc.overlimits >= HELD_BACK || qdisc.requeues >= HELD_BACK;
        let mut held: Vec<_> = facts.qdiscs.iter().filter(holds).collect();
        held.sort_by(|a, b| b.overlimits.total_cmp(&a.overlimits));
        let timers = facts.interrupt_vector("LOC").into_iter();
        let timers: f64 = timers
            .filter(|timers| timers.cpu == most.cpu)
            .map(|timers| timers.rate)
            .sum();
        let ticks = f64::from(facts.summary.host.hz.unwrap_or(0));
        Self {
            held,
            timers,
            by_timers: timers - ticks >= most.rate / 2.0,
        }
    }

    fn is_there(&self) -> bool {
        !self.held.is_empty() || self.by_timers
    }
}

fn finding(facts: &Facts<'_>, taken: &[Taken], shaping: &Shaping<'_>) -> Finding {
    let most = &taken[0];
    let held = &shaping.held;
    let harm = Harm::of_vector(facts, "NET_TX", most);
    let severity = match (shaping.is_there(), harm.is_done() && most.percent >= HOT) {
        (true, true) => Severity::Crit,
        (true, false) => Severity::Warn,
        (false, _) => severity(most.percent, &harm, false).unwrap_or(Severity::Info),
    };
    let confidence = if held.is_empty() {
        Confidence::Medium
    } else {
        Confidence::High
    };
    let by = match held.first() {
        Some(qdisc) => format!("{} of {} holds {} packets/s back", qdisc.kind, qdisc.device, number(qdisc.overlimits)),
        None if shaping.by_timers => "a queueing discipline holds packets back that kctx does not see (of another network namespace)".to_owned(),
        None => "no queueing discipline was seen that holds packets back".to_owned(),
    };
    let timers = match shaping.timers {
        timers if timers > 0.0 => format!(", {} timer interrupts/s", number(timers)),
        _ => String::new(),
    };
    let shaper = match (held.first(), shaping.by_timers) {
        (Some(held), _) => format!(", {}", held.kind),
        (None, true) => ", a shaper".to_owned(),
        (None, false) => String::new(),
    };
    let mut draft = Draft::new(&RULE.page, severity, confidence)
        .title(format!("CPU {}: {} in NET_TX{shaper}", most.cpu, percent(most.percent)))
        .statement(format!(
            "CPU {} spends {} of its time sending packets in NET_TX ({} runs, most in {}{timers}): {by}{}.",
            most.cpu,
            percent(most.percent),
            rate(most.rate),
            place(&most.place, most.cpu),
            harm.clause()
        ))
        .share(most.cpu, "softirq NET_TX", most.percent)
        .cpu(most.cpu)
        .cpus(taken.iter().filter(|taken| taken.percent >= PART).map(|taken| taken.cpu))
        .vector("NET_TX")
        .step("CPU", format!("{}: {} in NET_TX", most.cpu, percent(most.percent)))
        .step("vector", format!("NET_TX, {} runs, the longest {}", rate(most.rate), time(most.longest_ns as f64)))
        .step("raised by", vectors::raisers(facts, "NET_TX", most.cpu))
        .step("configuration", &by)
        .evidence(format!("summary.softirq[vector=NET_TX,cpu={}]", most.cpu), format!("{}, {} runs", percent(most.percent), rate(most.rate)))
        .missing_if(held.is_empty(), "counters of the queueing discipline");
    for qdisc in held {
        draft = draft.device(&qdisc.device).evidence(
            facts.reference(qdiscs::FILE),
            format!(
                "{} of {}: overlimits {}, drops {}, requeues {}",
                qdisc.kind,
                qdisc.device,
                rate(qdisc.overlimits),
                rate(qdisc.drops),
                rate(qdisc.requeues)
            ),
        );
    }
    draft.done()
}

#[cfg(test)]
mod tests {
    use crate::diagnose::{
        finding::{Confidence, Severity},
        fixture::{evidence, found, hardirq, of, percent, ruled_out, softirq, summary},
    };

    #[test]
    fn a_shaper_that_holds_back_is_found_with_its_device() {
        let mut summary = summary();
        summary.softirq = vec![
            softirq("NET_TX", 1, "ksoftirqd", 131_000, percent(15)),
            softirq("NET_RX", 1, "ksoftirqd", 131_000, percent(45)),
        ];
        let sample = |count: u64| {
            format!(
                r#"{{"qdiscs": [{{"dev": "veth0", "kind": "tbf", "handle": "8001:", "overlimits": {count}, "drops": 0, "requeues": 0}}]}}"#
            )
        };
        let files = evidence(&[
            ("before/qdisc.json", &sample(5)),
            ("after/qdisc.json", &sample(140_005)),
        ]);
        let diagnosis = of(&summary, &files);
        let first = &diagnosis.findings[0];
        assert_eq!(
            (first.id.as_str(), first.severity, first.confidence),
            ("NET-TX", Severity::Warn, Confidence::High)
        );
        assert_eq!(
            (&first.scope.cpus[..], &first.scope.devices[..]),
            (&[1][..], &["veth0".to_owned()][..])
        );
        assert!(
            diagnosis
                .first_line
                .contains("tbf of veth0 holds 14,000 packets/s back"),
            "{}",
            diagnosis.first_line
        );
        // A shaper of another network namespace shows by its timers.
        summary.hardirq = vec![hardirq(None, "LOC", 1, 130_000, percent(4))];
        let unseen = of(&summary, &evidence(&[]));
        let first = &unseen.findings[0];
        assert_eq!(
            (first.id.as_str(), first.severity, first.confidence),
            ("NET-TX", Severity::Warn, Confidence::Medium)
        );
        assert!(
            first.statement.contains("that kctx does not see"),
            "{}",
            first.statement
        );
        // Packets that leave as they come are no warning, and explain nothing.
        summary.hardirq = vec![hardirq(None, "LOC", 1, 60_000, percent(4))];
        summary
            .softirq
            .push(softirq("TIMER", 1, "irq_tail", 100, percent(12)));
        let plain = of(&summary, &evidence(&[]));
        assert_eq!(found(&plain, "NET-TX").unwrap().severity, Severity::Info);
        assert!(found(&plain, "TMR-SOFT").is_some() && found(&unseen, "TMR-HARD").is_none());
        summary.softirq = vec![softirq("NET_TX", 1, "irq_tail", 131_000, percent(7))];
        let diagnosis = of(&summary, &evidence(&[]));
        assert!(found(&diagnosis, "NET-TX").is_none() && ruled_out(&diagnosis, "NET-TX").is_some());
        summary.softirq = vec![softirq("NET_TX", 1, "irq_tail", 100, percent(1))];
        let diagnosis = of(&summary, &files);
        assert!(found(&diagnosis, "NET-TX").is_none() && ruled_out(&diagnosis, "NET-TX").is_some());
    }
}
