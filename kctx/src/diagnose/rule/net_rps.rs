use super::{Outcome, Rule, receiving};
use crate::{
    aggregate::window::OriginKind,
    diagnose::{
        draft::Draft,
        facts::{Facts, receive::Receive},
        figures::{list, number, percent, rate},
        finding::{Confidence, Finding},
        harm::{BUSY, Harm, severity},
        page::{Page, look_alike, owner, read, reversible, threshold},
    },
};

/// Wake-ups of a CPU by others, a second.
const WAKE_UPS: f64 = 5_000.0;

pub(super) static RULE: Rule = Rule {
    page: Page {
        id: "NET-RPS",
        title: "Packets are handed to other CPUs by interrupts (RPS)",
        means: "Receive packet steering has one CPU take packets in and others receive them. Each hand-over may be an interrupt from CPU \
                to CPU, and both raise NET_RX. Where the mask of targets is small, or has the CPU of the device's interrupt in it, it \
                moves the load and adds to it.",
        signals: &[
            "received_rps in softnet_stat (column 10), a second",
            "NET_RX raised by a function call from another CPU (CAL), or by the idle task that was woken so",
            "rps_cpus of the devices' queues",
        ],
        thresholds: &[
            threshold(
                "wake-ups of a CPU for packets",
                "5,000/s",
                "kctx; at rest there are none, a flood over loopback has 58,000/s",
            ),
            threshold("NET_RX of that CPU", "10 %", "kctx"),
        ],
        confused_with: &[
            look_alike(
                "IRQ-IPI",
                "function calls for other reasons: TLB, membarrier, wake-ups; received_rps does not grow",
            ),
            look_alike(
                "NET-CONC",
                "one CPU has all interrupts of a device: nobody hands over",
            ),
        ],
        next: &[
            read(
                "Print the masks.",
                "grep -H . /sys/class/net/*/queues/rx-*/rps_cpus",
            ),
            read(
                "See whether flows are steered to where they are read (RFS), and what new devices begin with.",
                "sysctl net.core.rps_sock_flow_entries net.core.rps_default_mask",
            ),
            reversible(
                "Take the interrupting CPU, and CPUs that are set apart, out of the mask.",
                "",
            ),
            owner(
                "With as many receive queues as CPUs (RSS) RPS is redundant: whoever set it may drop it.",
            ),
        ],
        do_not: &[
            "Enable RPS everywhere to spread softirqs: it adds interrupts, and a single flow stays on one CPU.",
        ],
    },
    explained_by: &["NET-FW", "NET-BPF", "NET-CT"],
    judge,
};

fn judge(facts: &Facts<'_>) -> Outcome {
    let Some(rates) = &facts.softnet else {
        let by_calls = facts.receive.iter().find(|receive| {
            receive.percent >= BUSY && by_others(receive) >= 50.0 && receive.runs >= WAKE_UPS
        });
        return match by_calls.and_then(|receive| finding(facts, receive, None)) {
            Some(finding) => Outcome::Found(vec![finding]),
            None => Outcome::Silent,
        };
    };
    let steered = facts.receive.iter().filter_map(|receive| {
        let woken = rates.get(&receive.cpu)?.rps;
        (woken >= WAKE_UPS && receive.percent >= BUSY).then_some((receive, woken))
    });
    let worst = steered.max_by(|a, b| a.1.total_cmp(&b.1));
    let found = worst.and_then(|(receive, woken)| finding(facts, receive, Some(woken)));
    let most = rates.values().map(|rate| rate.rps).fold(0.0, f64::max);
    Outcome::or_ruled_out(found.into_iter().collect(), || {
        format!(
            "RPS woke a CPU at most {} (less than {})",
            rate(most),
            rate(WAKE_UPS)
        )
    })
}

/// Part of the runs that another CPU caused: by an interrupt, or by waking it from idleness.
fn by_others(receive: &Receive) -> f64 {
    let calls = receive.raisers.iter().filter(|(origin, _)| {
        origin.kind == OriginKind::Idle || origin.kind == OriginKind::Vector && origin.name == "CAL"
    });
    calls.map(|(_, part)| part).sum()
}

fn finding(facts: &Facts<'_>, receive: &Receive, woken: Option<f64>) -> Option<Finding> {
    let masks: Vec<_> = (facts.devices.iter())
        .filter(|(_, device)| !device.rps_masks.is_empty())
        .map(|(name, device)| format!("{name} {}", device.rps_masks.join(",")))
        .collect();
    let confidence = match (woken, masks.is_empty()) {
        (Some(_), false) => Confidence::High,
        _ => Confidence::Medium,
    };
    // Who hands over raises NET_RX for it as well, and polls nothing in it.
    let senders: Vec<_> = (facts.receive.iter())
        .filter(|other| {
            other.cpu != receive.cpu && other.runs > 100.0 && other.runs >= receive.runs / 4.0
        })
        .collect();
    let handing: Vec<&Receive> = (senders.iter().copied())
        .filter(|other| other.packets < other.runs / 2.0)
        .collect();
    let handing_cpus = handing.iter().map(|other| other.cpu);
    let handing: f64 = handing.iter().map(|other| other.percent).sum();
    let senders: Vec<_> = senders.iter().map(|other| other.cpu.to_string()).collect();
    let harm = Harm::of_receive(facts, receive);
    // That another CPU is interrupted for each few packets is no way to be healthy.
    let severity = severity(receive.percent + handing, &harm, true)?;
    let calls = facts
        .interrupts
        .as_ref()
        .map(|known| known.rate("CAL", receive.cpu));
    let from = match senders.is_empty() {
        true => "other CPUs".to_owned(),
        false => format!("CPU {}", list(&senders)),
    };
    let wakes = match woken {
        Some(woken) => format!(" by RPS, {}", rate(woken)),
        None => format!(" in {} of its NET_RX runs", percent(by_others(receive))),
    };
    let by_call = calls.map_or(String::new(), |calls| {
        format!(", with {} function-call interrupts/s", number(calls))
    });
    let also = match handing {
        share if share >= 1.0 => {
            format!(", and {from} {} handing them over", percent(share))
        }
        _ => String::new(),
    };
    let draft = Draft::new(&RULE.page, severity, confidence)
        .title(format!("CPU {} receives what {from} hands to it (RPS)", receive.cpu))
        .statement(format!(
            "{from} wakes CPU {} for packets{wakes}{by_call}; CPU {} spends {} of its time receiving them{also}{}.",
            receive.cpu,
            receive.cpu,
            percent(receive.percent),
            harm.clause()
        ));
    // What those do is said with it.
    let mut draft = receiving::chain(facts, draft, receive)
        .cpus(handing_cpus)
        .irq("CAL")
        .step("configuration", masks.join("; "))
        .missing_if(
            masks.is_empty(),
            "rps_cpus of the device: it is in another network namespace, or was not sampled",
        );
    for (name, device) in &facts.devices {
        if !device.rps_masks.is_empty() {
            draft = draft.device(name).evidence(
                facts.reference(&format!("sys/class/net/{name}/queues/rx-0/rps_cpus")),
                device.rps_masks.join(","),
            );
        }
    }
    Some(draft.done())
}

#[cfg(test)]
mod tests {
    use crate::{
        aggregate::window::OriginKind,
        diagnose::{
            finding::Severity,
            fixture::{
                found, napi, of, origin, percent, raised_by, ruled_out, softirq, softnet, summary,
            },
        },
    };

    #[test]
    fn wake_ups_for_packets_are_rps_and_other_function_calls_are_not() {
        let mut summary = summary();
        summary.softirq = vec![
            softirq("NET_RX", 0, "irq_tail", 410_000, percent(38)),
            softirq("NET_RX", 1, "task", 580_000, percent(5)),
        ];
        raised_by(
            &mut summary,
            "NET_RX",
            0,
            origin(OriginKind::Vector, Some(2), "CAL"),
            410_000,
        );
        summary.napi = vec![napi("backlog", 0, 0, 410_000, 0, 4_310_000)];
        let diagnosis = of(&summary, &softnet(0, 0, 0, 58_500));
        let first = &diagnosis.findings[0];
        assert_eq!(
            (first.id.as_str(), first.severity, &first.scope.cpus[..]),
            ("NET-RPS", Severity::Warn, &[0, 1][..])
        );
        assert!(
            diagnosis
                .first_line
                .starts_with("CPU 1 wakes CPU 0 for packets by RPS, 58,500/s"),
            "{}",
            diagnosis.first_line
        );
        // Who hands over is not hot for an unknown reason.
        summary.softirq[1] = softirq("NET_RX", 1, "task", 580_000, percent(40));
        let diagnosis = of(&summary, &softnet(0, 0, 0, 58_500));
        assert!(found(&diagnosis, "HOT").is_none(), "{diagnosis:?}");
        let diagnosis = of(&summary, &softnet(0, 0, 0, 10));
        assert!(found(&diagnosis, "NET-RPS").is_none());
        assert_eq!(
            ruled_out(&diagnosis, "NET-RPS"),
            Some("RPS woke a CPU at most 10/s (less than 5,000/s)")
        );
    }
}
