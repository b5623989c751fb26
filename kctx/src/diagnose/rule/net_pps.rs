use super::{Outcome, Rule, receiving};
use crate::diagnose::{
    draft::Draft,
    facts::{Facts, packets},
    figures::{number, percent, rate},
    finding::{Confidence, Finding},
    harm::{HOT, Harm, severity},
    page::{Page, look_alike, owner, read, threshold},
};

/// Packets a second of one device.
const MANY: f64 = 100_000.0;
/// Bytes of a packet that is small.
const SMALL: f64 = 200.0;

pub(super) static RULE: Rule = Rule {
    page: Page {
        id: "NET-PPS",
        title: "Very many small packets",
        means: "What receiving costs goes by packets, not by bytes. Small ones by the hundred thousand are an application that does not batch, or packets that are not put together \
                (GRO) on their way in.",
        signals: &[
            "packets a second and bytes a packet of a device with hardware",
            "whether GRO is on (`ethtool/DEVICE.json`)",
        ],
        thresholds: &[
            threshold("packets of one device", "100,000/s", "kctx"),
            threshold("bytes a packet", "below 200", "kctx"),
            threshold("of a CPU in NET_RX", "30 %", "kctx"),
        ],
        confused_with: &[
            look_alike("NET-SAT", "few packets, each slow"),
            look_alike("NET-LO", "small packets of a process to itself"),
        ],
        next: &[
            read(
                "See whether GRO is on.",
                "ethtool -k {device} | grep -E 'generic-receive|large-receive|rx-udp-gro'",
            ),
            read("See packets and bytes a second.", "sar -n DEV 1 5"),
            owner(
                "Find who turned GRO off (an XDP program, a bridge's set-up); ask the application's owner for batches.",
            ),
        ],
        do_not: &["Turn LRO on where packets are forwarded or bridged: it changes them."],
    },
    explained_by: &["NET-FW", "NET-BPF", "NET-CONC"],
    judge,
};

fn judge(facts: &Facts<'_>) -> Outcome {
    let physical = facts
        .packets
        .iter()
        .filter(|(device, _)| facts.is_physical(device));
    let Some((device, most)) = physical.max_by(|a, b| a.1.received.total_cmp(&b.1.received)) else {
        return Outcome::Silent;
    };
    let bytes = most.received_bytes / most.received.max(1.0);
    let small = most.received >= MANY && bytes < SMALL;
    let found = if small {
        finding(facts, device, most.received, bytes)
    } else {
        None
    };
    Outcome::or_ruled_out(found.into_iter().collect(), || {
        format!(
            "{device} receives {} packets/s of {} bytes (threshold {}, below {SMALL:.0} bytes, and {HOT:.0} % of a CPU)",
            number(most.received),
            number(bytes),
            rate(MANY)
        )
    })
}

fn finding(facts: &Facts<'_>, device: &str, received: f64, bytes: f64) -> Option<Finding> {
    let receive = facts
        .receive
        .first()
        .filter(|receive| receive.percent >= HOT)?;
    let harm = Harm::of_receive(facts, receive);
    let severity = severity(receive.percent, &harm, false)?;
    let offload = facts.receive_offload(device);
    let (gro, confidence) = match offload {
        Some(false) => ("; GRO is off", Confidence::High),
        Some(true) => ("; GRO is on", Confidence::Medium),
        None => ("", Confidence::Medium),
    };
    let draft = Draft::new(&RULE.page, severity, confidence)
        .title(format!("{device} receives {} small packets/s", number(received)))
        .statement(format!(
            "{device} receives {} packets/s of {} bytes, and CPU {} spends {} of its time on receiving{gro}{}.",
            number(received),
            number(bytes),
            receive.cpu,
            percent(receive.percent),
            harm.clause()
        ));
    let draft = receiving::chain(facts, draft, receive)
        .device(device)
        .step("configuration", gro.trim_start_matches("; "))
        .evidence(
            format!("{}:{device}", facts.reference(packets::FILE)),
            format!("{} packets/s of {} bytes", number(received), number(bytes)),
        )
        .missing_if(
            offload.is_none(),
            "features of the device: whether GRO is on",
        );
    Some(draft.done())
}

#[cfg(test)]
mod tests {
    use crate::diagnose::fixture::{evidence, found, of, percent, ruled_out, softirq, summary};

    #[test]
    fn small_packets_of_hardware_are_found_and_large_ones_are_not() {
        let mut summary = summary();
        summary.softirq = vec![softirq("NET_RX", 0, "irq_tail", 90_000, percent(55))];
        let files = |bytes: u64| {
            let after = format!("eth0: {bytes} 9000000 0 0 0 0 0 0 0 0 0 0 0 0 0 0\n");
            evidence(&[
                (
                    "before/proc/net/dev",
                    "eth0: 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0\n",
                ),
                ("after/proc/net/dev", &after),
                ("after/ethtool/eth0.json", r#"{"features": []}"#),
            ])
        };
        let diagnosis = of(&summary, &files(9_000_000 * 80));
        let finding = found(&diagnosis, "NET-PPS").unwrap();
        assert!(
            finding
                .statement
                .starts_with("eth0 receives 900,000 packets/s of 80 bytes"),
            "{}",
            finding.statement
        );
        let diagnosis = of(&summary, &files(9_000_000 * 1400));
        assert!(
            found(&diagnosis, "NET-PPS").is_none() && ruled_out(&diagnosis, "NET-PPS").is_some()
        );
    }
}
