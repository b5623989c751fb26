use super::{Outcome, Rule, receiving};
use crate::diagnose::{
    draft::Draft,
    facts::{Facts, receive::Receive},
    figures::{percent, rate, time},
    finding::{Confidence, Finding},
    harm::{FULL, Harm, severity},
    page::{Page, look_alike, owner, read, threshold},
};

/// Part of polls that used their weight.
const FULL_POLLS: f64 = 50.0;
/// A packet that costs more is slow, on hardware (net over count of receiving).
const SLOW_NS: f64 = 3_000.0;

pub(super) static RULE: Rule = Rule {
    page: Page {
        id: "NET-SAT",
        title: "One CPU cannot keep up with what it receives",
        means: "Polls come back full again and again: more packets wait than the CPU can take. Either there are too many for one CPU, or \
                each costs too much. time_squeeze does not show it where one NAPI is busy: it leaves each run after 64 packets.",
        signals: &[
            "most polls use their whole weight",
            "NET_RX takes nearly all of the CPU",
            "the time for a packet, which tells cost from rate",
        ],
        thresholds: &[
            threshold("polls that are full", "50 %", "kctx"),
            threshold("of the CPU in NET_RX", "80 %", "kctx"),
            threshold(
                "a packet that is slow",
                "3 µs",
                "kctx; measured: loopback 0.8, veth 2.4, vxlan over veth 3.9, 2,000 rules 32 µs",
            ),
        ],
        confused_with: &[
            look_alike(
                "NET-BUDGET",
                "five or more NAPIs share the CPU, and runs end on the packet budget",
            ),
            look_alike(
                "NET-CONC",
                "the same, and it is known why it is this CPU alone",
            ),
        ],
        next: &[
            read(
                "See where the time for a packet goes: the stacks of this capture.",
                "kctx export F --format folded",
            ),
            read(
                "See whether the device drops in its ring.",
                "ethtool -S {device} | grep -iE 'drop|miss|fifo|no_buf'",
            ),
            owner(
                "If there are too many packets: more queues, or fewer and larger packets. If each is slow: what the stacks name.",
            ),
        ],
        do_not: &["Enlarge ring or backlog first: with a full CPU the queue only stands longer."],
    },
    explained_by: &[
        "NET-FW",
        "NET-CT",
        "NET-BPF",
        "NET-CONC",
        "NET-FLOW",
        "NET-BUDGET",
        "NET-PPS",
        "NET-RPS",
        "NET-VIRT",
        "NET-LO",
        "RT-STARVE",
    ],
    judge,
};

fn judge(facts: &Facts<'_>) -> Outcome {
    let saturated =
        |receive: &&Receive| receive.percent >= FULL && receive.full_percent >= FULL_POLLS;
    let findings: Vec<_> = (facts.receive.iter().filter(saturated))
        .filter_map(|receive| finding(facts, receive))
        .take(1)
        .collect();
    let Some(most) = facts.receive.first() else {
        return Outcome::Silent;
    };
    Outcome::or_ruled_out(findings, || {
        format!(
            "NET_RX takes {} of CPU {}, and {} of its polls are full (threshold {FULL:.0} % and {FULL_POLLS:.0} %)",
            percent(most.percent),
            most.cpu,
            percent(most.full_percent)
        )
    })
}

fn finding(facts: &Facts<'_>, receive: &Receive) -> Option<Finding> {
    let harm = Harm::of_receive(facts, receive);
    let severity = severity(receive.percent, &harm, true)?;
    let cost = receive.cost_ns().unwrap_or(0.0);
    let why = match cost > SLOW_NS {
        true => format!("each packet is slow: {}", time(cost)),
        false => format!(
            "there are too many for one CPU: {} at {} each",
            rate(receive.packets),
            time(cost)
        ),
    };
    let device = receive.device().unwrap_or_default();
    let draft = Draft::new(&RULE.page, severity, Confidence::Medium)
        .title(format!(
            "CPU {} cannot keep up with what it receives",
            receive.cpu
        ))
        .statement(format!(
            "{}; {} of its polls are full, and {why}{}.",
            receiving::subject(receive),
            percent(receive.full_percent),
            harm.clause()
        ));
    let draft = receiving::chain(facts, draft, receive)
        .device(device)
        .step("rate or cost", why);
    Some(draft.done())
}

#[cfg(test)]
mod tests {
    use crate::diagnose::{
        finding::Severity,
        fixture::{evidence, found, napi, of, ruled_out, saturated, softnet},
    };

    #[test]
    fn full_polls_on_a_full_cpu_are_found_without_any_squeeze() {
        let diagnosis = of(&saturated(2), &softnet(2, 630_000, 0, 0));
        let first = &diagnosis.findings[0];
        assert_eq!(
            (first.id.as_str(), first.severity, &first.scope.cpus[..]),
            ("NET-SAT", Severity::Crit, &[2][..])
        );
        assert!(
            diagnosis
                .first_line
                .contains("100 % of its polls are full, and each packet is slow: 32.1 µs"),
            "{}",
            diagnosis.first_line
        );
        // A NAPI that only cleans up what was sent is polled often, and does not dilute it.
        let mut sending = saturated(2);
        sending.napi.push(napi("eth0", 8194, 2, 50_000, 0, 0));
        let diagnosis = of(&sending, &evidence(&[]));
        assert!(found(&diagnosis, "NET-SAT").is_some());
        let mut emptied = saturated(2);
        emptied.napi = vec![napi("backlog", 0, 2, 4400, 40, 100_000)];
        let diagnosis = of(&emptied, &evidence(&[]));
        assert!(found(&diagnosis, "NET-SAT").is_none());
        assert!(ruled_out(&diagnosis, "NET-SAT").is_some());
    }
}
