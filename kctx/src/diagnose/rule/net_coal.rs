use super::{Outcome, Rule};
use crate::diagnose::{
    draft::Draft,
    facts::{Facts, lines::Line},
    figures::{number, percent, rate},
    finding::{Confidence, Finding, Severity},
    harm::BUSY,
    page::{Page, look_alike, owner, read, threshold},
};

/// Interrupts of one queue, a second.
const MANY: f64 = 50_000.0;
/// Packets of a poll, at most: more, and interrupts are moderated well enough.
const FEW: f64 = 4.0;

pub(super) static RULE: Rule = Rule {
    page: Page {
        id: "NET-COAL",
        title: "A network device interrupts for nearly each packet",
        means: "The device's interrupt coalescing is off or set very short: each interrupt brings a packet or two, and the interrupt costs more than they do.",
        signals: &[
            "interrupts of one queue's line, a second",
            "packets of a poll of that device",
            "its coalescing (`ethtool -c`)",
        ],
        thresholds: &[
            threshold("interrupts of one line", "50,000/s", "kctx"),
            threshold("packets of a poll", "4 at most", "kctx"),
        ],
        confused_with: &[
            look_alike(
                "IRQ-STORM",
                "interrupts of something else than a network device",
            ),
            look_alike("NET-PPS", "polls take many packets: there are that many"),
        ],
        next: &[
            read("See how interrupts are moderated.", "ethtool -c {device}"),
            read(
                "See whether the kernel defers them.",
                "grep -H . /sys/class/net/{device}/{napi_defer_hard_irqs,gro_flush_timeout}",
            ),
            owner(
                "Adaptive moderation, where the device has it and nobody needs the shortest latency.",
            ),
        ],
        do_not: &["Lengthen it on a host where latency matters, without its owner's word."],
    },
    explained_by: &[],
    judge,
};

fn judge(facts: &Facts<'_>) -> Outcome {
    let mut most: Option<(String, f64)> = None;
    let lines = facts.lines();
    let devices: std::collections::BTreeSet<&str> = facts
        .summary
        .napi
        .iter()
        .map(|row| row.device.as_str())
        .collect();
    for device in devices {
        let own = facts.lines_of(device);
        let of_device = |line: &&Line| line.label.parse().is_ok_and(|irq| own.contains(&irq));
        let Some(line) = lines
            .iter()
            .filter(of_device)
            .max_by(|a, b| a.rate.total_cmp(&b.rate))
        else {
            continue;
        };
        if most.as_ref().is_none_or(|(_, known)| line.rate > *known) {
            most = Some((line.words(), line.rate));
        }
        let rows = facts.summary.napi.iter().filter(|row| row.device == device);
        let (polls, packets) = rows.fold((0_u64, 0_u64), |(polls, packets), row| {
            (
                polls.saturating_add(row.count),
                packets.saturating_add(row.packets),
            )
        });
        let each = packets as f64 / polls.max(1) as f64;
        if line.rate >= MANY && each <= FEW {
            return Outcome::Found(vec![finding(facts, device, line, each)]);
        }
    }
    match most {
        None => Outcome::Silent,
        Some((line, most)) => Outcome::RuledOut(format!(
            "{line} interrupts {} (less than {}, or polls of more than {FEW:.0} packets)",
            rate(most),
            rate(MANY)
        )),
    }
}

fn finding(facts: &Facts<'_>, device: &str, line: &Line, each: f64) -> Finding {
    let severity = if line.percent >= BUSY {
        Severity::Warn
    } else {
        Severity::Info
    };
    let coalescing = facts.coalescing(device);
    let confidence = if coalescing.is_some() {
        Confidence::High
    } else {
        Confidence::Medium
    };
    let set = coalescing
        .as_ref()
        .map_or(String::new(), |set| format!("; it is set to {set}"));
    Draft::new(&RULE.page, severity, confidence)
        .title(format!(
            "{device} interrupts CPU {} {} for {} packets each",
            line.cpu,
            rate(line.rate),
            number(each)
        ))
        .statement(format!(
            "{} interrupts CPU {} {} and takes {} of it, for {} packets a poll of {device}{set}.",
            line.words(),
            line.cpu,
            rate(line.rate),
            percent(line.percent),
            number(each)
        ))
        .share(line.cpu, "hardirq", line.percent)
        .cpu(line.cpu)
        .device(device)
        .irq(&line.label)
        .step(
            "interrupt",
            format!("{}, {}", line.words(), rate(line.rate)),
        )
        .step("NAPI", format!("{} packets a poll", number(each)))
        .step("configuration", set.trim_start_matches("; "))
        .evidence(
            format!("summary.hardirq[irq={},cpu={}]", line.label, line.cpu),
            rate(line.rate),
        )
        .missing_if(coalescing.is_none(), "coalescing of the device")
        .done()
}

#[cfg(test)]
mod tests {
    use crate::diagnose::{
        finding::Severity,
        fixture::{evidence, found, hardirq, napi, of, percent, ruled_out, summary},
    };

    #[test]
    fn an_interrupt_a_packet_is_found_and_full_polls_are_not() {
        let mut summary = summary();
        summary.hardirq = vec![hardirq(Some(120), "eth0-rx-0", 1, 800_000, percent(14))];
        summary.napi = vec![napi("eth0", 8193, 1, 800_000, 0, 1_000_000)];
        let diagnosis = of(&summary, &evidence(&[]));
        let finding = found(&diagnosis, "NET-COAL").unwrap();
        assert_eq!(
            (
                finding.severity,
                &finding.scope.cpus[..],
                &finding.scope.irqs[..]
            ),
            (Severity::Warn, &[1][..], &["120".to_owned()][..])
        );
        summary.napi = vec![napi("eth0", 8193, 1, 800_000, 0, 30_000_000)];
        let diagnosis = of(&summary, &evidence(&[]));
        assert!(
            found(&diagnosis, "NET-COAL").is_none() && ruled_out(&diagnosis, "NET-COAL").is_some()
        );
    }
}
