use super::{Outcome, Rule, receiving};
use crate::{
    aggregate::window::OriginKind,
    diagnose::{
        draft::Draft,
        facts::{
            Facts, origins, packets,
            receive::{BACKLOG, Receive},
        },
        figures::{percent, rate},
        finding::{Confidence, Finding},
        harm::{BUSY, Harm, severity},
        page::{Page, look_alike, owner, read, threshold},
    },
};

/// Part of the runs that tasks raise.
const BY_TASKS: f64 = 50.0;
/// Part of the packets that are of a device, for it to be the one.
const MOST: f64 = 0.5;

pub(super) static RULE: Rule = Rule {
    page: Page {
        id: "NET-LO",
        title: "A process receives its own packets over loopback",
        means: "Packets over `lo` are received on the CPU of who sends them, in the sender's own system call: no device and no interrupt \
                is in it, and ksoftirqd stays idle. It is the application's own cost, billed as softirq.",
        signals: &[
            "NET_RX is raised by a task and runs in it, without a wait",
            "polls of the backlog, and `lo` counts as many packets",
        ],
        thresholds: &[
            threshold("runs that tasks raise", "50 %", "kctx"),
            threshold(
                "of the CPU in NET_RX",
                "10 %",
                "kctx; measured: 385,000 packets/s are 31 %",
            ),
        ],
        confused_with: &[
            look_alike(
                "NET-VIRT",
                "the same path, with veth, bridge or tunnel between",
            ),
            look_alike("NET-CONC", "raised by the interrupts of a device"),
        ],
        next: &[
            read(
                "See what the process sends and to whom.",
                "ss -anptu | grep {pid}",
            ),
            read("Count packets of lo.", "ip -s link show lo"),
            owner("Ask its owner for batches (sendmmsg, larger writes), or a unix socket instead."),
        ],
        do_not: &["Touch the settings of network devices: none is in the path."],
    },
    explained_by: &[
        "NET-FW",
        "NET-BPF",
        "NET-CT",
        "NET-TX",
        "NET-VIRT",
        "RT-STARVE",
    ],
    judge,
};

fn judge(facts: &Facts<'_>) -> Outcome {
    let Some(most) = facts.receive.first() else {
        return Outcome::Silent;
    };
    let is_own = |receive: &&Receive| {
        receive.percent >= BUSY
            && receive.raised_by(&[OriginKind::Task]) >= BY_TASKS
            && receive.device() == Some(BACKLOG)
            // Who hands packets to other CPUs has runs too, but polls nothing in them.
            && receive.packets >= receive.runs / 2.0
            && !of_virtual_devices(facts, receive)
    };
    let findings = facts.receive.iter().filter(is_own).take(1);
    let findings = findings
        .filter_map(|receive| finding(facts, receive))
        .collect();
    Outcome::or_ruled_out(findings, || {
        format!(
            "NET_RX takes {} of CPU {}, and tasks raise {} of it (threshold {BUSY:.0} % and {BY_TASKS:.0} %)",
            percent(most.percent),
            most.cpu,
            percent(most.raised_by(&[OriginKind::Task]))
        )
    })
}

/// Whether what a CPU receives is what virtual devices other than loopback do.
fn of_virtual_devices(facts: &Facts<'_>, receive: &Receive) -> bool {
    let busiest = facts.packets.iter().max_by(|a, b| {
        a.1.received
            .max(a.1.sent)
            .total_cmp(&b.1.received.max(b.1.sent))
    });
    busiest.is_some_and(|(device, packets)| {
        facts.is_virtual(device)
            && packets.received.max(packets.sent) >= receive.packets * MOST / 2.0
    })
}

fn finding(facts: &Facts<'_>, receive: &Receive) -> Option<Finding> {
    let harm = Harm::of_receive(facts, receive);
    let severity = severity(receive.percent, &harm, false)?;
    let over_lo = facts.packets.get("lo").map(|packets| packets.received);
    let seen = over_lo.is_some_and(|over_lo| over_lo >= receive.packets * MOST);
    let confidence = match (seen, over_lo) {
        (true, _) => Confidence::High,
        (false, Some(_)) => Confidence::Medium,
        (false, None) => Confidence::Low,
    };
    let tasks = receive
        .raisers
        .iter()
        .filter(|(origin, _)| origin.kind == OriginKind::Task);
    let (sender, part) = tasks.max_by(|a, b| a.1.total_cmp(&b.1))?;
    let (short, where_it_is) = match (seen, over_lo) {
        (true, _) => (" over loopback", "over loopback"),
        (false, Some(_)) => (
            "",
            "over loopback or another virtual device of a network namespace that kctx is not in",
        ),
        (false, None) => ("", "over loopback or another virtual device"),
    };
    let words = origins::words(sender);
    let (receives, sends) = match sender.number {
        Some(_) => ("receives its own", "itself sends"),
        None => ("receive their own", "themselves send"),
    };
    let draft = Draft::new(&RULE.page, severity, confidence)
        .title(format!(
            "CPU {}: {} {receives} packets{short}",
            receive.cpu, sender.name
        ))
        .statement(format!(
            "CPU {} spends {} of its time receiving packets that {words} {sends} {where_it_is}: {}; no network device or \
             interrupt is in it{}.",
            receive.cpu,
            percent(receive.percent),
            receiving::cost(receive),
            harm.clause()
        ));
    let mut draft = receiving::chain(facts, draft, receive)
        .origin(sender)
        .step(
            "cause",
            format!("{} of the runs are raised by {words}", percent(*part)),
        )
        .missing_if(over_lo.is_none(), "packets by device: /proc/net/dev")
        .missing_if(
            !seen && over_lo.is_some(),
            "lo counts fewer packets than are received: it is another device or network namespace",
        );
    if let Some(over_lo) = over_lo {
        draft = draft.evidence(
            format!("{}:lo", facts.reference(packets::FILE)),
            format!("{} packets", rate(over_lo)),
        );
    }
    if seen {
        draft = draft.device("lo");
    }
    Some(draft.done())
}

#[cfg(test)]
mod tests {
    use crate::{
        aggregate::window::{OriginKind, StackRow},
        diagnose::{
            finding::{Confidence, Severity, Verdict},
            fixture::{evidence, found, napi, of, origin, percent, raised_by, softirq, summary},
        },
        report::summary::Summary,
    };

    fn sender(kind: OriginKind) -> Summary {
        let mut summary = summary();
        summary.softirq = vec![softirq("NET_RX", 1, "task", 3_850_000, percent(31))];
        raised_by(
            &mut summary,
            "NET_RX",
            1,
            origin(kind, Some(9014), "udpf"),
            3_850_000,
        );
        summary.napi = vec![napi("backlog", 0, 1, 3_850_000, 0, 3_850_000)];
        summary
    }

    fn counted(device: &str) -> crate::capture::evidence_set::EvidenceSet {
        let after =
            format!(" {device}: 38500000 3850000 0 0 0 0 0 0 38500000 3850000 0 0 0 0 0 0\n");
        evidence(&[
            (
                "before/proc/net/dev",
                &format!(" {device}: 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0\n"),
            ),
            ("after/proc/net/dev", &after),
        ])
    }

    /// The code that it goes to is told, where that is more than what all receiving goes through.
    #[test]
    fn the_code_of_receiving_is_told() {
        let code = |frames: &[&str]| {
            let mut summary = sender(OriginKind::Task);
            summary.stack = vec![StackRow {
                context: "softirq:NET_RX".to_owned(),
                frames: frames.iter().map(|frame| (*frame).to_owned()).collect(),
                count: 20,
            }];
            let diagnosis = of(&summary, &counted("lo"));
            let chain = &diagnosis.findings[0].chain;
            let step = chain.iter().find(|step| step.step == "code");
            step.map(|step| step.value.clone())
        };
        assert_eq!(
            code(&[
                "handle_softirqs",
                "net_rx_action",
                "__udp4_lib_mcast_deliver"
            ]),
            Some("__udp4_lib_mcast_deliver in 20 of 20 stacks (100 %)".to_owned())
        );
        assert_eq!(code(&["handle_softirqs", "net_rx_action"]), None);
    }

    #[test]
    fn senders_that_come_and_go_are_told_by_their_comm() {
        let mut summary = sender(OriginKind::Task);
        summary.softirq_origin[0].origin.number = None;
        let diagnosis = of(&summary, &counted("lo"));
        let first = &diagnosis.findings[0];
        assert!(
            first
                .statement
                .contains("packets that tasks called udpf themselves send over loopback"),
            "{}",
            first.statement
        );
        assert_eq!(first.scope.comms, ["udpf"]);
        assert!(first.next.iter().all(|step| {
            step.command
                .as_ref()
                .is_none_or(|command| !command.contains("grep 0"))
        }));
    }

    #[test]
    fn a_sender_that_receives_its_own_is_busy_and_healthy() {
        let diagnosis = of(&sender(OriginKind::Task), &counted("lo"));
        assert_eq!(diagnosis.verdict, Verdict::NothingHot);
        let first = &diagnosis.findings[0];
        assert_eq!(
            (first.id.as_str(), first.severity, first.confidence),
            ("NET-LO", Severity::Info, Confidence::High)
        );
        assert_eq!(
            (&first.scope.devices[..], &first.scope.comms[..]),
            (&["lo".to_owned()][..], &["udpf".to_owned()][..])
        );
        assert!(diagnosis.first_line.starts_with("Busy, without harm: CPU 1 spends 31 % of its time receiving packets that udpf (pid 9014) itself sends over loopback: 385,000 packets/s"), "{}", diagnosis.first_line);
    }

    #[test]
    fn veth_and_interrupts_are_something_else() {
        assert!(found(&of(&sender(OriginKind::Task), &counted("veth12")), "NET-LO").is_none());
        assert!(found(&of(&sender(OriginKind::Irq), &counted("lo")), "NET-LO").is_none());
    }
}
