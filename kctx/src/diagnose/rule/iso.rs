use super::{Outcome, Rule};
use crate::diagnose::{
    draft::Draft,
    facts::{Facts, affinity::cpus_of_mask, lines::Line},
    figures::{cpus, list, percent, rate},
    finding::{Confidence, Severity},
    harm::BUSY,
    page::{Page, look_alike, owner, read, threshold},
};

/// Interrupts of a CPU that was set apart, a second.
const SOME: f64 = 100.0;

pub(super) static RULE: Rule = Rule {
    page: Page {
        id: "ISO",
        title: "CPUs that were set apart are not left alone",
        means: "CPUs of isolcpus=, nohz_full= or an isolated cpuset still take interrupts of devices, packets by RPS, works of unbound queues or softirqs: each is set by itself, and none \
                follows from the other. Managed interrupts (NVMe) ignore their affinity.",
        signals: &[
            "interrupts and softirqs of CPUs that were set apart",
            "lines whose effective affinity has them, RPS masks, the mask of unbound workqueues",
        ],
        thresholds: &[
            threshold("interrupts of a device on such a CPU", "100/s", "kctx"),
            threshold("of such a CPU in softirqs", "10 %", "kctx"),
        ],
        confused_with: &[
            look_alike(
                "NET-CONC",
                "the reverse: all interrupts on one housekeeping CPU",
            ),
            look_alike(
                "IRQ-IPI",
                "calls from other CPUs, which isolation does not keep out",
            ),
        ],
        next: &[
            read(
                "Print what is set apart, and what still goes there.",
                "cat /sys/devices/system/cpu/isolated /sys/devices/system/cpu/nohz_full ; grep -H . /proc/irq/*/effective_affinity_list",
            ),
            read(
                "Print the masks of RPS and of unbound workqueues.",
                "grep -H . /sys/class/net/*/queues/rx-*/rps_cpus /sys/devices/virtual/workqueue/cpumask",
            ),
            owner("Take these CPUs out of the masks; irqaffinity= and cpusets at the next boot."),
        ],
        do_not: &[
            "Move managed interrupts: they follow their queues, and writing their affinity fails.",
        ],
    },
    explained_by: &[],
    judge,
};

fn judge(facts: &Facts<'_>) -> Outcome {
    let apart = facts.machine.set_apart();
    if apart.is_empty() {
        return Outcome::Silent;
    }
    let lines = facts.lines();
    let disturbing =
        |line: &&Line| line.is_numbered() && apart.contains(&line.cpu) && line.rate >= SOME;
    let disturbed: Vec<_> = lines.iter().filter(disturbing).collect();
    let softirqs = |cpu: u32| {
        let times = facts.summary.cpu.iter().find(|times| times.cpu == cpu);
        times.map_or(0.0, |times| facts.percent(times.softirq_ns))
    };
    let busy: Vec<u32> = apart
        .iter()
        .copied()
        .filter(|cpu| softirqs(*cpu) >= BUSY)
        .collect();
    if disturbed.is_empty() && busy.is_empty() {
        let most = lines
            .iter()
            .filter(|line| line.is_numbered() && apart.contains(&line.cpu))
            .map(|line| line.rate)
            .fold(0.0, f64::max);
        return Outcome::RuledOut(format!(
            "{} are set apart, and a device interrupts one of them at most {} (less than {})",
            cpus(&apart),
            rate(most),
            rate(SOME)
        ));
    }
    let masks = masks(facts, &apart);
    let by_line: Vec<_> = disturbed
        .iter()
        .take(3)
        .map(|line| format!("{} {} on CPU {}", line.words(), rate(line.rate), line.cpu))
        .collect();
    let by_softirq: Vec<_> = busy
        .iter()
        .take(3)
        .map(|cpu| format!("softirqs take {} of CPU {cpu}", percent(softirqs(*cpu))))
        .collect();
    let what = list(&[by_line, by_softirq].concat());
    let confidence = if masks.is_empty() {
        Confidence::Medium
    } else {
        Confidence::High
    };
    let why = if masks.is_empty() {
        String::new()
    } else {
        format!("; in the masks are {}", list(&masks))
    };
    let draft = Draft::new(&RULE.page, Severity::Warn, confidence)
        .title(format!("{} are set apart, and are disturbed", cpus(&apart)))
        .statement(format!("{} are set apart, but {what}{why}.", cpus(&apart)))
        .cpus(disturbed.iter().map(|line| line.cpu).chain(busy))
        .step("configuration", list(&masks))
        .evidence(
            format!(
                "{}, {}",
                facts.reference("sys/devices/system/cpu/isolated"),
                facts.reference("proc/cmdline")
            ),
            cpus(&apart),
        );
    let draft = disturbed.iter().fold(draft, |draft, line| {
        let reference = format!("summary.hardirq[irq={},cpu={}]", line.label, line.cpu);
        draft.irq(&line.label).evidence(reference, rate(line.rate))
    });
    Outcome::Found(vec![draft.done()])
}

/// Masks that have CPUs which were set apart.
fn masks(facts: &Facts<'_>, apart: &[u32]) -> Vec<String> {
    let mut found = Vec::new();
    for (name, device) in &facts.devices {
        let meets = |mask: &String| {
            cpus_of_mask(mask).is_some_and(|cpus| cpus.iter().any(|cpu| apart.contains(cpu)))
        };
        if device.rps_masks.iter().any(meets) {
            found.push(format!("rps_cpus of {name}"));
        }
    }
    let unbound = facts.cpu_mask("sys/devices/virtual/workqueue/cpumask");
    if unbound.is_some_and(|cpus| cpus.iter().any(|cpu| apart.contains(cpu))) {
        found.push("unbound workqueues".to_owned());
    }
    found.truncate(5);
    found
}

#[cfg(test)]
mod tests {
    use crate::diagnose::{
        finding::Confidence,
        fixture::{evidence, found, hardirq, of, ruled_out, summary},
    };

    #[test]
    fn interrupts_of_isolated_cpus_are_found_with_the_masks_and_those_of_others_are_not() {
        let mut summary = summary();
        summary.hardirq = vec![
            hardirq(Some(120), "eth0-rx-3", 3, 50_000, 1),
            hardirq(None, "LOC", 3, 2_500, 1),
        ];
        let files = evidence(&[
            ("before/proc/cmdline", "isolcpus=2-3\n"),
            ("before/sys/class/net/eth0/queues/rx-0/rps_cpus", "f\n"),
            ("before/sys/devices/virtual/workqueue/cpumask", "3\n"),
        ]);
        let diagnosis = of(&summary, &files);
        let finding = found(&diagnosis, "ISO").unwrap();
        assert_eq!(
            (finding.confidence, &finding.scope.cpus[..]),
            (Confidence::High, &[3][..])
        );
        assert_eq!(
            finding.statement,
            "CPUs 2-3 are set apart, but interrupt 120 (eth0-rx-3) 5,000/s on CPU 3; in the masks are rps_cpus of eth0."
        );
        summary.hardirq[0].cpu = 0;
        let diagnosis = of(&summary, &files);
        assert!(found(&diagnosis, "ISO").is_none() && ruled_out(&diagnosis, "ISO").is_some());
    }
}
