use super::{Outcome, Rule, receiving};
use crate::{
    aggregate::window::OriginKind,
    diagnose::{
        draft::Draft,
        facts::{Facts, receive::Receive},
        figures::{cpus, percent},
        finding::{Confidence, Finding},
        harm::{Harm, severity},
        page::{Page, look_alike, owner, read, reversible, threshold},
    },
};

/// Part of all receiving that is one CPU's.
const OF_ALL: f64 = 80.0;
/// Part of that CPU.
const OF_CPU: f64 = 70.0;
/// Part of each other CPU, at most.
const OF_OTHERS: f64 = 20.0;

pub(super) static RULE: Rule = Rule {
    page: Page {
        id: "NET-CONC",
        title: "All of a device's receiving is on one CPU",
        means: "The device has one receive queue, or the interrupts of all its queues go to the same CPU, by irqbalance, by a pinned \
                affinity or by `irqaffinity=`. That CPU is full while others idle.",
        signals: &[
            "one CPU has nearly all NET_RX time and most of it is raised by the device's interrupts",
            "one receive queue (`queues/rx-*`), or the same effective_affinity_list of all its lines",
        ],
        thresholds: &[
            threshold("of all NET_RX time on that CPU", "80 %", "kctx"),
            threshold("of that CPU in NET_RX", "70 %", "kctx"),
            threshold("of any other CPU in NET_RX", "below 20 %", "kctx"),
        ],
        confused_with: &[
            look_alike(
                "NET-FLOW",
                "interrupts are spread over CPUs, but one queue has the traffic",
            ),
            look_alike(
                "NET-RPS",
                "other CPUs hand packets over: raised by CAL and not by the device",
            ),
            look_alike(
                "NET-LO",
                "a pinned sender over loopback: no interrupt of a device at all",
            ),
        ],
        next: &[
            read(
                "See which CPUs the lines go to.",
                "grep -H . /proc/irq/*/effective_affinity_list",
            ),
            read(
                "See how many queues there are and could be.",
                "ethtool -l {device}",
            ),
            read(
                "See whether irqbalance runs, and what it may not touch.",
                "systemctl status irqbalance ; cat /etc/default/irqbalance /etc/sysconfig/irqbalance",
            ),
            reversible(
                "Spread the lines over CPUs of the device's node (smp_affinity_list of each).",
                "",
            ),
            owner(
                "Enable more queues in a maintenance step: on many drivers the link goes down for a moment.",
            ),
        ],
        do_not: &[
            "Raise netdev_budget: the CPU is full, not the budget.",
            "Have more queues than physical cores: hyper-threads gain nothing (networking/scaling.rst).",
        ],
    },
    explained_by: &["NET-FW", "NET-BPF", "NET-CT"],
    judge,
};

fn judge(facts: &Facts<'_>) -> Outcome {
    let Some(most) = facts.receive.first() else {
        return Outcome::Silent;
    };
    let all: f64 = facts.receive.iter().map(|receive| receive.percent).sum();
    let part = most.percent * 100.0 / all.max(f64::MIN_POSITIVE);
    let others = facts
        .receive
        .iter()
        .skip(1)
        .map(|receive| receive.percent)
        .fold(0.0, f64::max);
    let by_irqs = most.raised_by(&[OriginKind::Irq]);
    // A NAPI that has more to do raises itself: what is left are the first raises.
    let itself = most.raised_by(&[OriginKind::Softirq]);
    let of_device = by_irqs > 0.0 && by_irqs >= (100.0 - itself) / 2.0;
    let concentrated = part >= OF_ALL && most.percent >= OF_CPU && others < OF_OTHERS;
    let others_exist = facts.summary.host.cpus_online > 1;
    if concentrated && of_device && others_exist {
        return Outcome::Found(finding(facts, most, others).into_iter().collect());
    }
    Outcome::RuledOut(format!(
        "CPU {} has {} of all NET_RX time and spends {} of its own on it; {} of the runs there were raised by a device's \
         interrupts (wanted: {OF_ALL:.0} %, {OF_CPU:.0} % and half)",
        most.cpu,
        percent(part),
        percent(most.percent),
        percent(by_irqs)
    ))
}

fn finding(facts: &Facts<'_>, receive: &Receive, others: f64) -> Option<Finding> {
    let harm = Harm::of_receive(facts, receive);
    let severity = severity(receive.percent, &harm, true)?;
    let device = receive.device().unwrap_or("the device");
    let lines = facts.lines_of(device);
    let elsewhere = lines.iter().any(|irq| {
        facts
            .effective_affinity(*irq)
            .is_some_and(|cpus| cpus.iter().any(|cpu| *cpu != receive.cpu))
    });
    let known = !lines.is_empty()
        && lines
            .iter()
            .all(|irq| facts.effective_affinity(*irq).is_some());
    let queues = facts.devices.get(device).map_or(0, |known| known.rx_queues);
    let why = match (queues, known && !elsewhere) {
        (1, _) => format!("{device} has one receive queue"),
        (_, true) => format!(
            "all {} lines of {device} go to CPU {} in effect",
            lines.len(),
            receive.cpu
        ),
        _ => format!("its interrupts come to CPU {}", receive.cpu),
    };
    let explained = queues == 1 || known && !elsewhere;
    let confidence = if explained {
        Confidence::High
    } else {
        Confidence::Medium
    };
    let draft = Draft::new(&RULE.page, severity, confidence)
        .title(format!(
            "All receiving of {device} is on CPU {}",
            receive.cpu
        ))
        .statement(format!(
            "{}, and no other CPU more than {}: {why}{}.",
            receiving::subject(receive),
            percent(others),
            harm.clause()
        ));
    let mut draft = receiving::chain(facts, draft, receive)
        .device(device)
        .step("configuration", &why)
        .missing_if(
            !explained,
            "queues and effective_affinity_list of the device's lines",
        );
    for irq in &lines {
        draft = draft.irq(&irq.to_string());
        if let Some(to) = facts.effective_affinity(*irq) {
            draft = draft.evidence(
                facts.reference(&format!("proc/irq/{irq}/effective_affinity_list")),
                cpus(&to),
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
            finding::{Confidence, Severity},
            fixture::{
                evidence, found, hardirq, napi, of, origin, percent, raised, raised_by, softirq,
                summary,
            },
        },
        report::summary::Summary,
    };

    fn device_on(cpu: u32) -> Summary {
        let mut summary = summary();
        summary.softirq = vec![
            softirq("NET_RX", cpu, "ksoftirqd", 90_000, percent(88)),
            softirq("NET_RX", 1, "irq_tail", 10, percent(1)),
        ];
        summary.softirq_origin = vec![
            raised(
                "NET_RX",
                cpu,
                origin(OriginKind::Irq, Some(120), "eth0-rx-0"),
                60_000,
            ),
            raised(
                "NET_RX",
                cpu,
                origin(OriginKind::Softirq, Some(3), "NET_RX"),
                30_000,
            ),
        ];
        summary.napi = vec![napi("eth0", 8193, cpu, 90_000, 20_000, 3_000_000)];
        summary.hardirq = (120..124)
            .map(|irq| hardirq(Some(irq), &format!("eth0-rx-{}", irq - 120), cpu, 15_000, 1))
            .collect();
        summary
    }

    #[test]
    fn lines_that_all_go_to_one_cpu_are_the_cause() {
        let affinities: Vec<_> = (120..124)
            .map(|irq| format!("after/proc/irq/{irq}/effective_affinity_list"))
            .collect();
        let files: Vec<_> = affinities
            .iter()
            .map(|path| (path.as_str(), "3\n"))
            .collect();
        let diagnosis = of(&device_on(3), &evidence(&files));
        let first = &diagnosis.findings[0];
        assert_eq!(
            (first.id.as_str(), first.severity, first.confidence),
            ("NET-CONC", Severity::Warn, Confidence::High)
        );
        assert_eq!(
            (&first.scope.cpus[..], &first.scope.devices[..]),
            (&[3][..], &["eth0".to_owned()][..])
        );
        assert!(
            diagnosis
                .first_line
                .contains("all 4 lines of eth0 go to CPU 3"),
            "{}",
            diagnosis.first_line
        );
    }

    #[test]
    fn receiving_that_is_spread_or_comes_from_tasks_is_not() {
        let mut spread = device_on(3);
        spread
            .softirq
            .push(softirq("NET_RX", 2, "irq_tail", 90_000, percent(60)));
        assert!(found(&of(&spread, &evidence(&[])), "NET-CONC").is_none());
        let mut tasks = device_on(3);
        raised_by(
            &mut tasks,
            "NET_RX",
            3,
            origin(OriginKind::Task, Some(9), "udpf"),
            60_000,
        );
        assert!(found(&of(&tasks, &evidence(&[])), "NET-CONC").is_none());
    }
}
