use super::{Outcome, Rule};
use crate::diagnose::{
    draft::Draft,
    facts::{
        Facts,
        lines::{Line, of_thread},
    },
    figures::{cpus, number, percent, rate, time},
    finding::{Confidence, Finding, Severity},
    page::{Page, look_alike, owner, read, threshold},
};
use crate::report::summary::KthreadSummary;

/// Part of a CPU in one line's handlers, or in its thread (`HARDIRQ_PERCENT_THRESH`, kernel/watchdog.c).
const PART: f64 = 50.0;
/// Interrupts of one line on one CPU, a second.
const MANY: f64 = 100_000.0;

pub(super) static RULE: Rule = Rule {
    page: Page {
        id: "IRQ-STORM",
        title: "A device's interrupts take a CPU",
        means: "One line interrupts so often, or its handler takes so long, that the CPU does little else. That may be a device that interrupts for each \
                packet or request, or one whose handler does not make it stop. A threaded handler's time is that of its thread, `irq/N-name`. With tick accounting %hardirq stays near 0 all the while.",
        signals: &[
            "a line's handlers' share of a CPU",
            "its interrupts a second",
            "CPU time of its thread, where its handler is threaded",
        ],
        thresholds: &[
            threshold(
                "of a CPU in the handlers of one line, or in its thread",
                "50 %",
                "kernel/watchdog.c, HARDIRQ_PERCENT_THRESH (6.12)",
            ),
            threshold("interrupts of one line on a CPU", "100,000/s", "kctx"),
        ],
        confused_with: &[
            look_alike("IRQ-SPURIOUS", "no handler says that it was its device"),
            look_alike("IRQ-LONG", "few interrupts, each long"),
            look_alike("NET-COAL", "a network device whose coalescing is off"),
        ],
        next: &[
            read(
                "See which device the line is of, and whether it is shared.",
                "grep -w '{irq}:' /proc/interrupts ; ls /proc/irq/{irq}",
            ),
            read(
                "Look for complaints of its driver.",
                "dmesg --level=err,warn | tail -50",
            ),
            owner(
                "The driver's or firmware's update, MSI instead of a shared line, or its interrupt moderation.",
            ),
        ],
        do_not: &["Disable a line that storage, the network or the console hangs on."],
    },
    explained_by: &["IRQ-SPURIOUS", "IRQ-GPE", "NET-COAL"],
    judge,
};

fn judge(facts: &Facts<'_>) -> Outcome {
    let lines: Vec<_> = facts
        .lines()
        .into_iter()
        .filter(Line::is_numbered)
        .collect();
    let worst = lines
        .iter()
        .find(|line| line.percent >= PART || line.rate >= MANY);
    if let Some(line) = worst {
        return Outcome::Found(vec![finding(facts, line)]);
    }
    let threads = facts.summary.kthread.iter();
    let threads = threads.filter(|row| facts.percent(row.cpu_net_ns) >= PART);
    let mut threaded = threads.filter_map(|row| Some((row, of_thread(&row.comm)?)));
    if let Some((row, (label, action))) = threaded.next() {
        return Outcome::Found(vec![in_thread(facts, row, label, action)]);
    }
    match lines.first() {
        None => Outcome::Silent,
        Some(line) => Outcome::RuledOut(format!(
            "{} takes {} of CPU {}, {} (threshold {PART:.0} % or {})",
            line.words(),
            percent(line.percent),
            line.cpu,
            rate(line.rate),
            rate(MANY)
        )),
    }
}

fn finding(facts: &Facts<'_>, line: &Line) -> Finding {
    let severity = if line.percent >= PART {
        Severity::Crit
    } else {
        Severity::Warn
    };
    let affinity = line
        .label
        .parse()
        .ok()
        .and_then(|irq| facts.effective_affinity(irq));
    let to = affinity.map_or(String::new(), |to| {
        format!("effective affinity: {}", cpus(&to))
    });
    let confidence = if to.is_empty() {
        Confidence::Medium
    } else {
        Confidence::High
    };
    let draft = Draft::new(&RULE.page, severity, confidence)
        .title(format!(
            "CPU {}: {} in {}",
            line.cpu,
            percent(line.percent),
            line.words()
        ))
        .statement(format!(
            "CPU {} spends {} of its time in the handlers of {}: {} interrupts/s of {} each.",
            line.cpu,
            percent(line.percent),
            line.words(),
            number(line.rate),
            time(line.percent * 1e7 / line.rate.max(1.0))
        ))
        .share(line.cpu, "hardirq", line.percent)
        .cpu(line.cpu)
        .irq(&line.label)
        .step(
            "CPU",
            format!("{}: {} in handlers", line.cpu, percent(line.percent)),
        )
        .step(
            "interrupt",
            format!("{}, {}", line.words(), rate(line.rate)),
        )
        .step("configuration", &to)
        .evidence(
            format!("summary.hardirq[irq={},cpu={}]", line.label, line.cpu),
            format!("{}, {}", percent(line.percent), rate(line.rate)),
        )
        .missing_if(to.is_empty(), "effective_affinity_list of the line");
    let with_devices = line
        .actions
        .iter()
        .fold(draft, |draft, action| draft.device(action));
    with_devices.done()
}

/// Its handler only wakes a thread, and that does the work.
fn in_thread(facts: &Facts<'_>, thread: &KthreadSummary, label: &str, action: &str) -> Finding {
    let share = percent(facts.percent(thread.cpu_net_ns));
    let lines = facts.lines();
    let interrupts = lines.iter().filter(|line| line.label == label);
    let interrupts: f64 = interrupts.map(|line| line.rate).sum();
    let comm = &thread.comm;
    Draft::new(&RULE.page, Severity::Crit, Confidence::High)
        .title(format!("{share} of a CPU in {comm}, the thread of interrupt {label}"))
        .statement(format!(
            "{comm} (pid {}), the thread of interrupt {label} ({action}), takes {share} of a CPU: {} interrupts/s, {} at most at a time.",
            thread.pid,
            number(interrupts),
            time(thread.service_net.max_ns as f64)
        ))
        .process(comm, thread.pid)
        .irq(label)
        .device(action)
        .step("interrupt", format!("interrupt {label} ({action}), {}", rate(interrupts)))
        .step("thread", format!("{comm} (pid {}): {share} of a CPU", thread.pid))
        .evidence(format!("summary.kthread[comm={comm}]"), share)
        .done()
}

#[cfg(test)]
mod tests {
    use crate::diagnose::{
        finding::{Severity, Verdict},
        fixture::{evidence, found, hardirq, kthread, of, percent, ruled_out, summary},
    };

    #[test]
    fn a_thread_of_an_interrupt_that_takes_a_cpu_is_its_line_and_another_thread_is_not() {
        let mut summary = summary();
        summary.hardirq = vec![hardirq(Some(3), "ttyS1", 1, 4_000, percent(1))];
        summary.kthread = vec![
            kthread("other", "kswapd0", percent(20)),
            kthread("irq", "irq/3-s-ttyS1", percent(74)),
        ];
        let diagnosis = of(&summary, &evidence(&[]));
        let first = &diagnosis.findings[0];
        assert_eq!(
            (first.id.as_str(), first.severity, diagnosis.verdict),
            ("IRQ-STORM", Severity::Crit, Verdict::Hot)
        );
        assert_eq!(
            (
                &first.scope.irqs[..],
                &first.scope.devices[..],
                &first.scope.comms[..]
            ),
            (
                &["3".to_owned()][..],
                &["ttyS1".to_owned()][..],
                &["irq/3-s-ttyS1".to_owned()][..]
            )
        );
        assert!(found(&diagnosis, "HOT").is_none());
        summary.kthread[1].cpu_net_ns = percent(9);
        let diagnosis = of(&summary, &evidence(&[]));
        assert!(found(&diagnosis, "IRQ-STORM").is_none());
    }

    #[test]
    fn a_line_that_takes_the_cpu_is_found_and_the_tick_is_not() {
        let mut summary = summary();
        summary.hardirq = vec![
            hardirq(Some(19), "ehci_hcd", 2, 2_000_000, percent(62)),
            hardirq(None, "LOC", 2, 2500, percent(1)),
        ];
        let diagnosis = of(&summary, &evidence(&[]));
        let first = &diagnosis.findings[0];
        assert_eq!(
            (diagnosis.verdict, first.id.as_str(), first.severity),
            (Verdict::Hot, "IRQ-STORM", Severity::Crit)
        );
        assert_eq!(
            (&first.scope.cpus[..], &first.scope.irqs[..]),
            (&[2][..], &["19".to_owned()][..])
        );
        assert!(
            diagnosis
                .first_line
                .contains("interrupt 19 (ehci_hcd): 200,000 interrupts/s of 3.10 µs each"),
            "{}",
            diagnosis.first_line
        );
        summary.hardirq = vec![
            hardirq(Some(19), "ehci_hcd", 2, 20_000, percent(2)),
            hardirq(None, "LOC", 2, 2_000_000, percent(60)),
        ];
        let diagnosis = of(&summary, &evidence(&[]));
        assert!(
            found(&diagnosis, "IRQ-STORM").is_none()
                && ruled_out(&diagnosis, "IRQ-STORM").is_some()
        );
    }
}
