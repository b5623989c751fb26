use std::collections::BTreeMap;

use super::{Outcome, Rule, receiving};
use crate::diagnose::{
    draft::Draft,
    facts::Facts,
    figures::{percent, rate},
    finding::{Confidence, Finding},
    harm::{HOT, Harm, severity},
    page::{Page, look_alike, owner, read, threshold},
};

/// A queue's packets against the mean of its device's others.
const SKEW: f64 = 3.0;

pub(super) static RULE: Rule = Rule {
    page: Page {
        id: "NET-FLOW",
        title: "One receive queue has most of a device's packets",
        means: "The device has several queues on several CPUs, but one flow, or a hash that sees little of the packets (tunnels, UDP by address alone), puts most into one. A flow \
                is never split: its packets would come out of order.",
        signals: &[
            "packets by NAPI of one device",
            "NET_RX's share of that queue's CPU",
        ],
        thresholds: &[
            threshold(
                "packets of one queue",
                "3 times the mean of the device's other queues",
                "kctx",
            ),
            threshold(
                "of its CPU in NET_RX",
                "30 %; 80 %, or harm, is a warning",
                "kctx: one flow is as a rule on one queue, and no defect",
            ),
        ],
        confused_with: &[
            look_alike(
                "NET-CONC",
                "all queues are on one CPU, or there is one queue",
            ),
            look_alike("NET-RPS", "the skew is in steering, after the device"),
        ],
        next: &[
            read(
                "See what the device hashes, and packets by queue.",
                "ethtool -n {device} rx-flow-hash udp4 ; ethtool -S {device} | grep -iE 'rx.*[0-9].*packets'",
            ),
            read(
                "See which flows there are.",
                "ss -tin state established | head -40",
            ),
            owner(
                "Hash ports too (sdfn), look into tunnels, or have the application use more flows.",
            ),
        ],
        do_not: &["Expect RPS to split one flow: it keeps it together."],
    },
    explained_by: &["NET-FW", "NET-CONC"],
    judge,
};

/// Packets of a device's NAPIs: id, CPU with most of its polls, packets.
type Queues<'a> = BTreeMap<&'a str, BTreeMap<u32, (u32, u64)>>;

fn judge(facts: &Facts<'_>) -> Outcome {
    let mut devices: Queues<'_> = BTreeMap::new();
    for row in facts
        .summary
        .napi
        .iter()
        .filter(|row| row.napi_id != 0 && !row.overflow)
    {
        let queue = devices
            .entry(&row.device)
            .or_default()
            .entry(row.napi_id)
            .or_insert((row.cpu, 0));
        if row.packets > queue.1 {
            queue.0 = row.cpu;
        }
        queue.1 = queue.1.saturating_add(row.packets);
    }
    let mut most: Option<(&str, f64)> = None;
    for (device, queues) in devices.iter().filter(|(_, queues)| queues.len() > 1) {
        let all: u64 = queues.values().map(|(_, packets)| packets).sum();
        let Some((id, (cpu, packets))) = queues.iter().max_by_key(|(_, (_, packets))| *packets)
        else {
            continue;
        };
        let others = all.saturating_sub(*packets) as f64 / (queues.len() - 1) as f64;
        let skew = *packets as f64 / others.max(1.0);
        if most.is_none_or(|(_, known)| skew > known) {
            most = Some((device, skew));
        }
        if skew >= SKEW
            && let Some(finding) = finding(facts, device, *id, *cpu, (*packets, all, queues.len()))
        {
            return Outcome::Found(vec![finding]);
        }
    }
    match most {
        None => Outcome::Silent,
        Some((device, skew)) => Outcome::RuledOut(format!(
            "the busiest queue of {device} has {skew:.1} times the mean of its others (threshold {SKEW:.0} times, and {HOT:.0} % of its CPU)"
        )),
    }
}

fn finding(
    facts: &Facts<'_>,
    device: &str,
    id: u32,
    cpu: u32,
    (packets, all, queues): (u64, u64, usize),
) -> Option<Finding> {
    let receive = facts
        .receive
        .iter()
        .find(|receive| receive.cpu == cpu && receive.percent >= HOT)?;
    let harm = Harm::of_receive(facts, receive);
    let severity = severity(receive.percent, &harm, false)?;
    let part = packets as f64 * 100.0 / all.max(1) as f64;
    let draft = Draft::new(&RULE.page, severity, Confidence::Medium)
        .title(format!("One of {queues} queues of {device} has {} of its packets", percent(part)))
        .statement(format!(
            "{}: one of the {queues} busy queues of {device} (NAPI {id}) has {} of its packets, {}{}.",
            receiving::subject(receive),
            percent(part),
            rate(facts.rate(packets)),
            harm.clause()
        ));
    let draft = receiving::chain(facts, draft, receive)
        .device(device)
        .evidence(
            format!("summary.napi[device={device},napi_id={id}]"),
            format!("{} of {}", rate(facts.rate(packets)), rate(facts.rate(all))),
        )
        .missing("packets by flow: kctx looks into none");
    Some(hash(facts, draft, device).done())
}

/// What the device tells flows apart by, where that is known.
fn hash(facts: &Facts<'_>, draft: Draft, device: &str) -> Draft {
    let Some(fields) = facts.hashed_fields(device, "udp4") else {
        return draft.missing("what the device hashes");
    };
    let draft = draft.evidence(format!("ethtool/{device}.json hashed_fields.udp4"), &fields);
    if fields.contains(['f', 'n']) {
        return draft.step("configuration", "UDP is hashed by addresses and ports");
    }
    draft.step(
        "configuration",
        "UDP is hashed without ports: all flows between two hosts go to one queue",
    )
}

#[cfg(test)]
mod tests {
    use crate::diagnose::{
        finding::Severity,
        fixture::{evidence, found, napi, of, percent, ruled_out, softirq, summary},
    };

    #[test]
    fn a_queue_with_most_packets_is_found_and_even_ones_are_not() {
        let mut summary = summary();
        summary.softirq = (0..4)
            .map(|cpu| {
                softirq(
                    "NET_RX",
                    cpu,
                    "irq_tail",
                    1000,
                    percent(if cpu == 2 { 60 } else { 22 }),
                )
            })
            .collect();
        summary.napi = (0..4)
            .map(|queue| {
                napi(
                    "eth0",
                    8193 + queue,
                    queue,
                    10_000,
                    0,
                    if queue == 2 { 9_000_000 } else { 100_000 },
                )
            })
            .collect();
        let diagnosis = of(&summary, &evidence(&[]));
        let finding = found(&diagnosis, "NET-FLOW").unwrap();
        assert_eq!(
            (&finding.scope.cpus[..], &finding.scope.devices[..]),
            (&[2][..], &["eth0".to_owned()][..])
        );
        assert!(finding.missing.iter().any(|what| what.contains("hashes")));
        let hashed = evidence(&[(
            "before/ethtool/eth0.json",
            r#"{"hashed_fields": {"udp4": "sd"}}"#,
        )]);
        let diagnosis_of_hash = of(&summary, &hashed);
        let told = found(&diagnosis_of_hash, "NET-FLOW").unwrap();
        assert!(
            told.chain
                .iter()
                .any(|step| step.value.starts_with("UDP is hashed without ports")),
            "{told:?}"
        );
        // A backup is one flow, and that CPU has time left.
        assert_eq!(finding.severity, Severity::Info);
        // Of two queues neither can have three times their mean.
        let mut two = summary.clone();
        two.napi.retain(|row| row.cpu > 1);
        assert!(found(&of(&two, &evidence(&[])), "NET-FLOW").is_some());
        for row in &mut summary.napi {
            row.packets = 2_000_000;
        }
        let diagnosis = of(&summary, &evidence(&[]));
        assert!(
            found(&diagnosis, "NET-FLOW").is_none() && ruled_out(&diagnosis, "NET-FLOW").is_some()
        );
    }
}
