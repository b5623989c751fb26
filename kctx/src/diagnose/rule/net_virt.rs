use super::{Outcome, Rule, receiving};
use crate::diagnose::{
    draft::Draft,
    facts::{
        Facts, packets,
        receive::{BACKLOG, Receive},
    },
    figures::{list, number, percent, rate},
    finding::{Confidence, Finding},
    harm::{BUSY, Harm, severity},
    page::{Page, look_alike, owner, read, threshold},
};

/// Part of what a CPU receives that a virtual device has to have.
const PART: f64 = 0.25;

pub(super) static RULE: Rule = Rule {
    page: Page {
        id: "NET-VIRT",
        title: "Packets go through virtual devices",
        means: "veth, bridges and tunnels of containers have each packet received once more, in software: over vxlan it is polled and \
                counted twice. That runs in the sender's task or after a device's interrupt; a pair of veth has one queue, so that \
                all flows of a pod end on one CPU.",
        signals: &[
            "polls of the backlog, or of a tunnel's own NAPI",
            "virtual devices with as many packets (/proc/net/dev)",
        ],
        thresholds: &[
            threshold(
                "of the CPU in NET_RX",
                "10 %",
                "kctx; measured: veth 2.4 µs a packet, vxlan over veth 3.9 µs",
            ),
            threshold(
                "packets of the virtual device",
                "a quarter of what the CPU receives",
                "kctx",
            ),
        ],
        confused_with: &[
            look_alike("NET-LO", "loopback: one device, one task"),
            look_alike(
                "NET-FW",
                "the chains of rules, which such devices go through more than once, take the time",
            ),
        ],
        next: &[
            read(
                "See which namespace or pod the other end is in.",
                "ip -d link show {device}",
            ),
            read(
                "See how many queues it has, and whether they are steered.",
                "grep -H . /sys/class/net/{device}/queues/*/rps_cpus",
            ),
            owner(
                "Ask who runs the container network for a shorter path (host routing, an eBPF data path), or more queues of veth.",
            ),
        ],
        do_not: &["Take down or delete devices of a container network."],
    },
    explained_by: &[
        "NET-FW",
        "NET-BPF",
        "NET-CT",
        "NET-RPS",
        "NET-BUDGET",
        "NET-TX",
        "NET-CONC",
        "RT-STARVE",
    ],
    judge,
};

fn judge(facts: &Facts<'_>) -> Outcome {
    let Some(most) = facts.receive.first() else {
        return Outcome::Silent;
    };
    if most.percent < BUSY {
        return Outcome::RuledOut(format!(
            "NET_RX takes at most {} of a CPU (less than {BUSY:.0} %)",
            percent(most.percent)
        ));
    }
    let findings = facts
        .receive
        .iter()
        .filter(|receive| receive.percent >= BUSY);
    let findings = findings
        .filter_map(|receive| finding(facts, receive))
        .take(1)
        .collect();
    Outcome::or_ruled_out(findings, || {
        format!(
            "no virtual device has a quarter of the {} packets/s that CPU {} receives",
            number(most.packets),
            most.cpu
        )
    })
}

fn finding(facts: &Facts<'_>, receive: &Receive) -> Option<Finding> {
    // Polls of its own are surer than counters, which are not by CPU.
    let polled: Vec<&str> = (receive.devices.iter())
        .filter(|(device, packets)| {
            device != BACKLOG && facts.is_virtual(device) && *packets >= receive.packets * PART
        })
        .map(|(device, _)| device.as_str())
        .collect();
    let in_backlog = receive
        .devices
        .iter()
        .filter(|(device, _)| device == BACKLOG)
        .map(|(_, packets)| packets)
        .sum::<f64>();
    let mut counted: Vec<(&str, f64)> = (facts.packets.iter())
        .filter(|(device, packets)| {
            facts.is_virtual(device)
                && packets.received.max(packets.sent) >= receive.packets * PART
                && in_backlog >= receive.packets * PART
        })
        .map(|(device, packets)| (device.as_str(), packets.received.max(packets.sent)))
        .collect();
    counted.sort_by(|a, b| b.1.total_cmp(&a.1));
    counted.truncate(4);
    if polled.is_empty() && counted.is_empty() {
        return None;
    }
    let mut devices = polled.clone();
    devices.extend(
        counted
            .iter()
            .map(|(device, _)| *device)
            .filter(|device| !polled.contains(device)),
    );
    let harm = Harm::of_receive(facts, receive);
    let severity = severity(receive.percent, &harm, false)?;
    let confidence = if counted.is_empty() {
        Confidence::Medium
    } else {
        Confidence::High
    };
    let names = list(&devices);
    let draft = Draft::new(&RULE.page, severity, confidence)
        .title(format!(
            "CPU {}: {} in NET_RX, through {names}",
            receive.cpu,
            percent(receive.percent)
        ))
        .statement(format!(
            "{}: {}, through the virtual {} {names}{}.",
            receiving::subject(receive),
            receiving::cost(receive),
            if devices.len() == 1 {
                "device"
            } else {
                "devices"
            },
            harm.clause()
        ));
    let mut draft = receiving::chain(facts, draft, receive);
    for device in &devices {
        draft = draft.device(device);
    }
    for (device, packets) in counted {
        draft = draft.evidence(
            format!("{}:{device}", facts.reference(packets::FILE)),
            format!("{} packets", rate(packets)),
        );
    }
    Some(draft.done())
}

#[cfg(test)]
mod tests {
    use crate::diagnose::fixture::{evidence, found, napi, of, percent, softirq, summary};

    #[test]
    fn polls_of_a_tunnel_or_packets_of_veth_are_found_and_a_nic_is_not() {
        let mut summary = summary();
        summary.softirq = vec![softirq("NET_RX", 1, "task", 1_530_000, percent(59))];
        summary.napi = vec![
            napi("backlog", 0, 1, 1_530_000, 0, 1_530_000),
            napi("vxlan0", 0, 1, 1_530_000, 0, 1_530_000),
        ];
        let diagnosis = of(&summary, &evidence(&[]));
        let finding = found(&diagnosis, "NET-VIRT").unwrap();
        assert_eq!(
            (&finding.scope.devices[..], &finding.scope.cpus[..]),
            (&["vxlan0".to_owned()][..], &[1][..])
        );
        summary.napi = vec![napi("eth0", 8193, 1, 1_530_000, 0, 1_530_000)];
        assert!(found(&of(&summary, &evidence(&[])), "NET-VIRT").is_none());
    }
}
