use super::{Outcome, Rule};
use crate::{
    capture::evidence::Phase,
    diagnose::{
        draft::Draft,
        facts::{Facts, works::Work},
        figures::{percent, rate},
        finding::{Confidence, Severity},
        harm::{BUSY, HOT},
        page::{Page, look_alike, owner, read, threshold},
    },
};

const FOLDER: &str = "sys/firmware/acpi/interrupts/";
/// Events of the firmware, a second: ordinary ones are a few an hour.
const MANY: f64 = 1_000.0;

pub(super) static RULE: Rule = Rule {
    page: Page {
        id: "IRQ-GPE",
        title: "The firmware interrupts without end (ACPI GPE)",
        means: "A general purpose event of the firmware is raised again as soon as it is handled: the interrupt `acpi` (line 9 as a rule), its thread, and kworkers \
                that run the firmware's methods (kacpid, kacpi_notify) take a CPU. Where acpi_hotplug_work_fn is among them, something is plugged in \
                and out.",
        signals: &[
            "interrupts of the action acpi, a second",
            "works acpi_os_execute_deferred and acpi_ev_asynch_execute_gpe_method",
            "which gpeXX or ff_* counts in /sys/firmware/acpi/interrupts",
        ],
        thresholds: &[
            threshold(
                "interrupts of acpi, or counts of one gpe or fixed event",
                "1,000/s",
                "kctx; ordinary are a few an hour",
            ),
            threshold("time of its works", "10 % of a CPU", "kctx"),
        ],
        confused_with: &[
            look_alike("IRQ-STORM", "another device's line"),
            look_alike("WQ-CHURN", "works of another kind"),
        ],
        next: &[
            read(
                "See which event it is.",
                "grep -H . /sys/firmware/acpi/interrupts/* | grep -vE ' 0( |$)'",
            ),
            read(
                "See what the firmware is.",
                "cat /sys/class/dmi/id/bios_version /sys/class/dmi/id/bios_date",
            ),
            owner(
                "New firmware; to mask the event (acpi_mask_gpe=) is for the hardware's owner: lid, power and heat may hang on it.",
            ),
        ],
        do_not: &["Disable the event as a first step: it may be the one that tells of heat."],
    },
    explained_by: &[],
    judge,
};

fn judge(facts: &Facts<'_>) -> Outcome {
    let lines = facts.lines();
    let of_acpi = |actions: &[String]| {
        actions
            .iter()
            .any(|action| action == "acpi" || action.starts_with("ACPI:"))
    };
    let line = lines
        .iter()
        .filter(|line| of_acpi(&line.actions))
        .max_by(|a, b| a.rate.total_cmp(&b.rate));
    let mut works = facts.works();
    works.retain(|work| work.function.starts_with("acpi_"));
    let works_ns: u64 = works.iter().map(|work| work.cpu_ns).sum();
    let event = busiest_event(facts);
    let interrupts = line.map_or(0.0, |line| line.rate);
    let share = facts.percent(works_ns) + line.map_or(0.0, |line| line.percent);
    let counted = event.as_ref().map_or(0.0, |(_, rate)| *rate);
    if interrupts < MANY && counted < MANY && share < BUSY {
        return match (line, &event) {
            (None, None) => Outcome::Silent,
            _ => Outcome::RuledOut(format!(
                "acpi interrupts {}, and the busiest event counts {} (less than {})",
                rate(interrupts),
                rate(counted),
                rate(MANY)
            )),
        };
    }
    let severity = if share >= HOT || interrupts.max(counted) >= MANY {
        Severity::Warn
    } else {
        Severity::Info
    };
    let confidence = if event.is_some() {
        Confidence::High
    } else {
        Confidence::Medium
    };
    let which = event.as_ref().map_or(
        "an event that was not seen".to_owned(),
        |(name, counted)| format!("{name} ({})", rate(*counted)),
    );
    let mut draft = Draft::new(&RULE.page, severity, confidence)
        .title(format!(
            "The firmware interrupts {}: {which}",
            rate(interrupts)
        ))
        .statement(format!(
            "The firmware interrupts {} by {which}; its interrupt and works take {} of a CPU.",
            rate(interrupts),
            percent(share)
        ))
        .step("raised by", &which)
        .step("works", heaviest(facts, &works))
        .missing_if(
            event.is_none(),
            "sys/firmware/acpi/interrupts of both edges: which event it is",
        );
    for work in &works {
        draft = draft.function(work.function);
    }
    if let Some(line) = line {
        draft = draft
            .share(line.cpu, "hardirq and works of acpi", share)
            .cpu(line.cpu)
            .irq(&line.label)
            .evidence(
                format!("summary.hardirq[irq={},cpu={}]", line.label, line.cpu),
                rate(line.rate),
            );
    }
    if let Some((name, counted)) = &event {
        draft = draft
            .device(name)
            .evidence(facts.reference(&format!("{FOLDER}{name}")), rate(*counted));
    }
    Outcome::Found(vec![draft.done()])
}

/// The works that take most.
fn heaviest(facts: &Facts<'_>, works: &[Work<'_>]) -> String {
    let works: Vec<_> = (works.iter().take(3))
        .map(|work| {
            let share = percent(facts.percent(work.cpu_ns));
            format!("{} {share} of a CPU", work.function)
        })
        .collect();
    works.join(", ")
}

/// The `gpeXX` or fixed event (`ff_pwr_btn`) that counted most, and how often a second.
fn busiest_event(facts: &Facts<'_>) -> Option<(String, f64)> {
    let count = |bytes: &[u8]| {
        let text = String::from_utf8_lossy(bytes);
        text.split_whitespace().next()?.parse::<u64>().ok()
    };
    let files = facts.evidence.files(Phase::After);
    let events = files.filter_map(|(path, bytes)| {
        let name = path.strip_prefix(FOLDER)?;
        // `gpe_all` is their sum.
        if name == "gpe_all" || !(name.starts_with("gpe") || name.starts_with("ff_")) {
            return None;
        }
        // Counters that are zero are left out, but for that of interrupts.
        let before = match facts.evidence.bytes(Phase::Before, path) {
            Some(bytes) => count(bytes)?,
            None => {
                let interrupts = format!("{FOLDER}sci");
                facts
                    .evidence
                    .bytes(Phase::Before, &interrupts)
                    .map(|_| 0)?
            }
        };
        let grown = count(bytes)?.saturating_sub(before);
        (grown > 0).then(|| (name.to_owned(), facts.grown_rate(grown)))
    });
    events.max_by(|a, b| a.1.total_cmp(&b.1))
}

#[cfg(test)]
mod tests {
    use crate::diagnose::{
        finding::{Confidence, Severity},
        fixture::{evidence, found, hardirq, of, percent, summary, work},
    };

    #[test]
    fn the_event_that_counts_is_named_and_a_quiet_one_is_not() {
        let mut summary = summary();
        summary.hardirq = vec![hardirq(Some(9), "acpi", 0, 300_000, percent(15))];
        summary.workqueue = vec![work(
            "kacpid",
            "acpi_os_execute_deferred",
            300_000,
            percent(60),
        )];
        let files = evidence(&[
            (
                "before/sys/firmware/acpi/interrupts/gpe17",
                "  100  EN STS enabled      unmasked\n",
            ),
            (
                "after/sys/firmware/acpi/interrupts/gpe17",
                "  300100  EN STS enabled      unmasked\n",
            ),
            ("before/sys/firmware/acpi/interrupts/gpe_all", "  100\n"),
            (
                "after/sys/firmware/acpi/interrupts/gpe_all",
                "  999999999\n",
            ),
        ]);
        let diagnosis = of(&summary, &files);
        let finding = found(&diagnosis, "IRQ-GPE").unwrap();
        assert_eq!(
            (
                finding.severity,
                finding.confidence,
                &finding.scope.devices[..]
            ),
            (Severity::Warn, Confidence::High, &["gpe17".to_owned()][..])
        );
        // One that did not count before, of a machine on which others did.
        let first = |files: &[(&str, &str)]| {
            let files = evidence(files);
            let diagnosis = of(&summary, &files);
            found(&diagnosis, "IRQ-GPE").unwrap().scope.devices.clone()
        };
        let after = (
            "after/sys/firmware/acpi/interrupts/ff_pwr_btn",
            "  300000  EN     enabled\n",
        );
        let interrupts = ("before/sys/firmware/acpi/interrupts/sci", "  0\n");
        assert_eq!(first(&[interrupts, after]), ["ff_pwr_btn"]);
        assert!(first(&[after]).is_empty());
        summary.hardirq = vec![hardirq(Some(9), "acpi", 0, 3, 1)];
        summary.workqueue.clear();
        assert!(found(&of(&summary, &evidence(&[])), "IRQ-GPE").is_none());
    }
}
