use super::{Outcome, Rule};
use crate::diagnose::{
    draft::Draft,
    facts::{Facts, stat},
    figures::percent,
    finding::{Confidence, Severity},
    page::{Page, look_alike, owner, read, threshold},
};

/// Part of a CPU (netdata warns from there on, health.d/cpu.conf).
const STOLEN: f64 = 10.0;

pub(super) static RULE: Rule = Rule {
    page: Page {
        id: "VM-STEAL",
        title: "The hypervisor gives the CPU to others",
        means: "A virtual CPU that is ready to run does not. All durations in the guest grow, at once and everywhere: long handlers, \
                long waits, late timers. Nothing in the guest causes it or cures it.",
        signals: &["steal in /proc/stat between the window's edges"],
        thresholds: &[
            threshold(
                "steal of a CPU",
                "10 %",
                "netdata health.d/cpu.conf (20 minutes there)",
            ),
            threshold(
                "steal that lowers the confidence of all else",
                "5 %",
                "kctx",
            ),
        ],
        confused_with: &[
            look_alike("IRQ-LONG", "one handler is long and the others are not"),
            look_alike("RT-STARVE", "a real-time task of the guest has the CPU"),
        ],
        next: &[
            read("See whether it lasts.", "vmstat 1 10"),
            owner(
                "Ask who runs the host: an overcommitted host, a CPU quota or the instance's credits.",
            ),
        ],
        do_not: &["Tune the guest: it is not there that the time goes."],
    },
    explained_by: &[],
    judge,
};

fn judge(facts: &Facts<'_>) -> Outcome {
    let Some(stats) = &facts.stat else {
        return Outcome::Silent;
    };
    let stolen: Vec<_> = stats
        .iter()
        .filter(|(_, stat)| stat.steal >= STOLEN)
        .collect();
    let most = stats.iter().max_by(|a, b| a.1.steal.total_cmp(&b.1.steal));
    let Some((cpu, most)) = most else {
        return Outcome::Silent;
    };
    if stolen.is_empty() {
        return Outcome::RuledOut(format!(
            "steal is at most {} (CPU {cpu}; less than {STOLEN:.0} %)",
            percent(most.steal)
        ));
    }
    let finding = Draft::new(&RULE.page, Severity::Warn, Confidence::High)
        .title(format!("The hypervisor takes {} of CPU {cpu}", percent(most.steal)))
        .statement(format!(
            "The hypervisor took {} of CPU {cpu} while it was ready to run: all durations have that in them.",
            percent(most.steal)
        ))
        .share(*cpu, "steal", most.steal)
        .cpus([*cpu].into_iter().chain(stolen.iter().map(|(cpu, _)| **cpu)))
        .step("CPU", format!("{cpu}: {} stolen", percent(most.steal)))
        .evidence(facts.reference(stat::FILE), format!("cpu{cpu}: {} steal", percent(most.steal)))
        .done();
    Outcome::Found(vec![finding])
}

#[cfg(test)]
mod tests {
    use crate::diagnose::{
        finding::{Confidence, Verdict},
        fixture::{evidence, of, ruled_out, saturated, summary},
    };

    fn stolen(ticks: u64) -> crate::capture::evidence_set::EvidenceSet {
        let after = format!("cpu0 100 0 100 {} 0 0 0 {ticks}\n", 800 - ticks);
        evidence(&[
            ("before/proc/stat", "cpu0 0 0 0 0 0 0 0 0\n"),
            ("after/proc/stat", &after),
        ])
    }

    #[test]
    fn stolen_time_is_found_and_lowers_what_else_is_said() {
        let diagnosis = of(&summary(), &stolen(200));
        assert_eq!(
            (diagnosis.verdict, diagnosis.findings[0].id.as_str()),
            (Verdict::Hot, "VM-STEAL")
        );
        assert!(
            diagnosis.first_line.contains("20 % of CPU 0"),
            "{}",
            diagnosis.first_line
        );
        let both = of(&saturated(0), &stolen(200));
        let other = both
            .findings
            .iter()
            .find(|finding| finding.id != "VM-STEAL")
            .unwrap();
        assert!(other.confidence <= Confidence::Medium);
        assert!(
            both.caveats
                .iter()
                .any(|caveat| caveat.contains("hypervisor"))
        );
        let little = of(&summary(), &stolen(20));
        assert_eq!(
            ruled_out(&little, "VM-STEAL"),
            Some("steal is at most 2.0 % (CPU 0; less than 10 %)")
        );
    }
}
