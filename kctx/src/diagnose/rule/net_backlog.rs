use super::{Outcome, Rule, receiving};
use crate::diagnose::{
    draft::Draft,
    facts::{Facts, receive::Receive, softnet},
    figures::{number, percent, rate},
    finding::{Confidence, Finding, Severity},
    harm::{DROPS, FULL, HOT},
    page::{Page, look_alike, owner, read, threshold},
};

/// A CPU with so much of it used has none left for the backlog.
const SPARE: f64 = 70.0;

pub(super) static RULE: Rule = Rule {
    page: Page {
        id: "NET-BACKLOG",
        title: "A CPU's backlog overflows",
        means: "Packets of loopback, veth, tunnels and RPS queue in a CPU's backlog; one that finds netdev_max_backlog (1000) there is \
                dropped. A device with NAPI of its own never uses it. Either the CPU is too slow for what comes, or bursts are larger than \
                the queue.",
        signals: &[
            "dropped of softnet_stat (column 2), a second",
            "how much of the CPU receiving takes",
        ],
        thresholds: &[
            threshold("dropped", "10/s", "netdata health.d/softnet.conf"),
            threshold("a CPU that has time left", "below 70 %", "kctx"),
        ],
        confused_with: &[
            look_alike(
                "",
                "drops in a device's ring (rx_missed, rx_fifo): that is before the CPU is asked",
            ),
            look_alike("NET-SAT", "the CPU is full, and the backlog only shows it"),
        ],
        next: &[
            read(
                "Watch it by CPU: the second column, in hex.",
                "watch -d cat /proc/net/softnet_stat",
            ),
            read("See the limit.", "sysctl net.core.netdev_max_backlog"),
            owner("Only where the CPU has time left (bursts): a larger netdev_max_backlog."),
        ],
        do_not: &[
            "Raise netdev_max_backlog for a CPU that is full: the same packets are lost, the others are later.",
        ],
    },
    explained_by: &[
        "NET-FW",
        "NET-CT",
        "NET-BPF",
        "NET-CONC",
        "NET-BUDGET",
        "NET-RPS",
        "NET-SAT",
        "NET-VIRT",
        "NET-LO",
        "RT-STARVE",
    ],
    judge,
};

fn judge(facts: &Facts<'_>) -> Outcome {
    let Some(rates) = &facts.softnet else {
        return Outcome::Silent;
    };
    let all: f64 = rates.values().map(|rate| rate.dropped).sum();
    let worst = facts
        .receive
        .iter()
        .max_by(|a, b| a.dropped().total_cmp(&b.dropped()));
    match worst {
        Some(worst) if worst.dropped() >= DROPS => Outcome::Found(vec![finding(facts, worst)]),
        _ => Outcome::RuledOut(format!(
            "{} packets/s are dropped at backlogs (less than {DROPS:.0}/s)",
            number(all)
        )),
    }
}

fn finding(facts: &Facts<'_>, receive: &Receive) -> Finding {
    let limit = facts.sysctls.number("net.core.netdev_max_backlog");
    let limit = limit.map_or(String::new(), |limit| format!(" of {limit}"));
    let why = match receive.percent {
        share if share < SPARE => {
            "the CPU has time left: bursts are larger than the queue, or the softirq runs late"
        }
        _ => "the CPU is the limit",
    };
    let severity = match receive.percent {
        share if share >= FULL => Severity::Crit,
        share if share >= HOT || receive.dropped() >= DROPS => Severity::Warn,
        _ => Severity::Info,
    };
    let counts = receive.softnet.unwrap_or_default();
    let draft = Draft::new(&RULE.page, severity, Confidence::Medium)
        .title(format!("CPU {} drops {} packets/s at its backlog", receive.cpu, number(receive.dropped())))
        .statement(format!(
            "CPU {} drops {} packets/s at its backlog{limit} and takes {}; receiving uses {} of it: {why}.",
            receive.cpu,
            number(receive.dropped()),
            rate(counts.processed),
            percent(receive.percent)
        ));
    receiving::chain(facts, draft, receive)
        .evidence(
            format!("{}:{}", facts.reference(softnet::FILE), counts.line),
            format!("dropped {}", rate(counts.dropped)),
        )
        .done()
}

#[cfg(test)]
mod tests {
    use crate::aggregate::window::OriginKind;
    use crate::diagnose::fixture::{
        found, napi, of, origin, percent, raised_by, ruled_out, softirq, softnet, summary,
    };

    #[test]
    fn drops_of_a_cpu_with_time_left_are_bursts() {
        let mut summary = summary();
        summary.softirq = vec![softirq("NET_RX", 1, "irq_tail", 9000, percent(20))];
        raised_by(
            &mut summary,
            "NET_RX",
            1,
            origin(OriginKind::Irq, Some(36), "eth0"),
            9000,
        );
        summary.napi = vec![napi("backlog", 0, 1, 9000, 100, 90_000)];
        let diagnosis = of(&summary, &softnet(1, 50, 0, 0));
        let finding = found(&diagnosis, "NET-BACKLOG").unwrap();
        assert!(
            finding.statement.contains("bursts are larger"),
            "{}",
            finding.statement
        );
        let diagnosis = of(&summary, &softnet(1, 5, 0, 0));
        assert!(found(&diagnosis, "NET-BACKLOG").is_none());
        assert_eq!(
            ruled_out(&diagnosis, "NET-BACKLOG"),
            Some("5.0 packets/s are dropped at backlogs (less than 10/s)")
        );
    }
}
